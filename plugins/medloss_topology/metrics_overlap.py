"""How well lesions and centre lines were found: panoptic quality, clDice."""

from __future__ import annotations

import math

from medloss.scoring import Components, Detections, Skeletons, detections, match_lesions
from medloss.scoring.lesions import Connectivity
from medloss.scoring.matching import ONE_TO_ONE, parse_rule


def panoptic_quality(
    components: Components,
    *,
    matching: str = "iou@0.5",
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
    min_prediction_mm3: float = 0,
) -> float:
    """Panoptic quality (PQ): overlap of the lesions found, over all found, missed and false ones.

    Formula:
        PQ = Σ IoU(g, p) / (TP + FP/2 + FN/2) = SQ RQ, the sum over the TP pairs of a lesion g of
        the reference and p of the prediction that match; FN lesions of the reference and FP of the
        prediction match none. SQ is ``segmentation_quality``, RQ ``recognition_quality``.

    Range:
        0 (none found) to 1 (identical), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        components: of the class.
        matching: who matches whom, each lesion at most one: "iou@0.5" (intersection over union
            above 0.5, so that no lesion has a choice; or any other number, the largest first),
            "hungarian@0.1" (likewise, with the largest sum) or "dice@0.1" (as that, with the Dice
            coefficient).
        connectivity: across what the voxels of a lesion are joined: "faces" (6 neighbours, in 2D
            4), "edges" too (18, 8) or "corners" too (26, 8).
        min_reference_mm3: a smaller lesion of the reference counts neither as found nor as missed.
        min_prediction_mm3: a smaller lesion of the prediction is no false one.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 1, 0, 1]], [[0, 1, 1, 0, 0]]]) > 0
        >>> found = Components(reference, prediction)
        >>> round(panoptic_quality(found), 4)  # (2 / 3) / (1 + 1 / 2)
        0.4444

    Source:
        Kirillov et al. 2019, arXiv:1801.00868.
    """
    found = _pairs(components, matching, connectivity, min_reference_mm3, min_prediction_mm3)
    counted = found.tp + (found.fp + found.fn) / 2
    return found.total_iou / counted if counted else math.nan


def recognition_quality(
    components: Components,
    *,
    matching: str = "iou@0.5",
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
    min_prediction_mm3: float = 0,
) -> float:
    """Recognition quality (RQ): F1 score of the lesions by the matching of panoptic quality.

    Formula:
        RQ = TP / (TP + FP/2 + FN/2), with TP pairs of a lesion of the reference and one of the
        prediction that match, FN lesions of the reference and FP of the prediction that match none.

    Range:
        0 (none found) to 1 (all found, no false one), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        components: of the class.
        matching: who matches whom, as of ``panoptic_quality``.
        connectivity: across what the voxels of a lesion are joined, as of ``panoptic_quality``.
        min_reference_mm3: a smaller lesion of the reference counts neither as found nor as missed.
        min_prediction_mm3: a smaller lesion of the prediction is no false one.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 1, 0, 1]], [[0, 1, 1, 0, 0]]]) > 0
        >>> found = Components(reference, prediction)
        >>> round(recognition_quality(found), 4)
        0.6667

    Source:
        Kirillov et al. 2019, arXiv:1801.00868.
    """
    found = _pairs(components, matching, connectivity, min_reference_mm3, min_prediction_mm3)
    counted = found.tp + (found.fp + found.fn) / 2
    return found.tp / counted if counted else math.nan


def segmentation_quality(
    components: Components,
    *,
    matching: str = "iou@0.5",
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
) -> float:
    """Segmentation quality (SQ): mean intersection over union of the lesions that were found.

    Formula:
        SQ = Σ IoU(g, p) / TP, over the TP pairs of a lesion g of the reference and p of the
        prediction that match. What was missed does not show: read it beside
        ``recognition_quality``.

    Range:
        0 (none found), else above the threshold of the matching, up to 1 (identical), no unit.

    Empty:
        0 if the class is missed or spurious, as where no lesion was found, so that PQ = SQ RQ; NaN
        if it is in neither map.

    Args:
        components: of the class.
        matching: who matches whom, as of ``panoptic_quality``.
        connectivity: across what the voxels of a lesion are joined, as of ``panoptic_quality``.
        min_reference_mm3: a smaller lesion of the reference does not count as found.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 1, 0, 1]], [[0, 1, 1, 0, 0]]]) > 0
        >>> found = Components(reference, prediction)
        >>> round(segmentation_quality(found), 4)
        0.6667

    Source:
        Kirillov et al. 2019, arXiv:1801.00868.
    """
    found = _pairs(components, matching, connectivity, min_reference_mm3)
    if found.tp:
        return found.total_iou / found.tp
    return 0.0 if found.fp or found.fn else math.nan


