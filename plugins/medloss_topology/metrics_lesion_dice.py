"""Lesion-wise Dice: each lesion counts the same, however small, and so does each false one."""

from __future__ import annotations

import math

import numpy as np

from medloss.scoring import Components
from medloss.scoring.lesions import Connectivity
from medloss.scoring.matching import at_least


def lesion_dice(
    components: Components,
    *,
    dilation_voxels: int = 0,
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
    min_prediction_mm3: float = 0,
) -> float:
    """Lesion-wise Dice: mean Dice coefficient of the lesions, 0 for each missed and each false one.

    Formula:
        Σ_g 2 |g ∩ P_g| / (|g| + |P_g|) / (N + FP), over the N lesions g of the reference. P_g is
        the union of all lesions of the prediction that meet g, within its dilation where that is
        asked for; it is empty if g is missed. FP lesions of the prediction meet none. A predicted
        lesion that meets two of the reference is part of both unions.

    Range:
        0 (none found) to 1 (identical), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        components: of the class.
        dilation_voxels: lesions of the reference grow by so many voxels, across faces and edges,
            before they are told apart and before it is looked up what meets them; those that grow
            together are one. Volumes and overlaps are those of their own voxels.
        connectivity: across what the voxels of a lesion are joined: "faces" (6 neighbours, in 2D
            4), "edges" too (18, 8) or "corners" too (26, 8).
        min_reference_mm3: a smaller lesion of the reference does not count.
        min_prediction_mm3: a smaller lesion of the prediction is no false one.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 1, 0, 1]], [[0, 1, 0, 0, 0]]]) > 0
        >>> lesion_dice(Components(reference, prediction))  # (2 / 4 + 0) / 2
        0.25

    Source:
        BraTS 2023 (metastases: arXiv:2306.00838), github.com/rachitsaluja/BraTS-2023-Metrics: its
        gliomas have ``dilation_voxels=3, min_reference_mm3=50.5``, on voxels of 1 mm³.
    """
    lesions = components.lesions(connectivity=connectivity, dilation_voxels=dilation_voxels)
    own, met = lesions.reference_voxels, lesions.prediction_voxels
    g, p = lesions.pairs.T
    shared = np.bincount(g, weights=lesions.shared_voxels, minlength=len(own))
    union = np.bincount(g, weights=met[p], minlength=len(own))
    counted = at_least(own, lesions, min_reference_mm3, "min_reference_mm3")
    false = at_least(met, lesions, min_prediction_mm3, "min_prediction_mm3")
    false[p] = False
    many = int(np.count_nonzero(counted) + np.count_nonzero(false))
    total = float((2 * shared / (own + union))[counted].sum())
    return total / many if many else math.nan
