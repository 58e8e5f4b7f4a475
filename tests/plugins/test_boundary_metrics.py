from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scoring.shapes import ball, blobs, box, brute_force, brute_force_percentile

from medloss.scoring import count_classes, surface_distances
from medloss_boundary.metrics import (
    average_surface_distance,
    average_symmetric_surface_distance,
    boundary_dice,
    boundary_iou,
    hausdorff,
    hausdorff95,
    mean_average_surface_distance,
    normalized_surface_dice,
)
from medloss_region.metrics import dice, jaccard

FUNCTIONS = (hausdorff95, average_symmetric_surface_distance, normalized_surface_dice)
LENGTHS = (
    hausdorff,
    hausdorff95,
    average_surface_distance,
    average_symmetric_surface_distance,
    mean_average_surface_distance,
)
SHARES = (normalized_surface_dice, boundary_iou, boundary_dice)
SURFACES = ("deepmind", "exact", "monai")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((6, 7), (1.0, 1.0)), ((5, 6, 4), (1.0, 1.0, 1.0)), ((4, 5, 3), (0.78, 0.78, 6.5))],
)
def test_equal_to_all_pairs_of_elements(seed, shape, spacing):
    reference, prediction = blobs(seed, shape)
    found = surface_distances(reference, prediction, spacing)
    (g, g_area), (p, p_area) = brute_force(reference, prediction, spacing)
    area = g_area.sum() + p_area.sum()
    worst = max(brute_force_percentile(g, g_area, 0.95), brute_force_percentile(p, p_area, 0.95))
    assert hausdorff95(found) == pytest.approx(worst, abs=1e-9)
    mean = ((g * g_area).sum() + (p * p_area).sum()) / area
    assert average_symmetric_surface_distance(found) == pytest.approx(mean, abs=1e-9)
    for tolerance in (0.0, 0.5, 1.0, 1.57):
        within = (g_area[g <= tolerance + 1e-9].sum() + p_area[p <= tolerance + 1e-9].sum()) / area
        nsd = normalized_surface_dice(found, tolerance_mm=tolerance)
        assert nsd == pytest.approx(within, abs=1e-9)


# The package asks scipy for functions under their old names.
@pytest.mark.filterwarnings("ignore:Please import .* namespace is deprecated:DeprecationWarning")
@pytest.mark.parametrize("seed", range(20))
def test_equal_to_the_surface_distance_package(seed):
    package = pytest.importorskip(
        "surface_distance", reason="the package surface-distance is not installed"
    )
    reference, prediction = blobs(seed, (9, 8, 7))
    spacing = tuple(np.random.default_rng(seed).uniform(0.5, 4, 3))
    theirs = package.compute_surface_distances(reference, prediction, spacing)
    mine = surface_distances(reference, prediction, spacing)
    assert hausdorff95(mine) == pytest.approx(
        package.compute_robust_hausdorff(theirs, 95), abs=1e-9
    )
    assert normalized_surface_dice(mine, tolerance_mm=1.3) == pytest.approx(
        package.compute_surface_dice_at_tolerance(theirs, 1.3), abs=1e-9
    )


def test_equal_balls_approach_their_closed_form_as_voxels_shrink():
    # Balls of radius 20 mm, t = 6 mm apart: distances are uniform on [0, t].
    t, tau = 6.0, 2.0
    errors = []
    for voxel_mm in (2.0, 1.0, 0.5):
        masks = [ball((54, 48, 48), voxel_mm, (x, 24, 24), 20) for x in (24, 24 + t)]
        found = surface_distances(*masks, voxel_mm)
        errors.append(
            (
                abs(hausdorff95(found) - 0.95 * t),
                abs(average_symmetric_surface_distance(found) - t / 2),
                abs(normalized_surface_dice(found, tolerance_mm=tau) - tau / t),
            )
        )
        # No value is farther from the truth than a voxel.
        assert errors[-1][0] <= voxel_mm
        assert errors[-1][1] <= voxel_mm
    assert (np.diff(np.array(errors)[:, 1:], axis=0) < 0).all()
    assert errors[-1][0] < 0.25
    assert errors[-1][1] < 0.25
    assert errors[-1][2] < 0.05


