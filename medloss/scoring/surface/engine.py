"""From two label maps to the surface distances of all classes: one sweep each way.

No distance transform and no loop over classes. One map's surface is marked in a padded volume; each
element of the other one visits steps that are sorted by their physical length until it meets its
own class there. What is not found within some voxels, a false positive far away or a prediction
that is wrong altogether, is left to a search among tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.runtime import threads
from medloss.runtime.compiling import Loops
from medloss.scoring.maps import Box, LabelMaps
from medloss.scoring.presets import Preset
from medloss.scoring.surface.far_search import far_distances
from medloss.scoring.surface.grid import FAR, IGNORED, Frame, Sought, Spacing
from medloss.scoring.surface.surface_elements import Kind, make_kind

_loops = Loops("metrics")

Floats = NDArray[np.float64]
Keys = NDArray[np.int64]
Elements = tuple[Keys, NDArray[np.uint32]]
"""Key and place of each element, see :mod:`medloss.scoring.surface.surface_elements`."""
Directed = tuple[Floats, Floats]
"""Distances in mm in ascending order, and how much of the surface has each."""

_VOXELS_OF_A_TASK = 1 << 17
NOTHING: Directed = np.empty(0), np.empty(0)


def directed_distances(
    maps: LabelMaps, codes: Sequence[int], spacing: Spacing, preset: Preset
) -> dict[int, tuple[Directed, Directed]]:
    """Distances of each class from the reference's surface, and from the prediction's.

    Args:
        maps: reference and prediction.
        codes: the classes, as the maps encode them.
        spacing: size of a voxel in mm; infinite along the only slice of a 2D map.
        preset: what a surface is.

    Returns:
        For each code two pairs of distances and areas, sorted by distance.
    """
    if maps.box is None:
        return dict.fromkeys(codes, (NOTHING, NOTHING))
    sweep = _Sweep(maps, maps.box, make_kind(preset.surface, maps.box, spacing), codes)
    reference = sweep.search(maps.reference, maps.prediction)
    prediction = sweep.search(maps.prediction, maps.reference)
    del sweep.volume  # before the elements are sorted, which takes memory too
    sides = [
        _Side(reference, prediction, sweep, spacing),
        _Side(prediction, reference, sweep, spacing),
    ]
    # Between threads that have little to do, Python's lock changes hands slowly.
    run = partial(threads.run, elements=None if len(sweep.pieces) > 1 else 0)
    tables = run(2, lambda n: sides[n].near())

    def of_class(n: int) -> Directed:
        row, side = divmod(n, 2)
        return sides[side].distances(codes[row], tables[side][row])

    found = run(2 * len(codes), of_class)
    return {code: (found[2 * row], found[2 * row + 1]) for row, code in enumerate(codes)}


class _Sweep:
    """The box of two maps, one volume for both ways, and what the kernels need."""

    def __init__(self, maps: LabelMaps, box: Box, kind: Kind, codes: Sequence[int]) -> None:
        self.maps, self.box, self.kind, self.codes = maps, box, kind, codes
        labels = maps.reference
        self.volume = np.zeros(kind.shape, dtype=kind.dtype or labels.dtype)
        self.wanted = np.zeros(maps.many, dtype=np.bool_)
        self.wanted[list(codes)] = True
        # Codes share bits where there are more than eight.
        self.bits = np.zeros(maps.many, dtype=np.uint8)
        for n, code in enumerate(codes):
            self.bits[code] = 1 << (n % 8)
        self.outside = np.zeros(box[5], dtype=labels.dtype)
        self.outside.flags.writeable = False
        tasks = math.prod(box[3:]) // _VOXELS_OF_A_TASK + 1
        edges = np.linspace(0, kind.slices, min(tasks, kind.slices, 64) + 1).astype(int).tolist()
        self.pieces = list(pairwise(edges))

    def search(self, own: NDArray[Any], other: NDArray[Any]) -> list[Elements]:
        """Elements of the surface of one map, searched on the other's; piece by piece."""
        kind, maps = self.kind, self.maps
        frame = Frame(self.box, maps.flat, kind.pad, self.outside)
        many = len(self.pieces)
        threads.run(
            many, lambda n: kind.mark(other, frame, self.bits, *self.pieces[n], self.volume)
        )
        volume = self.volume.reshape(-1)
        sought = Sought(maps.ignored, self.wanted, self.bits, kind.shape, volume, kind.near)
        return threads.run(many, lambda n: kind.search(own, other, frame, sought, *self.pieces[n]))


