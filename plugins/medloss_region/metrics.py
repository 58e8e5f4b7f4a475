"""Overlap metrics: ratios of voxel counts of one class."""

from __future__ import annotations

import math

from medloss.scoring import Counts


def dice(counts: Counts) -> float:
    """Dice coefficient: twice the overlap over the sum of both volumes.

    Formula:
        DSC = 2 |G ∩ P| / (|G| + |P|) = 2 TP / (2 TP + FP + FN), with reference G, prediction P.

    Range:
        0 (no overlap) to 1 (identical), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        counts: voxels of the class.

    Example:
        >>> dice(Counts(tp=3, fp=1, fn=1, tn=20))
        0.75

    Source:
        Dice 1945, doi:10.2307/1932409.
    """
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def sensitivity(counts: Counts) -> float:
    """Sensitivity (recall): share of the reference that was found.

    Formula:
        |G ∩ P| / |G| = TP / (TP + FN), with reference G, prediction P.

    Range:
        0 (nothing found) to 1 (all of it), no unit. A prediction that is too large has 1 too.

    Empty:
        0 if the class is missed, NaN if the reference is empty.

    Args:
        counts: voxels of the class.

    Example:
        >>> sensitivity(Counts(tp=3, fp=5, fn=1, tn=20))
        0.75

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    return _ratio(counts.tp, counts.reference)


def specificity(counts: Counts) -> float:
    """Specificity: share of the background that was left alone.

    Formula:
        |not G ∩ not P| / |not G| = TN / (TN + FP), with reference G, prediction P.

    Range:
        0 to 1 (no false positive), no unit. It grows with the field of view: near 1 for any small
        structure in a large image.

    Empty:
        1 if the class is missed, TN / (TN + FP) if it is spurious, NaN if the reference fills the
        image.

    Args:
        counts: voxels of the class.

    Example:
        >>> specificity(Counts(tp=3, fp=5, fn=1, tn=15))
        0.75

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    return _ratio(counts.tn, counts.tn + counts.fp)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
