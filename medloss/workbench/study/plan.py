"""How long the runs of a study may be so that all of it fits a budget, the same for all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medloss.workbench.study.runs import StudyRun

START_S = 8.0
"""A worker process begins: imports, first compilation."""

RESERVE = 0.12
"""Share of the budget that is kept for the report and for a machine that has other work."""


@dataclass(frozen=True)
class LossTiming:
    """What a pilot measured for a loss, in seconds.

    Args:
        first: making of the data, once in each process and fold.
        build: network and trainer of a run.
        step: of training.
        case: predicted and scored.
        steps: of an epoch.
        cases: held out.
    """

    first: float
    build: float
    step: float
    case: float
    steps: float
    cases: float

    def run_seconds(self, epochs: int) -> float:
        """Of a run of so many epochs."""
        return self.build + self.fixed() + epochs * self.steps * self.step

    def fixed(self) -> float:
        """What a run costs however long it trains."""
        return self.cases * self.case


def seconds(
    runs: Sequence[StudyRun], timings: Mapping[str, LossTiming], epochs: int, workers: int
) -> float:
    """How long runs take on several workers, of which each begins once.

    Args:
        runs: that are left to do.
        timings: by name of the loss; of one that is tuned, of its slowest candidate.
        epochs: of every run.
        workers: that share the runs evenly.
    """
    if not runs:
        return 0.0
    work = sum(timings[run.loss.name].run_seconds(epochs) for run in runs)
    # Nobody can do part of a run: the last one may begin when the others end.
    longest = max(timings[run.loss.name].run_seconds(epochs) for run in runs)
    folds = len({(run.fold, run.tuning) for run in runs})
    first = max(timing.first for timing in timings.values())
    busy = min(workers, len(runs))
    return START_S + folds * first + work / busy + longest * (busy - 1) / (2 * busy)


def epochs_within(
    budget_s: float, runs: Sequence[StudyRun], timings: Mapping[str, LossTiming], workers: int
) -> int:
    """Most epochs, equal for all runs, with which everything fits.

    Raises:
        ValueError: not even one epoch fits; says what would.

    Example:
        >>> from medloss.workbench.study.runs import StudyLoss
        >>> runs = [StudyRun(StudyLoss("dice", {}), 0, seed) for seed in range(3)]
        >>> epochs_within(600, runs, {"dice": LossTiming(0, 1, 0.1, 0.5, 10, 20)}, workers=1)
        162
    """
    room = budget_s * (1 - RESERVE)
    one, two = (seconds(runs, timings, epochs, workers) for epochs in (1, 2))
    if one > room:
        needed = math.ceil(one / (1 - RESERVE) / 60)
        raise ValueError(
            f"--budget: one epoch of all {len(runs)} runs takes about {one / 60:.1f} minutes, "
            f"{budget_s / 60:g} were given, of which {RESERVE:.0%} are kept in reserve; "
            f"say --budget {needed}, or fewer --losses, --seeds or --folds"
        )
    return 1 + math.floor((room - one) / (two - one))