class _Side:
    """Elements of one map, and all those of the other to measure the far ones to."""

    def __init__(
        self, own: list[Elements], other: list[Elements], sweep: _Sweep, spacing: Spacing
    ) -> None:
        self.kind, self.spacing, self.own = sweep.kind, spacing, own
        self.rows = np.full(sweep.maps.many, -1)
        self.rows[list(sweep.codes)] = np.arange(len(sweep.codes))
        self.far = _by_class(*_chosen(own, lambda keys: keys & FAR == FAR))
        self.targets: dict[int, Elements] = {}
        if self.far:
            meant = np.zeros(sweep.maps.many, dtype=np.bool_)
            meant[list(self.far)] = True
            self.targets = _by_class(*_chosen(other, lambda keys: meant[keys >> 32]))

    def near(self) -> Floats:
        """How much of the surface of each class has the distance of each bin."""
        table = np.zeros((int(self.rows.max()) + 1, len(self.kind.mm)))
        for keys, _ in self.own:
            _add(keys, self.rows, self.kind.area, table)
        return table

    def distances(self, code: int, near: Floats) -> Directed:
        """All distances of a class in ascending order, those of the near ones by their bins."""
        used = near.nonzero()[0]
        mm, area = self.kind.mm[used], near[used]
        if code in self.far:
            far_mm, far_area = self._far(code)
            mm, area = np.concatenate([mm, far_mm]), np.concatenate([area, far_area])
            order = mm.argsort(kind="stable")
            mm, area = mm[order], area[order]
        for array in (mm, area):
            array.flags.writeable = False  # shared by every metric of the case
        return mm, area

    def _far(self, code: int) -> Directed:
        kind = self.kind
        points, which = self._points(*self.far[code])
        area = kind.area[which]
        if code not in self.targets:
            return np.full(1, np.inf), area.sum(keepdims=True)
        keys, places = self.targets[code]
        if not kind.half.any():
            centres, _ = self._points(keys, places)
            return far_distances(points, centres, centres, self.spacing), area
        whole = kind.whole[keys >> 16 & FAR]
        centres, codes = self._points(keys[whole], places[whole])
        # From the middle of the face, not from one of its points.
        half = kind.half[:, codes]
        centres += np.where(half == 0, 0.5, 0) - kind.points[:, codes]
        return far_distances(points, centres - half, centres + half, self.spacing), area

    def _points(self, keys: Keys, places: NDArray[np.uint32]) -> tuple[Floats, Keys]:
        """Where the elements are, in voxels, and their codes."""
        codes = keys >> 16 & FAR
        where = np.empty((3, len(keys)))
        _locate(places, codes, self.kind.shape, self.kind.points, where)
        return where, codes


def _chosen(pieces: list[Elements], which: Callable[[Keys], NDArray[np.bool_]]) -> Elements:
    """Some elements of all pieces; the pieces are never joined, which would take them twice."""
    masks = [which(keys) for keys, _ in pieces]
    keys, places = (
        np.concatenate([piece[n][mask] for piece, mask in zip(pieces, masks, strict=True)])
        for n in (0, 1)
    )
    return keys, places


def _by_class(keys: Keys, places: NDArray[np.uint32]) -> dict[int, Elements]:
    """Keys and places of each class, in the order of the image."""
    if not len(keys):
        return {}
    classes = (keys >> 32).astype(np.uint16)  # numpy sorts small integers by their digits
    order = classes.argsort(kind="stable")
    ends = np.cumsum(np.bincount(classes))
    used = np.flatnonzero(np.diff(ends, prepend=0))
    starts = (0, *ends[used].tolist())
    return {
        int(c): (keys[order[first:last]], places[order[first:last]])
        for c, (first, last) in zip(used, pairwise(starts), strict=True)
    }


@_loops.kernel
def _add(keys: Any, rows: Any, area: Any, table: Any) -> None:
    for key in keys:
        if key & FAR < IGNORED:
            table[rows[key >> 32], key & FAR] += area[(key >> 16) & FAR]


@_loops.kernel
def _locate(places: Any, codes: Any, shape: Any, points: Any, where: Any) -> None:
    for n in range(places.size):
        row = places[n] // shape[2]
        where[0, n] = row // shape[1] + points[0, codes[n]]
        where[1, n] = row % shape[1] + points[1, codes[n]]
        where[2, n] = places[n] % shape[2] + points[2, codes[n]]
