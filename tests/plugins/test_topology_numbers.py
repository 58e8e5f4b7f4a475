"""Errors of Betti and Euler numbers: worked values, both connectivities, patches, what is refused.

Boxes are half-open ranges along each axis; values were worked out by hand and by mod-2 homology.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

import medloss
from medloss.offers.host import host
from medloss.scoring import Case, score
from medloss.scoring.topology import betti_numbers, euler_number

Mask = NDArray[np.bool_]


def boxes(*given: tuple[int, ...], shape: tuple[int, ...] = (12, 12, 12)) -> Mask:
    """Boxes (a, b, c, d, e, f): from a to b along the first axis, and so on."""
    mask = np.zeros(shape, dtype=bool)
    for a, b, c, d, e, f in given:
        mask[a:b, c:d, e:f] = True
    return mask


def without(mask: Mask, *given: tuple[int, ...]) -> Mask:
    """A mask with boxes taken out."""
    return mask & ~boxes(*given, shape=mask.shape)


def value(name: str, reference: Mask, prediction: Mask, **options: object) -> float:
    metric = host().metrics.find(name)
    case = Case(reference, prediction, labels=[1])
    return score(metric.load(), metric.record, case, 1, **options).value


S = boxes((2, 9, 2, 9, 2, 9))
RING = without(boxes((2, 9, 2, 9, 5, 6)), (4, 7, 4, 7, 5, 6))
SMALL = boxes((2, 5, 2, 5, 2, 5))
WORKED = {
    "a cut ring": (
        without(RING, (5, 6, 2, 4, 5, 6)),
        RING,
        (1, 0, 0),
        (1, 1, 0),
        0,
    ),
    "a cavity elsewhere": (
        without(S, (3, 4, 3, 4, 3, 4)),
        without(S, (5, 6, 5, 6, 5, 6)),
        (1, 0, 1),
        (1, 0, 1),
        0,
    ),
    "a tunnel elsewhere": (
        without(S, (3, 4, 3, 4, 2, 9)),
        without(S, (5, 6, 5, 6, 2, 9)),
        (1, 1, 0),
        (1, 1, 0),
        0,
    ),
    "one of two objects elsewhere": (
        boxes((2, 5, 2, 5, 2, 5), (7, 10, 2, 5, 2, 5)),
        boxes((2, 5, 2, 5, 2, 5), (7, 10, 7, 10, 7, 10)),
        (2, 0, 0),
        (2, 0, 0),
        2,
    ),
    "an object elsewhere": (boxes((7, 10, 7, 10, 7, 10)), SMALL, (1, 0, 0), (1, 0, 0), 2),
    "a missed object": (boxes(), SMALL, (0, 0, 0), (1, 0, 0), 1),
    "a spurious object": (SMALL, boxes(), (1, 0, 0), (0, 0, 0), 1),
    "nothing": (boxes(), boxes(), (0, 0, 0), (0, 0, 0), 0),
    "a pit": (
        boxes((0, 5, 0, 5, 0, 5), shape=(5, 5, 5)),
        without(boxes((0, 5, 0, 5, 0, 5), shape=(5, 5, 5)), (2, 3, 2, 3, 0, 1)),
        (1, 0, 0),
        (1, 0, 0),
        0,
    ),
    "a tunnel to the edges": (
        boxes((0, 5, 0, 5, 0, 5), shape=(5, 5, 5)),
        without(boxes((0, 5, 0, 5, 0, 5), shape=(5, 5, 5)), (2, 3, 2, 3, 0, 5)),
        (1, 0, 0),
        (1, 1, 0),
        0,
    ),
}


@pytest.mark.parametrize("name", WORKED)
def test_worked_values(name: str) -> None:
    prediction, reference, p, r, unmatched = WORKED[name]
    errors = [abs(one - other) for one, other in zip(p, r, strict=True)]
    for dimension, error in enumerate(errors):
        assert value("betti_error", reference, prediction, dimension=dimension) == error
    assert value("betti_error", reference, prediction) == sum(errors)
    chi = (p[0] - p[1] + p[2]) - (r[0] - r[1] + r[2])
    assert value("euler_error", reference, prediction) == abs(chi)
    assert value("component_match_error", reference, prediction) == unmatched


def test_connectivity_decides() -> None:
    diagonal = boxes((3, 4, 3, 4, 3, 4), (4, 5, 4, 5, 4, 5))
    assert betti_numbers(diagonal, 3) == (1, 0, 0)
    assert betti_numbers(diagonal, 1) == (2, 0, 0)
    assert value("betti_error", diagonal, diagonal, of_reference=True) == 1
    assert value("euler_error", diagonal, boxes(), of_reference=True) == 1
    cross = np.array(  # TopCoW's
        [
            [[0, 0], [0, 1], [1, 1], [0, 0]],
            [[1, 1], [1, 0], [0, 0], [1, 1]],
            [[0, 0], [0, 1], [1, 1], [0, 0]],
        ],
        dtype=bool,
    )
    assert (betti_numbers(cross, 3), betti_numbers(cross, 1)) == ((1, 1, 0), (4, 0, 0))
    plane = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=bool)
    assert (betti_numbers(plane, 3), betti_numbers(plane, 1)) == ((1, 1, 0), (4, 0, 0))
    bars = boxes((1, 5, 3, 4, 3, 4)), boxes((5, 9, 3, 4, 3, 4))
    assert value("component_match_error", *bars) == 0  # they touch


def test_counts_are_those_of_other_libraries() -> None:
    """Objects and cavities by scipy's labels; the Euler number cell by cell."""
    draw = np.random.default_rng(7)
    for n in range(60):
        mask = draw.random(draw.integers(1, 8, size=2 + n % 2)) < draw.random()
        if n % 7 == 0:
            mask = draw.random((3, 4, 150)) < 0.7  # more than two words
        every = np.ones((3,) * mask.ndim)
        faces = ndimage.generate_binary_structure(mask.ndim, 1)
        for steps, own, other in ((3, every, faces), (1, faces, every)):
            objects = ndimage.label(mask, own)[1]
            around = ndimage.label(~np.pad(mask, 1), other)[1] - 1
            chi = _cell_by_cell(mask, closed=steps == 3)
            assert euler_number(mask, steps) == chi
            cavities = around if mask.ndim == 3 else 0
            assert betti_numbers(mask, steps) == (objects, objects + cavities - chi, cavities)


