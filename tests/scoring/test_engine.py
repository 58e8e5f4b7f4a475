"""The sweep against all pairs of surface elements, for every kind of surface."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scoring.shapes import blobs, by_distance, sides

from medloss.runtime import threads
from medloss.scoring import PRESETS, Case, surface_distances
from medloss.scoring.surface import plane_search
from medloss.scoring.surface.faces import near_faces
from medloss.scoring.surface.far_search import far_distances
from medloss.scoring.surface.grid import near_steps
from medloss.scoring.surface.plane_search import grid_distances

SURFACES = {"cells": "deepmind", "voxels": "monai", "faces": "exact"}


def voxel_elements(mask, spacing):
    """Centres in mm of the voxels that a cross-shaped erosion removes."""
    border = mask & ~ndimage.binary_erosion(mask)
    return np.argwhere(border) * spacing


def face_points(mask, spacing):
    """Points of all faces in mm with their areas, and the faces as boxes."""
    padded = np.pad(mask, 1)
    shortest = min(spacing)
    points, areas, boxes = [], [], []
    for axis in range(mask.ndim):
        parts = [min(8, round(4 * mm / shortest)) for mm in spacing]
        parts[axis] = 1
        edge = np.diff(padded.astype(int), axis=axis) != 0
        for index in np.argwhere(edge):
            middle = index + np.eye(mask.ndim)[axis] / 2
            half = np.full(mask.ndim, 0.5) - np.eye(mask.ndim)[axis] / 2
            boxes.append(((middle - half) * spacing, (middle + half) * spacing))
            for cell in itertools.product(*map(range, parts)):
                shift = [0 if n == axis else (c + 0.5) / parts[n] - 0.5 for n, c in enumerate(cell)]
                points.append((middle + shift) * spacing)
                areas.append(math.prod(np.delete(spacing, axis)) / math.prod(parts))
    return np.array(points), np.array(areas), np.array(boxes)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((9, 8), (1.0, 1.0)),
        ((9, 8), (0.7, 1.9)),
        ((5, 6, 4), (1.0, 1.0, 1.0)),
        ((6, 7, 5), (0.78, 0.9, 6.5)),
    ],
)
def test_voxels_equal_all_pairs(seed, shape, spacing):
    masks = blobs(seed, shape)
    found = sides(surface_distances(*masks, spacing, preset="monai"))
    elements = [voxel_elements(mask, spacing) for mask in masks]
    pairs = np.linalg.norm(elements[0][:, None] - elements[1][None], axis=-1)
    for mine, axis in zip(found, (1, 0), strict=True):
        mm = pairs.min(axis=axis)
        np.testing.assert_allclose(mine, by_distance(mm, np.ones(len(mm))), atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((6, 5), (0.7, 1.9)), ((4, 5, 3), (1.0, 1.0, 1.0)), ((4, 3, 3), (0.8, 0.8, 2.5))],
)
def test_faces_equal_all_pairs_of_points_and_faces(seed, shape, spacing):
    masks = blobs(seed, shape)
    found = sides(surface_distances(*masks, spacing, preset="exact"))
    (points, areas, boxes), (other_points, other_areas, other_boxes) = (
        face_points(mask, spacing) for mask in masks
    )
    for mine, p, a, b in (
        (found[0], points, areas, other_boxes),
        (found[1], other_points, other_areas, boxes),
    ):
        away = np.maximum(b[None, :, 0] - p[:, None], p[:, None] - b[None, :, 1])
        mm = np.linalg.norm(np.maximum(away, 0), axis=-1).min(axis=1)
        np.testing.assert_allclose(mine, by_distance(mm, a), atol=1e-8)


def many_labels(seed, classes, shape=(14, 13, 15)):
    """Two maps of touching classes, one of them moved by some voxels."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.random((classes + 1, *shape)), (0, 1.5, 1.5, 1.5))
    reference = noise.argmax(axis=0)
    prediction = np.roll(reference, (seed % 3, 1), axis=(0, 2))
    return reference, np.where(rng.random(shape) < 0.02, 0, prediction)


