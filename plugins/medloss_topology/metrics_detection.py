"""Lesion metrics: how many of the separate objects of a class were found, missed and false."""

from __future__ import annotations

import math

from medloss.scoring import Components, detections
from medloss.scoring.lesions import Connectivity


def lesion_f1(
    components: Components,
    *,
    matching: str = "overlap",
    connectivity: Connectivity = "corners",
    dilation_voxels: int = 0,
    min_reference_mm3: float = 0,
    max_reference_mm3: float | None = None,
    min_prediction_mm3: float = 0,
    min_dice: float = 0,
    on_small: str = "neither",
    needs_reference: bool = False,
) -> float:
    """Lesion-wise F1 score: found lesions against missed and false ones.

    Formula:
        2 TP / (2 TP + FP + FN), with TP the lesions of the reference that a lesion of the
        prediction matches, FN those that none matches, and FP the lesions of the prediction that
        match none. A lesion is a connected component.

    Range:
        0 (none found) to 1 (all found, no false one), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        components: of the class.
        matching: who matches whom: "overlap" (a voxel in common), "centroid" (the centre of the
            predicted lesion lies in that of the reference), "iou@0.5" (intersection over union
            above 0.5, or any other number), "hungarian@0.1" (likewise, with the largest sum),
            "dice@0" (as that, with the Dice coefficient) or "near@3" (a voxel in common with the
            lesion of the reference grown by 3 voxels). With "overlap", "near" and "centroid" one
            predicted lesion may match several of the reference.
        connectivity: voxels of a lesion are joined across "faces" (6 neighbours, in 2D 4), "edges"
            too (18, 8) or "corners" too (26, 8).
        dilation_voxels: lesions of the reference grow by so many voxels, across faces and edges,
            before they are told apart and before it is looked up what meets them; those that grow
            together are one. Volumes and overlaps are those of their own voxels.
        min_reference_mm3: a smaller lesion of the reference counts neither as found nor as missed.
        max_reference_mm3: nor does one of this volume or a larger one.
        min_prediction_mm3: a smaller lesion of the prediction is no false one.
        min_dice: a lesion of the reference with a smaller Dice coefficient, of it and its partners
            together, is missed; its partners are not false.
        on_small: what a lesion of the prediction is that matches only lesions that do not count:
            "neither" found nor false, or "spurious" (false).
        needs_reference: NaN where no lesion of the reference counts, however many are false.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 1, 0, 1]], [[0, 1, 0, 1, 0, 0]]]) > 0
        >>> found = Components(reference, prediction)
        >>> lesion_f1(found), lesion_f1(found, matching="iou@0.5")
        (0.8, 0.4)

    Source:
        Hernandez Petzsche et al. 2022, doi:10.1038/s41597-022-01875-5 (ISLES, by overlap).
    """
    found = detections(
        components,
        matching=matching,
        connectivity=connectivity,
        dilation_voxels=dilation_voxels,
        min_reference_mm3=min_reference_mm3,
        max_reference_mm3=max_reference_mm3,
        min_prediction_mm3=min_prediction_mm3,
        min_dice=min_dice,
        on_small=on_small,
    )
    if needs_reference and not found.tp + found.fn:
        return math.nan
    return _ratio(2 * found.tp, 2 * found.tp + found.fp + found.fn)


