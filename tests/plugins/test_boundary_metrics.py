from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring.shapes import ball, blobs, box, brute_force, brute_force_percentile

from medloss.scoring import surface_distances
from medloss_boundary.metrics import (
    average_symmetric_surface_distance,
    hausdorff95,
    normalized_surface_dice,
)

FUNCTIONS = (hausdorff95, average_symmetric_surface_distance, normalized_surface_dice)


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
    for function in FUNCTIONS[:2]:
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
