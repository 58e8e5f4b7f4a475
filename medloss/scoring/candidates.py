"""Lesions that probabilities propose, and the FROC curve of one case or of many."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from medloss.objects.component_runs import Runs, as_rows, component_runs, voxels_of
from medloss.scoring.lesions import Connectivity, shared_voxels
from medloss.scoring.probabilities import Floats, Probabilities

RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives for each image at which LUNA16 and MONAI ask for the sensitivity."""

THRESHOLD = 0.1
"""Least probability of a candidate."""

OPTIONS = ("threshold", "connectivity")
"""Of a metric of candidates: they say what a candidate is."""

_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class FoundLesions:
    """How surely each lesion of a class was found in a case, and what else was proposed.

    Args:
        lesions: of each lesion of the reference the probability of its likeliest candidate; 0
            without one.
        false: probability of each candidate that hits no lesion.
    """

    lesions: tuple[float, ...]
    false: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class LesionCandidates:
    """What the probabilities of a class propose as lesions: once for each way to tell them apart.

    Args:
        probabilities: of the class.

    Example:
        >>> chances = np.array([[0.9, 0.3, 0.0, 0.4, 0.0, 0.0]])
        >>> reference = np.array([[0, 1, 0, 0, 0, 1]], dtype=bool)
        >>> LesionCandidates(Probabilities(chances, reference)).found()
        FoundLesions(lesions=(0.9, 0.0), false=(0.4,))
    """

    probabilities: Probabilities

    def found(
        self, *, threshold: float = THRESHOLD, connectivity: Connectivity = "corners"
    ) -> FoundLesions:
        """Candidates are the components of where the probability reaches a threshold.

        A candidate has the largest probability in it. It hits every lesion of the reference, a
        component likewise, that it shares a voxel with; further candidates that hit the same lesion
        cost nothing. Voxels that do not count are no part of a probability or a hit, and what lies
        in them altogether is neither lesion nor candidate.

        Args:
            threshold: above 0, up to 1.
            connectivity: "faces", "edges" or "corners", across which voxels are joined.

        Raises:
            ValueError: a threshold or word that cannot be meant.
        """
        key = threshold, connectivity
        if key not in self._found:
            self._found[key] = _find(self.probabilities, *key)
        return self._found[key]

    @cached_property
    def _found(self) -> dict[tuple[float, Connectivity], FoundLesions]:
        return {}


def _find(
    probabilities: Probabilities, threshold: float, connectivity: Connectivity
) -> FoundLesions:
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not number or not 0 < threshold <= 1:
        raise ValueError(f"threshold: expected above 0 and up to 1, got {threshold!r}")
    if connectivity not in get_args(Connectivity):
        raise ValueError(f"connectivity: expected faces, edges or corners, got {connectivity!r}")
    chances, masks, ignored = probabilities.predicted, probabilities.reference, None
    if probabilities.ignored is not None:
        ignored = probabilities.ignored != 0
    if chances.flags.f_contiguous:  # as files have them: their rows lie along the first axis
        chances, masks = chances.T, masks.T
        ignored = None if ignored is None else ignored.T
    steps = get_args(Connectivity).index(connectivity) + 1
    lesions, found = component_runs(masks, steps), component_runs(chances >= threshold, steps)
    rows = None if ignored is None else as_rows(ignored)
    best = _largest(found, as_rows(chances if ignored is None else np.where(ignored, 0, chances)))
    counted = [voxels_of(runs, runs.number, runs.count, rows) > 0 for runs in (lesions, found)]
    pairs, _ = shared_voxels(lesions, lesions.number, found, rows)
    surest = np.zeros(lesions.count)
    np.maximum.at(surest, pairs[:, 0], best[pairs[:, 1]])
    alone = counted[1]
    alone[pairs[:, 1]] = False
    return FoundLesions(tuple(surest[counted[0]].tolist()), tuple(best[alone].tolist()))


