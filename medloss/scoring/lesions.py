"""The lesions of a class: connected components of both masks, how large they are, which meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medloss.objects.component_runs import Runs, as_rows, component_runs, object_runs, voxels_of
from medloss.runtime.compiling import Loops
from medloss.scoring.lesion_maps import LesionMaps, Parts, Side, Together
from medloss.scoring.surface.distances import SurfaceDistances

_loops = Loops("metrics")

Numbers = NDArray[np.int32]
Mask = NDArray[np.bool_]
Pairs = NDArray[np.int64]
"""(pairs, 2): number of an object of the reference, and of one of the prediction, from 0."""

_NONE = np.empty((0, 0), np.bool_)

Connectivity = Literal["faces", "edges", "corners"]
"""Across what voxels are neighbours: 6, 18 or 26 of them, in a single slice 4, 8 or 8."""


@dataclass(frozen=True, eq=False)
class Lesions:
    """The lesions of a class in one case, numbered from 0 on both sides.

    Args:
        reference_voxels: voxels of each lesion of the reference.
        prediction_voxels: voxels of each lesion of the prediction.
        pairs: (pairs, 2), every lesion of the reference with every one of the prediction that it
            meets, in order.
        shared_voxels: of each of these pairs; 0 where they only meet within a dilation.
        voxel_mm3: volume of a voxel, in 2D its area in mm²; ``None`` if it is not known.
        find_centres: the pairs in which the centre of the prediction lies in the reference.
        connectivity: by which they were found.
        maps: where they are.
        worst_mm: what a distance counts that cannot be measured; ``None`` if it is not known.
    """

    reference_voxels: NDArray[np.int64]
    prediction_voxels: NDArray[np.int64]
    pairs: Pairs
    shared_voxels: NDArray[np.int64]
    voxel_mm3: float | None = None
    find_centres: Callable[[], Pairs] | None = field(default=None, repr=False)
    connectivity: Connectivity = "corners"
    maps: LesionMaps | None = field(default=None, repr=False)
    worst_mm: float | None = None
    _known: dict[Together, SurfaceDistances] = field(default_factory=dict, repr=False)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair."""
        both = self.reference_voxels[self.pairs[:, 0]] + self.prediction_voxels[self.pairs[:, 1]]
        ratio: NDArray[np.float64] = self.shared_voxels / (both - self.shared_voxels)
        return ratio

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice coefficient of each pair."""
        both = self.reference_voxels[self.pairs[:, 0]] + self.prediction_voxels[self.pairs[:, 1]]
        ratio: NDArray[np.float64] = 2 * self.shared_voxels / both
        return ratio

    def shared(self, pairs: Pairs) -> NDArray[np.int64]:
        """Voxels that each of some pairs shares, whether or not they meet."""
        every, some = (pair_keys(each, len(self.prediction_voxels)) for each in (self.pairs, pairs))
        places = every.searchsorted(some)
        met = np.append(every, -1)[places] == some
        shared: NDArray[np.int64] = np.where(met, np.append(self.shared_voxels, 0)[places], 0)
        return shared

    def near(self, voxels: int) -> Pairs:
        """Pairs of which the one of the reference, grown by so many voxels, meets the other.

        Unlike with ``dilation_voxels`` each lesion grows by itself, and none are joined.
        """
        if self.maps is None:
            return self.pairs[:0]
        return self.maps.near(voxels, joined_along(self.connectivity))

    def surfaces(self, sets: Sequence[Together]) -> list[SurfaceDistances]:
        """Distances between surfaces of lesions of the reference and of the prediction, each once.

        Args:
            sets: numbers of lesions of both sides; those of one side are one object.

        Raises:
            ValueError: the size of a voxel is not known.
        """
        if new := [each for each in dict.fromkeys(sets) if each not in self._known]:
            if self.maps is None:
                raise ValueError("maps: expected those of the lesions, got None")
            self._known.update(zip(new, self.maps.surfaces(new), strict=True))
        return [self._known[each] for each in sets]

    @cached_property
    def centred(self) -> Pairs:
        """Pairs in which the centre of the prediction lies in the lesion of the reference.

        The centre is the voxel of the predicted lesion nearest to its centre of mass, in voxels;
        any of them where several are equally near.
        """
        return self.pairs[:0] if self.find_centres is None else self.find_centres()


class Components:
    """Both masks of a class, from which their lesions are found: once for each way to join voxels.

    Args:
        reference: mask (x, y, z), or (x, y) in 2D; or the number of the object that each voxel
            belongs to, 0 outside, where the objects are known: then voxels are not joined.
        prediction: mask of the same shape, or likewise.
        ignored: voxels that do not count. Lesions are those of the whole masks; what lies in such
            voxels is no part of a volume or an overlap, and a lesion that lies there altogether is
            none.
        voxel_mm3: volume of a voxel, if it is known.
        spacing_mm: its size along each axis of the masks, if it is known; for distances between
            lesions, with the definition ``preset``.
        preset: definition of the surface metrics.
        worst_mm: what a distance counts that cannot be measured.
        origin: where the masks begin in the image, along each of their axes.
        turned: whether these are the axes of the image in reverse.
        whole: gives the distances between the surfaces of the whole masks, where they are known.
        parts: what a region is made of; ``None`` for a class without parts.

    Example:
        >>> reference = np.array([[1, 1, 0, 0, 1], [0, 0, 0, 0, 1]], dtype=bool)
        >>> prediction = np.array([[0, 1, 0, 0, 0], [0, 0, 1, 0, 0]], dtype=bool)
        >>> found = Components(reference, prediction).lesions(connectivity="faces")
        >>> found.reference_voxels, found.prediction_voxels
        (array([2, 2]), array([1, 1]))
        >>> found.pairs.tolist(), found.iou.tolist()
        ([[0, 0]], [0.5])
        >>> Components(reference, prediction).lesions().prediction_voxels  # they touch at a corner
        array([2])
    """

    def __init__(
        self,
        reference: NDArray[Any],
        prediction: NDArray[Any],
        ignored: NDArray[np.bool_] | None = None,
        voxel_mm3: float | None = None,
        *,
        spacing_mm: Sequence[float] | None = None,
        preset: str = "deepmind",
        worst_mm: float | None = None,
        origin: Sequence[int] = (),
        turned: bool = False,
        whole: Callable[[], SurfaceDistances] | None = None,
        parts: Parts | None = None,
    ) -> None:
        self._masks = reference, prediction
        self._ignored = None if ignored is None else as_rows(ignored)
        self._voxel_mm3, self._worst_mm = voxel_mm3, worst_mm
        origin = tuple(origin) or (0,) * reference.ndim
        self._place = spacing_mm, preset, origin, turned, whole, parts
        self._found: dict[tuple[int, str, int], Runs] = {}
        self._lesions: dict[tuple[str, int], Lesions] = {}

    def lesions(
        self, *, connectivity: Connectivity = "corners", dilation_voxels: int = 0
    ) -> Lesions:
        """The lesions and which of them meet.

        Args:
            connectivity: voxels of one lesion are joined across ``"faces"`` (6 neighbours, in a
                single slice 4), across ``"edges"`` too (18, 8), or across ``"corners"`` too (26,
                8).
            dilation_voxels: lesions of the reference grow by so many voxels, across faces and
                edges, before they are numbered and before what they meet is looked up: those that
                grow together are one. Their volume and overlap are those of their own voxels.

        Raises:
            ValueError: another word, no whole number from 0 on, or a dilation of given objects.
        """
        joined_along(connectivity)
        if not isinstance(dilation_voxels, int) or isinstance(dilation_voxels, bool):
            raise ValueError(f"dilation_voxels: expected a whole number, got {dilation_voxels!r}")
        if dilation_voxels < 0:
            raise ValueError(f"dilation_voxels: expected 0 or more, got {dilation_voxels!r}")
        key = connectivity, dilation_voxels
        if key not in self._lesions:
            self._lesions[key] = self._find(*key)
        return self._lesions[key]

    def _find(self, connectivity: Connectivity, dilation_voxels: int) -> Lesions:
        reference, prediction = self._runs(0, connectivity), self._runs(1, connectivity)
        around = self._runs(0, connectivity, dilation_voxels) if dilation_voxels else reference
        numbers = reference.within(around) if dilation_voxels else reference.number
        ignored = self._ignored
        own = voxels_of(reference, numbers, around.count, ignored)
        met = voxels_of(prediction, prediction.number, prediction.count, ignored)
        pairs, shared = shared_voxels(reference, numbers, prediction, ignored)
        if dilation_voxels:
            within, _ = shared_voxels(around, around.number, prediction, ignored)
            places = pair_keys(within, prediction.count).searchsorted(
                pair_keys(pairs, prediction.count)
            )
            pairs, shared = within, np.bincount(places, shared, len(within)).astype(np.int64)
        # What lies in ignored voxels altogether has no voxels left and is none.
        new = [np.where(each > 0, np.cumsum(each > 0) - 1, -1) for each in (own, met)]
        real = own[pairs[:, 0]] > 0

        def renumbered(old: Pairs) -> Pairs:
            return np.stack([new[0][old[:, 0]], new[1][old[:, 1]]], axis=1)

        axes = self._masks[0].ndim
        sides = [
            Side(runs, new[n][old].astype(np.int32), self._ids(n, new[n] >= 0), axes)
            for n, (runs, old) in enumerate(((reference, numbers), (prediction, prediction.number)))
        ]
        return Lesions(
            own[own > 0],
            met[met > 0],
            renumbered(pairs[real]),
            shared[real],
            self._voxel_mm3,
            lambda: renumbered(centre_pairs(reference, numbers, prediction, ignored)),
            connectivity,
            LesionMaps((sides[0], sides[1]), ignored, *self._place),
            self._worst_mm,
        )

    def _ids(self, side: int, real: NDArray[np.bool_]) -> NDArray[np.int64]:
        """What the real lesions of a side are called: numbers of objects, or from 1 on."""
        mask = self._masks[side]
        if mask.dtype.kind == "b":
            return np.arange(1, np.count_nonzero(real) + 1)
        ids: NDArray[np.int64] = np.unique(mask[mask != 0]).astype(np.int64)[real]
        return ids

    def _runs(self, side: int, connectivity: Connectivity, dilation_voxels: int = 0) -> Runs:
        key = side, connectivity, dilation_voxels
        if key not in self._found:
            mask = self._masks[side]
            if mask.dtype.kind != "b":
                if dilation_voxels:
                    raise ValueError(
                        "dilation_voxels: joins what grows together, and the objects are given "
                        "(--instances)"
                    )
                self._found[key] = object_runs(mask)
                return self._found[key]
            if dilation_voxels:
                # What grows out of the box of the class is cut off, and nothing is lost: where two
                # lesions meet outside of it, they meet at the nearest voxels inside as well.
                mask = self._runs(side, connectivity).grown(dilation_voxels)
            self._found[key] = component_runs(mask, joined_along(connectivity))
        return self._found[key]


def joined_along(connectivity: Connectivity) -> int:
    """Along how many axes neighbours may differ.

    Raises:
        ValueError: another word.
    """
    if connectivity not in get_args(Connectivity):
        raise ValueError(
            f"connectivity: expected faces (6 neighbours, in 2D 4), edges (18, 8) or corners "
            f"(26, 8), got {connectivity!r}"
        )
    return get_args(Connectivity).index(connectivity) + 1


def pair_keys(pairs: Pairs, many: int) -> NDArray[np.int64]:
    """One number for each pair, in the same order; ``many`` objects of the prediction there are."""
    keys: NDArray[np.int64] = pairs[:, 0] * max(many, 1) + pairs[:, 1]
    return keys


def shared_voxels(
    reference: Runs, numbers: Numbers, prediction: Runs, ignored: Mask | None
) -> tuple[Pairs, NDArray[np.int64]]:
    """Every pair of objects that share a voxel that counts, in order, and how many they share.

    Args:
        reference: runs of the reference.
        numbers: of the object that each of them belongs to.
        prediction: objects of the prediction.
        ignored: rows of voxels that do not count, or ``None``.
    """
    keys, lengths = _overlaps(
        (reference.first, reference.begin, reference.end, numbers),
        (prediction.first, prediction.begin, prediction.end, prediction.number),
        prediction.count,
        _NONE if ignored is None else ignored,
    )
    pairs, which = np.unique(keys, return_inverse=True)
    shared = np.bincount(which, weights=lengths, minlength=len(pairs)).astype(np.int64)
    return np.stack(np.divmod(pairs, max(prediction.count, 1)), axis=1), shared


def centre_pairs(
    reference: Runs, numbers: Numbers, prediction: Runs, ignored: Mask | None
) -> Pairs:
    """Pairs in which a voxel nearest to the centre of the predicted object lies in the other one.

    The voxels of the object itself are asked: the centre of a ring lies outside of it. Several may
    be equally near, as in a cube of even sides.
    """
    found = _centres(
        (reference.first, reference.begin, reference.end, numbers),
        (prediction.first, prediction.begin, prediction.end, prediction.number),
        (prediction.shape[1], prediction.count),
        _NONE if ignored is None else ignored,
    )
    pairs: Pairs = np.unique(found, axis=0)
    return pairs


@_loops.kernel
def _overlaps(reference: Any, prediction: Any, many: Any, ignored: Any) -> Any:
    """Key of the pair, and voxels, of each stretch that two runs share."""
    first_a, begin_a, end_a, number_a = reference
    first_b, begin_b, end_b, number_b = prediction
    keys, lengths, n = np.empty(256, np.int64), np.empty(256, np.int64), 0
    for r in range(len(first_a) - 1):
        a, b = first_a[r], first_b[r]
        while a < first_a[r + 1] and b < first_b[r + 1]:
            start, stop = max(begin_a[a], begin_b[b]), min(end_a[a], end_b[b])
            length = max(stop - start, 0)
            if ignored.size:
                for z in range(start, stop):
                    length -= ignored[r, z]
            if length > 0:
                if n == len(keys):
                    keys = np.concatenate((keys, np.empty_like(keys)))
                    lengths = np.concatenate((lengths, np.empty_like(lengths)))
                keys[n], lengths[n] = np.int64(number_a[a]) * many + number_b[b], length
                n += 1
            if end_a[a] < end_b[b]:
                a += 1
            else:
                b += 1
    return keys[:n], lengths[:n]


@_loops.kernel
def _centres(reference: Any, prediction: Any, sizes: Any, ignored: Any) -> Any:
    """For each predicted object, the objects under its voxels that are nearest to its centre."""
    first_a, begin_a, end_a, number_a = reference
    first_b, begin_b, end_b, number_b = prediction
    depth, many = sizes
    sums, least = np.zeros((many, 4)), np.full(many, np.inf)
    pairs, n = np.empty((256, 2), np.int64), 0
    for step in range(3):  # where the centres are, how near a voxel is, which voxels are as near
        for r in range(len(first_b) - 1):
            x, y = r // depth, r % depth
            for run in range(first_b[r], first_b[r + 1]):
                p = number_b[run]
                s = sums[p]
                for z in range(begin_b[run], end_b[run]):
                    if ignored.size and ignored[r, z]:
                        continue
                    if step == 0:
                        s[0] += x
                        s[1] += y
                        s[2] += z
                        s[3] += 1
                        continue
                    away = (x - s[0] / s[3]) ** 2 + (y - s[1] / s[3]) ** 2 + (z - s[2] / s[3]) ** 2
                    if step == 1:
                        least[p] = min(least[p], away)
                    elif away <= least[p] + 1e-6:
                        for a in range(first_a[r], first_a[r + 1]):
                            if begin_a[a] <= z < end_a[a]:
                                if n == len(pairs):
                                    pairs = np.concatenate((pairs, np.empty_like(pairs)))
                                pairs[n, 0], pairs[n, 1] = number_a[a], p
                                n += 1
    return pairs[:n]
