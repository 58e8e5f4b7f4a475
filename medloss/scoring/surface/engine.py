"""From two label maps to the surface distances of all classes: one sweep each way.

No map of distances, and no loop over classes for what is near. The surface of each map is listed
once. One map's list is written into a padded volume; each element of the other one visits steps
sorted by their physical length until it meets its own class there. What is not found within
some voxels, a false positive far away or a prediction that is wrong altogether, is left to a search
plane by plane or among tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medloss.runtime import threads
from medloss.runtime.compiling import Loops
from medloss.scoring.maps import Box, LabelMaps
from medloss.scoring.presets import Preset
from medloss.scoring.surface.far_search import far_distances
from medloss.scoring.surface.farthest import Peaks
from medloss.scoring.surface.grid import FAR, IGNORED, Frame, Sought, Spacing
from medloss.scoring.surface.plane_search import grid_distances
from medloss.scoring.surface.surface_elements import Kind, make_kind

_loops = Loops("metrics")

Floats = NDArray[np.float64]
Keys = NDArray[np.int64]
Elements = tuple[Keys, NDArray[np.uint32]]
"""Key and place of each element, see :mod:`medloss.scoring.surface.surface_elements`."""


class Directed(NamedTuple):
    """Distances of the elements of one surface to the other.

    Args:
        mm: in ascending order.
        area: how much of the surface has each.
        peaks: where the largest distance may lie, of a surface that has it between its elements.
    """

    mm: Floats
    area: Floats
    peaks: Peaks | None = None


_VOXELS_OF_A_TASK = 1 << 17
NOTHING = Directed(np.empty(0), np.empty(0))


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
    sweep = _Sweep(maps, maps.box, make_kind(preset, maps.box, spacing), codes)
    reference, prediction = sweep.both()
    del sweep.volume, sweep.sought  # before the elements are sorted, which takes memory too
    sides = [
        _Side(reference, prediction, sweep, spacing),
        _Side(prediction, reference, sweep, spacing),
    ]
    # Between threads that have little to do, Python's lock changes hands slowly.
    run = partial(threads.run, elements=None if len(sweep.pieces) > 1 else 0)
    run(2, lambda n: sides[n].sort())

    def of_class(n: int) -> Directed:
        row, side = divmod(n, 2)
        return sides[side].distances(row)

    found = run(2 * len(codes), of_class)
    if preset.surface == "faces" and preset.supremum:
        for side in range(2):
            found[side::2] = sides[side].with_peaks(found[side::2])
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
        outside = np.zeros(box[5], dtype=labels.dtype)
        outside.flags.writeable = False
        self.frame = Frame(box, maps.flat, kind.pad, outside, kind.corners)
        flat = self.volume.reshape(-1)
        self.sought = Sought(maps.ignored, self.wanted, self.bits, kind.shape, flat, kind.near)
        tasks = math.prod(box[3:]) // _VOXELS_OF_A_TASK + 1
        edges = np.linspace(0, kind.slices, min(tasks, kind.slices, 64) + 1).astype(int).tolist()
        self.pieces = list(pairwise(edges))

    def both(self) -> tuple[list[Elements], list[Elements]]:
        """Elements of each map's surface, searched on the other's; piece by piece."""
        maps = self.maps.reference, self.maps.prediction
        if self.kind.collect is None:
            return self._faces(*maps), self._faces(*maps[::-1])
        return self._points(*maps)

    def _faces(self, own: NDArray[Any], other: NDArray[Any]) -> list[Elements]:
        mark, search, frame = self.kind.mark, self.kind.search, self.frame
        self._run(lambda n: mark(other, frame, *self.pieces[n], self.volume))
        return self._run(lambda n: search(own, frame, self.sought, *self.pieces[n]))

    def _points(
        self, reference: NDArray[Any], prediction: NDArray[Any]
    ) -> tuple[list[Elements], list[Elements]]:
        one, other = self._collected(reference), self._collected(prediction)
        self._search(one, other, prediction)
        self._search(other, one, reference)
        return one, other

    def _collected(self, own: NDArray[Any]) -> list[Elements]:
        collect, frame, sought = self.kind.collect, self.frame, self.sought
        return self._run(lambda n: collect(own, frame, sought, *self.pieces[n]))

    def _search(self, own: list[Elements], targets: list[Elements], other: NDArray[Any]) -> None:
        """Write the bins of elements into their keys; the volume is left empty."""
        kind, frame, sought = self.kind, self.frame, self.sought
        self._run(lambda n: kind.mark(*targets[n], self.bits, sought.volume))
        self._run(lambda n: kind.search(*own[n], other, frame, sought))
        self._run(lambda n: _clear(targets[n][1], sought.volume))

    def _run(self, work: Callable[[int], Any]) -> list[Any]:
        return threads.run(len(self.pieces), work)


class _Side:
    """Elements of one map, and all those of the other to measure the far ones to."""

    def __init__(
        self, own: list[Elements], other: list[Elements], sweep: _Sweep, spacing: Spacing
    ) -> None:
        self.kind, self.spacing, self.own = sweep.kind, spacing, own
        self.rows = np.full(sweep.maps.many, -1)
        self.rows[list(sweep.codes)] = np.arange(len(sweep.codes))
        self.table = np.zeros((len(sweep.codes), len(self.kind.mm)))
        self.far: dict[int, Elements] = {}
        self.far_mm: dict[int, Floats] = {}
        self.shift = np.subtract(sweep.box[:3], sweep.kind.pad)[:, None]
        self.targets: dict[int, Elements] = {}
        self.other = other

    def sort(self) -> None:
        """Add up what is near, and take what is far, and what it looks for, class by class."""
        far = np.zeros(len(self.table), np.int64)
        for keys, _ in self.own:
            _add(keys, self.rows, self.kind.area, self.table, far)
        if far.any():
            self.far = _by_class(self.own, self.rows, far, True)
            targets = np.zeros(len(far), np.int64)
            meant = np.where(far[self.rows] > 0, self.rows, -1)
            meant[self.rows < 0] = -1
            for keys, _ in self.other:
                _count(keys, meant, targets)
            self.targets = _by_class(self.other, meant, targets, False)

    def distances(self, row: int) -> Directed:
        """All distances of a class in ascending order, those of the near ones by their bins."""
        used = self.table[row].nonzero()[0]
        mm, area = self.kind.mm[used], self.table[row, used]
        if row in self.far:
            far_mm, far_area = self._far(row)
            self.far_mm[row] = far_mm
            mm, area = np.concatenate([mm, far_mm]), np.concatenate([area, far_area])
            order = mm.argsort(kind="stable")
            mm, area = mm[order], area[order]
        for array in (mm, area):
            array.flags.writeable = False  # shared by every metric of the case
        return Directed(mm, area)

    def with_peaks(self, found: Sequence[Directed]) -> list[Directed]:
        """The distances of all classes with the elements around which the largest may lie."""
        limits = np.full(len(found), np.inf)
        for row, (mm, _, _) in enumerate(found):
            if len(mm) and 0 < mm[-1] < np.inf:
                limits[row] = mm[-1] - self.kind.reach_mm
        first = np.append(self.kind.mm.searchsorted(limits), FAR)[self.rows]  # of no row: the last
        pieces = []
        for own_keys, own_places in self.own:
            at = np.empty(_highest(own_keys, first, np.empty(0, np.int64)), np.int64)
            _highest(own_keys, first, at)
            pieces.append((own_keys[at], own_places[at]))
        keys, places = (np.concatenate(each) for each in zip(*pieces, strict=True))
        rows = self.rows[keys >> 32]
        order = np.argsort(rows, kind="stable")
        keys, places = keys[order], places[order]
        ends = np.bincount(rows, minlength=len(found)).cumsum()
        made = []
        for row, (mm, area, _) in enumerate(found):
            own = slice(ends[row - 1] if row else 0, ends[row])
            own_keys, own_places, own_mm = keys[own], places[own], self.kind.mm[keys[own] & FAR]
            if row in self.far_mm and limits[row] < np.inf:
                far = self.far_mm[row] >= limits[row]
                far_keys, far_places = (each[far] for each in self.far[row])
                own_keys = np.concatenate([own_keys, far_keys])
                own_places = np.concatenate([own_places, far_places])
                own_mm = np.concatenate([own_mm, self.far_mm[row][far]])
            points, codes = self._points(own_keys, own_places)
            made.append(Directed(mm, area, Peaks(points + self.shift, codes, own_mm)))
        return made

    def _far(self, row: int) -> tuple[Floats, Floats]:
        kind = self.kind
        keys, places = self.far[row]
        area = kind.area[keys >> 16 & FAR]
        if row not in self.targets:
            return np.full(1, np.inf), area.sum(keepdims=True)
        other_keys, other_places = self.targets[row]
        if kind.collect is not None:
            own, others = (_places(each, kind.shape) for each in (places, other_places))
            return grid_distances(own, others, self.spacing), area
        points, _ = self._points(keys, places)
        whole = kind.whole[other_keys >> 16 & FAR]
        centres, codes = self._points(other_keys[whole], other_places[whole])
        # From the middle of the face, not from one of its points.
        half = kind.half[:, codes]
        centres += np.where(half == 0, 0.5, 0) - kind.points[:, codes]
        return far_distances(points, centres - half, centres + half, self.spacing), area

    def _points(self, keys: Keys, places: NDArray[np.uint32]) -> tuple[Floats, Keys]:
        """Where the elements are, in voxels, and their codes."""
        codes = keys >> 16 & FAR
        return _places(places, self.kind.shape) + self.kind.points[:, codes], codes


def _by_class(
    pieces: list[Elements], rows: NDArray[np.int64], counts: NDArray[np.int64], far: bool
) -> dict[int, Elements]:
    """Keys and places of each row that has any, in the order of the image."""
    ends = np.cumsum(counts)
    keys, places = np.empty(ends[-1], np.int64), np.empty(ends[-1], np.uint32)
    starts = ends - counts
    for piece in pieces:
        _gather(*piece, rows, far, starts, keys, places)
    return {
        row: (keys[end - count : end], places[end - count : end])
        for row, (end, count) in enumerate(zip(ends.tolist(), counts.tolist(), strict=True))
        if count
    }


@_loops.kernel
def _highest(keys: Any, first: Any, out: Any) -> int:
    """Write where elements are near and their bin is not below the ``first`` of their class.

    Returns:
        How many there are; ``out`` takes what it has room for.
    """
    used = 0
    for n in range(keys.size):
        found = keys[n] & FAR
        if found >= first[keys[n] >> 32] and found < IGNORED:
            if used < out.size:
                out[used] = n
            used += 1
    return used


@_loops.kernel
def _clear(places: Any, volume: Any) -> None:
    for place in places:
        volume[place] = 0


@_loops.kernel
def _add(keys: Any, rows: Any, area: Any, table: Any, far: Any) -> None:
    """Add the area of near elements to their bins, and count those that are far."""
    for key in keys:
        if key & FAR < IGNORED:
            table[rows[key >> 32], key & FAR] += area[(key >> 16) & FAR]
        elif key & FAR == FAR:
            far[rows[key >> 32]] += 1


@_loops.kernel
def _count(keys: Any, rows: Any, counts: Any) -> None:
    for key in keys:
        if rows[key >> 32] >= 0:
            counts[rows[key >> 32]] += 1


@_loops.kernel
def _gather(
    keys: Any, places: Any, rows: Any, far: Any, ends: Any, out_keys: Any, out_places: Any
) -> None:
    """Move elements, or only the far ones, to the ``ends`` of their rows."""
    for n in range(keys.size):
        row = rows[keys[n] >> 32]
        if row >= 0 and (keys[n] & FAR == FAR or not far):
            out_keys[ends[row]], out_places[ends[row]] = keys[n], places[n]
            ends[row] += 1


def _places(places: NDArray[np.uint32], shape: tuple[int, int, int]) -> NDArray[np.int32]:
    """Coordinates of places in a volume, (3, n)."""
    where = np.empty((3, len(places)), np.int32)
    _locate(places, shape, where)
    return where


@_loops.kernel
def _locate(places: Any, shape: Any, where: Any) -> None:
    for n in range(places.size):
        row = places[n] // shape[2]
        where[0, n] = row // shape[1]
        where[1, n] = row % shape[1]
        where[2, n] = places[n] % shape[2]