def _largest(runs: Runs, rows: NDArray[np.floating]) -> Floats:
    """Largest value in each object."""
    found = np.zeros(runs.count)
    if runs.count:
        row = np.repeat(np.arange(len(rows)), np.diff(runs.first)) * rows.shape[1]
        # One more value, as a run may end where the rows do.
        flat = np.append(rows.ravel(), rows.dtype.type(0))
        ends = np.stack([row + runs.begin, row + runs.end], axis=1).ravel()
        each = np.maximum.reduceat(flat, ends)[::2].astype(np.float64)
        np.maximum.at(found, runs.number, each)
    return found.clip(0, 1)


@dataclass(frozen=True, eq=False)
class FrocCurve:
    """Free-response ROC curve: what is found at what price, from the surest candidate down.

    Args:
        probability: of the candidates that count at each point, this and larger ones.
        false_per_image: how many of them hit no lesion, per image.
        sensitivity: share of all lesions that the others hit.
    """

    probability: Floats
    false_per_image: Floats
    sensitivity: Floats


def froc_curve(cases: Sequence[FoundLesions]) -> FrocCurve:
    """The curve of the lesions of all cases together, down to the least sure candidate.

    Example:
        >>> curve = froc_curve([FoundLesions((0.9, 0.2), (0.8, 0.4))])
        >>> curve.false_per_image.tolist(), curve.sensitivity.tolist()
        ([0.0, 1.0, 2.0, 2.0], [0.5, 0.5, 0.5, 1.0])
    """
    probability, ((false, sensitivity),) = _points(cases, np.ones((1, len(cases))))
    return FrocCurve(probability, false[1:], sensitivity[1:])


def froc_scores(
    cases: Sequence[FoundLesions], weights: Floats, rates: Sequence[float] = RATES
) -> Floats:
    """FROC score with every case counting so many times, for each row of weights.

    Mean sensitivity at some numbers of false positives per image: between two points of the curve
    on the straight line, before the first one from none at all, after the last one as there. NaN
    where there is no lesion.

    Args:
        cases: an image each.
        weights: (rows, cases).
        rates: the numbers of false positives.

    Example:
        >>> cases = [FoundLesions((0.9, 0.2), (0.8, 0.4)), FoundLesions((0.7,), ())]
        >>> froc_scores(cases, np.array([[1.0, 0.0], [1.0, 1.0]])).round(4).tolist()
        [0.75, 0.8333]
    """
    many = isinstance(rates, Iterable) and not isinstance(rates, str)
    known = many and all(isinstance(rate, int | float) for rate in rates)
    if not known or not len(rates) or not all(0 <= rate < math.inf for rate in rates):
        raise ValueError(f"rates: expected numbers of at least 0, got {rates!r}")
    _, points = _points(cases, weights)
    return np.array([np.interp(rates, *point).mean() for point in points])


def _points(
    cases: Sequence[FoundLesions], weights: Floats
) -> tuple[Floats, Iterator[tuple[Floats, Floats]]]:
    """Probabilities, falling; then, row by row, both coordinates, which begin at 0."""
    numbers = np.arange(len(cases))
    hits, misses = ([side(case) for case in cases] for side in (_hits, lambda each: each.false))
    each = [np.concatenate([np.zeros(0), *map(np.asarray, side)]) for side in (hits, misses)]
    of = np.concatenate([np.repeat(numbers, [len(x) for x in side]) for side in (hits, misses)])
    values = np.concatenate(each)
    order = np.argsort(-values, kind="stable")
    hit, of, values = order < len(each[0]), of[order], values[order]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True)[: len(values)])
    lesions = np.array([len(case.lesions) for case in cases], dtype=np.float64)
    start = np.zeros(1)

    def rows() -> Iterator[tuple[Floats, Floats]]:
        step = max(1, _AT_ONCE // max(len(values), 1))
        for first in range(0, len(weights), step):
            some = weights[first : first + step]
            counted = some[:, of]
            found = np.cumsum(counted * hit, axis=1)[:, last]
            false = np.cumsum(counted * ~hit, axis=1)[:, last]
            for row, one, other in zip(some, false, found, strict=True):
                there = row @ lesions
                images = row.sum()
                sensitivity = np.concatenate([start, other])
                yield (
                    np.concatenate([start, one]) / (images or math.nan),
                    sensitivity / (there or math.nan),
                )

    return values[last], rows()


def _hits(case: FoundLesions) -> tuple[float, ...]:
    return tuple(found for found in case.lesions if found > 0)
