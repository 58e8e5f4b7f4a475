"""Which lesion of the prediction answers for which one of the reference: rules by their names."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloss.objects import spacing
from medloss.scoring.lesions import Components, Connectivity, Lesions, Pairs, pair_keys

RULES = ("overlap", "centroid", "iou@T", "hungarian@T")
"""Names of the rules; T is a number from 0 on and below 1, such as in ``iou@0.5``."""


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


def detections(
    components: Components,
    *,
    matching: str,
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
    min_prediction_mm3: float = 0,
) -> Detections:
    """Match the lesions of a class and count.

    Args:
        components: of the class.
        matching: name of a rule, see :func:`match`.
        connectivity: across what the voxels of a lesion are joined.
        min_reference_mm3: a smaller lesion of the reference counts neither as found nor as missed;
            who matches it is no error either.
        min_prediction_mm3: a smaller lesion of the prediction that matches none does not count.

    Raises:
        ValueError: options that cannot be meant, or a volume without the size of a voxel.

    Example:
        >>> reference = np.array([[1, 1, 0, 1, 0, 0]], dtype=bool)
        >>> prediction = np.array([[0, 1, 0, 0, 0, 1]], dtype=bool)
        >>> detections(Components(reference, prediction), matching="overlap")
        Detections(tp=1, fp=1, fn=1, total_iou=0.5)
    """
    lesions = components.lesions(connectivity=connectivity)
    pairs = match(lesions, matching)
    counted = at_least(lesions.reference_voxels, lesions, min_reference_mm3, "min_reference_mm3")
    large = at_least(lesions.prediction_voxels, lesions, min_prediction_mm3, "min_prediction_mm3")
    found, right = np.zeros(len(counted), np.bool_), np.zeros(len(large), np.bool_)
    found[pairs[:, 0]] = True
    right[pairs[:, 1]] = True
    both = _positions(lesions, pairs[counted[pairs[:, 0]]])
    return Detections(
        tp=int(np.count_nonzero(found & counted)),
        fp=int(np.count_nonzero(~right & large)),
        fn=int(np.count_nonzero(~found & counted)),
        total_iou=float(lesions.iou[both].sum()),
    )


def match(lesions: Lesions, rule: str) -> Pairs:
    """Pairs of a lesion of the reference and one of the prediction, by a rule.

    ================  ==========================================================================
    rule              a pair
    ================  ==========================================================================
    ``overlap``       shares a voxel; several lesions may match one
    ``centroid``      the centre of the predicted lesion lies in that of the reference; several
                      may match one
    ``iou@T``         intersection over union above T; the largest first, each lesion once. From
                      T = 0.5 on no lesion has a choice
    ``hungarian@T``   likewise above T, each lesion once, so that the sum is as large as possible
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
    pairs = lesions.pairs[lesions.shared_voxels > 0]
    if threshold is None:
        return pairs
    iou = lesions.iou[lesions.shared_voxels > 0]
    pairs, iou = pairs[iou > threshold], iou[iou > threshold]
    return _assigned(pairs, iou) if name == "hungarian" else _greedy(pairs, iou)


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
    if name in ("iou", "hungarian") and at:
        try:
            threshold = float(text)
        except ValueError:
            threshold = math.nan
        if 0 <= threshold < 1:
            return name, threshold
    raise ValueError(
        f"matching: expected {', '.join(RULES)} with a T from 0 to below 1, such as iou@0.5, got "
        f"{rule!r}"
    )


def at_least(
    voxels: NDArray[np.int64], lesions: Lesions, volume_mm3: float, option: str
) -> NDArray[np.bool_]:
    """Which lesions have a volume.

    Raises:
        ValueError: it is no volume, or the size of a voxel is not known.
    """
    if not (isinstance(volume_mm3, int | float) and 0 <= volume_mm3 < math.inf):
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
    from scipy.optimize import linear_sum_assignment  # loading it takes longer than most cases

    rows, r = np.unique(pairs[:, 0], return_inverse=True)
    columns, p = np.unique(pairs[:, 1], return_inverse=True)
    gain = np.zeros((len(rows), len(columns)))
    gain[r, p] = iou
    one, other = linear_sum_assignment(gain, maximize=True)
    real = gain[one, other] > 0
    return np.stack([rows[one[real]], columns[other[real]]], axis=1)


def _positions(lesions: Lesions, pairs: Pairs) -> NDArray[np.int64]:
    """Where these pairs are among all that meet, which are in order."""
    every, some = (
        pair_keys(each, len(lesions.prediction_voxels)) for each in (lesions.pairs, pairs)
    )
    return every.searchsorted(some)
