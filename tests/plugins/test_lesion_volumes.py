"""Volumes of what is false and missed, relative errors, and what the lesion-wise scores refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medloss.scoring import Case, Components, Counts
from medloss_region.metrics import relative_volume_error
from medloss_topology.metrics_lesions import (
    false_negative_volume,
    false_positive_volume,
    lesion_dice,
    lesion_hausdorff95,
    lesion_normalized_surface_dice,
)

SPACING = (4.0, 4.0, 3.0)


def cubes(*ranges, shape=(20, 20, 20)):
    mask = np.zeros(shape, np.uint8)
    for each in ranges:
        mask[tuple(slice(*axis) for axis in each)] = 1
    return mask


def of(reference, prediction, **more) -> Components:
    maps = (reference, prediction)
    return Case(*maps, labels=[1], spacing_mm=SPACING, **more).components(1)


PET = cubes([(2, 6)] * 3, [(10, 12)] * 3)
FOUND = cubes([(5, 9), (2, 6), (2, 6)], [(15, 18)] * 3, [(18, 19)] * 3)
NOTHING = np.zeros_like(PET)
CORNER = cubes([(15, 18)] * 3), cubes([(15, 18)] * 3, [(18, 19)] * 3)


@pytest.mark.parametrize(
    ("reference", "prediction", "false_ml", "missed_ml"),
    [
        (PET, FOUND, 1.344, 0.384),  # the numbers of autoPET's val_script.py
        (PET, NOTHING, 0, 3.456),
        (NOTHING, FOUND, 4.416, 0),
        (NOTHING, NOTHING, 0, 0),
        (*CORNER, 0.048, 0),
    ],
)
def test_volumes_of_autopet(reference, prediction, false_ml, missed_ml):
    found = of(reference, prediction)
    assert false_positive_volume(found) == pytest.approx(1000 * false_ml)
    assert false_negative_volume(found) == pytest.approx(1000 * missed_ml)


def test_a_corner_joins_where_it_is_asked_to():
    assert false_positive_volume(of(*CORNER), connectivity="corners") == 0


def test_what_is_ignored_is_no_volume():
    ignored = np.zeros(PET.shape, bool)
    ignored[:, :, 16:] = True
    found = of(PET, FOUND, ignored=ignored)
    assert false_positive_volume(found) == pytest.approx(1000 * 0.048 * 9)


@pytest.mark.parametrize(
    ("tp", "fp", "fn", "value"),
    [(3, 0, 1, -0.25), (3, 5, 1, 1.0), (0, 0, 4, -1.0), (0, 4, 0, math.nan), (0, 0, 0, math.nan)],
)
def test_relative_volume_error(tp, fp, fn, value):
    counts = Counts(tp, fp, fn, 10)
    assert relative_volume_error(counts, signed=True) == pytest.approx(value, nan_ok=True)
    assert relative_volume_error(counts) == pytest.approx(abs(value), nan_ok=True)


SCORES = (lesion_dice, lesion_hausdorff95, lesion_normalized_surface_dice)


def test_what_lesion_wise_scores_make_of_nothing():
    """Missed, spurious and neither, where lost lesions count and where they do not."""
    for unmatched in ("worst", "excluded"):
        for pair in ((PET, NOTHING), (NOTHING, FOUND)):
            values = [score(of(*pair), unmatched=unmatched) for score in SCORES]
            assert values == [0.0, math.inf, 0.0]
        assert all(math.isnan(score(of(NOTHING, NOTHING), unmatched=unmatched)) for score in SCORES)
    assert lesion_hausdorff95(of(PET, NOTHING), penalty_mm=7) == 7
    for score in SCORES:
        assert math.isnan(score(of(NOTHING, FOUND), needs_reference=True))
        assert math.isnan(score(of(PET, FOUND), needs_reference=True, min_reference_mm3=1e5))


@pytest.mark.parametrize(
    ("score", "options", "message"),
    [
        (lesion_dice, {"unmatched": "none"}, "unmatched: expected 'worst' or 'excluded'"),
        (lesion_dice, {"on_small": "false"}, "on_small: expected 'neither' or 'spurious'"),
        (lesion_dice, {"matching": "near@x"}, "matching: expected overlap"),
        (lesion_hausdorff95, {"penalty_mm": -1}, "penalty_mm: expected a distance"),
        (lesion_hausdorff95, {"penalty_mm": "far"}, "penalty_mm: expected a distance"),
        (lesion_normalized_surface_dice, {"tolerance_mm": "1"}, "or 'voxel', got '1'"),
        (lesion_normalized_surface_dice, {"tolerance_mm": math.inf}, "tolerance_mm: expected"),
        (false_positive_volume, {"connectivity": "all"}, "connectivity: expected faces"),
    ],
)
def test_options_that_cannot_be_meant(score, options, message):
    with pytest.raises(ValueError, match=message):
        score(of(PET, FOUND), **options)


def test_distances_need_the_size_of_a_voxel():
    found = Components(PET > 0, FOUND > 0)
    for score in SCORES[1:]:
        with pytest.raises(ValueError, match="spacing_mm: "):
            score(found)
    with pytest.raises(ValueError, match="spacing_mm: a volume"):
        false_positive_volume(found)
