"""Which threshold of a probability is the best for a metric: found on some cases, told of others.

A class is looked at by itself: at each threshold t its mask is p >= t. A metric of counts has all
thresholds from one pass over the voxels; any other one is computed for a coarse grid, which is then
refined around the best. A threshold that suits the cases it was found on flatters itself, so that
what it gains is told of cases that it was not found on: each fold is decided by the others.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss._version import __version__
from medloss.decision import Decoding
from medloss.evaluation.inputs.case_pair import CasePair, read_case_pair
from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.inputs.layers import channel_labels
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.inputs.structures import by_structure
from medloss.evaluation.outputs.statistics.means import mean_interval
from medloss.evaluation.reading.stored import CaseError
from medloss.evaluation.requests import MetricChoice
from medloss.evaluation.run import evaluate_all
from medloss.evaluation.score import EvalPlan
from medloss.objects.planes import PLANES, Plane, planes_of
from medloss.scoring import Case, EmptyPolicy, Status, score
from medloss.scoring.case import CountedCase
from medloss.scoring.facts import Counts

Floats = NDArray[np.float64]

FINE = (0.001, 0.002, 0.005, *(round(0.01 * n, 2) for n in range(1, 100)))
"""Thresholds that a metric of counts is taken at."""

COARSE = (0.01, 0.05, *(round(0.1 * n, 1) for n in range(1, 10)))
"""Those that any other metric begins with."""

ROUNDS = 3
"""So often the grid is refined: the last steps are 1/8 of the first ones."""

FOLDS = 5
_DRAWS, _SEED = 1000, 0
_EQUAL = 1e-12
_WORST = 1e12
"""What an infinite value counts, so that its mean can be compared."""

_LEAST_FOR_SPREAD = 3


@dataclass(frozen=True, eq=False)
class ClassInCase:
    """A class in one case.

    Args:
        chances: its probability in each voxel.
        reference: where it is.
        spacing_mm: size of a voxel.
        ignored: voxels that do not count, ``None`` for none.
        planes: that slices lie in.
    """

    chances: NDArray[Any]
    reference: NDArray[np.bool_]
    spacing_mm: Sequence[float] | None = None
    ignored: NDArray[np.bool_] | None = None
    planes: Sequence[Plane] = PLANES

    def values(
        self, thresholds: Sequence[float], metric: MetricChoice, policy: EmptyPolicy, preset: str
    ) -> Floats:
        """The metric at each of rising thresholds; NaN where it is not defined.

        Example:
            >>> from medloss.evaluation.requests import choose_metric, parse_request
            >>> here = ClassInCase(np.array([[0.9, 0.4, 0.3]]), np.array([[True, True, False]]))
            >>> metric = choose_metric(parse_request("dice"))
            >>> here.values([0.3, 0.4, 0.5], metric, EmptyPolicy(), "deepmind").round(3).tolist()
            [0.8, 1.0, 0.667]
        """
        if tuple(metric.record.facts) == ("counts",):
            shape = self.chances.shape
            cases = [CountedCase(each, shape, self.spacing_mm) for each in self._counts(thresholds)]
            return np.array([_value(metric, case, policy) for case in cases])
        return np.array([_value(metric, self._at(each, preset), policy) for each in thresholds])

    def _counts(self, thresholds: Sequence[float]) -> Iterator[Counts]:
        p, y = self.chances.ravel(), self.reference.ravel()
        if self.ignored is not None:
            kept = ~self.ignored.ravel()
            p, y = p[kept], y[kept]
        # Compared as the masks are: in the type of the probabilities.
        edges = np.array(thresholds).astype(p.dtype if p.dtype.kind == "f" else np.float64)
        bins = len(edges) + 1
        # Most voxels lie below all of them.
        some = p >= edges[0]
        places = np.searchsorted(edges, p[some], side="right")
        inside = np.bincount(places[y[some]], minlength=bins)
        outside = np.bincount(places[~y[some]], minlength=bins)
        true, size = int(np.count_nonzero(y)), int(y.size)
        voxel = None if self.spacing_mm is None else math.prod(self.spacing_mm)
        for tp, fp in zip(_from_above(inside), _from_above(outside), strict=True):
            yield Counts(tp, fp, true - tp, size - true - fp, voxel)

    def _at(self, threshold: float, preset: str) -> Case:
        return Case(
            reference=self.reference,
            prediction=self.chances >= threshold,
            labels=(1,),
            spacing_mm=self.spacing_mm,
            preset=preset,
            ignored=self.ignored,
            planes=self.planes,
        )


def _from_above(counts: NDArray[np.int64]) -> list[int]:
    """How many lie at or above each edge."""
    found: list[int] = counts[::-1].cumsum()[::-1][1:].tolist()
    return found


def _value(metric: MetricChoice, case: Case | CountedCase, policy: EmptyPolicy) -> float:
    found = score(metric.function, metric.record, case, 1, policy, **metric.options)
    left_out = metric.spurious == "exclude" and found.status is Status.SPURIOUS
    return math.nan if left_out else float(found.value)


@dataclass
class Tried:
    """What a metric was at thresholds of one channel, in every case.

    Args:
        label: of the channel.
        channel: its place among the channels.
        higher: whether higher values are better.
        values: a value for each case, by threshold.
        present: whether the reference of each case has the class.
    """

    label: Label
    channel: int
    higher: bool
    values: dict[float, list[float]] = field(default_factory=dict)
    present: list[bool] = field(default_factory=list)

    @property
    def thresholds(self) -> list[float]:
        """Those that were tried, rising."""
        return sorted(self.values)

    @property
    def table(self) -> Floats:
        """Values, (cases, thresholds)."""
        return np.array([self.values[each] for each in self.thresholds]).T

    def best(self, weights: NDArray[Any] | None = None) -> float:
        """The threshold of the best mean over cases; of equal ones that nearest to 0.5.

        A mean goes over the cases in which the metric is defined, as that of a table does.

        Args:
            weights: how often each case counts; once by default.
        """
        weights = np.ones(len(self.table)) if weights is None else weights
        return float(self._bests(weights[None])[0])

    def _bests(self, weights: NDArray[Any]) -> Floats:
        """The best threshold by each row of weights."""
        table, thresholds = self.table, np.array(self.thresholds)
        defined = ~np.isnan(table)
        total = weights @ np.where(defined, np.clip(table, -_WORST, _WORST), 0)
        counted = weights @ defined
        means = np.full(total.shape, -np.inf)
        np.divide(total if self.higher else -total, counted, out=means, where=counted > 0)
        top = means.max(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):  # of no case that counts
            near = means >= top - _EQUAL * np.maximum(1, np.abs(top))
        away = np.where(near, np.abs(thresholds - 0.5), np.inf)
        return np.where(counted.any(axis=1), thresholds[away.argmin(axis=1)], 0.5)

    def spread(self) -> tuple[float, float] | None:
        """Ends that hold 95 % of the thresholds that the same number of drawn cases lead to."""
        many = len(self.present)
        if many < _LEAST_FOR_SPREAD:
            return None
        rng = np.random.default_rng(_SEED)
        drawn = rng.multinomial(many, np.full(many, 1 / many), size=_DRAWS)
        low, high = np.quantile(self._bests(drawn), [0.025, 0.975], method="nearest")
        return float(low), float(high)

    def without(self, left_out: Sequence[int]) -> float:
        """The best threshold of the other cases."""
        weights = np.ones(len(self.present))
        weights[list(left_out)] = 0
        return self.best(weights)

    def next(self, bests: Sequence[float]) -> list[float]:
        """Thresholds half way from the best ones to those beside them."""
        known, found = self.thresholds, set()
        for best in bests:
            place = known.index(best)
            beside = known[max(0, place - 1) : place + 2]
            found |= {round((best + each) / 2, 6) for each in beside if each != best}
        return sorted(found - set(known))

    def row(self) -> dict[str, Any]:
        """What is told of it."""
        best, spread = self.best(), self.spread()
        at = {} if 0.5 not in self.values else {"value_at_0.5": _mean(self.values[0.5])}
        return {
            "label": self.label,
            "channel": self.channel,
            "threshold": best,
            "low": None if spread is None else spread[0],
            "high": None if spread is None else spread[1],
            "value": _mean(self.values[best]),
            **at,
            "cases": int(np.count_nonzero(~np.isnan(self.values[best]))),
            "present": sum(self.present),
            "tried": len(self.values),
        }


def _mean(values: Sequence[float]) -> float:
    known = [each for each in values if not math.isnan(each)]
    return float(np.mean(known)) if known else math.nan


@dataclass(frozen=True)
class Search:
    """What was found.

    Args:
        content: of the file.
        failed: names of the cases that could not be used, with the reason.
    """

    content: dict[str, Any]
    failed: dict[str, str]


def find_thresholds(
    pairs: Sequence[Pair],
    plan: EvalPlan,
    *,
    folds: int = FOLDS,
    on_case: Callable[[], None] = lambda: None,
) -> Search:
    """Find a threshold for each channel of the predictions.

    Args:
        pairs: validation cases, with probabilities as predictions.
        plan: with one metric, and no decoding.
        folds: so many parts of the cases are decided by the thresholds of the others, to tell what
            these gain; fewer where there are fewer cases; 0 for none.
        on_case: told each time a case has been read.

    Raises:
        ValueError: no threshold can be found, and why.
    """
    check_metric(plan.metrics[0])
    if any(map(by_structure, pairs)):
        raise ValueError("thresholds are of the channels of one file, not of a file a structure")
    failed: dict[str, str] = {}
    used, tried, channels, exclusive = _first_pass(pairs, plan, failed, on_case)
    parts = _folds(len(used), folds)
    if tuple(plan.metrics[0].record.facts) != ("counts",):
        for _ in range(ROUNDS):
            more = {
                each.channel: each.next([each.best(), *map(each.without, parts)]) for each in tried
            }
            for pair in used:
                _add(tried, more, _classes(read_case_pair(pair, plan.inputs), plan), plan)
                on_case()
    content = {
        "thresholds": _thresholds(tried, channels, exclusive, lambda each: each.best()),
        **described(tried, plan.metrics[0], plan.policy, plan.preset, exclusive=exclusive),
        "cases": len(used),
        "case_names": [pair.name for pair in used],
        "folds": len(parts),
        "out_of_sample": [*_gains(used, plan, tried, parts, channels, exclusive, on_case)],
    }
    names = {str(label): name for label, name in (plan.labels or {}).items() if name}
    return Search({**content, **({"names": names} if names else {})}, failed)


def described(
    tried: Sequence[Tried],
    metric: MetricChoice,
    policy: EmptyPolicy,
    preset: str,
    *,
    exclusive: bool,
) -> dict[str, Any]:
    """What a file says of thresholds, wherever they were found."""
    return {
        "channels": "exclusive" if exclusive else "independent",
        "metric": metric.column,
        "better": metric.record.better,
        "preset": preset,
        "policies": policy.describe(),
        "medloss": __version__,
        "labels": [each.row() for each in tried],
    }


def check_metric(metric: MetricChoice) -> None:
    """Raise for a metric that no threshold changes.

    Raises:
        ValueError: names it.
    """
    if metric.record.of_probabilities:
        raise ValueError(
            f"{metric.column} is of probabilities, which no threshold changes; choose a metric of "
            f"labels, such as dice"
        )


def first_thresholds(metric: MetricChoice) -> tuple[float, ...]:
    """The grid that a search begins with."""
    return FINE if tuple(metric.record.facts) == ("counts",) else COARSE


def _first_pass(
    pairs: Sequence[Pair], plan: EvalPlan, failed: dict[str, str], on_case: Callable[[], None]
) -> tuple[list[Pair], list[Tried], int, bool]:
    """The cases, their classes, and how many channels of which kind all of them have."""
    used: list[Pair] = []
    tried: dict[int, Tried] = {}
    kind: tuple[int, bool] | None = None
    grid = first_thresholds(plan.metrics[0])
    for pair in sorted(pairs, key=lambda pair: pair.name):
        try:
            sides = read_case_pair(pair, plan.inputs)
            found = [*_classes(sides, plan)]
        except CaseError as error:
            failed[pair.name] = str(error)
            continue
        finally:
            on_case()
        own_kind = len(sides.prediction.channels), not sides.prediction.independent
        kind = kind or own_kind
        if own_kind != kind:
            raise ValueError(
                f"{pair.name} has {_channels(*own_kind)}, and {used[0].name} {_channels(*kind)}"
            )
        for label, channel, _ in found:
            higher = plan.metrics[0].record.better == "higher"
            tried.setdefault(channel, Tried(label, channel, higher))
        own = [*tried.values()]
        _add(own, {each.channel: grid for each in own}, found, plan)
        for each, (_, _, here) in zip(own, found, strict=True):
            each.present.append(bool(here.reference.any()))
        used.append(pair)
    if kind is None:
        name, reason = next(iter(failed.items()), ("", "there are no cases"))
        raise ValueError(f"no case can be used: {name + ': ' if name else ''}{reason}")
    for each in tried.values():
        if not any(each.present):
            raise ValueError(
                f"no reference has the label {each.label}, so that no threshold can be found for "
                f"it; add cases that have it"
            )
    return used, [*tried.values()], *kind


def _channels(many: int, exclusive: bool) -> str:
    return f"{many} {'exclusive' if exclusive else 'independent'} channels"


def _classes(sides: CasePair, plan: EvalPlan) -> Iterator[tuple[Label, int, ClassInCase]]:
    """Every channel that is a class, with its label.

    Raises:
        CaseError: the prediction is no probabilities, or a label is no channel of it.
    """
    prediction, reference = sides.prediction, sides.reference
    if not prediction.probabilities:
        raise CaseError(
            f"{prediction.path} holds labels; a threshold is of probabilities, with the classes as "
            f"the last axis (nnU-Net's .npz is taken with --probabilities)"
        )
    labels = [*(plan.labels or channel_labels(prediction))]
    in_order = prediction.independent and bool(plan.regions) and not sides.by_name
    layers = sides.layers(labels, plan.regions, plan.inputs.ignore_label, probabilities=True)
    planes = planes_of(reference.affine)
    for place, label in enumerate(labels):
        layer = next(each for each in layers if label in each.codes)
        code = layer.codes[label]
        if in_order:
            channel = place
        elif isinstance(label, int):
            channel = label - 1 if prediction.independent else label
        else:
            raise CaseError(
                f"{prediction.path} has no channel for {label}, which is no label of it"
            )
        if len(prediction.channels) == 1:
            channel = 0
        if not 0 <= channel < len(prediction.channels):
            raise CaseError(f"{prediction.path} has no channel for the label {label}")
        assert layer.probabilities is not None  # noqa: S101  they were asked for
        here = layer.reference == code
        yield (
            label,
            channel,
            ClassInCase(
                layer.probabilities[code], here, reference.spacing_mm, sides.ignored, planes
            ),
        )


def _add(
    tried: Sequence[Tried],
    thresholds: dict[int, Any],
    found: Any,
    plan: EvalPlan,
) -> None:
    """Take in the values of one case at these thresholds of each channel."""
    for each, (label, _, here) in zip(tried, found, strict=True):
        own = thresholds[each.channel]
        metric = plan.metrics[0].for_label(label, plan.name(label))
        for threshold, value in zip(
            own, here.values(own, metric, plan.policy, plan.preset), strict=True
        ):
            each.values.setdefault(threshold, []).append(float(value))


def _folds(many: int, folds: int) -> list[list[int]]:
    """Numbers of the cases in each fold."""
    count = min(folds, many)
    return [[*range(first, many, count)] for first in range(count)] if count > 1 else []


def _thresholds(
    tried: Sequence[Tried], channels: int, exclusive: bool, choose: Callable[[Tried], float]
) -> list[float]:
    """One for each channel; 0.5 where it is no class that was asked for."""
    found = [0.0 if exclusive and channels > 1 and not n else 0.5 for n in range(channels)]
    for each in tried:
        found[each.channel] = choose(each)
    return found


def _gains(
    pairs: Sequence[Pair],
    plan: EvalPlan,
    tried: Sequence[Tried],
    parts: Sequence[Sequence[int]],
    channels: int,
    exclusive: bool,
    on_case: Callable[[], None],
) -> Iterator[dict[str, Any]]:
    """What the metric is without thresholds and with those of the other folds, for each label."""
    before: dict[tuple[str, Label], float] = {}
    after: dict[tuple[str, Label], float] = {}
    labels = {each.label: plan.name(each.label) for each in tried}
    plan = dataclasses.replace(plan, labels=labels)
    for part in parts:
        own = _thresholds(tried, channels, exclusive, lambda each: each.without(part))  # noqa: B023
        decode = Decoding(kind="thresholds", thresholds=tuple(own))
        for decoding, values in ((None, before), (decode, after)):
            by = dataclasses.replace(plan, inputs=dataclasses.replace(plan.inputs, decode=decoding))
            for case in evaluate_all([pairs[n] for n in part], by, on_case=lambda _: on_case()):
                for result in case.results:
                    if result.label is not None:
                        values[case.name, result.label] = result.value
    for each in tried if parts else ():
        keys = [(pair.name, each.label) for pair in pairs]
        both = np.array([(before[key], after[key]) for key in keys])
        both = both[np.isfinite(both).all(axis=1)]
        if not len(both):
            continue
        gained = (both[:, 1] - both[:, 0]) * (1 if each.higher else -1)
        found = mean_interval(gained)
        yield {
            "label": each.label,
            "before": float(both[:, 0].mean()),
            "after": float(both[:, 1].mean()),
            "gain": float(gained.mean()),
            "low": found.low,
            "high": found.high,
            "interval": found.method,
            "cases": len(both),
        }