def lesion_sensitivity(
    components: Components,
    *,
    matching: str = "overlap",
    connectivity: Connectivity = "corners",
    dilation_voxels: int = 0,
    min_reference_mm3: float = 0,
    max_reference_mm3: float | None = None,
    min_dice: float = 0,
) -> float:
    """Lesion-wise sensitivity (recall): share of the lesions of the reference that were found.

    Formula:
        TP / (TP + FN), with TP the lesions of the reference that a lesion of the prediction
        matches, and FN those that none matches.

    Range:
        0 (none found) to 1 (all found), no unit. One predicted lesion that covers the image has 1
        by "overlap".

    Empty:
        0 if the class is missed, NaN if the reference is empty.

    Args:
        components: of the class.
        matching: who matches whom, as of ``lesion_f1``.
        connectivity: across what the voxels of a lesion are joined, as of ``lesion_f1``.
        dilation_voxels: how far lesions of the reference grow, as of ``lesion_f1``.
        min_reference_mm3: a smaller lesion of the reference does not count.
        max_reference_mm3: nor does one of this volume or a larger one.
        min_dice: a lesion that overlaps less is missed, as of ``lesion_f1``.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 1, 0, 1]], [[0, 1, 0, 0, 0, 1]]]) > 0
        >>> found = Components(reference, prediction)
        >>> round(lesion_sensitivity(found), 4)
        0.6667

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    found = detections(
        components,
        matching=matching,
        connectivity=connectivity,
        dilation_voxels=dilation_voxels,
        min_reference_mm3=min_reference_mm3,
        max_reference_mm3=max_reference_mm3,
        min_dice=min_dice,
    )
    return _ratio(found.tp, found.tp + found.fn)


def lesion_precision(
    components: Components,
    *,
    matching: str = "overlap",
    connectivity: Connectivity = "corners",
    dilation_voxels: int = 0,
    min_reference_mm3: float = 0,
    max_reference_mm3: float | None = None,
    min_prediction_mm3: float = 0,
    min_dice: float = 0,
    on_small: str = "neither",
    needs_reference: bool = False,
) -> float:
    """Lesion-wise precision (positive predictive value): found lesions against false ones.

    Formula:
        TP / (TP + FP), with TP the lesions of the reference that a lesion of the prediction
        matches, and FP the lesions of the prediction that match none. Several predicted lesions on
        one of the reference are one found lesion.

    Range:
        0 (only false ones) to 1 (no false one), no unit.

    Empty:
        0 if the class is spurious, NaN if the prediction is empty.

    Args:
        components: of the class.
        matching: who matches whom, as of ``lesion_f1``.
        connectivity: across what the voxels of a lesion are joined, as of ``lesion_f1``.
        dilation_voxels: how far lesions of the reference grow, as of ``lesion_f1``.
        min_reference_mm3: a smaller lesion of the reference does not count as found.
        max_reference_mm3: nor does one of this volume or a larger one.
        min_prediction_mm3: a smaller lesion of the prediction is no false one.
        min_dice: a lesion that overlaps less is missed, as of ``lesion_f1``.
        on_small: what matches only lesions that do not count, as of ``lesion_f1``.
        needs_reference: NaN where no lesion of the reference counts.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 1, 0, 0]], [[0, 1, 0, 0, 0, 1]]]) > 0
        >>> found = Components(reference, prediction)
        >>> lesion_precision(found)
        0.5

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    found = detections(
        components,
        matching=matching,
        connectivity=connectivity,
        dilation_voxels=dilation_voxels,
        min_reference_mm3=min_reference_mm3,
        max_reference_mm3=max_reference_mm3,
        min_prediction_mm3=min_prediction_mm3,
        min_dice=min_dice,
        on_small=on_small,
    )
    if needs_reference and not found.tp + found.fn:
        return math.nan
    return _ratio(found.tp, found.tp + found.fp)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan


