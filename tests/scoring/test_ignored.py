"""Ignored regions: surfaces are those of the whole masks, elements in or beside it do not count."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scoring.adapted import Dice, Hausdorff95, close
from scoring.shapes import by_distance, sides

from medloss.scoring import Case, Counts, Status
from medloss_boundary.metrics import (
    average_surface_distance,
    average_symmetric_surface_distance,
    boundary_iou,
    hausdorff95,
    normalized_surface_dice,
)

PRESETS = ("deepmind", "exact", "monai")


def bar(start, stop, shape=(5, 20)):
    mask = np.zeros(shape, dtype=np.uint8)
    mask[1:4, start:stop] = 1
    return mask


def ignored(start, stop, shape=(5, 20)):
    region = np.zeros(shape, dtype=bool)
    region[:, start:stop] = True
    return region


@pytest.mark.parametrize("preset", PRESETS)
def test_an_error_in_the_ignored_region_does_not_count(preset):
    case = Case(
        bar(2, 10), bar(2, 16), labels=[1], spacing_mm=1, preset=preset, ignored=ignored(9, 20)
    )
    found = case.surfaces(1)
    assert hausdorff95(found) == 0
    assert normalized_surface_dice(found, tolerance_mm=0) == 1
    assert 0 < found.areas[0] == pytest.approx(found.areas[1])
    assert case.counts(1) == Counts(tp=21, fp=0, fn=0, tn=5 * 9 - 21)


def test_elements_made_of_an_ignored_voxel_do_not_count():
    # The border has 18 voxels: 3 in the columns 2 and 9, 2 in those between. Column 8 is ignored,
    # and 7 and 9 are beside it.
    mask, region = bar(2, 10), ignored(8, 9)
    found = Case(mask, mask, labels=[1], spacing_mm=1, preset="monai", ignored=region).surfaces(1)
    assert found.areas == (18 - 2 - 2 - 3,) * 2
    cells = Case(mask, mask, labels=[1], spacing_mm=1, ignored=region).surfaces(1)
    whole = Case(mask, mask, labels=[1], spacing_mm=1).surfaces(1)
    assert cells.areas[0] == pytest.approx(whole.areas[0] - 4)  # corners 8 and 9, above and below
    faces = Case(mask, mask, labels=[1], spacing_mm=1, preset="exact", ignored=region).surfaces(1)
    assert faces.areas[0] == pytest.approx(2 * 8 + 2 * 3 - 2)


def test_others_are_still_measured_to_them():
    # The reference ends in the ignored region; the prediction ends two voxels before it.
    case = Case(
        bar(2, 12), bar(2, 9), labels=[1], spacing_mm=1, preset="monai", ignored=ignored(11, 12)
    )
    found = case.surfaces(1)
    assert found.prediction_mm[-1] <= 2
    assert found.prediction_area.sum() == 3 + 2 * 5 + 3


@pytest.mark.parametrize("preset", PRESETS)
def test_a_class_left_in_one_map_only_is_missed_or_spurious(preset):
    options = {"labels": [1], "spacing_mm": 1, "preset": preset, "ignored": ignored(0, 6)}
    for pair, status in (
        ((bar(8, 12), bar(1, 5)), Status.MISSED),
        ((bar(1, 5), bar(8, 12)), Status.SPURIOUS),
    ):
        case = Case(*pair, **options)
        assert case.status(1) is status
        assert hausdorff95(case.surfaces(1)) == math.inf
        assert average_symmetric_surface_distance(case.surfaces(1)) == math.inf
        assert average_surface_distance(case.surfaces(1)) == math.inf
        assert normalized_surface_dice(case.surfaces(1)) == 0
        assert boundary_iou(case.surfaces(1)) == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_when_all_is_ignored_nothing_is_known(preset):
    case = Case(
        bar(2, 10), bar(3, 9), labels=[1], spacing_mm=1, preset=preset, ignored=ignored(0, 20)
    )
    assert case.status(1) is Status.BOTH_EMPTY
    for function in (hausdorff95, average_symmetric_surface_distance, normalized_surface_dice):
        assert math.isnan(function(case.surfaces(1)))
    assert case.counts(1) == Counts(0, 0, 0, 0)


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_ignored_changes_nothing(preset):
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 3, (2, 6, 7, 5))
    plain = Case(*maps, labels=[1, 2], spacing_mm=(1, 2, 3), preset=preset)
    none = Case(
        *maps, labels=[1, 2], spacing_mm=(1, 2, 3), preset=preset, ignored=np.zeros((6, 7, 5))
    )
    for label in (1, 2):
        assert none.counts(label) == plain.counts(label)
        for mine, theirs in zip(
            sides(none.surfaces(label)), sides(plain.surfaces(label)), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)


def test_ignored_elements_are_a_part_of_all():
    rng = np.random.default_rng(1)
    maps = rng.integers(0, 3, (2, 9, 8, 7))
    region = rng.random((9, 8, 7)) < 0.01
    assert region.any()
    some = Case(*maps, labels=[1], spacing_mm=(1, 1, 2), preset="monai", ignored=region)
    every = Case(*maps, labels=[1], spacing_mm=(1, 1, 2), preset="monai")
    found = [
        by_distance(s.reference_mm, s.reference_area) for s in (some.surfaces(1), every.surfaces(1))
    ]
    count = dict(zip(*found[1], strict=True))
    assert 0 < found[0][1].sum() < found[1][1].sum()
    assert all(number <= count[mm] for mm, number in zip(*found[0], strict=True))


def test_a_region_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"ignored: expected the shape .*\(5, 20\), got \(5, 19\)"):
        Case(bar(2, 9), bar(2, 9), labels=[1], ignored=np.zeros((5, 19)))


def test_monai_metrics_take_a_mask_or_a_label_to_ignore():
    y = torch.from_numpy(bar(2, 10).astype(np.int64))[None, None]
    y_pred = torch.from_numpy(bar(2, 16).astype(np.int64))[None, None]
    region = torch.from_numpy(ignored(9, 20))[None, None]
    marked = torch.where(region, 255, y)
    by_label = {"num_classes": 2, "ignore_index": 255, "include_background": False}
    for Metric, expected in ((Hausdorff95, 0.0), (Dice, 1.0)):
        masked = Metric(spacing_mm=1)(y_pred, y, mask=~region)
        close(masked, [[expected]])
        close(Metric(spacing_mm=1)(list(y_pred), list(y), mask=list(~region)), [[expected]])
        close(Metric(spacing_mm=1, **by_label)(y_pred, marked), [[expected]])
        assert Metric(spacing_mm=1)(y_pred, y) != masked


def test_wrong_masks_and_labels_to_ignore_are_refused():
    y = torch.zeros(1, 2, 4, 4)
    with pytest.raises(ValueError, match=r"mask: expected \[1, 1, 4, 4\], got \[1, 4, 4\]"):
        Dice()(y, y, mask=torch.ones(1, 4, 4))
    with pytest.raises(ValueError, match="ignore_index: expected num_classes too"):
        Dice(ignore_index=255)
    with pytest.raises(ValueError, match="ignore_index: expected y as label maps"):
        Dice(ignore_index=255, num_classes=2)(y, y)
