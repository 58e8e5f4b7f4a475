"""Lesion counts: how many lesions were found and missed, and how many are false, in a scan."""

from __future__ import annotations

from medloss.scoring import Components, detections
from medloss.scoring.lesions import Connectivity


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
    found = detections(
        components,
        matching=matching,
        connectivity=connectivity,
        min_reference_mm3=min_reference_mm3,
    )
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
    found = detections(
        components,
        matching=matching,
        connectivity=connectivity,
        min_reference_mm3=min_reference_mm3,
    )
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
    found = detections(
        components,
        matching=matching,
        connectivity=connectivity,
        min_prediction_mm3=min_prediction_mm3,
    )
    return float(found.fp)