@pytest.mark.parametrize("preset", SURFACES.values())
@pytest.mark.parametrize(("classes", "top"), [(5, 1), (12, 1), (12, 300), (12, 100000)])
def test_all_classes_at_once_equal_one_mask_at_a_time(preset, classes, top):
    spacing = (0.8, 1.1, 2.5)
    maps = [m * top for m in many_labels(classes, classes)]
    labels = [n * top for n in range(classes + 1)]
    case = Case(*maps, labels=labels, spacing_mm=spacing, preset=preset)
    for label in labels:
        alone = surface_distances(*(m == label for m in maps), spacing, preset=preset)
        for mine, theirs in zip(sides(case.surfaces(label)), sides(alone), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("preset", SURFACES.values())
def test_what_is_not_asked_for_changes_nothing(preset):
    maps = many_labels(1, 6)
    options = {"spacing_mm": (1.0, 2.0, 0.7), "preset": preset}
    some = Case(*maps, labels=[5], **options).surfaces(5)
    every = Case(*maps, labels=range(7), **options).surfaces(5)
    for mine, theirs in zip(sides(some), sides(every), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("preset", SURFACES.values())
@pytest.mark.parametrize(("shape", "spacing"), [((60, 40), (1.0, 0.6)), ((48, 30, 26), (1, 1, 2))])
def test_far_elements_are_exact_too(preset, shape, spacing):
    # The prediction is far away, with a speck near: both the sweep and the far search are at work.
    reference, prediction = np.zeros((2, *shape), dtype=bool)
    reference[tuple(slice(2, 9) for _ in shape)] = True
    prediction[tuple(slice(n - 12, n - 3) for n in shape)] = True
    prediction[(9,) * len(shape)] = True
    found = sides(surface_distances(reference, prediction, spacing, preset=preset))
    radius = min(near_steps((np.inf,) * (3 - len(shape)) + tuple(map(float, spacing))).mm[-1:])
    for mine, own, other in (
        (found[0], reference, prediction),
        (found[1], prediction, reference),
    ):
        assert mine[0, -1] > radius
        if preset == "exact":
            p, a, _ = face_points(own, spacing)
            boxes = face_points(other, spacing)[2]
            away = np.maximum(boxes[None, :, 0] - p[:, None], p[:, None] - boxes[None, :, 1])
            mm = np.linalg.norm(np.maximum(away, 0), axis=-1).min(axis=1)
        elif preset == "monai":
            p, q = (voxel_elements(mask, spacing) for mask in (own, other))
            a = np.ones(len(p))
            mm = np.linalg.norm(p[:, None] - q[None], axis=-1).min(axis=1)
        else:
            continue
        np.testing.assert_allclose(mine, by_distance(mm, a), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("classes", [3, 11])
def test_a_hopeless_prediction_has_the_distances_of_a_distance_transform(classes):
    reference, _ = many_labels(2, classes, (20, 60, 50))
    reference = reference * (np.indices(reference.shape)[2] < 22)
    prediction = np.roll(reference, 26, axis=2)
    spacing = (1.0, 0.9, 1.3)
    case = Case(
        reference, prediction, labels=range(1, classes + 1), spacing_mm=spacing, preset="monai"
    )
    for label in case.labels:
        masks = [m == label for m in (reference, prediction)]
        borders = [m & ~ndimage.binary_erosion(m) for m in masks]
        for mine, own, other in zip(
            sides(case.surfaces(label)), borders, borders[::-1], strict=True
        ):
            mm = ndimage.distance_transform_edt(~other, sampling=spacing)[own]
            np.testing.assert_allclose(mine, by_distance(mm, np.ones(len(mm))), atol=1e-8)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), queries=st.integers(1, 80), targets=st.integers(1, 200))
def test_the_far_search_equals_all_pairs(seed, queries, targets):
    rng = np.random.default_rng(seed)
    mm = rng.uniform(0.3, 4, 3)
    points = rng.integers(0, 60, (3, queries)) + 0.5
    low = rng.integers(0, 60, (3, targets)).astype(float)
    high = low + rng.integers(0, 2, (3, targets))
    away = np.maximum(low[:, None] - points[..., None], points[..., None] - high[:, None])
    expected = np.linalg.norm(np.maximum(away, 0) * mm[:, None, None], axis=0).min(axis=1)
    found = far_distances(points, low, high, tuple(mm))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    queries=st.integers(1, 300),
    targets=st.integers(1, 200),
    flat=st.booleans(),
    away=st.integers(0, 40),
)
def test_the_search_by_planes_and_by_tiles_equals_all_pairs(seed, queries, targets, flat, away):
    # Few queries go by tiles, many on a small grid by planes; in all orders of the axes.
    rng = np.random.default_rng(seed)
    mm = rng.choice([0.7, 1.0, 3.1], 3)
    size = rng.integers(1, 30, (3, 1))
    points = rng.integers(0, size, (3, queries)).astype(np.int32)
    others = rng.integers(0, size, (3, targets)).astype(np.int32)
    others[rng.integers(3)] += away
    if flat:
        points[0] = others[0] = 0
    steps = (points[:, :, None] - others[:, None]) * mm[:, None, None]
    expected = np.linalg.norm(steps, axis=0).min(axis=1)
    spacing = (math.inf, *mm[1:]) if flat else tuple(mm)
    np.testing.assert_allclose(grid_distances(points, others, spacing), expected, rtol=1e-12)


