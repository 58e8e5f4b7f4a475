"""Losses whose options are chosen before they are compared, on cases that no table reports."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloss.evaluation.outputs.results import read_folder
from medloss.offers.host import host
from medloss.workbench.study.folder import EVALUATION, TUNING_TABLE, StudyFolder
from medloss.workbench.study.results import mean_value, write_rows
from medloss.workbench.study.runs import StudyLoss, StudyRun

COLUMNS = (
    *("loss", "fold", "seed", "candidate", "status", "metric", "value", "cases", "chosen"),
    "message",
)


@dataclass(frozen=True)
class TuningLine:
    """A candidate in a fold, as ``tuning.csv`` has it.

    Args:
        loss: that is tuned.
        fold: whose training cases it was chosen on.
        seed: of the candidate's run.
        candidate: name.
        status: of its run.
        metric: that decides.
        value: mean over the tuning cases, of each the mean over its labels; NaN where there is
            none.
        cases: with a value.
        chosen: whether it is the one.
        message: what went wrong.
    """

    loss: str
    fold: int
    seed: int
    candidate: str
    status: str
    metric: str
    value: float
    cases: int
    chosen: bool = False
    message: str = ""


@dataclass(frozen=True)
class Tuning:
    """How a study chooses.

    Args:
        losses: of the study.
        metric: column of the metric that decides.
        seed: of the candidates' runs.
        folds: of the study; each chooses for itself.
    """

    losses: Sequence[StudyLoss]
    metric: str
    seed: int
    folds: int

    @property
    def runs(self) -> list[StudyRun]:
        """A run of every candidate in every fold; one that two losses share has one run."""
        candidates = dict.fromkeys(one for loss in self.losses for one in loss.candidates)
        return [self._run(one, fold) for fold in range(max(self.folds, 1)) for one in candidates]

    def lines(self, folder: StudyFolder) -> list[TuningLine]:
        """What the candidates reached, and which of them is chosen.

        Of equals the first is chosen. Nothing is chosen where a candidate has no value, because
        the choice would not be the one that was asked for.

        Args:
            folder: of the study; all tuning runs have ended.
        """
        better = host().metrics.find(self.metric.partition("[")[0]).record.better
        found: list[TuningLine] = []
        for fold in range(max(self.folds, 1)):
            for loss in self.losses:
                runs = [self._run(one, fold) for one in loss.candidates]
                lines = [_line(folder, loss, run, self.metric) for run in runs]
                values = [line.value for line in lines]
                if lines and not any(map(math.isnan, values)):
                    best = values.index(max(values) if better == "higher" else min(values))
                    lines[best] = dataclasses.replace(lines[best], chosen=True)
                found += lines
        return found

    def _run(self, candidate: StudyLoss, fold: int) -> StudyRun:
        return StudyRun(candidate, fold, self.seed, tuning=True)


def settled(run: StudyRun, lines: Sequence[TuningLine]) -> StudyRun | str:
    """A run with the candidate that its fold chose; why there is none, where there is none."""
    if not run.loss.candidates:
        return run
    own = [line for line in lines if (line.loss, line.fold) == (run.loss.name, run.fold)]
    chosen = next((line.candidate for line in own if line.chosen), None)
    if chosen is None:
        line = next(line for line in own if math.isnan(line.value))
        return (
            f"nothing was chosen, because the candidate {line.candidate} has no {line.metric} on "
            f"the tuning cases: {line.message or line.status}"
        )
    block = next(one.block for one in run.loss.candidates if one.name == chosen)
    loss = dataclasses.replace(run.loss, block=block, chosen=chosen)
    return dataclasses.replace(run, loss=loss)


def write_tuning(folder: Path, lines: Sequence[TuningLine]) -> Path:
    """Write ``tuning.csv``."""
    rows = (vars(line) | {"chosen": "yes" if line.chosen else ""} for line in lines)
    write_rows(folder / TUNING_TABLE, COLUMNS, rows)
    return folder / TUNING_TABLE


def read_tuning(folder: Path) -> tuple[TuningLine, ...]:
    """The lines of ``tuning.csv``; none where a study tunes nothing."""
    path = folder / TUNING_TABLE
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_read(csv.DictReader(file)))


def _read(rows: csv.DictReader[str]) -> Iterator[TuningLine]:
    for row in rows:
        own: dict[str, Any] = {name: row[name] for name in COLUMNS}
        own |= {name: int(row[name]) for name in ("fold", "seed", "cases")}
        yield TuningLine(**own | {"value": float(row["value"]), "chosen": row["chosen"] == "yes"})


def _line(folder: StudyFolder, loss: StudyLoss, run: StudyRun, metric: str) -> TuningLine:
    facts: Mapping[str, Any] = folder.facts(run) or {}
    status, message = str(facts.get("status", "failed")), str(facts.get("message", ""))
    values = [] if status == "failed" else _values(folder.run(run) / EVALUATION, metric)
    # A case that failed would leave the candidates with different cases.
    whole = bool(values) and len(values) == facts.get("cases") and None not in values
    numbers = [value for value in values if value is not None and not math.isnan(value)]
    mean = sum(numbers) / len(numbers) if whole and numbers else math.nan
    own = loss.name, run.fold, run.seed, run.loss.name
    return TuningLine(*own, status, metric, mean, len(numbers), message=message)


def _values(path: Path, metric: str) -> list[float | None]:
    """Of each case the mean over its labels; None for a case that failed."""
    found: list[float | None] = []
    for case in read_folder(path).cases:
        own = [value for (_, name), value in case.values.items() if name == metric]
        found.append(mean_value(own).value if own else None)
    return found
