"""The tables of a study, written and read again: a line for each run, one for each value."""

from __future__ import annotations

import csv
import gzip
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from medloss.evaluation.compare.runs import ComparedRun, ComparedTable
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.outputs.results import CSV_COLUMNS, read_folder, rows
from medloss.evaluation.records import CaseResult, Measure, Result, ResultTable, ScoredLabel
from medloss.offers.host import host
from medloss.runtime.files import whole_file
from medloss.workbench.study.folder import CASE_TABLE, EVALUATION, RUN_TABLE, SUMMARY, StudyFolder
from medloss.workbench.study.runs import StudyLoss, StudyRun

RUN_COLUMNS = (
    *("loss", "fold", "seed", "status", "epochs", "steps", "cases", "last_loss", "step_seconds"),
    *("step_bytes", "seconds_training", "seconds_scoring", "threads", "device", "chosen"),
    "message",
)
CASE_COLUMNS = (
    *("loss", "fold", "seed", "case", "label", "name", "metric", "value", "unit", "status"),
    *("message",),
)
_DIGITS = 6
"""More than any difference between two seeds is worth."""

Key = tuple[str, str]
"""Label and metric."""


@dataclass(frozen=True)
class RunLine:
    """A run as ``study.csv`` has it."""

    loss: str
    fold: int
    seed: int
    status: str
    facts: Mapping[str, str]

    @property
    def run(self) -> StudyRun:
        """The run, by its name alone."""
        return StudyRun(StudyLoss(self.loss, {}), self.fold, self.seed)

    def number(self, name: str) -> float:
        """A column; NaN where it is empty."""
        text = self.facts.get(name, "")
        return float(text) if text else math.nan