@pytest.mark.parametrize("preset", ["monai", "deepmind"])
def test_which_search_finds_a_far_element_changes_nothing(preset, monkeypatch):
    maps = many_labels(5, 6, (30, 40, 35))
    maps = maps[0], np.roll(maps[1], (9, -11, 8), axis=(0, 1, 2))
    results = []
    for tiles in (plane_search._TILES_QUERY, 0.0, 1e9):
        monkeypatch.setattr(plane_search, "_TILES_QUERY", tiles)
        case = Case(*maps, labels=range(1, 7), spacing_mm=(0.9, 1.3, 2.0), preset=preset)
        found = [case.surfaces(label) for label in case.labels]
        results.append([(s.percentile(95), *s.means, *s.areas, *s.within(7.0)) for s in found])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)
    np.testing.assert_allclose(results[0], results[2], rtol=1e-12)


@pytest.mark.parametrize("preset", SURFACES.values())
def test_results_do_not_depend_on_the_number_of_threads(preset, monkeypatch):
    maps = many_labels(3, 9, (40, 90, 80))
    results = []
    for count in (1, 4):
        monkeypatch.setattr(threads, "count", lambda count=count: count)
        monkeypatch.setattr(threads, "_pool", None)
        case = Case(*maps, labels=range(10), spacing_mm=(1, 1, 2), preset=preset)
        results.append([case.surfaces(label) for label in case.labels])
    for one, many in zip(*results, strict=True):
        np.testing.assert_array_equal(one.reference_mm, many.reference_mm)
        np.testing.assert_array_equal(one.prediction_area, many.prediction_area)


def test_steps_are_sorted_and_cover_the_ball():
    near = near_steps((0.8, 1.0, 2.5))
    assert (np.diff(near.mm) >= 0).all()
    assert near.mm[0] == 0
    grid = np.indices((31, 31, 31)).reshape(3, -1).T - 15
    inside = np.linalg.norm(grid * (0.8, 1.0, 2.5), axis=1) <= near.mm[-1]
    assert inside.sum() == len(near.steps)
    flat = near_steps((math.inf, 1.0, 1.0))
    assert not flat.steps[:, 0].any()


def test_points_of_faces_are_the_middles_of_about_square_parts():
    near = near_faces((1.0, 1.0, 1.0), (4, 8))
    assert np.diff(near.first).tolist() == [16] * 3
    np.testing.assert_allclose(near.area, [1 / 16] * 48 + [1.0] * 3)  # and three whole faces
    near = near_faces((0.8, 0.8, 2.5), (4, 8))  # never more than 8 to a side
    assert np.diff(near.first).tolist() == [4 * 8, 4 * 8, 4 * 4]
    np.testing.assert_allclose(near.area[[0, 64, 80, 82]], [2 / 32, 0.64 / 16, 2.0, 0.64])


@pytest.mark.parametrize(("shift", "assd", "nsd"), [(5, 1.736111, 0.626667), (4, 1.368889, 0.66)])
def test_exact_is_near_the_closed_form_of_shifted_cubes(shift, assd, nsd):
    # m = min(t, a - t): (a²t + m(a - 2m)² + 2am² - 8m³/3 + 2at²) / 6a²; within τ: 4a(a - t + τ)
    # and a² - (a - 2τ)², over 6a²
    cube = np.zeros((40, 40, 40), dtype=bool)
    cube[5:25, 5:25, 5:25] = True
    found = surface_distances(cube, np.roll(cube, shift, axis=0), 1.0, preset="exact")
    assert np.mean(found.means) == pytest.approx(assd, abs=2e-4)
    assert sum(found.within(2.0)) / sum(found.areas) == pytest.approx(nsd, abs=1e-6)


def test_presets_are_named_by_themselves():
    assert all(name == preset.name for name, preset in PRESETS.items())
    with pytest.raises(ValueError, match=r"preset: expected one of deepmind, exact, .*got 'monay'"):
        surface_distances(np.ones((2, 2), bool), np.ones((2, 2), bool), 1.0, preset="monay")
