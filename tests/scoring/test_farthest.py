"""The Hausdorff distance of two polyhedra of voxel faces, by closed forms and by dense points."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scoring.shapes import box

from medloss.scoring import Case, surface_distances
from medloss.scoring.surface.farthest import CLOSENESS, farthest_mm
from medloss_boundary.metrics import hausdorff


def voxels(shape, *places):
    mask = np.zeros(shape, dtype=bool)
    for place in places:
        mask[place] = True
    return mask


CORNER = voxels((3, 3, 2), (0, 0, 0)), voxels((3, 3, 2), (0, 0, 0), (1, 1, 0))
SPECK = box((9, 9, 9), (2, 2, 2), (6, 6, 6)), box((9, 9, 9), (2, 2, 2), (6, 6, 6))
SPECK[1][8, 8, 8] = True


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


def test_the_maximum_may_lie_inside_of_a_face():
    column = box((12, 12, 8), (5, 5, 0), (6, 6, 6))
    others = box(column.shape, (2, 0, 0), (4, 11, 6))
    others |= box(column.shape, (7, 7, 0), (8, 8, 6)) | box(column.shape, (7, 3, 0), (8, 4, 6))
    assert farthest_mm(column, others, None, (1.0, 1.0, 1.0)) == pytest.approx(1.875, abs=CLOSENESS)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.0, 2.5), (0.8, 1.3)])
def test_random_masks_by_dense_points(spacing):
    rng = np.random.default_rng(3)
    for _ in range(6):
        own, other = (rng.random((4,) * len(spacing)) < 0.2 for _ in range(2))
        own.flat[0] = other.flat[-1] = True
        found = farthest_mm(own, other, None, spacing)
        sampled, gap = dense(own, other, spacing)
        assert sampled - CLOSENESS * min(spacing) - 1e-9 <= found <= sampled + gap


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