def test_shifted_cubes_approach_their_closed_form_as_voxels_shrink():
    # Side a, shifted by t <= a / 2 along an axis.
    a, t, tau = 20, 5, 2
    assd = (a**2 * t + t * (a - 2 * t) ** 2 + 2 * a * t**2 - 8 / 3 * t**3 + 2 * a * t**2) / (
        6 * a**2
    )
    nsd = (4 * a * (a - t + tau) + a**2 - (a - 2 * tau) ** 2) / (6 * a**2)
    errors = []
    for per_mm in (1, 2):
        sides = [side * per_mm for side in (31, 26, 26)]
        first = box(sides, [3 * per_mm] * 3, [(3 + a) * per_mm] * 3)
        found = surface_distances(first, np.roll(first, t * per_mm, axis=0), 1 / per_mm)
        assert hausdorff95(found) == t
        errors.append(
            (
                abs(average_symmetric_surface_distance(found) - assd),
                abs(normalized_surface_dice(found, tolerance_mm=tau) - nsd),
            )
        )
    assert errors[0] == pytest.approx((0.00515, 0.03058), abs=1e-4)  # discretisation at 1 mm
    assert errors[1][0] < errors[0][0] / 2
    assert errors[1][1] < errors[0][1]


def test_concentric_balls():
    small, large = (ball((50, 50, 50), 1.0, (25, 25, 25), radius) for radius in (20, 23))
    found = surface_distances(small, large, 1.0)
    assert hausdorff95(found) == pytest.approx(3, abs=0.5)
    assert average_symmetric_surface_distance(found) == pytest.approx(2.556, abs=0.01)
    assert normalized_surface_dice(found, tolerance_mm=4) == 1
    assert normalized_surface_dice(found, tolerance_mm=1) == 0


@pytest.mark.parametrize("axes", [2, 3])
def test_two_single_voxels(axes):
    first = np.zeros((9,) * axes, dtype=bool)
    first[(1,) * axes] = True
    found = surface_distances(first, np.roll(first, 4, axis=0), 0.5)
    assert hausdorff95(found) == 2.0
    assert average_symmetric_surface_distance(found) == pytest.approx(1.75)
    assert normalized_surface_dice(found, tolerance_mm=1.5) == pytest.approx(0.5)


def test_the_larger_of_the_two_directions_is_taken_not_the_pooled_one():
    # A cube with a bar on one side in the prediction only. The percentile of both lists pooled,
    # as some tools take it, would be about 2 mm.
    reference = box((66, 50, 50), (4, 4, 4), (44, 44, 44))
    prediction = reference.copy()
    prediction[44:60, 17:31, 17:31] = True
    found = surface_distances(reference, prediction, 1.0)
    there, back = found.directed_percentiles(95)
    assert there < 3
    assert back == 10
    assert hausdorff95(found) == back
    assert hausdorff95(surface_distances(prediction, reference, 1.0)) == back


@pytest.mark.parametrize(("axis", "expected"), [(0, 0.78), (1, 0.9), (2, 6.5)])
def test_distances_are_in_mm_of_the_given_spacing(axis, expected):
    first = box((9, 9, 9), (2, 2, 2), (7, 7, 7))
    found = surface_distances(first, np.roll(first, 1, axis=axis), (0.78, 0.9, 6.5))
    assert found.reference_mm[-1] == pytest.approx(expected)
    assert hausdorff95(found) == pytest.approx(expected)


@pytest.mark.parametrize("spacing", [0.1, 0.3, 0.8, 1.3])
def test_a_distance_of_exactly_the_tolerance_is_within_it(spacing):
    # 5 * 0.1 and 6 * 0.1 - 1 * 0.1 differ in the last bit; that must not decide.
    first = box((14, 3), (2, 1), (3, 2))
    found = surface_distances(first, np.roll(first, 5, axis=0), spacing)
    assert normalized_surface_dice(found, tolerance_mm=5 * spacing) == 1.0
    assert normalized_surface_dice(found, tolerance_mm=4.9 * spacing) == pytest.approx(0.5)


def test_missed_spurious_and_absent_classes():
    mask = box((5, 5), (1, 1), (3, 3))
    empty = np.zeros_like(mask)
    for pair in ((mask, empty), (empty, mask)):
        assert [function(surface_distances(*pair, 1.0)) for function in FUNCTIONS] == [
            math.inf,
            math.inf,
            0.0,
        ]
    absent = surface_distances(empty, empty, 1.0)
    assert all(math.isnan(function(absent)) for function in FUNCTIONS)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.floats(0.1, 50))
def test_symmetric_and_proportional_to_the_size_of_a_voxel(seed, factor):
    reference, prediction = blobs(seed, (5, 4, 4))
    spacing = np.array([0.78, 1.0, 3.0])
    found = surface_distances(reference, prediction, spacing)
    swapped = surface_distances(prediction, reference, spacing)
    scaled = surface_distances(reference, prediction, spacing * factor)
    for function in FUNCTIONS:
        assert function(swapped) == pytest.approx(function(found), rel=1e-12)
    for function in LENGTHS:
        assert function(scaled) == pytest.approx(factor * function(found), rel=1e-9)
    assert normalized_surface_dice(scaled, tolerance_mm=1.5 * factor) == pytest.approx(
        normalized_surface_dice(found, tolerance_mm=1.5), rel=1e-9
    )


