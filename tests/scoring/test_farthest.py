"""The Hausdorff distance of two polyhedra of voxel faces, by closed forms and by dense points."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scoring.shapes import box

from medloss.scoring import PRESETS, Case, Preset, surface_distances
from medloss.scoring.surface.farthest import CLOSENESS
from medloss_boundary.metrics import (
    average_symmetric_surface_distance,
    hausdorff,
    hausdorff95,
    normalized_surface_dice,
)


def voxels(shape, *places):
    mask = np.zeros(shape, dtype=bool)
    for place in places:
        mask[place] = True
    return mask


CORNER = voxels((3, 3, 2), (0, 0, 0)), voxels((3, 3, 2), (0, 0, 0), (1, 1, 0))
SPECK = box((9, 9, 9), (2, 2, 2), (6, 6, 6)), box((9, 9, 9), (2, 2, 2), (6, 6, 6))
SPECK[1][8, 8, 8] = True
SPECK_FAR = SPECK[0], SPECK[0] | voxels((9, 9, 9), (8, 8, 8))


@pytest.mark.parametrize(
    ("masks", "spacing", "expected"),
    [
        (CORNER, (1.0, 1.0, 1.0), math.sqrt(2)),
        (CORNER, (5.0, 5.0, 1.0), 5 * math.sqrt(2)),
        ([m[:, :, 0] for m in CORNER], (1.0, 1.0), math.sqrt(2)),
        (SPECK, (1.0, 1.0, 1.0), math.sqrt(27)),
        (SPECK, (0.8, 0.8, 2.5), math.hypot(2.4, 2.4, 7.5)),
        ((SPECK[0], np.roll(SPECK[0], 1, axis=0)), (1.0, 1.0, 1.0), 1.0),
        ((SPECK[0], SPECK[0]), (1.0, 1.0, 1.0), 0.0),
    ],
)
def test_the_maximum_lies_at_a_corner(masks, spacing, expected):
    for device, order in itertools.product((None, "cpu"), "CF"):
        laid = [np.array(m, order=order) for m in masks]
        case = Case(*laid, labels=[1], spacing_mm=spacing, preset="exact", device=device)
        assert hausdorff(case.surfaces(1)) == pytest.approx(expected, rel=1e-12)
    found = surface_distances(*masks, spacing, preset="exact")
    assert found.percentile(100) == max(found.directed_percentiles(100))


THREE = box((12, 12, 8), (2, 0, 0), (4, 11, 6))
THREE |= box(THREE.shape, (7, 7, 0), (8, 8, 6)) | box(THREE.shape, (7, 3, 0), (8, 4, 6))
COLUMN = box(THREE.shape, (5, 5, 0), (6, 6, 6))


def directed(own, other, spacing, preset="exact", **options):
    case = Case(own, other, labels=[1], spacing_mm=spacing, preset=preset, **options)
    return case.surfaces(1).directed_percentiles(100)[0]


@pytest.mark.parametrize("device", [None, "cpu"])
def test_the_maximum_may_lie_inside_of_a_face(device):
    # between the slab and both columns, at (5.875, 5.5)
    found = directed(COLUMN, THREE, 1.0, device=device)
    assert 1.875 - CLOSENESS <= found <= 1.875 + 1e-12


@pytest.mark.parametrize(
    ("masks", "spacing", "expected"),
    [
        (CORNER, 1.0, {1: 1.1180, 2: 1.2500, 4: 1.3288, 8: 1.3707}),
        (CORNER, (5.0, 5.0, 1.0), {1: 5.5902, 2: 6.25, 4: 6.6438, 8: 6.8537}),
        (SPECK_FAR, 1.0, {1: 4.6368, 2: 4.9117, 4: 5.0528, 8: 5.1242}),
        (SPECK_FAR, (0.8, 0.8, 2.5), {1: 8.0156, 2: 8.1197, 4: 8.1750, 8: 8.2034}),
        ((SPECK[0], np.roll(SPECK[0], 1, axis=0)), 1.0, {1: 1, 2: 1, 4: 1, 8: 1}),
        ((COLUMN, THREE), 1.0, {1: 1.8028, 2: 1.75}),
    ],
)
def test_middles_of_parts_stay_below_the_maximum(monkeypatch, masks, spacing, expected):
    largest = directed(*masks, spacing)
    for k, value in expected.items():
        monkeypatch.setitem(PRESETS, "k", Preset("k", "faces", parts=(k, k), supremum=False))
        surfaces = surface_distances(*masks, spacing, preset="k")
        found = hausdorff(surfaces) if masks[0] is not COLUMN else surfaces.reference_mm[-1]
        assert found == pytest.approx(value, abs=5e-5)
        reach = math.hypot(*sorted(np.broadcast_to(spacing, 3))[1:]) / (2 * k)
        assert found <= max(largest, hausdorff(surface_distances(*masks, spacing, preset="exact")))
        assert largest - reach <= found + CLOSENESS


def test_parts_bound_the_percentile_the_mean_and_the_surface_dice():
    """Means are within half the diagonal of a part, NSD between those at τ less and τ more."""
    rng = np.random.default_rng(5)
    for spacing in ((1.0, 1.0, 1.0), (0.8, 0.8, 2.5), (0.7, 1.3)):
        masks = [rng.random((4, 3, 4)[: len(spacing)]) < 0.4 for _ in range(2)]
        truth = np.concatenate([np.array(points(*m, spacing)) for m in (masks, masks[::-1])], 1)
        for preset, (shortest, most) in {
            "exact": (4, 8),
            "exact_fine": (8, 8),
            "midpoints": (1, 4),
        }.items():
            found = surface_distances(*masks, spacing, preset=preset)
            sides = sorted(mm / min(most, round(shortest * mm / min(spacing))) for mm in spacing)
            reach = math.hypot(*sides[1:]) / 2 + 0.06  # of the dense points themselves
            mean = np.average(truth[0], weights=truth[1])
            assert abs(average_symmetric_surface_distance(found) - mean) < reach
            for tolerance_mm in (0.3, 0.6, 1.1):
                nsd = normalized_surface_dice(found, tolerance_mm=tolerance_mm)
                low, high = (
                    truth[1][truth[0] <= tolerance_mm + way].sum() / truth[1].sum()
                    for way in (-reach, reach)
                )
                assert low - 1e-9 <= nsd <= high + 1e-9
            each = [np.array(points(*m, spacing)) for m in (masks, masks[::-1])]
            p95 = max(percentile(*side, 0.95) for side in each)
            assert abs(hausdorff95(found) - p95) < reach


def percentile(mm, area, share):
    order = np.argsort(mm)
    reached = area[order].cumsum()
    return mm[order][np.searchsorted(reached, share * reached[-1] - 1e-9)]


def points(own, other, spacing, many=10):
    """Distances and areas of many points of each face, from rectangles one by one."""
    faces = np.array(list(rectangles(other))) * np.array(spacing)
    found, areas = [], []
    for low, high in rectangles(own):
        steps = [
            a + (b - a) * (np.arange(many) + 0.5) / many if b > a else np.array([a])
            for a, b in zip(low, high, strict=True)
        ]
        grid = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, own.ndim) * spacing
        gap = np.maximum(np.maximum(faces[:, 0, None] - grid, grid - faces[:, 1, None]), 0)
        found.append(np.sqrt((gap**2).sum(-1)).min(0))
        sides = [mm for a, b, mm in zip(low, high, spacing, strict=True) if b > a]
        areas.append(np.full(len(grid), math.prod(sides) / len(grid)))
    return np.concatenate(found), np.concatenate(areas)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.0, 2.5), (0.8, 1.3)])
def test_random_masks_by_dense_points(spacing):
    rng = np.random.default_rng(3)
    for _ in range(6):
        own, other = (rng.random((4,) * len(spacing)) < 0.2 for _ in range(2))
        own.flat[0] = other.flat[-1] = True
        found = directed(own, other, spacing)
        sampled, gap = dense(own, other, spacing)
        assert sampled - CLOSENESS * min(spacing) - 1e-9 <= found <= sampled + gap


def test_far_specks_at_every_edge_of_the_image():
    """Where the window of what may be nearest ends at the image, at the class or in between."""
    low, high = (12, 10, 8), (15, 13, 11)
    own = box((30, 24, 20), low, high)
    for corner in itertools.product((0, 29), (0, 23), (0, 19)):
        other = own.copy()
        other[corner] = True
        steps = [a if c == 0 else c + 1 - b for c, a, b in zip(corner, low, high, strict=True)]
        for order in "CF":
            laid = np.array(other, order=order), np.array(own, order=order)
            assert directed(*laid, (0.8, 1.0, 2.5)) == pytest.approx(
                math.hypot(*np.multiply(steps, (0.8, 1.0, 2.5))), rel=1e-9
            )


def dense(own, other, spacing, points=16):
    """Largest distance of many points of each face, and how far the maximum may be above it."""
    faces = list(rectangles(other))
    best = 0.0
    for low, high in rectangles(own):
        steps = [np.linspace(a, b, points if b > a else 1) for a, b in zip(low, high, strict=True)]
        grid = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 1, own.ndim)
        apart = [np.maximum(np.maximum(a - grid[:, 0], grid[:, 0] - b), 0) for a, b in faces]
        mm = np.sqrt(((np.array(apart) * spacing) ** 2).sum(-1)).min(0)
        best = max(best, float(mm.max()))
    return best, math.hypot(*spacing) / (points - 1)


def rectangles(mask):
    padded = np.pad(mask, 1)
    for axis in range(mask.ndim):
        first = padded.take(range(padded.shape[axis] - 1), axis)
        for place in np.argwhere(first != padded.take(range(1, padded.shape[axis]), axis)):
            low, high = place - 0.5, place + 0.5
            low[axis] = high[axis] = place[axis] + 0.5
            yield low, high


@pytest.mark.parametrize("device", [None, "cpu"])
def test_faces_beside_ignored_voxels_do_not_count(device):
    reference, prediction = box((14, 5), (1, 1), (5, 4)), box((14, 5), (1, 1), (11, 4))
    ignored = np.zeros_like(reference)
    for start, expected in ((14, 6.0), (11, 6.0), (8, 3.0)):
        # From 11 on it is the voxels beyond the last one of the prediction, whose faces go: what
        # is left of the long sides reaches as far. From 8 on the sides end where index 7 begins.
        ignored[start:] = True
        case = Case(
            reference,
            prediction,
            labels=[1],
            spacing_mm=1.0,
            preset="exact",
            ignored=ignored,
            device=device,
        )
        assert hausdorff(case.surfaces(1)) == pytest.approx(expected)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_surface_of_which_nothing_counts_leaves_the_other_exact(device):
    reference = voxels((9, 9), (1, 1), (2, 2))
    prediction = voxels((9, 9), (6, 6))
    around = voxels((9, 9), (5, 6), (7, 6), (6, 5), (6, 7))
    options = {"spacing_mm": 1.0, "preset": "exact", "ignored": around, "device": device}
    surfaces = Case(reference, prediction, labels=[1], **options).surfaces(1)
    far, none = surfaces.directed_percentiles(100)
    assert far == pytest.approx(math.hypot(5, 5), rel=1e-12)
    assert math.isnan(none)
    assert hausdorff(surfaces) == far
