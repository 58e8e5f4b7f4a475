"""Lesion-wise scores by the rules of BraTS, old and new, and of MIST: worked values, real cases."""

from __future__ import annotations

import numpy as np
import pytest

from medloss.scoring import Case, Components
from medloss_topology.metrics_detection import (
    false_lesions,
    found_lesions,
    lesion_f1,
    lesion_precision,
    lesion_sensitivity,
    missed_lesions,
)
from medloss_topology.metrics_lesions import (
    lesion_dice,
    lesion_hausdorff95,
    lesion_normalized_surface_dice,
)

NEW = {"matching": "dice@0.000001"}
SEG = {**NEW, "unmatched": "excluded"}
METS = {**NEW, "min_reference_mm3": 20, "needs_reference": True}
LARGE = {**NEW, "min_dice": 0.1, "min_reference_mm3": 20}
SMALL = {**NEW, "min_dice": 0.1, "max_reference_mm3": 20}
OLD_MET = {"dilation_voxels": 1, "min_reference_mm3": 2.5}
OLD_MEN = {"dilation_voxels": 1, "min_reference_mm3": 50.5}
OLD_GLI = {"dilation_voxels": 3, "min_reference_mm3": 50.5}
MIST = {
    "matching": "near@3",
    "connectivity": "edges",
    "min_reference_mm3": 10,
    "on_small": "spurious",
}


def toy():
    """Three cubes; of the first there are two pieces, the second is missed, one is false."""
    reference, prediction = np.zeros((2, 40, 40, 40), np.uint8)
    for low, high in ((5, 11), (20, 24), (30, 32)):
        reference[(slice(low, high),) * 3] = 1
    prediction[5:8, 5:11, 5:11] = prediction[9:11, 5:11, 5:11] = 1
    prediction[35:38, 5:8, 5:8] = prediction[30:32, 30:32, 30:32] = 1
    return reference, prediction


def of(reference, prediction, preset, spacing_mm=1.0) -> Components:
    case = Case(reference, prediction, labels=[1], spacing_mm=spacing_mm, preset=preset)
    return case.components(1)


@pytest.mark.parametrize(
    ("preset", "rule", "dice", "hd95"),
    [
        ("brats2026", SEG, 0.83333, 1.5),
        ("brats2026", METS, 0.16667, 280.5),
        ("brats2023", OLD_MET, (180 / 198 + 0 + 1) / 4, 187.5),
        ("brats2023", OLD_MEN, 0.30303, 250.0),
        ("brats2023", OLD_GLI, 0.30303, 250.0),
        ("deepmind", MIST, 0.22727, 52.4615),
    ],
)
def test_the_toy_by_every_rule(preset, rule, dice, hd95):
    found = of(*toy(), preset)
    assert lesion_dice(found, **rule) == pytest.approx(dice, abs=5e-6)
    assert lesion_hausdorff95(found, **rule) == pytest.approx(hd95, abs=5e-5)
    if rule is SEG:
        assert lesion_normalized_surface_dice(found, tolerance_mm="voxel", **rule) == pytest.approx(
            0.8970, abs=5e-5
        )


@pytest.mark.parametrize(
    ("rule", "counts"),
    [
        (NEW, (2, 2, 1)),
        (LARGE, (1, 2, 1)),
        (SMALL, (1, 2, 0)),
        (OLD_MET, (2, 1, 1)),
        (OLD_MEN, (1, 1, 1)),
        (OLD_GLI, (1, 1, 1)),
        (MIST, (1, 2, 1)),
    ],
)
def test_who_counts_in_the_toy(rule, counts):
    found = of(*toy(), "brats2026")
    tp, fp, fn = counts
    both = {name: x for name, x in rule.items() if name != "on_small"}
    ours = {name: x for name, x in rule.items() if name not in ("min_dice", "max_reference_mm3")}
    assert found_lesions(found, **both) == tp
    assert false_lesions(found, **ours) == fp
    assert missed_lesions(found, **both) == fn
    assert lesion_f1(found, **rule) == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert lesion_precision(found, **rule) == pytest.approx(tp / (tp + fp))
    assert lesion_sensitivity(found, **both) == pytest.approx(tp / (tp + fn))
