"""Where the lesions of a class are: their centres, what is near them, surfaces of any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.objects.component_runs import Runs, component_runs
from medloss.scoring.maps import LabelMaps
from medloss.scoring.presets import find_preset
from medloss.scoring.surface.distances import SurfaceDistances
from medloss.scoring.surfaces import class_surfaces

Together = tuple[tuple[int, ...], tuple[int, ...]]
"""Lesions of the reference, and of the prediction, that are seen as one object each."""

_MOST_OBJECTS = 1024
"""Of one map, for which tables are kept."""


@dataclass(frozen=True, eq=False)
class Side:
    """The lesions of one mask.

    Args:
        runs: of the mask.
        number: of the lesion that each of them belongs to, -1 for none.
        ids: what each lesion is called.
        axes: of the mask.
    """

    runs: Runs
    number: NDArray[np.int32]
    ids: NDArray[np.int64]
    axes: int

    @property
    def count(self) -> int:
        """How many lesions there are."""
        return len(self.ids)

    def painted(self, codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """A map with the code, from 1, of each lesion; 0 for none."""
        code = np.append(codes, np.int32(0))[self.number] - np.int32(1)
        found: NDArray[np.int32] = self.runs.painted(code)[(0,) * (3 - self.axes)]
        return found

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row, among those along the last axis, and lesion of each run."""
        rows = np.repeat(np.arange(len(self.runs.first) - 1), np.diff(self.runs.first))
        return rows, self.number.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Parts:
    """What the lesions of a region are made of.

    Args:
        reference: label map.
        prediction: label map of the same shape.
        members: the labels that are parts.
    """

    reference: NDArray[Any]
    prediction: NDArray[Any]
    members: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LesionMaps:
    """Both masks of a class, lesion by lesion.

    Args:
        sides: the reference and the prediction.
        ignored: rows of voxels that do not count, or ``None``.
        spacing_mm: size of a voxel along each axis of the masks, if it is known.
        preset: definition of the surface metrics.
        origin: where the masks begin in the image, along each of their axes.
        turned: whether these are the axes of the image in reverse.
        whole: gives the distances between the surfaces of the whole masks, where they are known.
        parts: of which the lesions are made; ``None`` for a class without parts.
    """

    sides: tuple[Side, Side]
    ignored: NDArray[np.bool_] | None
    spacing_mm: Sequence[float] | None
    preset: str
    origin: tuple[int, ...]
    turned: bool
    whole: Callable[[], SurfaceDistances] | None = None
    parts: Parts | None = None

    def centres(self, side: int) -> NDArray[np.float64]:
        """Centre of mass of the voxels of each lesion that count, in the image; (lesions, axes)."""
        own = self.sides[side]
        runs, (row, lesion) = own.runs, own.places()
        begin, weight = runs.begin.astype(np.int64), (runs.end - runs.begin).astype(np.int64)
        z: NDArray[Any] = (begin + runs.end - 1) / 2
        if self.ignored is not None:  # voxel by voxel
            start = np.repeat(np.cumsum(weight) - weight - begin, weight)
            row, lesion = np.repeat(row, weight), np.repeat(lesion, weight)
            z = np.arange(len(row)) - start
            weight = (~self.ignored[row, z.astype(np.int64)]).astype(np.int64)
        weight = weight * (lesion >= 0)
        x, y = np.divmod(row, runs.shape[1])
        many = own.count + 1  # the last is none
        sums = [np.bincount(lesion % many, weight * axis, many)[:-1] for axis in (x, y, z)]
        voxels = np.bincount(lesion % many, weight, many)[:-1]
        centres = np.stack(sums, axis=1)[:, 3 - own.axes :] / voxels[:, None] + self.origin
        return centres[:, ::-1] if self.turned else centres

    def near(self, voxels: int, steps: int) -> NDArray[np.int64]:
        """Pairs in which the reference's lesion, grown by itself, meets that of the prediction.

        Args:
            voxels: how far it grows, across faces and edges.
            steps: along how many axes neighbouring voxels of a lesion differ.
        """
        own = self.sides[0]
        here, there = (
            side.painted(np.arange(1, side.count + 1, dtype=np.int32)) for side in self.sides
        )
        if self.ignored is not None:
            there = np.where(self.ignored.reshape(there.shape), 0, there)
        row, lesion = own.places()
        x, y = np.divmod(row, own.runs.shape[1])
        found: list[tuple[int, int]] = []
        real = lesion >= 0
        axes = [(x, x + 1), (y, y + 1), (own.runs.begin, own.runs.end)][3 - own.axes :]
        low, high = (np.zeros((own.count, own.axes), np.int64) for _ in "ab")
        low[:] = here.shape
        for axis, (first, end) in enumerate(axes):
            np.minimum.at(low[:, axis], lesion[real], first[real])
            np.maximum.at(high[:, axis], lesion[real], end[real])
        for n in range(own.count):
            box = tuple(
                slice(max(a - voxels, 0), b + voxels) for a, b in zip(low[n], high[n], strict=True)
            )
            grown = component_runs(here[box] == n + 1, steps).grown(voxels)
            met = np.unique(there[box][grown.reshape(there[box].shape)])
            found += [(n, int(p) - 1) for p in met if p]
        return np.array(found, np.int64).reshape(-1, 2)

    def part_iou(self, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean intersection over union of the parts that either lesion of a pair has.

        Without parts the lesion itself is the only one.

        Args:
            pairs: (pairs, 2), no lesion twice.
        """
        codes = [np.zeros(side.count, np.int32) for side in self.sides]
        for side in (0, 1):
            codes[side][pairs[:, side]] = np.arange(1, len(pairs) + 1)
        maps = [side.painted(code) for side, code in zip(self.sides, codes, strict=True)]
        given = maps if self.parts is None else [self.parts.reference, self.parts.prediction]
        members = np.array([0] if self.parts is None else sorted(self.parts.members))
        many = len(members)
        counts = True if self.ignored is None else ~self.ignored.reshape(maps[0].shape)
        # The pair and the part in one number; what is in no pair, or does not count, has 0.
        keys = []
        for pair, labels in zip(maps, given, strict=True):
            part = members.searchsorted(labels).clip(max=many - 1)
            key = (pair.astype(np.int64) - 1) * many + part + 1
            keys.append(np.where((pair > 0) & counts, key, 0))
        sums = (*keys, np.where(keys[0] == keys[1], keys[0], 0))
        size = len(pairs) * many + 1
        reference, prediction, both = (
            np.bincount(found.ravel(), minlength=size)[1:].reshape(-1, many) for found in sums
        )
        union = reference + prediction - both
        total = (both / np.maximum(union, 1)).sum(axis=1)
        mean: NDArray[np.float64] = total / (union > 0).sum(axis=1)
        return mean

    def surfaces(self, sets: Sequence[Together]) -> list[SurfaceDistances]:
        """Distances between the surfaces of some lesions of the reference and of the prediction.

        Those of one set are one object; where objects share no lesion, they are classes of one
        pair of maps, and all measured at once.

        Raises:
            ValueError: the size of a voxel is not known.
        """
        if self.spacing_mm is None:
            raise ValueError("spacing_mm: distances between lesions need the size of a voxel")
        find_preset(self.preset)
        everything = tuple(tuple(range(side.count)) for side in self.sides)
        if self.whole is not None and self.ignored is None and [*sets] == [everything]:
            return [self.whole()]
        found: dict[int, SurfaceDistances] = {}
        ignored = None
        if self.ignored is not None:
            shape = self.sides[0].runs.shape
            ignored = self.ignored.reshape(shape)[(0,) * (3 - self.sides[0].axes)]
        for layer in _layers(sets):
            codes = [np.zeros(side.count, np.int32) for side in self.sides]
            for code, place in enumerate(layer, start=1):
                for of_side, lesions in zip(codes, sets[place], strict=True):
                    of_side[list(lesions)] = code
            one, other = (
                _small(side.painted(each), len(layer))
                for side, each in zip(self.sides, codes, strict=True)
            )
            labels = range(1, len(layer) + 1)
            maps = LabelMaps(one, other, labels, ignored)
            measured = class_surfaces(maps, labels, self.spacing_mm, self.preset)
            found |= {place: measured[code] for code, place in enumerate(layer, start=1)}
        return [found[place] for place in range(len(sets))]


def _small(codes: NDArray[np.int32], largest: int) -> NDArray[Any]:
    return codes.astype(np.min_scalar_type(largest))


def _layers(sets: Sequence[Together]) -> list[list[int]]:
    """Places of sets, in groups within which none has a lesion of another."""
    layers: list[tuple[list[int], set[int], set[int]]] = []
    for place, (reference, prediction) in enumerate(sets):
        for members, one, other in layers:
            free = one.isdisjoint(reference) and other.isdisjoint(prediction)
            if free and len(members) < _MOST_OBJECTS:
                break
        else:
            members, one, other = [], set(), set()
            layers.append((members, one, other))
        members.append(place)
        one.update(reference)
        other.update(prediction)
    return [members for members, _, _ in layers]
