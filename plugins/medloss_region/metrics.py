"""Metrics of voxel counts of one class: overlap and volume."""

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


def jaccard(counts: Counts) -> float:
    """Jaccard index (intersection over union): the overlap over what either map has.

    Formula:
        |G ∩ P| / |G ∪ P| = TP / (TP + FP + FN), with reference G, prediction P. With D the Dice
        coefficient it is D / (2 - D): the two rank single cases alike, but not means.

    Range:
        0 (no overlap) to 1 (identical), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        counts: voxels of the class.

    Example:
        >>> jaccard(Counts(tp=3, fp=1, fn=1, tn=20))
        0.6

    Source:
        Jaccard 1912, doi:10.1111/j.1469-8137.1912.tb05611.x.
    """
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def precision(counts: Counts) -> float:
    """Precision (positive predictive value): share of the prediction that is right.

    Formula:
        |G ∩ P| / |P| = TP / (TP + FP), with reference G, prediction P.

    Range:
        0 (all wrong) to 1 (no false positive), no unit. A prediction that is too small has 1 too.

    Empty:
        0 if the class is spurious, NaN if the prediction is empty.

    Args:
        counts: voxels of the class.

    Example:
        >>> precision(Counts(tp=3, fp=1, fn=5, tn=20))
        0.75

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    return _ratio(counts.tp, counts.prediction)


def accuracy(counts: Counts) -> float:
    """Accuracy: share of all voxels on which the two maps agree about the class.

    Formula:
        (TP + TN) / (TP + TN + FP + FN).

    Range:
        0 to 1 (identical), no unit. It grows with the field of view: near 1 for any small structure
        in a large image, found or not.

    Empty:
        1 - |G| / N if the class is missed, 1 - |P| / N if it is spurious (N voxels of the image), 1
        if it is in neither map, NaN for an image without voxels.

    Args:
        counts: voxels of the class.

    Example:
        >>> accuracy(Counts(tp=3, fp=1, fn=1, tn=15))
        0.9

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    return _ratio(counts.tp + counts.tn, counts.voxels)


def mcc(counts: Counts) -> float:
    """Matthews' correlation coefficient: the correlation of the two masks.

    Formula:
        (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN)).

    Range:
        -1 (all inverted) over 0 (no better than chance) to 1 (identical), no unit.

    Empty:
        NaN if either map is empty or filled: a constant has no correlation.

    Args:
        counts: voxels of the class.

    Example:
        >>> mcc(Counts(tp=4, fp=1, fn=1, tn=4))
        0.6

    Source:
        Matthews 1975, doi:10.1016/0005-2795(75)90109-9.
    """
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)  # whole numbers have no overflow
    if not product:
        return math.nan
    root = math.isqrt(product)  # exact for equal maps, where the result must be 1
    return (tp * tn - fp * fn) / (root if root * root == product else math.sqrt(product))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def volume_difference(counts: Counts) -> float:
    """Absolute volume difference: how much larger or smaller the prediction is, in mm³.

    Formula:
        | |P| - |G| | v, with the voxels of the reference G and the prediction P and the volume v of
        a voxel; in 2D it is an area, in mm². Where the volumes lie does not matter.

    Range:
        0 (equal volumes) upwards, in mm³.

    Empty:
        the volume of the other one if the class is missed or spurious, 0 if it is in neither map.

    Args:
        counts: voxels of the class, with the size of a voxel.

    Example:
        >>> volume_difference(Counts(tp=3, fp=5, fn=1, tn=9, voxel_mm3=0.5))
        2.0

    Source:
        Heimann et al. 2009, doi:10.1109/TMI.2009.2013851.
    """
    if counts.voxel_mm3 is None:
        raise ValueError("spacing_mm: a volume needs the size of a voxel")
    return abs(counts.prediction - counts.reference) * counts.voxel_mm3


def volume_similarity(counts: Counts) -> float:
    """Volume similarity: one minus the difference of the volumes over their sum.

    Formula:
        1 - | |P| - |G| | / (|P| + |G|), with reference G, prediction P. Where the volumes lie does
        not matter: two organs that do not touch have 1 if they are equally large.

    Range:
        0 to 1 (equal volumes), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        counts: voxels of the class.

    Example:
        >>> volume_similarity(Counts(tp=3, fp=3, fn=1, tn=9))
        0.8

    Source:
        Taha and Hanbury 2015, doi:10.1186/s12880-015-0068-x.
    """
    whole = counts.prediction + counts.reference
    return 1 - abs(counts.prediction - counts.reference) / whole if whole else math.nan


def relative_volume_error(counts: Counts, *, signed: bool = False) -> float:
    """Relative volume error: how much larger or smaller the prediction is, as a share.

    Formula:
        | |P| - |G| | / |G|, signed (|P| - |G|) / |G|, with the voxels of the reference G and the
        prediction P. Where the volumes lie does not matter.

    Range:
        0 (equal volumes) upwards, no unit; signed from -1. 1 is twice the volume, or none.

    Empty:
        1 (signed -1) if the class is missed, NaN if the reference is empty: of nothing there is no
        share. ``volume_difference`` says how much a spurious class has.

    Args:
        counts: voxels of the class.
        signed: whether too small is negative. Its mean over cases shows a bias, and hides errors
            that cancel: rank by the other one.

    Example:
        >>> too_small = Counts(tp=3, fp=0, fn=1, tn=9)
        >>> relative_volume_error(too_small), relative_volume_error(too_small, signed=True)
        (0.25, -0.25)

    Source:
        Heimann et al. 2009, doi:10.1109/TMI.2009.2013851.
    """
    if not counts.reference:
        return math.nan
    error = (counts.prediction - counts.reference) / counts.reference
    return error if signed else abs(error)
