"""Kinds of surface elements, made one thing for the engine.

Each element has a key, ``class << 32 | code << 16 | bin of the distance``, and a place in a volume
that is padded on each side. Voxels and cells are points of a grid, with these kernels:

``collect(labels, frame, sought, first, last)``
    keys and places of the surface in the slices ``first`` to ``last`` of a box, in the order of the
    image; the bin is 0 or that of what does not count.
``mark(keys, places, bits, volume)``
    writes such elements into the volume.
``search(keys, places, other, frame, sought)``
    writes the bin into the key of each element: that of the nearest one of the same class in the
    volume, which was marked from the ``other`` map.

Faces are cut into points when it is known what the other map has there:

``mark(labels, frame, first, last, volume)``
    copies some slices into the volume.
``search(labels, frame, sought, first, last)``
    keys and places of the elements of ``labels``, with their bins.

See :class:`medloss.scoring.surface.grid.Frame` and :class:`medloss.scoring.surface.grid.Sought`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.scoring.maps import Box
from medloss.scoring.presets import Preset, Surface
from medloss.scoring.surface import cells, faces, voxels
from medloss.scoring.surface.faces import Parts, face_parts, near_faces
from medloss.scoring.surface.grid import Spacing, linear, near_steps
from medloss.scoring.surfels import element_areas

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Kind:
    """Surface elements of a kind on the grid of a box.

    Args:
        collect: kernel, or ``None`` for faces.
        mark: kernel.
        search: kernel.
        slices: how many there are along the first axis.
        pad: margin of the volume, along each axis.
        shape: of the volume.
        dtype: of the volume; ``None`` for that of the labels.
        near: what the search kernel takes.
        mm: distance of each bin.
        area: of each code.
        points: (3, codes) where an element of each code is, from its place, in voxels.
        half: (3, codes) half the size of the element that a code is a point of.
        whole: the codes that stand for a whole element.
        corners: whether a neighbour across an edge or a corner makes a voxel surface.
        reach_mm: from the middle of an element to its farthest point.
    """

    collect: Any
    mark: Any
    search: Any
    slices: int
    pad: tuple[int, int, int]
    shape: tuple[int, int, int]
    dtype: Any
    near: tuple[Any, ...]
    mm: Floats
    area: Floats
    points: Floats
    half: Floats
    whole: NDArray[np.bool_]
    corners: bool = False
    reach_mm: float = 0.0


def make_kind(preset: Preset, box: Box, spacing: Spacing) -> Kind:
    """The kind that a preset names, on the grid of a box of voxels."""
    if preset.surface == "faces":
        return _faces(box, spacing, preset.parts)
    return _grid(preset.surface, box, spacing)


def _grid(surface: Surface, box: Box, spacing: Spacing) -> Kind:
    flat = math.isinf(spacing[0])
    near = near_steps(spacing)
    module, extra = (cells, 1) if surface == "cells" else (voxels, 0)
    elements = [n + extra for n in box[3:]]
    if flat:
        elements[0] = 1
    a, b, c = (n + 2 * p for n, p in zip(elements, near.pad, strict=True))
    rest = near.steps, near.mm, near.start_at, near.per_mm, spacing[2]
    area = _cell_areas(spacing) if surface == "cells" else np.ones(1)
    nowhere = np.zeros((3, len(area)))
    offsets = linear(near.steps, (a, b, c))
    return Kind(
        collect=module.collect,
        mark=module.mark,
        search=module.search,
        slices=elements[0],
        pad=near.pad,
        shape=(a, b, c),
        dtype=np.uint8 if surface == "cells" else None,
        near=(offsets, *rest),
        mm=near.mm,
        area=area,
        points=nowhere,
        half=nowhere,
        whole=np.ones(len(area), dtype=bool),
        corners=surface == "outlines",
    )


def _cell_areas(spacing: Spacing) -> Floats:
    """Area by code; in a 2D map both halves of a code are that of the square."""
    if math.isfinite(spacing[0]):
        return element_areas(spacing)
    return np.tile(element_areas(spacing[1:]), 16)


def _faces(box: Box, spacing: Spacing, parts: Parts) -> Kind:
    near = near_faces(spacing, parts)
    a, b, c = (p + 1 for p in near.pad)
    shape = (box[3] + 2 * a, box[4] + 2 * b, box[5] + 2 * c)
    offsets = np.stack([linear(steps, shape) for steps in near.steps])
    whole = np.zeros(len(near.points), dtype=bool)
    whole[near.first[:-1][np.diff(near.first) > 0]] = True
    whole[near.first[3] :] = True
    half = np.full((3, len(near.points)), 0.5)
    for axis in range(3):
        half[axis, near.first[axis] : near.first[axis + 1]] = 0
        half[axis, near.first[3] + axis] = 0
    return Kind(
        collect=None,
        mark=faces.mark,
        search=faces.search,
        slices=box[3] + 1,
        pad=(a, b, c),
        shape=shape,
        dtype=None,
        near=(offsets, near.bins, near.first),
        mm=near.mm,
        area=near.area,
        points=near.points.T,
        half=half,
        whole=whole,
        reach_mm=float(face_parts(spacing, parts).reach_mm.max()),
    )
