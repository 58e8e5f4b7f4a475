"""Lesion-wise scores: how well each lesion was outlined, and how much was found where none is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from medloss.scoring import Components, Matches, match_lesions
from medloss.scoring.lesions import Connectivity


def lesion_dice(
    components: Components,
    *,
    matching: str = "overlap",
    dilation_voxels: int = 0,
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
    min_prediction_mm3: float = 0,
    unmatched: str = "worst",
    on_small: str = "neither",
    needs_reference: bool = False,
) -> float:
    """Lesion-wise Dice: mean Dice coefficient of the lesions, 0 for each missed and each false one.

    Formula:
        Σ_g 2 |g ∩ P_g| / (|g| + |P_g|) / (N + FP), over the N lesions g of the reference. P_g is
        the union of all lesions of the prediction that match g; it is empty if g is missed. FP
        lesions of the prediction match none. By "overlap" a predicted lesion that meets two of the
        reference is part of both unions.

    Range:
        0 (none found) to 1 (identical), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        components: of the class.
        matching: who matches whom: "overlap" (a voxel in common), "near@3" (likewise with the
            lesion of the reference grown by 3 voxels), "dice@0" (each lesion at most one, so that
            the sum of the Dice coefficients is as large as possible; or any other coefficient that
            is to be exceeded), "iou@0.5", "hungarian@0.1" or "centroid", as of ``lesion_f1``.
        dilation_voxels: lesions of the reference grow by so many voxels, across faces and edges,
            before they are told apart and before it is looked up what meets them; those that grow
            together are one. Volumes and overlaps are those of their own voxels.
        connectivity: across what the voxels of a lesion are joined: "faces" (6 neighbours, in 2D
            4), "edges" too (18, 8) or "corners" too (26, 8).
        min_reference_mm3: a smaller lesion of the reference does not count.
        min_prediction_mm3: a smaller lesion of the prediction is no false one.
        unmatched: what a missed and a false lesion count: "worst" (0), or they are "excluded", and
            the mean is that of the found ones alone, 0 if there is none.
        on_small: what a lesion of the prediction is that matches only lesions that do not count:
            "neither" found nor false, or "spurious" (false).
        needs_reference: NaN where no lesion of the reference counts, however many are false.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 1, 0, 1]], [[0, 1, 0, 0, 0]]]) > 0
        >>> found = Components(reference, prediction)
        >>> lesion_dice(found), lesion_dice(found, unmatched="excluded")  # (2 / 4 + 0) / 2
        (0.25, 0.5)

    Source:
        BraTS 2023 (metastases: arXiv:2306.00838), github.com/rachitsaluja/BraTS-2023-Metrics: its
        gliomas have ``dilation_voxels=3, min_reference_mm3=50.5``, on voxels of 1 mm³. BraTS 2026,
        github.com/BraTS/BraTS_evaluation: ``matching=dice@0.000001, unmatched=excluded``, for
        metastases ``matching=dice@0.000001, min_reference_mm3=20, needs_reference=true``.
    """
    found = match_lesions(
        components,
        matching=matching,
        connectivity=connectivity,
        dilation_voxels=dilation_voxels,
        min_reference_mm3=min_reference_mm3,
        min_prediction_mm3=min_prediction_mm3,
        on_small=on_small,
    )
    dice = found.dice[found.counted & found.found]
    return found.mean(dice, 0.0, unmatched, needs_reference=needs_reference)


def lesion_hausdorff95(
    components: Components,
    *,
    penalty_mm: float | None = None,
    matching: str = "overlap",
    dilation_voxels: int = 0,
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
    min_prediction_mm3: float = 0,
    unmatched: str = "worst",
    on_small: str = "neither",
    needs_reference: bool = False,
) -> float:
    """Lesion-wise Hausdorff distance (95 %): mean over the lesions, a penalty for each lost one.

    Formula:
        (Σ_g HD95(g, P_g) + (FN + FP) D) / (TP + FN + FP), over the TP lesions g of the reference
        that the lesions P_g of the prediction match, together one object. FN lesions of the
        reference and FP of the prediction match none and count D each. Surfaces and percentiles
        are those of the preset.

    Range:
        0 (all found, outlines equal) upwards, in mm.

    Empty:
        infinite if the class is missed or spurious, or D where ``penalty_mm`` is given; NaN if it
        is in neither map. Where unmatched lesions are excluded and none was found, infinite.

    Args:
        components: of the class, with the size of a voxel.
        penalty_mm: D; by default what the preset counts for a missed class: the diagonal of the
            image, 374 by ``brats2023``, 373 by ``brats2026``.
        matching: who matches whom, as of ``lesion_dice``.
        dilation_voxels: how far lesions of the reference grow, as of ``lesion_dice``.
        connectivity: across what the voxels of a lesion are joined, as of ``lesion_dice``.
        min_reference_mm3: a smaller lesion of the reference does not count.
        min_prediction_mm3: a smaller lesion of the prediction is no false one.
        unmatched: "worst" (D), or lost lesions are "excluded".
        on_small: what matches only lesions that do not count, as of ``lesion_dice``.
        needs_reference: NaN where no lesion of the reference counts.

    Example:
        >>> import numpy as np
        >>> row = np.zeros((1, 1, 12), dtype=bool)
        >>> one, other = row.copy(), row.copy()
        >>> one[..., 1:4] = other[..., 1:6] = True
        >>> other[..., 9] = True
        >>> found = Components(one, other, spacing_mm=(1, 1, 2), preset="monai")
        >>> lesion_hausdorff95(found, penalty_mm=100)  # 0.2 short of 4 mm, and a false lesion
        51.8

    Source:
        BraTS 2023, github.com/rachitsaluja/BraTS-2023-Metrics, and BraTS 2026,
        github.com/BraTS/BraTS_evaluation; options as of ``lesion_dice``.
    """
    found = match_lesions(
        components,
        matching=matching,
        connectivity=connectivity,
        dilation_voxels=dilation_voxels,
        min_reference_mm3=min_reference_mm3,
        min_prediction_mm3=min_prediction_mm3,
        on_small=on_small,
    )
    worst = math.inf if unmatched == "excluded" else _penalty(penalty_mm, found)
    values = [surfaces.percentile(95) for surfaces in found.surfaces]
    return found.mean(np.array(values), worst, unmatched, needs_reference=needs_reference)


def _penalty(penalty_mm: float | None, found: Matches) -> float:
    lesions = found.lesions
    if penalty_mm is None:
        if not (len(lesions.reference_voxels) and len(lesions.prediction_voxels)):
            return math.inf  # missed or spurious: what that counts is for the policy to say
        if lesions.worst_mm is None:
            raise ValueError("spacing_mm: the diagonal of the image needs the size of a voxel")
        return lesions.worst_mm
    number = isinstance(penalty_mm, int | float) and not isinstance(penalty_mm, bool)
    if not (number and penalty_mm >= 0):
        raise ValueError(f"penalty_mm: expected a distance of at least 0, got {penalty_mm!r}")
    return penalty_mm


def lesion_normalized_surface_dice(
    components: Components,
    *,
    tolerance_mm: float | str = 1.0,
    matching: str = "overlap",
    dilation_voxels: int = 0,
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
    min_prediction_mm3: float = 0,
    unmatched: str = "worst",
    on_small: str = "neither",
    needs_reference: bool = False,
) -> float:
    """Lesion-wise normalized surface Dice: mean over the lesions, 0 for each missed and false one.

    Formula:
        Σ_g NSD(g, P_g) / (TP + FN + FP), over the TP lesions g of the reference that the lesions
        P_g of the prediction match, together one object. FN lesions of the reference and FP of the
        prediction match none. Surfaces are those of the preset.

    Range:
        0 (none found) to 1 (best), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        components: of the class, with the size of a voxel.
        tolerance_mm: a distance that does not matter, or "voxel": the smallest side of a voxel.
        matching: who matches whom, as of ``lesion_dice``.
        dilation_voxels: how far lesions of the reference grow, as of ``lesion_dice``.
        connectivity: across what the voxels of a lesion are joined, as of ``lesion_dice``.
        min_reference_mm3: a smaller lesion of the reference does not count.
        min_prediction_mm3: a smaller lesion of the prediction is no false one.
        unmatched: "worst" (0), or lost lesions are "excluded".
        on_small: what matches only lesions that do not count, as of ``lesion_dice``.
        needs_reference: NaN where no lesion of the reference counts.

    Example:
        >>> import numpy as np
        >>> one, other = np.zeros((2, 1, 1, 12), dtype=bool)
        >>> one[..., 1:4] = other[..., 2:5] = True
        >>> found = Components(one, other, spacing_mm=(1, 1, 2), preset="monai")
        >>> round(lesion_normalized_surface_dice(found), 4)  # 2 mm along the row
        0.6667
        >>> lesion_normalized_surface_dice(found, tolerance_mm=2)
        1.0

    Source:
        BraTS 2026, github.com/BraTS/BraTS_evaluation: ``tolerance_mm=voxel``; options as of
        ``lesion_dice``.
    """
    found = match_lesions(
        components,
        matching=matching,
        connectivity=connectivity,
        dilation_voxels=dilation_voxels,
        min_reference_mm3=min_reference_mm3,
        min_prediction_mm3=min_prediction_mm3,
        on_small=on_small,
    )
    tolerance = _tolerance(tolerance_mm, found)
    values = [surfaces.share_within(tolerance) for surfaces in found.surfaces]
    return found.mean(np.array(values), 0.0, unmatched, needs_reference=needs_reference)


def _tolerance(tolerance_mm: Any, found: Matches) -> float:
    if tolerance_mm == "voxel":
        maps = found.lesions.maps
        if maps is None or maps.spacing_mm is None:
            raise ValueError("spacing_mm: the tolerance of a voxel needs its size")
        return float(min(maps.spacing_mm))
    number = isinstance(tolerance_mm, int | float) and not isinstance(tolerance_mm, bool)
    if not (number and 0 <= tolerance_mm < math.inf):
        raise ValueError(
            f"tolerance_mm: expected a distance of at least 0 or 'voxel', got {tolerance_mm!r}"
        )
    return float(tolerance_mm)


def false_positive_volume(components: Components, *, connectivity: Connectivity = "edges") -> float:
    """False positive volume: of the lesions of the prediction that share no voxel with any.

    Formula:
        Σ_p |p| v, over the lesions p of the prediction that have no voxel in the reference, with
        the volume v of a voxel; in 2D it is an area, in mm². What a found lesion has too much is no
        part of it.

    Range:
        0 (no false lesion) upwards, in mm³; 1 ml is 1000 mm³.

    Empty:
        the whole prediction if the class is spurious, 0 if it is missing from the prediction.

    Args:
        components: of the class, with the size of a voxel.
        connectivity: across what the voxels of a lesion are joined: "faces" (6 neighbours, in 2D
            4), "edges" too (18, 8) or "corners" too (26, 8).

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 0, 0, 0]], [[0, 1, 1, 0, 1, 1]]]) > 0
        >>> false_positive_volume(Components(reference, prediction, voxel_mm3=8.0))
        16.0

    Source:
        Gatidis et al. 2024, doi:10.1038/s42256-024-00912-9 (autoPET), in ml there.
    """
    found = match_lesions(components, matching="overlap", connectivity=connectivity)
    return _volume(found.lesions.prediction_voxels[found.false], found)


def false_negative_volume(components: Components, *, connectivity: Connectivity = "edges") -> float:
    """False negative volume: of the lesions of the reference that share no voxel with any.

    Formula:
        Σ_g |g| v, over the lesions g of the reference that have no voxel in the prediction, with
        the volume v of a voxel; in 2D it is an area, in mm². What a found lesion lacks is no part
        of it.

    Range:
        0 (no missed lesion) upwards, in mm³; 1 ml is 1000 mm³.

    Empty:
        the whole reference if the class is missed, 0 if it is missing from the reference.

    Args:
        components: of the class, with the size of a voxel.
        connectivity: across what the voxels of a lesion are joined, as of
            ``false_positive_volume``.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 1, 0, 1]], [[0, 1, 1, 0, 0, 0]]]) > 0
        >>> false_negative_volume(Components(reference, prediction, voxel_mm3=8.0))
        16.0

    Source:
        Gatidis et al. 2024, doi:10.1038/s42256-024-00912-9 (autoPET), in ml there.
    """
    found = match_lesions(components, matching="overlap", connectivity=connectivity)
    return _volume(found.lesions.reference_voxels[~found.found], found)


def _volume(voxels: Any, found: Matches) -> float:
    if found.lesions.voxel_mm3 is None:
        raise ValueError("spacing_mm: a volume needs the size of a voxel")
    return float(voxels.sum() * found.lesions.voxel_mm3)
