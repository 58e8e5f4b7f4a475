"""Lesion metrics: how many of the separate objects of a class were found, missed and false."""

from __future__ import annotations

import math

from medloss.scoring import Components, Detections, detections
from medloss.scoring.lesions import Connectivity


def lesion_f1(
    components: Components,
    *,
    matching: str = "overlap",
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
    min_prediction_mm3: float = 0,
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
            above 0.5, or any other number) or "hungarian@0.1" (likewise, with the largest sum).
            With the first two, one predicted lesion may match several of the reference.
        connectivity: voxels of a lesion are joined across "faces" (6 neighbours, in 2D 4), "edges"
            too (18, 8) or "corners" too (26, 8).
        min_reference_mm3: a smaller lesion of the reference counts neither as found nor as missed.
        min_prediction_mm3: a smaller lesion of the prediction is no false one.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 1, 0, 1]], [[0, 1, 0, 1, 0, 0]]]) > 0
        >>> found = Components(reference, prediction)
        >>> lesion_f1(found), lesion_f1(found, matching="iou@0.5")
        (0.8, 0.4)

    Source:
        Hernandez Petzsche et al. 2022, doi:10.1038/s41597-022-01875-5 (ISLES, by overlap).
    """
    found = lesions_found(components, matching, connectivity, min_reference_mm3, min_prediction_mm3)
    return _ratio(2 * found.tp, 2 * found.tp + found.fp + found.fn)


def lesion_sensitivity(
    components: Components,
    *,
    matching: str = "overlap",
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
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
        min_reference_mm3: a smaller lesion of the reference does not count.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 1, 0, 1]], [[0, 1, 0, 0, 0, 1]]]) > 0
        >>> found = Components(reference, prediction)
        >>> round(lesion_sensitivity(found), 4)
        0.6667

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    found = lesions_found(components, matching, connectivity, min_reference_mm3)
    return _ratio(found.tp, found.tp + found.fn)


def lesion_precision(
    components: Components,
    *,
    matching: str = "overlap",
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
    min_prediction_mm3: float = 0,
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
        min_reference_mm3: a smaller lesion of the reference does not count as found.
        min_prediction_mm3: a smaller lesion of the prediction is no false one.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 1, 0, 0]], [[0, 1, 0, 0, 0, 1]]]) > 0
        >>> found = Components(reference, prediction)
        >>> lesion_precision(found)
        0.5

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    found = lesions_found(components, matching, connectivity, min_reference_mm3, min_prediction_mm3)
    return _ratio(found.tp, found.tp + found.fp)


def lesions_found(
    components: Components,
    matching: str,
    connectivity: Connectivity,
    min_reference_mm3: float,
    min_prediction_mm3: float = 0,
) -> Detections:
    """Which lesions have a partner."""
    return detections(
        components,
        matching=matching,
        connectivity=connectivity,
        min_reference_mm3=min_reference_mm3,
        min_prediction_mm3=min_prediction_mm3,
    )


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan


def found_lesions(
    components: Components,
    *,
    matching: str = "overlap",
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
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
        min_reference_mm3: a smaller lesion of the reference does not count.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 1, 0, 1]], [[0, 1, 0, 1, 0, 0]]]) > 0
        >>> found_lesions(Components(reference, prediction))
        2.0

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    found = lesions_found(components, matching, connectivity, min_reference_mm3)
    return float(found.tp)


def missed_lesions(
    components: Components,
    *,
    matching: str = "overlap",
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
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
        min_reference_mm3: a smaller lesion of the reference does not count.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 1, 0, 1]], [[0, 1, 0, 0, 0, 0]]]) > 0
        >>> found = Components(reference, prediction)
        >>> missed_lesions(found)
        2.0

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    found = lesions_found(components, matching, connectivity, min_reference_mm3)
    return float(found.fn)


def false_lesions(
    components: Components,
    *,
    matching: str = "overlap",
    connectivity: Connectivity = "corners",
    min_prediction_mm3: float = 0,
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
        min_prediction_mm3: a smaller lesion of the prediction does not count.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 0, 0, 0]], [[0, 1, 0, 1, 0, 1]]]) > 0
        >>> found = Components(reference, prediction)
        >>> false_lesions(found)
        2.0

    Source:
        Maier-Hein et al., Metrics Reloaded, arXiv:2206.01653.
    """
    found = lesions_found(components, matching, connectivity, 0, min_prediction_mm3)
    return float(found.fp)
