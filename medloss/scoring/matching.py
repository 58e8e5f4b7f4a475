"""Which lesion of the prediction answers for which one of the reference: rules by their names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medloss.objects import spacing
from medloss.scoring.lesions import Components, Connectivity, Lesions, Pairs
from medloss.scoring.surface.distances import SurfaceDistances

RULES = ("overlap", "centroid", "near@N", "iou@T", "hungarian@T", "dice@T")
"""Names of the rules; N is a number of voxels, T one from 0 on and below 1, as in ``iou@0.5``."""

ONE_TO_ONE = ("iou", "hungarian", "dice")
"""Rules by which no lesion has two partners."""

Unmatched = Literal["worst", "excluded"]
OnSmall = Literal["neither", "spurious"]


@dataclass(frozen=True)
class Detections:
    """How many lesions were found.

    Args:
        tp: lesions of the reference that a lesion of the prediction matches.
        fp: lesions of the prediction that match none.
        fn: lesions of the reference that none matches.
        total_iou: sum of the intersections over unions of the pairs that count.
    """

    tp: int
    fp: int
    fn: int
    total_iou: float


@dataclass(frozen=True, eq=False)
class Matches:
    """Which lesions of a class belong together, and which count.

    Args:
        lesions: of the class.
        pairs: those that match.
        counted: which lesions of the reference count as found or missed.
        false: which lesions of the prediction count as false.
    """

    lesions: Lesions
    pairs: Pairs
    counted: NDArray[np.bool_]
    false: NDArray[np.bool_]

    @cached_property
    def found(self) -> NDArray[np.bool_]:
        """Which lesions of the reference have a partner."""
        found = np.zeros(len(self.counted), np.bool_)
        found[self.pairs[:, 0]] = True
        return found

    @cached_property
    def dice(self) -> NDArray[np.float64]:
        """Dice coefficient of each lesion of the reference and all its partners together."""
        lesions, (g, p) = self.lesions, self.pairs.T
        many = len(lesions.reference_voxels)
        shared = np.bincount(g, lesions.shared(self.pairs), many)
        union = np.bincount(g, lesions.prediction_voxels[p], many)
        ratio: NDArray[np.float64] = 2 * shared / (lesions.reference_voxels + union)
        return ratio

    @cached_property
    def surfaces(self) -> list[SurfaceDistances]:
        """Of each lesion of the reference that counts and was found, and all its partners."""
        partners: dict[int, list[int]] = {}
        for g, p in self.pairs.tolist():
            partners.setdefault(g, []).append(p)
        sets = [((g,), tuple(p)) for g, p in partners.items() if self.counted[g]]
        return self.lesions.surfaces(sets)

    def mean(
        self, values: NDArray[np.float64], worst: float, unmatched: str, *, needs_reference: bool
    ) -> float:
        """Mean over the lesions that count, of which the found ones have values.

        Args:
            values: of the lesions that count and were found; NaN where a lesion has none.
            worst: value of each missed and each false lesion.
            unmatched: ``"worst"``, or ``"excluded"``: only found ones count, and none has that.
            needs_reference: whether it is undefined where no lesion of the reference counts.

        Raises:
            ValueError: another word.
        """
        check_word("unmatched", unmatched, Unmatched)
        lost = int(np.count_nonzero(self.counted & ~self.found) + np.count_nonzero(self.false))
        known = values[~np.isnan(values)]
        if (needs_reference and not self.counted.any()) or not (len(values) or lost):
            return math.nan
        if unmatched == "excluded" or not lost:
            return float(known.mean()) if len(known) else worst if lost else math.nan
        return float((known.sum() + worst * lost) / (len(known) + lost))


def check_word(option: str, value: object, words: Any) -> None:
    """Refuse what is none of some words.

    Raises:
        ValueError: says which there are.
    """
    if value not in get_args(words):
        expected = " or ".join(map(repr, get_args(words)))
        raise ValueError(f"{option}: expected {expected}, got {value!r}")


def match_lesions(
    components: Components,
    *,
    matching: str,
    connectivity: Connectivity = "corners",
    dilation_voxels: int = 0,
    min_reference_mm3: float = 0,
    max_reference_mm3: float | None = None,
    min_prediction_mm3: float = 0,
    on_small: str = "neither",
) -> Matches:
    """Match the lesions of a class, and say which count.

    Args:
        components: of the class.
        matching: name of a rule, see :func:`match`.
        connectivity: across what the voxels of a lesion are joined.
        dilation_voxels: how far lesions of the reference grow before they are told apart.
        min_reference_mm3: a smaller lesion of the reference counts neither as found nor as missed.
        max_reference_mm3: nor does one of this volume or a larger one.
        min_prediction_mm3: a smaller lesion of the prediction that matches none does not count.
        on_small: what a lesion of the prediction is that matches only such as do not count:
            ``"neither"`` right nor false, or ``"spurious"``.

    Raises:
        ValueError: options that cannot be meant, or a volume without the size of a voxel.
    """
    check_word("on_small", on_small, OnSmall)
    lesions = components.lesions(connectivity=connectivity, dilation_voxels=dilation_voxels)
    pairs = match(lesions, matching)
    sizes = lesions.reference_voxels
    counted = at_least(sizes, lesions, min_reference_mm3, "min_reference_mm3")
    if max_reference_mm3 is not None:
        counted &= ~at_least(sizes, lesions, max_reference_mm3, "max_reference_mm3")
    false = at_least(lesions.prediction_voxels, lesions, min_prediction_mm3, "min_prediction_mm3")
    right = pairs if on_small == "neither" else pairs[counted[pairs[:, 0]]]
    false[right[:, 1]] = False
    return Matches(lesions, pairs, counted, false)


def detections(components: Components, *, min_dice: float = 0, **rule: Any) -> Detections:
    """Match the lesions of a class and count.

    Args:
        components: of the class.
        min_dice: a lesion of the reference that overlaps less with its partners is missed; they
            are not false for that.
        rule: as of :func:`match_lesions`.

    Raises:
        ValueError: options that cannot be meant, or a volume without the size of a voxel.

    Example:
        >>> reference = np.array([[1, 1, 0, 1, 0, 0]], dtype=bool)
        >>> prediction = np.array([[0, 1, 0, 0, 0, 1]], dtype=bool)
        >>> detections(Components(reference, prediction), matching="overlap")
        Detections(tp=1, fp=1, fn=1, total_iou=0.5)
    """
    if not (isinstance(min_dice, int | float) and 0 <= min_dice <= 1):
        raise ValueError(f"min_dice: expected a Dice coefficient from 0 to 1, got {min_dice!r}")
    found = match_lesions(components, **rule)
    lesions, counted = found.lesions, found.counted
    hit = found.found & (found.dice >= spacing.short_of(min_dice)) if min_dice else found.found
    g, p = (pairs := found.pairs[counted[found.pairs[:, 0]]]).T
    shared = lesions.shared(pairs)
    union = lesions.reference_voxels[g] + lesions.prediction_voxels[p] - shared
    return Detections(
        tp=int(np.count_nonzero(hit & counted)),
        fp=int(np.count_nonzero(found.false)),
        fn=int(np.count_nonzero(~hit & counted)),
        total_iou=float((shared / union).sum()),
    )


def match(lesions: Lesions, rule: str) -> Pairs:
    """Pairs of a lesion of the reference and one of the prediction, by a rule.

    ================  ==========================================================================
    rule              a pair
    ================  ==========================================================================
    ``overlap``       shares a voxel; several lesions may match one. Where lesions of the reference
                      were grown, it shares one with the grown lesion
    ``near@N``        shares a voxel with the lesion of the reference grown by N voxels across faces
                      and edges, each by itself; several may match one
    ``centroid``      the centre of the predicted lesion lies in that of the reference; several
                      may match one
    ``iou@T``         intersection over union above T; the largest first, each lesion once. From
                      T = 0.5 on no lesion has a choice
    ``hungarian@T``   likewise above T, each lesion once, so that the sum is as large as possible
    ``dice@T``        as ``hungarian@T`` with the Dice coefficient
    ================  ==========================================================================

    Raises:
        ValueError: no such rule.

    Example:
        >>> row = np.array([[1, 1, 1, 0, 0]], dtype=bool)
        >>> lesions = Components(row, np.array([[0, 1, 1, 1, 0]], dtype=bool)).lesions()
        >>> [len(match(lesions, rule)) for rule in ("overlap", "iou@0.5", "iou@0.4")]
        [1, 0, 1]
    """
    name, threshold = parse_rule(rule)
    if name == "centroid":
        return lesions.centred
    if threshold is None:
        return lesions.pairs
    if name == "near":
        return lesions.near(int(threshold))
    overlap = lesions.dice if name == "dice" else lesions.iou
    pairs, overlap = lesions.pairs[overlap > threshold], overlap[overlap > threshold]
    return _greedy(pairs, overlap) if name == "iou" else _assigned(pairs, overlap)


def parse_rule(rule: str) -> tuple[str, float | None]:
    """Name and threshold of a rule.

    Raises:
        ValueError: there is no such rule.

    Example:
        >>> parse_rule("hungarian@0.1"), parse_rule("overlap")
        (('hungarian', 0.1), ('overlap', None))
    """
    name, at, text = rule.partition("@") if isinstance(rule, str) else ("", "", "")
    if name in ("overlap", "centroid") and not at:
        return name, None
    if name == "near" and text.isdecimal():
        return name, int(text)
    if name in ONE_TO_ONE and at:
        try:
            threshold = float(text)
        except ValueError:
            threshold = math.nan
        if 0 <= threshold < 1:
            return name, threshold
    raise ValueError(
        f"matching: expected {', '.join(RULES)} with a T from 0 to below 1, such as iou@0.5, and a "
        f"whole number N, got {rule!r}"
    )


def at_least(
    voxels: NDArray[np.int64], lesions: Lesions, volume_mm3: float, option: str
) -> NDArray[np.bool_]:
    """Which lesions have a volume.

    Raises:
        ValueError: it is no volume, or the size of a voxel is not known.
    """
    number = isinstance(volume_mm3, int | float) and not isinstance(volume_mm3, bool)
    if not (number and 0 <= volume_mm3 < math.inf):
        raise ValueError(f"{option}: expected a volume of 0 or more mm³, got {volume_mm3!r}")
    if not volume_mm3:
        return np.ones(len(voxels), np.bool_)
    if lesions.voxel_mm3 is None:
        raise ValueError(f"spacing_mm: {option} needs the size of a voxel")
    large: NDArray[np.bool_] = spacing.at_least(voxels * lesions.voxel_mm3, volume_mm3)
    return large


def _greedy(pairs: Pairs, iou: NDArray[np.float64]) -> Pairs:
    kept: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for r, p in pairs[np.argsort(-iou, kind="stable")].tolist():
        if r not in taken[0] and p not in taken[1]:
            taken[0].add(r)
            taken[1].add(p)
            kept.append((r, p))
    return np.array(sorted(kept), np.int64).reshape(-1, 2)


def _assigned(pairs: Pairs, iou: NDArray[np.float64]) -> Pairs:
    sides = pairs.T
    alone = np.logical_and(*(np.bincount(side)[side] == 1 for side in sides))
    if alone.all():  # most lesions meet one other, and have no choice
        return pairs
    chosen = _largest_sum(pairs[~alone], iou[~alone])
    found: Pairs = np.unique(np.concatenate([pairs[alone], chosen]), axis=0)
    return found


def _largest_sum(pairs: Pairs, iou: NDArray[np.float64]) -> Pairs:
    from scipy.optimize import linear_sum_assignment  # loading it takes longer than most cases

    rows, r = np.unique(pairs[:, 0], return_inverse=True)
    columns, p = np.unique(pairs[:, 1], return_inverse=True)
    gain = np.zeros((len(rows), len(columns)))
    gain[r, p] = iou
    one, other = linear_sum_assignment(gain, maximize=True)
    real = gain[one, other] > 0
    return np.stack([rows[one[real]], columns[other[real]]], axis=1)