def test_a_perfect_prediction():
    mask, _ = blobs(0, (6, 6, 6))
    found = surface_distances(mask, mask, (1.0, 2.0, 3.0))
    assert [function(found) for function in FUNCTIONS] == [0.0, 0.0, 1.0]
    assert normalized_surface_dice(found, tolerance_mm=0) == 1.0


@pytest.mark.parametrize("tolerance_mm", [-1, math.nan, math.inf])
def test_a_tolerance_that_is_no_distance_is_refused(tolerance_mm):
    found = surface_distances(*blobs(0, (4, 4)), 1.0)
    with pytest.raises(ValueError, match="tolerance_mm: expected"):
        normalized_surface_dice(found, tolerance_mm=tolerance_mm)


@pytest.mark.parametrize("preset", SURFACES)
def test_every_metric_of_a_missed_a_spurious_and_an_absent_class(preset):
    mask = box((5, 5, 5), (1, 1, 1), (3, 3, 3))
    empty = np.zeros_like(mask)
    for pair in ((mask, empty), (empty, mask)):
        found = surface_distances(*pair, 1.0, preset=preset)
        assert [function(found) for function in LENGTHS] == [math.inf] * 5
        assert [function(found) for function in SHARES] == [0.0] * 3
    absent = surface_distances(empty, empty, 1.0, preset=preset)
    assert all(math.isnan(function(absent)) for function in (*LENGTHS, *SHARES))


@pytest.mark.parametrize(
    "preset", [*SURFACES, "medpy", "metricsreloaded", "brats2023", "brats2026"]
)
def test_every_metric_of_equal_maps(preset):
    mask, _ = blobs(3, (7, 6, 5))
    found = surface_distances(mask, mask, (0.8, 1.0, 2.5), preset=preset)
    assert [function(found) for function in LENGTHS] == [0.0] * 5
    assert [function(found) for function in SHARES] == [1.0] * 3


def test_exact_surfaces_of_shifted_cubes_are_those_of_the_closed_form():
    # Side a, shifted by t: every point of a face has the exact distance, so that the only error is
    # that of the midpoint rule, which falls with the square of the voxel.
    a, t, tau = 20, 5, 2
    assd = (a**2 * t + t * (a - 2 * t) ** 2 + 2 * a * t**2 - 8 / 3 * t**3 + 2 * a * t**2) / (
        6 * a**2
    )
    nsd = (4 * a * (a - t + tau) + a**2 - (a - 2 * tau) ** 2) / (6 * a**2)
    errors = []
    for per_mm in (1, 2):
        first = box([n * per_mm for n in (31, 26, 26)], [3 * per_mm] * 3, [23 * per_mm] * 3)
        found = surface_distances(
            first, np.roll(first, t * per_mm, axis=0), 1 / per_mm, preset="exact"
        )
        assert hausdorff(found) == t
        assert normalized_surface_dice(found, tolerance_mm=tau) == pytest.approx(nsd, abs=1e-12)
        assert found.areas == pytest.approx((6 * a**2,) * 2)
        errors.append(abs(average_symmetric_surface_distance(found) - assd))
    assert errors[0] < 0.01
    assert errors[1] < errors[0] / 3.5


def test_exact_surfaces_need_no_cubes():
    # The closed form in mm holds for voxels of any shape: a = 20, t = 4.8 (metrics by hand).
    first = box((38, 40, 12), (5, 6, 2), (30, 31, 10))  # 25 x 25 x 8 voxels of 0.8, 0.8, 2.5 mm
    found = surface_distances(first, np.roll(first, 6, axis=0), (0.8, 0.8, 2.5), preset="exact")
    a, t, m = 20.0, 4.8, 4.8
    assd = (a**2 * t + m * (a - 2 * m) ** 2 + 2 * a * m**2 - 8 / 3 * m**3 + 2 * a * t**2) / (
        6 * a**2
    )
    assert assd == pytest.approx(1.66144, abs=1e-5)
    assert average_symmetric_surface_distance(found) == pytest.approx(assd, abs=0.005)
    assert normalized_surface_dice(found, tolerance_mm=2.0) == pytest.approx(0.63333, abs=0.02)
    # The same masks by counting voxels: 29 % less, and 9 points of NSD more.
    counted = surface_distances(first, np.roll(first, 6, axis=0), (0.8, 0.8, 2.5), preset="monai")
    assert average_symmetric_surface_distance(counted) < 0.75 * assd