def _cell_by_cell(mask: Mask, *, closed: bool) -> int:
    """Vertices - edges + faces - voxels; or of the voxels' centres, as far as all are there."""
    padded, total = np.pad(mask, 1), 0
    for kind in np.ndindex(*(2,) * mask.ndim):  # along which axes a cell lies between voxels
        cell = padded
        for axis, between in enumerate(kind):
            here, there = (np.roll(cell, shift, axis) for shift in (0, 1))
            if between:
                cell = here | there if closed else here & there
        sign = (mask.ndim - sum(kind)) if closed else sum(kind)
        total += (-1) ** sign * int(np.count_nonzero(cell))
    return total


def test_patches_are_another_metric() -> None:
    bar = boxes((1, 3, 1, 3, 0, 24), shape=(4, 4, 24))
    inside, seam = without(bar, (0, 4, 0, 4, 5, 6)), without(bar, (0, 4, 0, 4, 7, 9))
    each = {"patch_voxels": (4, 4, 8), "stride_voxels": (4, 4, 8)}
    for cut, by_patch in ((inside, 1), (seam, 0)):
        assert value("betti_error", bar, cut, dimension=0) == 1
        for order in "CF":
            one, other = (np.array(mask, order=order) for mask in (bar, cut))
            assert value("betti_error", one, other, dimension=0, **each) == by_patch
    ring = without(boxes((2, 22, 2, 22, 1, 2), shape=(24, 24, 3)), (4, 20, 4, 20, 1, 2))
    cut = without(ring, (2, 4, 10, 12, 1, 2))
    each = {"patch_voxels": (12, 12, 3), "stride_voxels": (12, 12, 3)}
    assert value("betti_error", ring, cut, dimension=1) == 1
    assert value("betti_error", ring, cut, dimension=1, **each) == 0
    # Half a patch further each: the gap in the seam is inside of one of them.
    assert value("betti_error", bar, seam, patch_voxels=8, stride_voxels=4) == 1
    assert value("euler_error", bar, seam, patch_voxels=100, stride_voxels=100) == 1
    assert value("euler_error", bar[..., :1], bar[..., :1], patch_voxels=3, stride_voxels=2) == 0


def test_ignored_voxels_are_in_neither_mask() -> None:
    two = boxes((2, 5, 2, 5, 2, 5), (7, 10, 7, 10, 7, 10))
    ignored = np.zeros_like(two)
    ignored[6:] = True
    metric = host().metrics.find("betti_error")
    for prediction in (two, SMALL, two | ignored):
        case = Case(SMALL, prediction, labels=[1], ignored=ignored)
        assert score(metric.load(), metric.record, case, 1).value == 0


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"dimension": 3}, "dimension"),
        ({"dimension": True}, "dimension"),
        ({"connectivity": "edges"}, "connectivity"),
        ({"patch_voxels": 8}, "stride_voxels"),
        ({"stride_voxels": 8}, "patch_voxels"),
        ({"patch_voxels": (8, 8), "stride_voxels": 4}, "patch_voxels"),
        ({"patch_voxels": 4, "stride_voxels": 5}, "leave voxels out"),
        ({"patch_voxels": 0, "stride_voxels": 0}, "patch_voxels"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        value("betti_error", S, S, **options)


def test_given_objects_have_no_topology() -> None:
    objects = SMALL.astype(np.uint8)
    case = Case(SMALL, SMALL, labels=[1], objects=(objects, objects))
    with pytest.raises(ValueError, match="--instances"):
        case.topology(1)


def test_monai_form_takes_batches_of_both_numbers_of_axes() -> None:
    import torch

    metric = medloss.metric("betti_error", include_background=True, dimension=1)
    volumes = [torch.from_numpy(np.stack([m, m])[:, None]) for m in (RING, S)]
    assert metric(volumes[1], volumes[0]).tolist() == [[1.0], [1.0]]
    planes = [volume[..., 5] for volume in volumes]
    assert metric(planes[1], planes[0]).tolist() == [[1.0], [1.0]]
