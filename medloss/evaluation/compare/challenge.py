"""The ranking of a challenge: as a profile says, with its stability and a map of significance.

``rank_then_aggregate`` ranks the runs in each case and averages the ranks, ``aggregate_then_rank``
ranks means or medians over the cases, ``test_then_rank`` ranks by the number of runs that a run is
significantly better than. Ranks of several metrics and labels are put together by weights.

Wiesenfarth et al. 2021, Methods and open-source toolkit for analyzing and visualizing challenge
results, doi:10.1038/s41598-021-82017-6
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.compare.significance import significance
from medloss.evaluation.outputs.statistics import Bootstrap, levels, slack_of
from medloss.evaluation.profiles.reading import LoadedProfile
from medloss.evaluation.profiles.schema import SHORT
from medloss.evaluation.records import Measure, Result, ScoredLabel

Floats = NDArray[np.float64]

MANY = 8
"""Of more runs, differences of all pairs would be too many to read."""

_AT_ONCE = 1 << 22
_MOST_TESTS = 60_000
_FEWEST = 100

_METHODS = {
    "rank_then_aggregate": "Runs are ranked in each case, and the {aggregate} of the ranks counts",
    "aggregate_then_rank": "Runs are ranked by the {aggregate} of their values over the cases",
    "test_then_rank": "Runs are ranked by how many others each is significantly better than "
    "(one-sided signed-rank tests, Holm, {level:g})",
}


@dataclass(frozen=True)
class Rules:
    """How a profile ranks.

    Args:
        method: ``rank_then_aggregate``, ``aggregate_then_rank`` or ``test_then_rank``.
        aggregate: ``mean`` or ``median``, over cases.
        ties: whether equal values share the ``mean`` of their ranks or the ``min``, the best one.
        missing: a run without a value in a case has the ``worst`` one, or the case is dropped
            for that run (``drop``).
        level: of the tests.
        label_mean: labels are averaged ``of_each_case`` or ``of_all_cases`` before they are ranked;
            empty where each is ranked by itself.
        tie_break: metric that decides between equal runs; empty for none.
        metrics: columns that count, ``METRIC`` or ``METRIC[LABEL]``; empty for all.
        labels: names or numbers of the labels that count; empty for all.
        weights: of metrics and of labels, by their names; 1 where nothing is said.
        penalties: value of a run without one, by metric.
    """

    method: str
    aggregate: str = "mean"
    ties: str = "mean"
    missing: str = "worst"
    level: float = 0.05
    label_mean: str = ""
    tie_break: str = ""
    metrics: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    penalties: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, profile: LoadedProfile) -> Rules:
        """Those of a profile.

        Raises:
            ValueError: it has none, or they contradict one another.
        """
        said = dict(profile.part("ranking"))
        if not said:
            raise ValueError(f"the profile {profile.name} has no [ranking]")
        for name in ("metrics", "labels"):
            said[name] = tuple(said.get(name, ()))
        rules = cls(**said)
        if rules.label_mean == "of_all_cases" and rules.method != "aggregate_then_rank":
            raise ValueError(
                f"{profile.origin}: ranking.label_mean: of_all_cases needs the method "
                f"aggregate_then_rank, got {rules.method}"
            )
        return rules

    def describe(self) -> str:
        """What was done, in sentences."""
        said = [_METHODS[self.method].format(aggregate=self.aggregate, level=self.level)]
        words = {
            "of_each_case": "the labels of each case are averaged first",
            "of_all_cases": "the means of the labels are averaged",
        }
        if self.label_mean:
            said[0] += f"; {words[self.label_mean]}"
        shared = "mean of their ranks" if self.ties == "mean" else "best of their ranks"
        said.append(f"Equal values share the {shared}")
        told = ", ".join(f"{name} {value:g}" for name, value in self.penalties.items())
        if self.missing == "drop":
            said.append("A case without a value is left out for that run")
        else:
            worst = f"{told}; else " if told else ""
            said.append(
                f"A case that failed, or a label that has no value because it was missed or "
                f"spurious, counts as {worst}the worst value of any run"
            )
        if self.weights:
            parts = [
                f"{name} {x:g}" for table in self.weights.values() for name, x in table.items()
            ]
            said.append(f"Weights: {', '.join(parts)}")
        if self.tie_break:
            said.append(f"Between equal runs {self.tie_break} decides")
        return f"{'. '.join(said)}."


@dataclass(frozen=True)
class Row:
    """What is ranked by itself: a metric of a label, or of all labels together.

    Args:
        title: of it.
        measure: of the values.
        labels: that are in it.
        weight: in the ranking.
        values: aggregated, by run.
        ranks: by run.
        better: adjusted p values, runs x runs, that the first is better than the second.
    """

    title: str
    measure: Measure
    labels: tuple[ScoredLabel, ...]
    weight: float
    values: tuple[float, ...]
    ranks: tuple[float, ...]
    better: Floats = field(repr=False)


@dataclass(frozen=True)
class Challenge:
    """The ranking that a profile asks for.

    Args:
        profile: name and hash.
        rules: of the ranking.
        rows: what it is made of.
        scores: weighted mean rank, by run.
        places: by run; equal ones share the better place.
        shares: by run and place, the share of resamples of the cases in that place.
        tau_a: Kendall's tau between the order of a resample and this one, on average.
        tau_b: likewise, corrected for ties.
        resamples: how many; 0 where too many tests would have to be made anew.
        missing: cases x labels x metrics where a run had no value, by run.
        notes: what the runs were made by instead of the profile, without an end.
    """

    profile: str
    rules: Rules
    rows: tuple[Row, ...]
    scores: tuple[float, ...]
    places: tuple[int, ...]
    shares: tuple[tuple[float, ...], ...]
    tau_a: float
    tau_b: float
    resamples: int
    missing: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def order(self) -> list[int]:
        """Runs from the best on."""
        return sorted(range(len(self.places)), key=lambda run: (self.places[run], run))

    def beats(self, run: int) -> float:
        """How many runs it is significantly better than, on average over the rows."""
        wins = [int((row.better[run] < self.rules.level).sum()) for row in self.rows]
        return sum(wins) / len(wins)


def challenge(
    compared: ComparedTable, profile: LoadedProfile, bootstrap: Bootstrap, *, other: bool = False
) -> Challenge:
    """Rank the runs as a profile says.

    Args:
        compared: the runs.
        profile: with a ranking.
        bootstrap: of the stability.
        other: whether runs may have been made by another version of the profile.

    Raises:
        ValueError: it says nothing of ranking, or names what the runs do not have.
    """
    rules = Rules.of(profile)
    notes = tuple(_made_otherwise(compared, profile, other=other))
    tables = [*_tables(compared, rules)]
    if not tables:
        raise ValueError(f"the runs have none of the metrics that {profile.name} ranks")
    if not sum(table.weight for table in tables):
        raise ValueError(f"{profile.name}: ranking.weights: all that is ranked weighs 0")
    cases, runs = tables[0].badness.shape[1:]
    everything = np.ones((1, cases))
    ranks = [table.ranks(everything, rules)[0] for table in tables]
    score, order = _scores(tables, everything, rules)
    drawn = _drawn(rules, len(tables), cases, runs, bootstrap)
    places, orders = _resampled(tables, rules, cases, Bootstrap(drawn, bootstrap.seed))
    own = levels(order[0], slack_of(order[0]))
    tau_a, tau_b = _taus(own, orders)
    return Challenge(
        profile=str(profile),
        notes=notes,
        rules=rules,
        rows=tuple(
            Row(
                table.title,
                table.measure,
                table.labels,
                table.weight,
                tuple((table.sign * table.aggregate(everything, rules)[0]).tolist()),
                tuple(rank.tolist()),
                table.better,
            )
            for table, rank in zip(tables, ranks, strict=True)
        ),
        scores=tuple(score[0].tolist()),
        places=tuple(int(place) for place in rankdata(own, method="min")),
        shares=tuple(
            tuple(
                float((places[:, run] == place).mean()) if len(places) else math.nan
                for place in range(1, runs + 1)
            )
            for run in range(runs)
        ),
        tau_a=tau_a,
        tau_b=tau_b,
        resamples=drawn,
        missing=tuple(sum(table.missing[run] for table in tables) for run in range(runs)),
    )


def _made_otherwise(
    compared: ComparedTable, profile: LoadedProfile, *, other: bool
) -> Iterator[str]:
    for made, group in itertools.groupby(compared.runs, key=lambda run: run.table.profile):
        names = ", ".join(run.name for run in group)
        if not made:
            yield f"{names}: made without a profile"
        elif made["sha256"] != profile.sha256:
            was = f"{made['name']} ({str(made['sha256'])[:SHORT]})"
            if made["name"] == profile.name and not other:
                raise ValueError(
                    f"{names}: made by another version of the profile, {was}, and {profile} is to "
                    f"rank; --allow-different-definitions ranks all the same"
                )
            yield f"{names}: made by {was}"


@dataclass(frozen=True, eq=False)
class _Table:
    """Values of a row before anything is ranked.

    Args:
        title: and the others: see :class:`Row`.
        badness: labels x cases x runs, smaller is better; NaN where a case is left out.
        sign: from badness to values.
        missing: how often a run had no value.
        firsts: cases x runs, where a run rightly found nothing.
    """

    title: str
    measure: Measure
    labels: tuple[ScoredLabel, ...]
    weight: float
    badness: Floats
    sign: float
    missing: tuple[int, ...]
    firsts: NDArray[np.bool_]

    @property
    def cases(self) -> Floats:
        """Mean of the labels of each case."""
        return _nanmean(self.badness, 0)

    @property
    def better(self) -> Floats:
        """One-sided tests of all pairs."""
        return significance(self.cases)

    def aggregate(self, weights: Floats, rules: Rules) -> Floats:
        """Badness over cases that are drawn so often, resamples x runs."""
        if rules.label_mean == "of_all_cases":
            parts = [_over_cases(each, weights, rules.aggregate) for each in self.badness]
            return _nanmean(np.stack(parts), 0)
        return _over_cases(self.cases, weights, rules.aggregate)

    def ranks(self, weights: Floats, rules: Rules) -> Floats:
        """Ranks over cases that are drawn so often, resamples x runs."""
        if rules.method == "rank_then_aggregate":
            return _over_cases(self._case_ranks(rules), weights, rules.aggregate)
        if rules.method == "aggregate_then_rank":
            return _ranked(self.aggregate(weights, rules), rules.ties)
        wins = []
        for row in weights:
            drawn = np.repeat(self.cases, row.astype(np.intp), axis=0)
            wins.append((significance(drawn) < rules.level).sum(axis=1))
        return _ranked(-np.array(wins, np.float64), rules.ties)

    def _case_ranks(self, rules: Rules) -> Floats:
        badness = np.where(self.firsts, -math.inf, self.cases)
        found = _ranked(badness, rules.ties)
        found[np.isnan(badness)] = math.nan
        found[(self.firsts | np.isnan(badness)).all(axis=1)] = math.nan  # nobody has a number
        return found


def _tables(compared: ComparedTable, rules: Rules) -> Iterator[_Table]:
    """What is ranked, in the order of the comparison."""
    asked = [_target(text) for text in rules.metrics]
    chosen = []
    used: set[tuple[str, str]] = set()
    for label, measure, values in compared.grid():
        fitting = [(m, where) for m, where in asked if m == measure.name and _is(label, where)]
        named = any(where for _, where in fitting)
        in_labels = not rules.labels or any(_is(label, name) for name in rules.labels)
        if (fitting or not asked) and (named or in_labels):
            specific = any(where for m, where in asked if m == measure.name)
            if not specific or named:
                used |= set(fitting)
                chosen.append((label, measure, values))
    for metric, where in asked:
        if (metric, where) not in used:
            raise ValueError(
                f"ranking.metrics: the runs have no {metric}{f'[{where}]' if where else ''}"
            )
    if not rules.label_mean:
        groups = [[each] for each in chosen]
    else:
        by = itertools.groupby(chosen, key=lambda each: each[1].name)
        groups = [list(group) for _, group in by]
    for group in groups:
        yield _table(group, rules)


def _target(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+)\[([^\[\]=]+)\]", text)
    return (match[1], match[2]) if match else (text, "")


def _is(label: ScoredLabel, name: str) -> bool:
    return name in ("", label.key, label.name)


def _table(
    group: Sequence[tuple[ScoredLabel, Measure, list[list[Result | None]]]], rules: Rules
) -> _Table:
    measure = group[0][1]
    sign = -1.0 if measure.better == "higher" else 1.0
    own = rules.penalties.get(measure.name)
    stack, lost, firsts = [], [], []
    for _, _, values in group:
        known = np.array([[bool(x and x.used) for x in run] for run in values]).T
        empty = np.array([[bool(x and x.status == "both_empty") for x in run] for run in values]).T
        badness = np.array(
            [[sign * x.value if x and x.used else math.nan for x in run] for run in values]
        ).T
        gone = ~known & ~empty
        lost.append(gone.sum(axis=0))
        firsts.append(~known & empty)
        if rules.missing == "worst" and gone.any():
            seen = badness[known]
            worst = seen.max() if seen.size else math.inf
            badness[gone] = worst if own is None else sign * own
        stack.append(badness)
    labels = tuple(label for label, _, _ in group)
    title = measure.title if len(group) > 1 else f"{measure.title}, {labels[0].title}"
    weights = rules.weights.get("labels", {})
    label_weight = next(
        (float(x) for name, x in weights.items() if len(group) == 1 and _is(labels[0], name)), 1.0
    )
    return _Table(
        title,
        measure,
        labels,
        label_weight * float(rules.weights.get("metrics", {}).get(measure.name, 1.0)),
        np.stack(stack),
        sign,
        tuple(np.sum(lost, axis=0).tolist()),
        np.all(firsts, axis=0),
    )


def _scores(tables: Sequence[_Table], weights: Floats, rules: Rules) -> tuple[Floats, Floats]:
    """Weighted mean ranks, and these with equal ones told apart, resamples x runs."""
    ranks = [table.ranks(weights, rules) for table in tables]
    total = sum(table.weight for table in tables)
    known = [np.where(np.isnan(rank), rank.shape[1], rank) for rank in ranks]  # without any: last
    score: Floats = np.sum(
        [table.weight / total * rank for table, rank in zip(tables, known, strict=True)], axis=0
    )
    if not rules.tie_break:
        return score, score
    deciding = [r for t, r in zip(tables, known, strict=True) if t.measure.name == rules.tie_break]
    if not deciding:
        raise ValueError(f"ranking.tie_break: {rules.tie_break} is not ranked")
    place = rankdata(levels(score, slack_of(score, axis=1)), method="min", axis=1)
    runs = score.shape[1]
    order: Floats = place + np.mean(deciding, axis=0) / (2 * runs * runs)
    return score, order


def _drawn(rules: Rules, rows: int, cases: int, runs: int, bootstrap: Bootstrap) -> int:
    if rules.method != "test_then_rank":
        return bootstrap.resamples
    most = _MOST_TESTS // max(1, rows * runs * (runs - 1) // 2)
    return min(bootstrap.resamples, most) if most >= _FEWEST else 0


def _resampled(
    tables: Sequence[_Table], rules: Rules, cases: int, bootstrap: Bootstrap
) -> tuple[Floats, Floats]:
    """Places and orders over cases drawn with replacement, the same ones for every row."""
    generator = np.random.default_rng(bootstrap.seed)
    runs = tables[0].badness.shape[2]
    places, orders = [np.empty((0, runs))], [np.empty((0, runs))]
    step = max(1, _AT_ONCE // (cases * runs))
    for start in range(0, bootstrap.resamples, step):
        count = min(step, bootstrap.resamples - start)
        weights = generator.multinomial(cases, np.full(cases, 1 / cases), size=count).astype(float)
        _, order = _scores(tables, weights, rules)
        order = levels(order, slack_of(order, axis=1))
        orders.append(order)
        places.append(rankdata(order, method="min", axis=1))
    return np.concatenate(places), np.concatenate(orders)


def _over_cases(values: Floats, weights: Floats, how: str) -> Floats:
    """Mean or median of the known values of cases that count so often, resamples x runs."""
    known = ~np.isnan(values)
    count = weights @ known
    with np.errstate(invalid="ignore", divide="ignore"):
        if how == "mean":
            finite = np.where(np.isfinite(values), values, 0.0)
            total = weights @ finite
            for end in (math.inf, -math.inf):
                total = np.where(weights @ (values == end) > 0, end, total)
            mean: Floats = total / count
            return np.where(count > 0, mean, math.nan)
    order = np.argsort(values, axis=0)  # NaN last
    found = np.full(count.shape, math.nan)
    for run in range(values.shape[1]):
        ordered = values[order[:, run], run]
        reached = np.cumsum(weights[:, order[:, run]] * known[order[:, run], run], axis=1)
        middle = [
            (reached > position[:, None]).argmax(axis=1)
            for position in ((count[:, run] - 1) // 2, count[:, run] // 2)
        ]
        found[:, run] = (ordered[middle[0]] + ordered[middle[1]]) / 2
    return np.where(count > 0, found, math.nan)


def _ranked(badness: Floats, ties: str) -> Floats:
    """Ranks along the last axis; what is unknown comes last."""
    filled = np.where(np.isnan(badness), math.inf, badness)
    method = "average" if ties == "mean" else "min"
    found: Floats = rankdata(levels(filled, slack_of(filled, axis=1)), method=method, axis=1)
    return found.astype(np.float64)


def _nanmean(values: Floats, axis: int) -> Floats:
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), math.nan)


def _taus(order: Floats, orders: Floats) -> tuple[float, float]:
    """Kendall's tau a and b between an order and others, on average."""
    if not len(orders):
        return math.nan, math.nan
    i, j = np.triu_indices(len(order), 1)
    here = np.sign(order[j] - order[i])
    agreed, apart = np.zeros(len(orders)), np.zeros(len(orders))
    for start in range(0, len(orders), 256):
        there = np.sign(orders[start : start + 256][:, j] - orders[start : start + 256][:, i])
        agreed[start : start + 256] = there @ here
        apart[start : start + 256] = (there != 0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        b = agreed / np.sqrt(apart * float((here != 0).sum()))
    return float((agreed / len(i)).mean()), float(np.nanmean(b)) if (apart > 0).any() else math.nan