@pytest.mark.parametrize("preset", SURFACES)
def test_concentric_balls_approach_the_gap_as_voxels_shrink(preset):
    errors = []
    for voxel_mm in (2.0, 1.0, 0.5):
        small, large = (ball((50, 50, 50), voxel_mm, (25, 25, 25), r) for r in (20, 23))
        found = surface_distances(small, large, voxel_mm, preset=preset)
        values = [function(found) for function in LENGTHS]
        errors.append(max(abs(value - 3) for value in values))
        assert errors[-1] < 1.2 * voxel_mm
    assert errors[2] < errors[1] < errors[0]


@pytest.mark.parametrize("preset", SURFACES)
def test_nested_balls_have_other_means_each_way(preset):
    # Radii 12 and 20 mm, centres 5 mm apart.
    small, big = (ball((50, 50, 50), 0.5, (25 + d, 25, 25), r) for d, r in ((5, 12), (0, 20)))
    found = surface_distances(small, big, 0.5, preset=preset)
    outwards, inwards = 8 - 25 / 36, 8 + 25 / 60
    assert found.means == pytest.approx((outwards, inwards), abs=0.5)
    assert average_surface_distance(found) == found.means[1]
    masd, assd = mean_average_surface_distance(found), average_symmetric_surface_distance(found)
    assert masd == pytest.approx(sum(found.means) / 2)
    assert assd > masd  # the larger ball has the larger mean
    assert hausdorff(found) == pytest.approx(13, abs=1)


def test_any_percentile():
    first = box((3, 12), (1, 1), (2, 2))
    second = box((3, 12), (1, 5), (2, 6))
    found = surface_distances(first, second, 1.0)  # half the area at 3, half at 4
    assert [hausdorff(found, percentile=p) for p in (1, 50, 51, 100)] == [3.0, 3.0, 4.0, 4.0]
    assert hausdorff95(found) == hausdorff(found, percentile=95)
    for percentile in (0, -1, 101, math.nan):
        with pytest.raises(ValueError, match="percentile: expected above 0"):
            hausdorff(found, percentile=percentile)


@pytest.mark.parametrize("preset", ["monai", "medpy"])
@pytest.mark.parametrize("seed", range(5))
def test_percentiles_between_two_distances_are_numpy_s(preset, seed):
    masks = blobs(seed, (9, 8, 7))
    found = surface_distances(*masks, (0.7, 1.3, 2.0), preset=preset)
    lists = [
        np.repeat(mm, area.astype(int))
        for mm, area in (
            (found.reference_mm, found.reference_area),
            (found.prediction_mm, found.prediction_area),
        )
    ]
    for percentile in (0.1, 10, 50, 77.7, 95, 99.9, 100):
        each = [np.percentile(values, percentile) for values in lists]
        assert found.directed_percentiles(percentile) == pytest.approx(each, rel=1e-12)
        pooled = np.percentile(np.concatenate(lists), percentile)
        expected = pooled if preset == "medpy" else max(each)
        assert hausdorff(found, percentile=percentile) == pytest.approx(expected, rel=1e-12)


def band_by_hand(mask, spacing, width):
    border = mask & ~ndimage.binary_erosion(mask)
    return mask & (ndimage.distance_transform_edt(~border, sampling=spacing) <= width + 1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("shape", "spacing"), [((30, 26), (1.0, 0.7)), ((16, 15, 14), (0.8, 1.0, 2.5))]
)
def test_boundary_bands_are_those_of_a_distance_transform(seed, shape, spacing):
    rng = np.random.default_rng(seed)
    reference = ndimage.gaussian_filter(rng.random(shape), 2) > 0.5
    prediction = np.roll(reference, 1, axis=0) & (rng.random(shape) < 0.97)
    found = surface_distances(reference, prediction, spacing)
    for width in (0.0, 1.0, 2.0, 3.3, 50.0):
        a, b = (band_by_hand(mask, spacing, width) for mask in (reference, prediction))
        both, either = (a & b).sum(), (a | b).sum()
        assert boundary_iou(found, width_mm=width) == both / either
        assert boundary_dice(found, width_mm=width) == 2 * both / (a.sum() + b.sum())
    with pytest.raises(ValueError, match="width_mm: expected a distance of at least 0, got -1"):
        boundary_iou(found, width_mm=-1)


def test_a_wide_band_is_the_whole_mask():
    reference, prediction = blobs(7, (8, 8, 8))
    found = surface_distances(reference, prediction, 1.0)
    counts = count_classes(reference, prediction, [1])[1]
    assert boundary_iou(found, width_mm=20) == pytest.approx(jaccard(counts))
    assert boundary_dice(found, width_mm=20) == pytest.approx(dice(counts))
