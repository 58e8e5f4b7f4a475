"""Differences between two runs, case by case: how large, how sure, in whose favour."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from medloss.evaluation.compare.margins import MarginTest, Target
from medloss.evaluation.compare.missing import diagonals, fill, worst_value
from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.grouping import Variable
from medloss.evaluation.outputs.statistics import (
    BOOTSTRAP,
    Bootstrap,
    Floats,
    Interval,
    levels,
    mean_interval,
    slack_of,
)
from medloss.evaluation.outputs.statistics.clusters import ClusterSums
from medloss.evaluation.outputs.statistics.paired_tests import (
    hodges_lehmann,
    holm,
    one_sided_p,
    sign_flip,
    signed_rank,
)
from medloss.evaluation.outputs.subgroups import subgroup_tables
from medloss.evaluation.records import Measure, Result, ScoredLabel, SubgroupTable
from medloss.runtime.progress import tracked

Missing = Literal["worst", "leave-out"]


@dataclass(frozen=True)
class Decisions:
    """What is decided before the numbers are seen.

    Args:
        bootstrap: how intervals are made, where there are enough cases for one.
        missing: what a run counts where it has no number and should have one.
        clusters: the patient of each case by its name; ``None`` where each stands for itself.
        cluster: how they were found.
        margins: of metrics.
        primary: the tests that support the claim, which are adjusted for one another; the others
            are descriptive. None: all tests.
        baseline: only the others minus this run.
        subgroups: lists of subgroups.
    """

    bootstrap: Bootstrap = BOOTSTRAP
    missing: Missing = "worst"
    clusters: dict[str, str] | None = None
    cluster: str = ""
    margins: tuple[tuple[Target, float], ...] = ()
    primary: tuple[Target, ...] = ()
    baseline: str | None = None
    subgroups: tuple[Variable, ...] = ()

    def margin(self, measure: Measure, label: ScoredLabel) -> float | None:
        """Of a label that is named, else of its metric."""
        fitting = [(t, x) for t, x in self.margins if t.fits(measure, label)]
        return max(fitting, key=lambda each: bool(each[0].label))[1] if fitting else None

    def is_primary(self, measure: Measure, label: ScoredLabel) -> bool:
        """Whether a test is of the family."""
        return not self.primary or any(each.fits(measure, label) for each in self.primary)


DECISIONS = Decisions()


@dataclass(frozen=True)
class Estimate:
    """Differences of some cases.

    Args:
        n: pairs of numbers.
        mean: of the differences, 0 where the means are equal; infinite or NaN where numbers are
            infinite.
        median: of the differences.
        interval: of ``mean``.
        p: two-sided; 1 where all pairs are equal, NaN where there is no test.
    """

    n: int
    mean: float
    median: float
    interval: Interval
    p: float


@dataclass(frozen=True)
class Difference:
    """Second run minus first, over the cases where both have a number or were given one.

    Args:
        label: of the values.
        measure: metric or loss.
        first: name of a run.
        second: name of another.
        n: pairs of numbers.
        clusters: patients, or what else the pairs are of; 0 where each case stands for itself.
        only_first: cases where only the first run has a number of its own.
        only_second: cases where only the second has.
        neither: cases where none has.
        worst_first: of ``only_second``, where the first run was given the worst value.
        worst_second: likewise.
        mean_first: over the pairs.
        mean_second: over the pairs.
        mean: of the differences, 0 where the means are equal; infinite or NaN where numbers are
            infinite.
        median: of the differences.
        sd: of the differences; NaN for fewer than two or an infinite one.
        interval: of ``mean``.
        hodges_lehmann: median of the means of all pairs of differences.
        effect: mean over standard deviation of the differences (Cohen's d of pairs).
        wins: pairs where the second run is better.
        ties: pairs of equal numbers (:mod:`medloss.evaluation.outputs.statistics`).
        losses: pairs where the first run is better.
        test: ``wilcoxon``, or with clusters ``sign_flip``.
        p: of that test, two-sided; 1 where all pairs are equal, NaN where there is none.
        p_holm: adjusted for all tests of the family; NaN for one that is not of it.
        primary: whether it is of the family.
        complete: the same without the cases that were given the worst value; ``None`` where none
            was.
        margin: tests against a margin, where there is one.
        subgroups: differences by subgroup, and differences of these (interaction).
        differences: by case; NaN where there is no pair.
    """

    label: ScoredLabel
    measure: Measure
    first: str
    second: str
    n: int
    clusters: int
    only_first: int
    only_second: int
    neither: int
    worst_first: int
    worst_second: int
    mean_first: float
    mean_second: float
    mean: float
    median: float
    sd: float
    interval: Interval
    hodges_lehmann: float
    effect: float
    wins: int
    ties: int
    losses: int
    test: str
    p: float
    p_holm: float
    primary: bool
    complete: Estimate | None
    margin: MarginTest | None
    subgroups: tuple[SubgroupTable, ...]
    differences: tuple[float, ...] = field(repr=False)

    @property
    def ci_low(self) -> float:
        """Lower end of the interval."""
        return self.interval.low

    @property
    def ci_high(self) -> float:
        """Upper end of the interval."""
        return self.interval.high

    @property
    def favours(self) -> str:
        """The run with the better mean; empty where they are equal or there is none."""
        if not self.mean or math.isnan(self.mean):
            return ""
        return self.second if (self.mean > 0) == (self.measure.better == "higher") else self.first


def differences(
    compared: ComparedTable, decisions: Decisions = DECISIONS
) -> tuple[Difference, ...]:
    """Every pair of runs, for every metric and label, adjusted together.

    Args:
        compared: the runs.
        decisions: how.
    """
    names = [run.name for run in compared.runs]
    pairs = [*itertools.combinations(range(len(names)), 2)]
    if decisions.baseline is not None:
        base = names.index(decisions.baseline)
        pairs = [(base, other) for other in range(len(names)) if other != base]
    every = [*itertools.product(compared.grid(), pairs)]
    sizes = diagonals([run.table.cases for run in compared.runs])
    found = [
        difference(
            (label, measure),
            (names[i], names[j]),
            (values[i], values[j]),
            compared.cases,
            decisions,
            diagonal=sizes,
            missed=compared.missed,
        )
        for (label, measure, values), (i, j) in tracked(every, "differences")
    ]
    adjusted = holm([each.p if each.primary else math.nan for each in found])
    return tuple(replace(each, p_holm=p) for each, p in zip(found, adjusted, strict=True))


def difference(
    where: tuple[ScoredLabel, Measure],
    names: tuple[str, str],
    values: tuple[Sequence[Result | None], Sequence[Result | None]],
    cases: Sequence[str],
    decisions: Decisions = DECISIONS,
    *,
    diagonal: dict[str, float] | None = None,
    missed: object = "diagonal",
) -> Difference:
    """Two runs in one metric and label.

    A number takes part whatever the status of its label, so that the distance which a policy gives
    to a missed label does. A case without number on one side has the worst value there
    (:mod:`.missing`) or is in no pair, as decided; on both sides it is in no pair. All are counted.

    Args:
        where: label and metric.
        names: of the runs.
        values: of each run, case by case.
        cases: their names.
        decisions: how.
        diagonal: of the images in mm, by case.
        missed: the policy for distances of missed labels.
    """
    label, measure = where
    own = [
        np.array([value.value if value else math.nan for value in side], dtype=np.float64)
        for side in values
    ]
    has = ~np.isnan(own[0]), ~np.isnan(own[1])
    first, second, given = own[0], own[1], (0, 0)
    if decisions.missing == "worst":
        worst = worst_value(measure, missed)
        first, second, given = fill(values, worst, cases, diagonal or {})
    apart, slack = _apart(first, second)
    both = ~np.isnan(apart)
    whose = None if decisions.clusters is None else [decisions.clusters[name] for name in cases]
    d = apart[both]
    found = _estimate(apart, slack, whose, decisions.bootstrap)
    sd = _of(lambda x: x.std(ddof=1), d) if len(d) > 1 and np.isfinite(d).all() else math.nan
    sign = 1 if measure.better == "higher" else -1
    margin = decisions.margin(measure, label)
    return Difference(
        label=label,
        measure=measure,
        first=names[0],
        second=names[1],
        n=found.n,
        clusters=found.interval.clusters,
        only_first=int((has[0] & ~has[1]).sum()),
        only_second=int((has[1] & ~has[0]).sum()),
        neither=int((~has[0] & ~has[1]).sum()),
        worst_first=given[0],
        worst_second=given[1],
        mean_first=_of(np.mean, first[both]),
        mean_second=_of(np.mean, second[both]),
        mean=found.mean,
        median=found.median,
        sd=sd,
        interval=found.interval,
        hodges_lehmann=hodges_lehmann(d),
        effect=found.mean / sd if sd > slack else math.nan,
        wins=int((sign * d > 0).sum()),
        ties=int((d == 0).sum()),
        losses=int((sign * d < 0).sum()),
        test="sign_flip" if found.interval.clusters else "wilcoxon",
        p=found.p,
        p_holm=math.nan,
        primary=decisions.is_primary(measure, label),
        complete=_estimate(_apart(*own)[0], slack, whose, decisions.bootstrap)
        if any(given)
        else None,
        margin=None if margin is None else _against(margin, sign, apart, slack, whose, decisions),
        subgroups=tuple(
            subgroup_tables(
                decisions.subgroups,
                label,
                measure,
                dict(zip(cases, apart.tolist(), strict=True)),
                decisions.clusters,
            )
        ),
        differences=tuple(apart.tolist()),
    )


def _apart(first: Floats, second: Floats) -> tuple[Floats, float]:
    """Second minus first, 0 where they are equal and NaN where one is none; and what equal is."""
    both = ~np.isnan(first) & ~np.isnan(second)
    slack = float(slack_of([first[both], second[both]]))
    apart = np.full(len(first), math.nan)
    # Two infinite distances are equally bad; numpy would make their difference undefined.
    pairs = levels(np.stack([first, second], axis=-1), slack)
    unequal = both & (pairs[:, 0] != pairs[:, 1])
    apart[both] = 0.0
    apart[unequal] = second[unequal] - first[unequal]
    return apart, slack


def _paired(apart: Floats, whose: Sequence[str] | None) -> tuple[Floats, Sequence[str] | None]:
    """The differences that there are, and whose."""
    both = ~np.isnan(apart)
    if whose is None:
        return apart[both], None
    return apart[both], [name for name, here in zip(whose, both, strict=True) if here]


def _estimate(
    apart: Floats, slack: float, whose: Sequence[str] | None, bootstrap: Bootstrap
) -> Estimate:
    d, clusters = _paired(apart, whose)
    mean = _of(np.mean, d)
    interval = mean_interval(d, bootstrap, clusters=clusters, slack=slack)
    if interval.clusters:
        p = sign_flip(d, clusters, seed=bootstrap.seed, slack=slack)
    else:
        p = signed_rank(d, slack).p
    return Estimate(len(d), 0.0 if abs(mean) <= slack else mean, _of(np.median, d), interval, p)


def _against(
    margin: float,
    sign: int,
    apart: Floats,
    slack: float,
    whose: Sequence[str] | None,
    decisions: Decisions,
) -> MarginTest:
    """Whether the second run is not worse by the margin, and whether both are alike within it."""
    gain, clusters = _paired(sign * apart, whose)

    def interval(level: float) -> Interval:
        bootstrap = replace(decisions.bootstrap, level=level)
        return mean_interval(gain, bootstrap, clusters=clusters, slack=slack)

    wide, narrow = interval(0.95), interval(0.9)
    if not wide.known:
        nothing = math.nan
        return MarginTest(margin, None, nothing, nothing, nothing, None, None, nothing)
    by = None if not wide.clusters or clusters is None else ClusterSums.of(gain, clusters)
    error = math.sqrt(by.variance if by else float(gain.var(ddof=1)) / len(gain))
    mean, df = float(gain.mean()), (len(by.sums) if by else len(gain)) - 1
    not_worse, not_better = (one_sided_p(s * mean, error, df, -margin) for s in (1, -1))
    ends = sorted(sign * end for end in (narrow.low, narrow.high))
    return MarginTest(
        margin=margin,
        non_inferior=wide.low > -margin,
        p_non_inferior=not_worse,
        low90=ends[0],
        high90=ends[1],
        equivalent=-margin < narrow.low and narrow.high < margin,
        equivalent95=-margin < wide.low and wide.high < margin,
        p_equivalent=max(not_worse, not_better),
    )


def _of(statistic: Callable[[Floats], Any], values: Floats) -> float:
    with np.errstate(invalid="ignore"):  # infinite on both sides has no mean
        return float(statistic(values)) if len(values) else math.nan