def part_panoptic_quality(
    components: Components,
    *,
    matching: str = "iou@0.5",
    connectivity: Connectivity = "corners",
    min_reference_mm3: float = 0,
    min_prediction_mm3: float = 0,
) -> float:
    """Part-aware panoptic quality (PartPQ): of the parts of the lesions or objects found.

    Formula:
        PartPQ = Σ IoU_p(g, p) / (TP + FP/2 + FN/2), the sum over the TP pairs that match as those
        of ``panoptic_quality``, by the whole objects. IoU_p(g, p) is the mean of the intersections
        over unions of the parts within g and p, over the parts that either of them has; of a class
        without parts it is that of g and p. The parts of a region are the labels that it is made
        of; a label, and a region of channels or of files, has none.

    Range:
        0 (none found) to 1 (identical, parts included), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        components: of the region, with its parts.
        matching: who matches whom, as of ``panoptic_quality``.
        connectivity: across what the voxels of a lesion are joined, as of ``panoptic_quality``.
        min_reference_mm3: a smaller lesion of the reference counts neither as found nor as missed.
        min_prediction_mm3: a smaller lesion of the prediction is no false one.

    Example:
        >>> import numpy as np
        >>> from medloss.scoring import Case
        >>> reference, prediction = np.array([[[1, 1, 2, 2, 0, 1]], [[1, 2, 2, 2, 0, 0]]])
        >>> case = Case(
        ...     reference > 0, prediction > 0, labels=[1],
        ...     parts=(reference, prediction), members={1: (1, 2)},
        ... )
        >>> round(part_panoptic_quality(case.components(1)), 4)  # ((1/2 + 2/3) / 2) / (1 + 1/2)
        0.3889

    Source:
        de Geus et al. 2021, arXiv:2106.06351.
    """
    _one_to_one(matching)
    found = match_lesions(
        components,
        matching=matching,
        connectivity=connectivity,
        min_reference_mm3=min_reference_mm3,
        min_prediction_mm3=min_prediction_mm3,
    )
    counted, maps = found.counted, found.lesions.maps
    pairs = found.pairs[counted[found.pairs[:, 0]]]
    lost = int((counted & ~found.found).sum() + found.false.sum())
    if not len(pairs) or maps is None:
        return 0.0 if lost else math.nan
    return float(maps.part_iou(pairs).sum()) / (len(pairs) + lost / 2)


def _pairs(
    components: Components,
    matching: str,
    connectivity: Connectivity,
    min_reference_mm3: float,
    min_prediction_mm3: float = 0,
) -> Detections:
    _one_to_one(matching)
    return detections(
        components,
        matching=matching,
        connectivity=connectivity,
        min_reference_mm3=min_reference_mm3,
        min_prediction_mm3=min_prediction_mm3,
    )


def _one_to_one(matching: str) -> None:
    if parse_rule(matching)[0] not in ONE_TO_ONE:
        raise ValueError(
            f"matching: expected iou@T, hungarian@T or dice@T, by which no lesion has two "
            f"partners, got {matching!r}"
        )


def cl_dice(skeletons: Skeletons, *, of_every_object: bool = True) -> float:
    """Centre-line Dice (clDice): harmonic mean of the shares of both centre lines that were hit.

    Formula:
        2 T_prec T_sens / (T_prec + T_sens), with T_prec = |S_P ∩ G| / |S_P|,
        T_sens = |S_G ∩ P| / |S_G|, reference G, prediction P and their centre lines S_G and S_P by
        scikit-image (Zhang and Suen in 2D, Lee in 3D; every object has one). A vessel that is too
        thick or too thin has 1, an interrupted one less.

    Range:
        0 (neither centre line hit) to 1 (both inside the other mask), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        skeletons: centre lines of the class.
        of_every_object: whether every object has a centre line. Otherwise lines are those that
            thinning leaves, in 3D often none of an object of even thickness, and a mask without any
            gives 0, also where it is empty: so TopCoW scores.

    Example:
        >>> cl_dice(Skeletons(10, 5, 8, 8))  # half of one, all of the other
        0.6666666666666666

    Raises:
        ImportError: scikit-image is not installed (the extra ``skeleton``).

    Source:
        Shit et al. 2021, arXiv:2003.07311.
    """
    lines = skeletons if of_every_object else skeletons.plain
    if lines is None:
        raise ValueError("of_every_object: expected True, as the lines of thinning are not known")
    if not lines.reference or not lines.prediction:
        neither = of_every_object and lines.reference == lines.prediction
        return math.nan if neither else 0.0
    sensitivity = lines.reference_found / lines.reference
    precision = lines.prediction_right / lines.prediction
    both = precision + sensitivity
    return 2 * precision * sensitivity / both if both else 0.0