@dataclass(frozen=True)
class Results:
    """A study.

    Args:
        runs: that count: every loss has ended with their fold and seed.
        left_out: runs whose fold and seed another loss has not ended yet.
        losses: names, in the order of the tables.
        labels: that were scored.
        measures: the metrics.
        values: of every case, by loss, fold and seed.
    """

    runs: tuple[RunLine, ...]
    left_out: tuple[RunLine, ...]
    losses: tuple[str, ...]
    labels: tuple[ScoredLabel, ...]
    measures: tuple[Measure, ...]
    values: Mapping[tuple[str, int, int], Mapping[str, Mapping[Key, Result]]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """In ascending order."""
        return tuple(sorted({run.seed for run in self.runs}))

    @property
    def folds(self) -> tuple[int, ...]:
        """In ascending order."""
        return tuple(sorted({run.fold for run in self.runs}))

    @property
    def shown(self) -> ScoredLabel:
        """What the tables are of: the mean of all labels, or the only one."""
        if len(self.labels) == 1:
            return self.labels[0]
        return ScoredLabel(f"mean of {len(self.labels)} labels")

    def of(self, loss: str) -> list[RunLine]:
        """Runs of a loss."""
        return [run for run in self.runs if run.loss == loss]

    def broken(self, loss: str) -> Counter[str]:
        """How many runs of a loss ended otherwise than well, by status."""
        return Counter(run.status for run in self.of(loss) if run.status != "ok")

    def cases(self) -> list[str]:
        """Names, by fold and then in the order of the table."""
        found: dict[str, None] = {}
        for run in self.runs:
            found.update(dict.fromkeys(self.values.get((run.loss, run.fold, run.seed), {})))
        return [*found]


def read_results(folder: Path) -> Results:
    """Read ``study.csv`` and ``cases.csv``, or ``cases.csv.gz``.

    Raises:
        ValueError: a file is missing or damaged, or no fold and seed has been ended by all losses.
    """
    with _open(folder / RUN_TABLE) as file:
        lines = [_run(row) for row in csv.DictReader(file)]
    losses = tuple(dict.fromkeys(line.loss for line in lines))
    ended = Counter((line.fold, line.seed) for line in lines)
    whole = {pair for pair, count in ended.items() if count == len(losses)}
    if not whole:
        raise ValueError(f"{folder}: no fold and seed has been ended by all {len(losses)} losses")
    values: dict[tuple[str, int, int], dict[str, dict[Key, Result]]] = {}
    labels: dict[str, ScoredLabel] = {}
    measures: dict[str, Measure] = {}
    with _open(folder / CASE_TABLE) as file:
        for row in csv.DictReader(file):
            run = row["loss"], int(row["fold"]), int(row["seed"])
            if run[1:] not in whole:
                continue
            cases = values.setdefault(run, {})
            case = cases.setdefault(row["case"], {})
            if row["status"] == "failed":
                continue
            labels.setdefault(row["label"], ScoredLabel(row["label"], row["name"]))
            if row["metric"] not in measures:
                measures[row["metric"]] = _measure(row["metric"], row["unit"])
            value = float(row["value"]) if row["value"] else math.nan
            case[row["label"], row["metric"]] = Result(
                row["label"], row["metric"], value, row["unit"], row["status"]
            )
    if not measures:
        why = next((line.facts.get("message") for line in lines if line.status == "failed"), "")
        raise ValueError(f"{folder}: no run has any value: {why}")
    counted = tuple(line for line in lines if (line.fold, line.seed) in whole)
    return Results(
        runs=counted,
        left_out=tuple(line for line in lines if (line.fold, line.seed) not in whole),
        losses=losses,
        labels=tuple(labels.values()),
        measures=tuple(measures.values()),
        values=values,
    )


def ground_of(results: Results, seeds: Iterable[int] = ()) -> ComparedTable:
    """The losses as runs on the same cases, each value the mean over the seeds.

    A case takes part with the seeds that have a number for it. Labels are averaged to one value a
    case, so that a case counts once however many labels it has.

    Args:
        results: of the study.
        seeds: only these; by default all.
    """
    wanted = tuple(seeds) or results.seeds
    cases, shown = results.cases(), results.shown
    runs = []
    for loss in results.losses:
        found = {
            case: [
                values[case]
                for (name, _, seed), values in results.values.items()
                if name == loss and seed in wanted and case in values
            ]
            for case in cases
        }
        made = tuple(
            CaseResult(Pair(case, None, None), results=_average(found[case], results))
            for case in cases
        )
        runs.append(ComparedRun(loss, ResultTable(results.measures, (shown,), made)))
    return ComparedTable(tuple(runs), tuple(cases), (shown,), results.measures)


def _average(found: Sequence[Mapping[Key, Result]], results: Results) -> tuple[Result, ...]:
    made: list[Result] = []
    for measure in results.measures:
        by_label = []
        for label in results.labels:
            own = [
                case[label.key, measure.name] for case in found if (label.key, measure.name) in case
            ]
            if own:
                by_label.append(mean_value(own))
        if by_label:
            made.append(replace(mean_value(by_label), label=results.shown.key))
    return tuple(made)


def mean_value(values: Sequence[Result]) -> Result:
    """Mean of those that are numbers, with the status of the worst.

    Example:
        >>> scored = (("ok", 0.5), ("missed", 0.0), ("both_empty", math.nan))
        >>> mean_value([Result(1, "dice", value, "", status) for status, value in scored])
        Result(label=1, column='dice', value=0.25, unit='', status='missed')
    """
    numbers = [value.value for value in values if value.used]
    statuses = [value.status for value in values]
    order = ("missed", "spurious", "ok", "both_empty", "not_annotated")
    worst = min(statuses, key=lambda status: order.index(status) if status in order else 0)
    mean = sum(numbers) / len(numbers) if numbers else math.nan
    return replace(values[0], value=mean, status=worst)


def _run(row: Mapping[str, str]) -> RunLine:
    return RunLine(row["loss"], int(row["fold"]), int(row["seed"]), row["status"], dict(row))


def _measure(name: str, unit: str) -> Measure:
    record = host().metrics.find(name.partition("[")[0]).record
    return Measure(name, unit, record.better)


def _open(path: Path) -> TextIO:
    packed = path.with_name(path.name + ".gz")
    if not path.is_file() and packed.is_file():
        return gzip.open(packed, "rt", encoding="utf-8", newline="")
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    return path.open(encoding="utf-8", newline="")


def write_tables(folder: StudyFolder, runs: Sequence[StudyRun]) -> tuple[Path, Path]:
    """Write ``study.csv`` and ``cases.csv`` from the folders of the runs that have ended.

    Args:
        folder: of the study.
        runs: in the order of the tables.

    Returns:
        The two files.
    """
    paths = folder.path / RUN_TABLE, folder.path / CASE_TABLE
    ended = [(run, facts) for run in runs if (facts := folder.facts(run))]
    write_rows(paths[0], RUN_COLUMNS, (facts for _, facts in ended))
    write_rows(paths[1], CASE_COLUMNS, (row for run, _ in ended for row in _cases(folder, run)))
    return paths


def _cases(folder: StudyFolder, run: StudyRun) -> Iterator[dict[str, Any]]:
    path = folder.run(run) / EVALUATION
    if not (path / SUMMARY).is_file():  # a run that failed has no cases
        return
    for row in rows(read_folder(path)):
        yield {**dict(zip(CSV_COLUMNS, row, strict=True)), **run.facts()}


def write_rows(path: Path, columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file; numbers have six digits, and what a line lacks is an empty cell."""
    with whole_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in lines:
            writer.writerow(_cell(row.get(name)) for name in columns)


def _cell(value: Any) -> Any:
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else value
