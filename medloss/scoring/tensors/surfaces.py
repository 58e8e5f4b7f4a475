"""From two label maps on a device to the surface distances and boundary bands of each class.

Surface elements are as :mod:`medloss.scoring.surface` has them for the kinds ``voxels``,
``outlines``, ``cells`` and ``faces``. Beyond the box of a class there is nothing of it, so that a
ring of 0 around the box stands for all that lies outside.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from medloss.distance import distances
from medloss.objects.spacing import below, within
from medloss.scoring.facts import Counts
from medloss.scoring.presets import Preset, Surface
from medloss.scoring.surface.engine import NOTHING, Directed
from medloss.scoring.surface.faces import FaceParts, face_parts
from medloss.scoring.surface.farthest import Peaks
from medloss.scoring.surfels import element_areas
from medloss.scoring.tensors.maps import Cut, TensorMaps

Spacing = tuple[float, ...]


def tensor_distances(
    maps: TensorMaps, codes: Sequence[int], spacing_mm: Spacing, preset: Preset
) -> dict[int, tuple[Directed, Directed]]:
    """As :func:`medloss.scoring.surface.engine.directed_distances`.

    A class takes a distance transform in its box each way (of ``faces``, one for each point of a
    face); what comes to the host is the distances of the surface elements.
    """
    find, found = FINDERS[preset.surface], {}
    for code in codes:
        masks = maps.masks(code)
        if masks is None:
            found[code] = NOTHING, NOTHING
            continue
        ignored = None if maps.ignored is None else around(maps.ignored, masks.cut)
        directed = []
        for own, other in (masks[:2], masks[1::-1]):
            parts = [*find(own, other, ignored, spacing_mm, preset)]
            each = _sorted(parts)
            if preset.surface == "faces" and preset.supremum:
                each = each._replace(peaks=_peaks(each.mm, parts, masks.cut, spacing_mm, preset))
            directed.append(each)
        found[code] = directed[0], directed[1]
    return found


def _sorted(parts: Sequence[Elements]) -> Directed:
    """Distances in ascending order, each once, with the area of all elements that have it."""
    mm, order = torch.cat([part.mm for part in parts]).sort(stable=True)
    area = torch.cat([part.area for part in parts])[order].cpu().numpy()
    if not len(area):
        return NOTHING
    values = mm.cpu().numpy()
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    found = Directed(values[starts], np.add.reduceat(area, starts))
    for array in found[:2]:
        array.flags.writeable = False  # shared by every metric of the case
    return found


def _peaks(
    mm: NDArray[np.float64], parts: Sequence[Elements], cut: Cut, spacing: Spacing, preset: Preset
) -> Peaks | None:
    """The points of faces around which the largest distance may lie, on the host."""
    if not len(mm) or not 0 < mm[-1] < math.inf:
        return None
    faces = _cut(spacing, preset)
    chosen = [part.mm >= mm[-1] - faces.reach_mm.max() for part in parts]
    at = [(part.at[some] - 1).cpu().numpy() for part, some in zip(parts, chosen, strict=True)]
    codes = np.repeat(np.arange(len(at)), [len(each) for each in at])
    flat = np.zeros((len(codes), 3 - len(cut)))
    places = np.concatenate([flat, np.concatenate(at) + [side.start for side in cut]], axis=1)
    found = torch.cat([part.mm[some] for part, some in zip(parts, chosen, strict=True)])
    return Peaks((places + faces.points[codes]).T.copy(), codes, found.cpu().numpy())


def _cut(spacing: Spacing, preset: Preset) -> FaceParts:
    a, b, c = (*(math.inf,) * (3 - len(spacing)), *spacing)
    return face_parts((a, b, c), preset.parts)


class TensorBands:
    """As :class:`medloss.scoring.surface.bands.Bands`; each class and width is computed once.

    Args:
        maps: reference and prediction.
        spacing_mm: size of a voxel.
        below: whether the band ends before its width, or includes it.
    """

    def __init__(self, maps: TensorMaps, spacing_mm: Spacing, *, below: bool) -> None:
        self._maps, self._spacing_mm, self._below = maps, spacing_mm, below
        self._found: dict[tuple[int, float], NDArray[np.int64]] = {}

    def counts(self, code: int, width_mm: float) -> Counts:
        """Voxels of a class that lie in both bands, in the prediction's or the reference's only."""
        if (code, width_mm) not in self._found:
            self._found[code, width_mm] = self._count(code, width_mm)
        return Counts.of(self._found[code, width_mm], self._maps.voxels)

    def _count(self, code: int, width_mm: float) -> NDArray[np.int64]:
        masks = self._maps.masks(code)
        if masks is None:
            return np.zeros(3, dtype=np.int64)
        bands = []
        for mask in (masks.reference, masks.prediction):
            mm = to_sites(border(mask), self._spacing_mm)
            near = below(mm, width_mm) if self._below else within(mm, width_mm)
            bands.append(mask & (near | (mm == 0)))  # a border voxel is in its band
        if self._maps.ignored is not None:
            bands = [band & ~self._maps.ignored[masks.cut] for band in bands]
        each = (bands[0], bands[1], bands[0] & bands[1])
        return torch.stack([band.count_nonzero() for band in each]).cpu().numpy()


class Elements(NamedTuple):
    """Some elements of a surface: (n,) tensors of float64.

    Args:
        mm: distance to the other surface, infinite where there is none.
        area: of each.
        at: (n, axes) the voxel before each face, in the box within a ring; of faces only.
    """

    mm: Tensor
    area: Tensor
    at: Tensor


Found = Iterator[Elements]
Finder = Callable[[Tensor, Tensor, Tensor | None, Spacing, Preset], Found]


def ringed(mask: Tensor) -> Tensor:
    """A mask within a ring of 0."""
    return F.pad(mask, [1, 1] * mask.ndim)


def border(mask: Tensor) -> Tensor:
    """Voxels of a mask that have a face neighbour outside of it."""
    inner = mask
    for neighbour in _beside(ringed(mask)):
        inner = inner & neighbour
    return mask & ~inner


def outline(mask: Tensor) -> Tensor:
    """Voxels of a mask that have any neighbour outside of it, across edges and corners too."""
    inner = mask
    for neighbour in _around(ringed(mask)):
        inner = inner & neighbour
    return mask & ~inner


def _around(ring: Tensor) -> Iterator[Tensor]:
    """What is beside the voxels of a box, across corners too, which is given within a ring."""
    sides = (slice(None, -2), slice(1, -1), slice(2, None))
    for place in itertools.product(sides, repeat=ring.ndim):
        yield ring[place]


def _beside(ring: Tensor) -> Iterator[Tensor]:
    """What is across each face of the voxels of a box, which is given within a ring."""
    middle = [slice(1, -1)] * ring.ndim
    for axis in range(ring.ndim):
        for side in (slice(None, -2), slice(2, None)):
            yield ring[(*middle[:axis], side, *middle[axis + 1 :])]


def to_sites(sites: Tensor, spacing_mm: Spacing) -> Tensor:
    """Distance in mm from each place of a grid to the nearest site, float64."""
    return distances(sites[None, None], (spacing_mm,), inside=0, dtype=torch.float64)[0, 0]


def find_voxels(
    own: Tensor, other: Tensor, ignored: Tensor | None, spacing_mm: Spacing, preset: Preset
) -> Found:
    """Border voxels, each counting one; ``ignored`` is the box within a ring of its neighbours."""
    counted = border(own)
    if ignored is not None:
        touched = ignored[(slice(1, -1),) * own.ndim]
        for neighbour in _beside(ignored):
            touched = touched | neighbour
        counted = counted & ~touched
    mm = to_sites(border(other), spacing_mm)[counted]
    yield Elements(mm, torch.ones_like(mm), mm[:0])


def find_outlines(
    own: Tensor, other: Tensor, ignored: Tensor | None, spacing_mm: Spacing, preset: Preset
) -> Found:
    """As :func:`find_voxels`, of neighbours across edges and corners too."""
    counted = outline(own)
    for touched in () if ignored is None else _around(ignored):
        counted = counted & ~touched
    mm = to_sites(outline(other), spacing_mm)[counted]
    yield Elements(mm, torch.ones_like(mm), mm[:0])


def cells(mask: Tensor) -> Tensor:
    """Which of the voxels around each corner are in the mask, as the bits of a byte."""
    padded = ringed(mask).to(torch.uint8)
    sides = itertools.product((slice(None, -1), slice(1, None)), repeat=mask.ndim)
    codes = [padded[side] << bit for bit, side in enumerate(sides)]
    return torch.stack(codes).sum(0, dtype=torch.uint8)


def find_cells(
    own: Tensor, other: Tensor, ignored: Tensor | None, spacing_mm: Spacing, preset: Preset
) -> Found:
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
    yield Elements(mm, areas[codes[counted].long()], mm[:0])


def find_faces(
    own: Tensor, other: Tensor, ignored: Tensor | None, spacing_mm: Spacing, preset: Preset
) -> Found:
    """Points on the faces between voxels: their way to the nearest voxel of the other kind.

    A point of the face after a voxel is measured from that voxel, by a shift within it; its kind is
    what the other mask has there.
    """
    flat = 3 - own.ndim
    faces = _cut(spacing_mm, preset)
    own, other = ringed(own), ringed(other)[None, None]
    for axis in range(own.ndim):
        before, after = ([slice(None)] * own.ndim for _ in range(2))
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        at, beyond = tuple(before), tuple(after)
        counted = own[at] != own[beyond]
        if ignored is not None:
            counted = counted & ~(ignored[at] | ignored[beyond])
        where = counted.nonzero()
        number = axis + flat
        for n in range(*faces.first[number : number + 2]):
            shift = faces.points[n][flat:].tolist()
            mm = distances(other, (spacing_mm,), radius=0.5, dtype=torch.float64, shift=shift)
            found = mm[0, 0][at][counted]
            yield Elements(found, torch.full_like(found, faces.area[n]), where)


FINDERS: dict[Surface, Finder] = {
    "voxels": find_voxels,
    "outlines": find_outlines,
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
