"""Surface elements of one class, as tensors: where they are, of what size, how far from the other.

As :mod:`medloss.scoring.surface` has them for the kinds ``voxels``, ``cells`` and ``faces``. Beyond
the box of a class there is nothing of it, so that a ring of 0 around the box stands for all that
lies outside.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.distance import distances
from medloss.scoring.presets import Surface
from medloss.scoring.surface.faces import face_points
from medloss.scoring.surfels import element_areas
from medloss.scoring.tensors.maps import Cut

Spacing = tuple[float, ...]


class Elements(NamedTuple):
    """Some elements of a surface: (n,) tensors of float64.

    Args:
        mm: distance to the other surface, infinite where there is none.
        area: of each.
    """

    mm: Tensor
    area: Tensor


Found = Iterator[Elements]
Finder = Callable[[Tensor, Tensor, Tensor | None, Spacing], Found]


def ringed(mask: Tensor) -> Tensor:
    """A mask within a ring of 0."""
    return F.pad(mask, [1, 1] * mask.ndim)


def border(mask: Tensor) -> Tensor:
    """Voxels of a mask that have a face neighbour outside of it."""
    padded, inner = ringed(mask), mask
    for axis in range(mask.ndim):
        middle = [slice(1, -1)] * mask.ndim
        for side in (slice(None, -2), slice(2, None)):
            middle[axis] = side
            inner = inner & padded[tuple(middle)]
    return mask & ~inner


def to_sites(sites: Tensor, spacing_mm: Spacing) -> Tensor:
    """Distance in mm from each place of a grid to the nearest site, float64."""
    return distances(sites[None, None], (spacing_mm,), inside=0, dtype=torch.float64)[0, 0]


def find_voxels(own: Tensor, other: Tensor, ignored: Tensor | None, spacing_mm: Spacing) -> Found:
    """Border voxels, each counting one; ``ignored`` is the box within a ring of its neighbours."""
    counted = border(own)
    if ignored is not None:
        touched = ignored[(slice(1, -1),) * own.ndim]
        for axis in range(own.ndim):
            middle = [slice(1, -1)] * own.ndim
            for side in (slice(None, -2), slice(2, None)):
                middle[axis] = side
                touched = touched | ignored[tuple(middle)]
        counted = counted & ~touched
    mm = to_sites(border(other), spacing_mm)[counted]
    yield Elements(mm, torch.ones_like(mm))


def cells(mask: Tensor) -> Tensor:
    """Which of the voxels around each corner are in the mask, as the bits of a byte."""
    padded = ringed(mask).to(torch.uint8)
    sides = itertools.product((slice(None, -1), slice(1, None)), repeat=mask.ndim)
    codes = [padded[side] << bit for bit, side in enumerate(sides)]
    return torch.stack(codes).sum(0, dtype=torch.uint8)


def find_cells(own: Tensor, other: Tensor, ignored: Tensor | None, spacing_mm: Spacing) -> Found:
    """Corners whose cell holds more than one kind of voxel, with the area of the surface there."""
    full = 2**2**own.ndim - 1
    codes, others = cells(own), cells(other)
    counted = (codes > 0) & (codes < full)
    if ignored is not None:
        pairs = (slice(None, -1), slice(1, None))
        for side in itertools.product(pairs, repeat=own.ndim):
            counted = counted & ~ignored[side]
    mm = to_sites((others > 0) & (others < full), spacing_mm)[counted]
    areas = torch.tensor(np.array(element_areas(spacing_mm)), device=own.device)
    yield Elements(mm, areas[codes[counted].long()])


def find_faces(own: Tensor, other: Tensor, ignored: Tensor | None, spacing_mm: Spacing) -> Found:
    """Points on the faces between voxels: their way to the nearest voxel of the other kind.

    A point of the face after a voxel is measured from that voxel, by a shift within it; its kind is
    what the other mask has there.
    """
    flat = (math.inf,) * (3 - own.ndim)
    points, areas, first = face_points((*flat, *spacing_mm))  # type: ignore[arg-type]
    own, other = ringed(own), ringed(other)[None, None]
    for axis in range(own.ndim):
        before, after = ([slice(None)] * own.ndim for _ in range(2))
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        at, beyond = tuple(before), tuple(after)
        counted = own[at] != own[beyond]
        if ignored is not None:
            counted = counted & ~(ignored[at] | ignored[beyond])
        number = axis + len(flat)
        for n in range(first[number], first[number + 1]):
            shift = points[n][len(flat) :].tolist()
            mm = distances(other, (spacing_mm,), radius=0.5, dtype=torch.float64, shift=shift)
            found = mm[0, 0][at][counted]
            yield Elements(found, torch.full_like(found, areas[n]))


FINDERS: dict[Surface, Finder] = {
    "voxels": find_voxels,
    "cells": find_cells,
    "faces": find_faces,
}


def around(whole: Tensor, cut: Cut) -> Tensor:
    """A box of a mask and its neighbours on all sides, 0 beyond the image."""
    inner = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in cut)
    pads: Sequence[int] = [
        pad
        for side, length in zip(reversed(cut), reversed(whole.shape), strict=True)
        for pad in (int(side.start == 0), int(side.stop == length))
    ]
    return F.pad(whole[inner], list(pads))