def found_lesions(
    components: Components,
    *,
    matching: str = "overlap",
    connectivity: Connectivity = "corners",
    dilation_voxels: int = 0,
    min_reference_mm3: float = 0,
    max_reference_mm3: float | None = None,
    min_dice: float = 0,
) -> float:
    """Found lesions: how many of the reference a lesion of the prediction matches.

    Formula:
        TP. Never undefined, as ``missed_lesions`` and ``false_lesions``, so that from the means of
        the three over all cases follows the F1 score of all lesions pooled: 2 TP / (2 TP + FP +
        FN).

    Range:
        0 (none found) up to the number of lesions.

    Empty:
        0 if the class is missing from one map or both.

    Args:
        components: of the class.
        matching: who matches whom, as of ``lesion_f1``.
        connectivity: across what the voxels of a lesion are joined, as of ``lesion_f1``.
        dilation_voxels: how far lesions of the reference grow, as of ``lesion_f1``.
        min_reference_mm3: a smaller lesion of the reference does not count.
        max_reference_mm3: nor does one of this volume or a larger one.
        min_dice: a lesion that overlaps less is missed, as of ``lesion_f1``.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 1, 0, 1]], [[0, 1, 0, 1, 0, 0]]]) > 0
        >>> found_lesions(Components(reference, prediction))
        2.0

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    found = detections(
        components,
        matching=matching,
        connectivity=connectivity,
        dilation_voxels=dilation_voxels,
        min_reference_mm3=min_reference_mm3,
        max_reference_mm3=max_reference_mm3,
        min_dice=min_dice,
    )
    return float(found.tp)


def missed_lesions(
    components: Components,
    *,
    matching: str = "overlap",
    connectivity: Connectivity = "corners",
    dilation_voxels: int = 0,
    min_reference_mm3: float = 0,
    max_reference_mm3: float | None = None,
    min_dice: float = 0,
) -> float:
    """Missed lesions: how many of the reference no lesion of the prediction matches.

    Formula:
        FN. The mean over cases is the number of missed lesions in a scan.

    Range:
        0 (all found) upwards, a number of lesions.

    Empty:
        all lesions of the reference if the class is missed, 0 if the reference is empty.

    Args:
        components: of the class.
        matching: who matches whom, as of ``lesion_f1``.
        connectivity: across what the voxels of a lesion are joined, as of ``lesion_f1``.
        dilation_voxels: how far lesions of the reference grow, as of ``lesion_f1``.
        min_reference_mm3: a smaller lesion of the reference does not count.
        max_reference_mm3: nor does one of this volume or a larger one.
        min_dice: a lesion that overlaps less is missed, as of ``lesion_f1``.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 1, 0, 1]], [[0, 1, 0, 0, 0, 0]]]) > 0
        >>> found = Components(reference, prediction)
        >>> missed_lesions(found)
        2.0

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    found = detections(
        components,
        matching=matching,
        connectivity=connectivity,
        dilation_voxels=dilation_voxels,
        min_reference_mm3=min_reference_mm3,
        max_reference_mm3=max_reference_mm3,
        min_dice=min_dice,
    )
    return float(found.fn)


def false_lesions(
    components: Components,
    *,
    matching: str = "overlap",
    connectivity: Connectivity = "corners",
    dilation_voxels: int = 0,
    min_reference_mm3: float = 0,
    min_prediction_mm3: float = 0,
    on_small: str = "neither",
) -> float:
    """False lesions: how many of the prediction match no lesion of the reference.

    Formula:
        FP. The mean over cases is the number of false positives in a scan.

    Range:
        0 (no false one) upwards, a number of lesions.

    Empty:
        all lesions of the prediction if the class is spurious, 0 if the prediction is empty.

    Args:
        components: of the class.
        matching: who matches whom, as of ``lesion_f1``.
        connectivity: across what the voxels of a lesion are joined, as of ``lesion_f1``.
        dilation_voxels: how far lesions of the reference grow, as of ``lesion_f1``.
        min_reference_mm3: a smaller lesion of the reference does not count as one.
        min_prediction_mm3: a smaller lesion of the prediction does not count.
        on_small: what matches only lesions that do not count, as of ``lesion_f1``.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 0, 0, 0]], [[0, 1, 0, 1, 0, 1]]]) > 0
        >>> found = Components(reference, prediction)
        >>> false_lesions(found)
        2.0

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    found = detections(
        components,
        matching=matching,
        connectivity=connectivity,
        dilation_voxels=dilation_voxels,
        min_reference_mm3=min_reference_mm3,
        min_prediction_mm3=min_prediction_mm3,
        on_small=on_small,
    )
    return float(found.fp)
