"""Two label maps in the form that the kernels read: small codes, one memory order, three axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.runtime import threads
from medloss.runtime.compiling import Loops

_loops = Loops("metrics")

Box = tuple[int, int, int, int, int, int]
"""Where it begins along each axis, and its size."""

Mask = NDArray[np.bool_]

MOST_CODES = 1 << 16
MOST_CONFUSED = 512
"""Of more labels it is not counted which is taken for which: the counts are their square."""

_PIECE = 1 << 20


@dataclass(frozen=True, eq=False)
class ClassMasks:
    """A class within the smallest box that holds it in both maps.

    Args:
        reference: mask, with as many axes as the given maps; or numbers of objects.
        prediction: mask of the same shape.
        ignored: voxels that do not count, ``None`` for none.
        origin: where the box begins along each axis.
    """

    reference: NDArray[Any]
    prediction: NDArray[Any]
    ignored: Mask | None
    origin: tuple[int, ...]

    @property
    def T(self) -> ClassMasks:  # noqa: N802 - as numpy calls it
        """The same with the axes in reverse."""
        ignored = None if self.ignored is None else self.ignored.T
        return ClassMasks(self.reference.T, self.prediction.T, ignored, self.origin[::-1])


class LabelMaps:
    """Reference and prediction as codes from 1 on, in C order with three axes.

    Files hold the first axis fastest, numpy's loops run fastest along the last one: turned round,
    such maps have the same facts. A 2D map is one slice, and ``flat``.

    Args:
        reference: label map, 2D or 3D, integers or bool.
        prediction: label map of the same shape.
        labels: those that will be asked for.
        ignored: where it is true, voxels do not count.

    Raises:
        ValueError: more labels than codes.
    """

    def __init__(
        self,
        reference: NDArray[Any],
        prediction: NDArray[Any],
        labels: Sequence[int],
        ignored: NDArray[Any] | None = None,
    ) -> None:
        self.turned = reference.flags.f_contiguous and not reference.flags.c_contiguous
        self.flat = reference.ndim == 2
        self.shape = reference.shape
        self.codes, self.many, (one, other) = _coded((reference, prediction), labels)
        self.reference, self.prediction = self._laid(one), self._laid(other)
        self._cut: dict[tuple[int, int], ClassMasks] = {}
        nothing = np.empty((0, 0, 0), dtype=np.uint8)
        self.ignored = _fixed(
            nothing if ignored is None else self._laid(np.asarray(ignored) != 0).view(np.uint8)
        )

    def spacing(self, spacing_mm: Sequence[float]) -> tuple[float, float, float]:
        """Spacing along the three axes of the codes, infinite along the only slice of a 2D map."""
        a, *rest = spacing_mm[::-1] if self.turned else spacing_mm
        if self.flat:
            return (np.inf, a, rest[0])
        return (a, rest[0], rest[1])

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Voxels of each code that the reference, the prediction and both have, (3, codes)."""
        return self._overview[0]

    @cached_property
    def confused(self) -> NDArray[np.int64] | None:
        """Voxels where the maps differ, by the label of the reference and of the prediction.

        Labels are in order, from 1; 0 is none of them. ``None`` for too many labels.
        """
        return self._overview[1] if len(self.codes) <= MOST_CONFUSED else None

    @cached_property
    def box(self) -> Box | None:
        """Smallest box that holds every code of both maps, ``None`` if there are none."""
        return self._overview[2]

    def window(
        self, code: int, prediction: bool, first: NDArray[np.int64], last: NDArray[np.int64]
    ) -> tuple[Mask, NDArray[np.int64]]:
        """Where a class is in one of the maps, between two places and in its box.

        Returns:
            The mask, of the three axes of the codes, and where it begins.
        """
        low, end = self._boxes[code]
        first, end = np.maximum(first, low), np.minimum(last + 1, end)
        box = tuple(slice(a, max(a, b)) for a, b in zip(first, end, strict=True))
        return (self.prediction if prediction else self.reference)[box] == code, first

    def masks(self, label: int, beside: int = 0) -> ClassMasks:
        """The masks of a label that the maps were made for; of no voxel if it is in neither.

        Args:
            label: of them.
            beside: how many voxels around them belong to the box too, where the image has them.
        """
        key = label, beside
        if key not in self._cut:
            code = self.codes[label]
            low, high = self._boxes[code].tolist()
            a, b, c = (max(0, n - beside) for n in low)
            d, e, f = (n and n + beside for n in high)
            box = (0 if self.flat else slice(a, d), slice(b, e), slice(c, f))
            ignored = self.ignored[box] != 0 if self.ignored.size else None
            masks = self.reference[box] == code, self.prediction[box] == code
            origin = (b, c) if self.flat else (a, b, c)
            self._cut[key] = ClassMasks(*masks, ignored, origin)
        return self._cut[key]

    @property
    def any_ignored(self) -> bool:
        """Whether some voxels may not count."""
        return self.ignored.size > 0

    @cached_property
    def voxels(self) -> int:
        """Voxels that count."""
        return self.reference.size - int(np.count_nonzero(self.ignored))

    @cached_property
    def _overview(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Box | None]:
        shape = self.reference.shape
        places = code_places(self.codes, self.many)
        many = int(places.max(initial=0)) + 1
        if not self.reference.size:
            return np.zeros((3, self.many), np.int64), np.zeros((many, many), np.int64), None
        pieces = min(shape[0], max(1, self.reference.size // _PIECE), 16)
        look = partial(_overview, self.reference, self.prediction, self.ignored, places, many)
        edges = [0, shape[0]]
        if pieces > 1:
            edges = np.linspace(0, shape[0], pieces + 1).astype(int).tolist()
        found = threads.run(pieces, lambda n: look(edges[n], edges[n + 1]))
        parts = zip(*found, strict=True)
        sums = found[0] if pieces == 1 else (np.sum(each, axis=0) for each in parts)
        counts, confused, *along = sums
        used = [each.nonzero()[0] for each in along]
        if not all(map(len, used)):
            return counts, confused, None
        low, high = [int(u[0]) for u in used], [int(u[-1]) for u in used]
        x, y, z = low
        a, b, c = (end - start + 1 for start, end in zip(low, high, strict=True))
        return counts, confused, (x, y, z, a, b, c)

    @cached_property
    def _boxes(self) -> NDArray[np.int64]:
        """Where each code begins along each axis, and the place after it; (codes, 2, 3)."""
        boxes = np.zeros((self.many, 2, 3), np.int64)
        boxes[:, 0] = self.reference.shape
        for codes in (self.reference, self.prediction):
            if codes.size:
                _widen(codes, boxes)
        boxes[boxes[:, 1, 0] == 0] = 0
        return boxes

    def _laid(self, array: NDArray[Any]) -> NDArray[Any]:
        array = array.T if self.turned else array
        array = np.ascontiguousarray(array[None] if self.flat else array)
        return _fixed(array)


def code_places(codes: Mapping[int, int], many: int) -> NDArray[np.uint16]:
    """Place of each code among the labels, from 1; 0 for others, and for all of too many."""
    places = np.zeros(many, dtype=np.uint16)
    if len(codes) <= MOST_CONFUSED:
        places[[*codes.values()]] = np.arange(1, len(codes) + 1)
    return places


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written to: one type for the kernels, whatever the array is."""
    view = array.view()
    view.flags.writeable = False
    return view


def _coded(
    maps: Sequence[NDArray[Any]], labels: Sequence[int]
) -> tuple[dict[int, int], int, list[NDArray[Any]]]:
    """Code of each label, one more than the largest code, and the maps in codes.

    Labels serve as codes where they can. Code 0 is what lies outside of every class, so the label 0
    needs another one if it is asked for.
    """
    plain = [m.view(np.uint8) if m.dtype.kind == "b" else m for m in maps]
    least, most = (0, 1) if all(m.dtype.kind == "b" for m in maps) else _range(plain)
    least, most = min([least, *labels]), max([most, *labels])
    shift = int(0 in labels)
    if least >= 0 and most + shift < MOST_CODES:
        dtype = np.min_scalar_type(max(most + shift, 1))
        coded = [m.astype(dtype, copy=False) for m in plain]
        if shift:
            coded = [np.add(m, 1, dtype=dtype) for m in coded]
        # Every number that the dtype holds: the maps may be the caller's memory, and change.
        many = np.iinfo(dtype).max + 1
        return {label: label + shift for label in labels}, many, coded
    known = np.unique(np.array(labels, dtype=np.int64))
    if len(known) >= MOST_CODES:
        raise ValueError(f"labels: expected fewer than {MOST_CODES}, got {len(known)}")
    coded = [_positions(m, known) for m in plain]
    return {int(label): n + 1 for n, label in enumerate(known)}, len(known) + 1, coded


def _range(maps: Sequence[NDArray[Any]]) -> tuple[int, int]:
    if all(m.dtype == np.uint8 for m in maps):
        return 0, max([0, *(int(m.max()) for m in maps if m.size)])
    filled = [m for m in maps if m.size]
    return min([0, *(int(m.min()) for m in filled)]), max([0, *(int(m.max()) for m in filled)])


def _positions(array: NDArray[Any], known: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Number of each value among the sorted known ones, from 1; 0 for any other value."""
    out = np.zeros(array.shape, dtype=np.uint16, order="F" if array.flags.f_contiguous else "C")
    if len(known):
        for n in range(len(array)):  # slice by slice: the positions are eight bytes each
            index = np.minimum(np.searchsorted(known, array[n]), len(known) - 1)
            out[n] = np.where(known[index] == array[n], index + 1, 0)
    return out


@_loops.kernel
def _overview(
    reference: Any, prediction: Any, ignored: Any, places: Any, many: Any, first: Any, last: Any
) -> Any:
    """Counts of each code in some slices, of pairs that differ, and where along each axis any is.

    Codes are told apart in pairs by their places, of which there are ``many``.
    """
    counts = np.zeros((3, len(places)), np.int64)
    confused = np.zeros((many, many), np.int64)
    used_x = np.zeros(reference.shape[0], np.int64)
    used_y = np.zeros(reference.shape[1], np.int64)
    used_z = np.zeros(reference.shape[2], np.int64)
    depth = reference.shape[2]
    for x in range(first, last):
        for y in range(reference.shape[1]):
            a, b = reference[x, y], prediction[x, y]
            some = a[0] | b[0]
            for z in range(depth):
                some |= a[z] | b[z]
            if some == 0:
                continue
            used_x[x] = 1
            used_y[y] = 1
            for z in range(depth):
                used_z[z] |= (a[z] | b[z]) != 0
            if ignored.size:
                for z in range(depth):
                    if not ignored[x, y, z]:
                        counts[0, a[z]] += 1
                        counts[1, b[z]] += 1
                        if a[z] == b[z]:
                            counts[2, a[z]] += 1
                        else:
                            confused[places[a[z]], places[b[z]]] += 1
                continue
            start, c, d = 0, a[0], b[0]
            for z in range(1, depth + 1):  # by runs of equal pairs
                if z == depth or a[z] != c or b[z] != d:
                    counts[0, c] += z - start
                    counts[1, d] += z - start
                    if c == d:
                        counts[2, c] += z - start
                    else:
                        confused[places[c], places[d]] += z - start
                    if z < depth:
                        start, c, d = z, a[z], b[z]
    return counts, confused, used_x, used_y, used_z


@_loops.kernel
def _widen(codes: Any, boxes: Any) -> None:
    """Let the box of each code hold its voxels too."""
    for x in range(codes.shape[0]):
        for y in range(codes.shape[1]):
            row = codes[x, y]
            some = row[0]
            for z in range(len(row)):  # most rows hold nothing, which a vector of voxels tells
                some |= row[z]
            if some == 0:
                continue
            start = 0
            for z in range(1, len(row) + 1):  # by runs of equal codes
                if z == len(row) or row[z] != row[start]:
                    box = boxes[row[start]]
                    box[0, 0], box[1, 0] = min(box[0, 0], x), max(box[1, 0], x + 1)
                    box[0, 1], box[1, 1] = min(box[0, 1], y), max(box[1, 1], y + 1)
                    box[0, 2], box[1, 2] = min(box[0, 2], start), max(box[1, 2], z)
                    start = z
