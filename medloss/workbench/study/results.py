"""The tables of a study, read again: what every loss scored on every case that was held out."""

from __future__ import annotations

import csv
import gzip
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from medloss.evaluation.compare.runs import Ground
from medloss.evaluation.compare.runs import Run as Compared
from medloss.evaluation.outputs.folder import Folder, FolderCase, Label, Measure, Value
from medloss.offers.host import host
from medloss.workbench.study.folder import CASE_TABLE, RUN_TABLE

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
    labels: tuple[Label, ...]
    measures: tuple[Measure, ...]
    values: Mapping[tuple[str, int, int], Mapping[str, Mapping[Key, Value]]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """In ascending order."""
        return tuple(sorted({run.seed for run in self.runs}))

    @property
    def folds(self) -> tuple[int, ...]:
        """In ascending order."""
        return tuple(sorted({run.fold for run in self.runs}))

    @property
    def shown(self) -> Label:
        """What the tables are of: the mean of all labels, or the only one."""
        if len(self.labels) == 1:
            return self.labels[0]
        return Label(f"mean of {len(self.labels)} labels")

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
    values: dict[tuple[str, int, int], dict[str, dict[Key, Value]]] = {}
    labels: dict[str, Label] = {}
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
            labels.setdefault(row["label"], Label(row["label"], row["name"]))
            if row["metric"] not in measures:
                measures[row["metric"]] = _measure(row["metric"], row["unit"])
            value = float(row["value"]) if row["value"] else math.nan
            case[row["label"], row["metric"]] = Value(value, row["status"])
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


def ground_of(results: Results, seeds: Iterable[int] = ()) -> Ground:
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
            FolderCase(case, None, None, values=_average(found[case], results)) for case in cases
        )
        settings = {"preset": "deepmind", "policies": {}}
        runs.append(
            Compared(
                loss, Folder(Path(loss), "", settings, results.measures, (shown,), made, (), "")
            )
        )
    return Ground(tuple(runs), tuple(cases), (shown,), results.measures)


def _average(found: Sequence[Mapping[Key, Value]], results: Results) -> dict[Key, Value]:
    made: dict[Key, Value] = {}
    for measure in results.measures:
        by_label = []
        for label in results.labels:
            own = [
                case[label.key, measure.name] for case in found if (label.key, measure.name) in case
            ]
            if own:
                by_label.append(mean_value(own))
        if by_label:
            made[results.shown.key, measure.name] = mean_value(by_label)
    return made


def mean_value(values: Sequence[Value]) -> Value:
    """Mean of those that are numbers, with the status of the worst.

    Example:
        >>> mean_value([Value(0.5, "ok"), Value(0.0, "missed"), Value(math.nan, "both_empty")])
        Value(value=0.25, status='missed')
    """
    numbers = [value.value for value in values if value.used]
    statuses = [value.status for value in values]
    order = ("missed", "spurious", "ok", "both_empty", "not_annotated")
    worst = min(statuses, key=lambda status: order.index(status) if status in order else 0)
    return Value(sum(numbers) / len(numbers) if numbers else math.nan, worst)


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
