from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring.shapes import ball, blobs, box, brute_force, by_distance, sides

from medloss.scoring import surface_distances


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [(7, 9), (1, 6), (5, 6, 4), (1, 5, 3), (3, 1, 1)])
@pytest.mark.parametrize("anisotropic", [False, True])
def test_equal_to_all_pairs_of_elements(seed, shape, anisotropic):
    spacing = (0.78, 0.9, 6.5)[-len(shape) :] if anisotropic else (1.0,) * len(shape)
    reference, prediction = blobs(seed, shape)
    found = surface_distances(reference, prediction, spacing)
    for mine, pairs in zip(sides(found), brute_force(reference, prediction, spacing), strict=True):
        np.testing.assert_allclose(mine, by_distance(*pairs), rtol=0, atol=1e-9)


def test_two_single_voxels_k_apart():
    # Of the 8 corners, 4 lie k from the other voxel's and 4 lie k - 1: the mean is k - 1/2.
    first, second = np.zeros((2, 9, 3, 3), dtype=bool)
    first[1, 1, 1] = second[6, 1, 1] = True
    found = surface_distances(first, second, 2.0)
    half = math.sqrt(3) / 8 * 4 * 4
    np.testing.assert_allclose(sides(found)[0], [[8.0, 10.0], [half, half]], rtol=1e-14)


def test_the_edge_of_the_image_is_surface():
    # A full image has the surface of its box: 6 faces less what the rounded edges cost.
    full = np.ones((4, 4, 4), dtype=bool)
    found = surface_distances(full, full, 1.0)
    faces, edges, tips = 6 * 9, 12 * 3 * math.sqrt(2) / 2, 8 * math.sqrt(3) / 8
    assert found.reference_area.sum() == pytest.approx(faces + edges + tips)
    assert not found.reference_mm.any()


def test_a_mask_at_the_edge_has_the_distances_of_the_same_mask_inside():
    reference, prediction = blobs(3, (5, 4, 6))
    at_edge = surface_distances(reference, prediction, (0.78, 0.78, 6.5))
    inside = surface_distances(
        np.pad(reference, 4), np.pad(prediction, 4), spacing_mm=(0.78, 0.78, 6.5)
    )
    for mine, theirs in zip(sides(at_edge), sides(inside), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=3),
    data=st.data(),
)
def test_flips_and_permutations_of_axes_with_their_spacing_change_nothing(seed, shape, data):
    reference, prediction = blobs(seed, shape)
    spacing = data.draw(st.lists(st.floats(0.1, 9), min_size=len(shape), max_size=len(shape)))
    order = data.draw(st.permutations(range(len(shape))))
    flipped = [axis for axis in range(len(shape)) if data.draw(st.booleans())]
    found = surface_distances(reference, prediction, spacing)
    turned = surface_distances(
        np.flip(reference, flipped).transpose(order),
        np.flip(prediction, flipped).transpose(order),
        [spacing[axis] for axis in order],
    )
    for mine, theirs in zip(sides(turned), sides(found), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_two_directions_swap_with_the_masks(seed):
    reference, prediction = blobs(seed, (4, 5, 3))
    there = surface_distances(reference, prediction, (1.0, 2.0, 0.5))
    back = surface_distances(prediction, reference, (1.0, 2.0, 0.5))
    np.testing.assert_array_equal(there.reference_mm, back.prediction_mm)
    np.testing.assert_array_equal(there.prediction_area, back.reference_area)


def test_distances_to_no_surface_are_infinite_and_no_surface_has_no_distances():
    mask = box((6, 6, 6), (1, 1, 1), (3, 3, 3))
    empty = np.zeros_like(mask)
    missed = surface_distances(mask, empty, 1.0)
    assert np.isposinf(missed.reference_mm).all()
    assert missed.reference_area.sum() > 0
    assert missed.prediction_mm.size == missed.prediction_area.size == 0
    assert math.isinf(missed.directed_percentiles(95)[0])
    assert math.isnan(missed.directed_percentiles(95)[1])
    both = surface_distances(empty, empty, 1.0)
    assert both.reference_mm.size == both.prediction_mm.size == 0


def test_percentiles_take_the_first_distance_that_reaches_the_share():
    # Two voxels of a row, one of them found: half the area of each element counts the same.
    first = box((3, 12), (1, 1), (2, 2))
    second = box((3, 12), (1, 5), (2, 6))
    found = surface_distances(first, second, 1.0)  # distances 3, 3, 4, 4 of equal length
    assert found.directed_percentiles(50) == (3.0, 3.0)
    assert found.directed_percentiles(50.001) == (4.0, 4.0)
    assert found.directed_percentiles(100) == (4.0, 4.0)


def test_the_area_of_a_ball_is_that_of_its_marching_cubes_surface():
    # Marching cubes on a binary ball overestimates the area of the sphere by 8 to 9 %.
    mask = ball((30, 30, 30), 0.5, (15, 15, 15), 12)
    area = surface_distances(mask, mask, 0.5).reference_area.sum()
    assert area / (4 * math.pi * 12**2) == pytest.approx(1.087, abs=0.01)


def test_integer_masks_and_voxel_units():
    reference, prediction = blobs(5, (6, 5))
    by_bool = surface_distances(reference, prediction, 1.0)
    by_int = surface_distances(reference.astype(np.int16) * 7, prediction.astype(np.int8), "voxel")
    np.testing.assert_array_equal(by_bool.reference_mm, by_int.reference_mm)


@pytest.mark.parametrize(
    ("reference", "prediction", "spacing", "preset", "message"),
    [
        ((3, 3), (3, 4), 1.0, "deepmind", r"prediction_mask: expected .*\(3, 3\), got \(3, 4\)"),
        ((3,), (3,), 1.0, "deepmind", r"2D or 3D"),
        ((3, 3), (3, 3), (1.0, -1.0), "deepmind", r"spacing_mm: expected"),
        ((3, 3), (3, 3), (1.0, 1.0, 1.0), "deepmind", r"spacing_mm: expected"),
        (
            (3, 3),
            (3, 3),
            1.0,
            "deep_mind",
            r"preset: expected one of deepmind, exact, .*got 'deep_mind'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(reference, prediction, spacing, preset, message):
    masks = np.ones(reference, dtype=bool), np.ones(prediction, dtype=bool)
    with pytest.raises(ValueError, match=message):
        surface_distances(*masks, spacing, preset=preset)


def test_results_cannot_be_changed_by_a_metric():
    found = surface_distances(*blobs(0, (4, 4)), 1.0)
    with pytest.raises(ValueError, match="read-only"):
        found.reference_mm[0] = 5
