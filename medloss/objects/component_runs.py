"""Objects of a mask as runs: stretches of its voxels along the last axis, numbered by object.

Few runs stand for many voxels, so that joining, counting and comparing objects takes little beside
the one pass that finds the runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.runtime.compiling import Loops

_loops = Loops("metrics")


@dataclass(frozen=True, eq=False)
class Runs:
    """The objects of a mask (x, y, z).

    Args:
        first: for each row (x, y), where its runs begin among all, and the end; (rows + 1).
        begin: first z of each run, in the order of the rows.
        end: first z after it.
        number: of the object of each run, from 0, in the order in which they are met.
        shape: of the mask.
    """

    first: NDArray[np.int64]
    begin: NDArray[np.int32]
    end: NDArray[np.int32]
    number: NDArray[np.int32]
    shape: tuple[int, int, int]

    @cached_property
    def count(self) -> int:
        """How many objects there are."""
        return int(self.number.max(initial=-1)) + 1

    def within(self, objects: Runs) -> NDArray[np.int32]:
        """For each run, the number of the object of others that holds it; -1 if none does."""
        found: NDArray[np.int32] = _within(
            self.first, self.begin, objects.first, objects.end, objects.number
        )
        return found

    def beginnings(self, *, reverse: bool) -> NDArray[np.int64]:
        """The numbers of the objects in the order of their first voxels.

        Args:
            reverse: whether the order of voxels is that of the mask with its axes in reverse.
        """
        if not reverse:
            return np.arange(self.count)
        x, y, _ = self.shape
        row = np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))
        voxel = (self.begin.astype(np.int64) * y + row % y) * x + row // y
        least = np.full(self.count, np.iinfo(np.int64).max)
        np.minimum.at(least, self.number, voxel)
        return least.argsort()

    def grown(self, voxels: int) -> NDArray[np.bool_]:
        """The mask (x, y, z) grown by so many steps across faces and edges, and cut off at its end.

        In n steps across at most two axes each a voxel reaches those that are at most n away along
        each axis and at most 2 n along all of them together.
        """
        grown = np.zeros((len(self.first) - 1, self.shape[2]), np.bool_)
        _grow(grown, self.first, self.begin, self.end, self.shape[1], voxels)
        return grown.reshape(self.shape)

    def background(self, steps: int) -> Runs:
        """Objects of what is outside of the mask, with one more voxel around it on all sides.

        Args:
            steps: along how many axes neighbours may differ, 1 to 3.
        """
        x, y, z = self.shape
        held = np.diff(self.first)
        around = np.pad(held.reshape(x, y), 1).ravel() + 1  # between runs, before and after them
        first = np.zeros(len(around) + 1, np.int64)
        np.cumsum(around, out=first[1:])
        places = np.arange((x + 2) * (y + 2)).reshape(x + 2, y + 2)[1:-1, 1:-1].ravel()
        at = np.arange(len(self.begin)) + np.repeat(first[places] - self.first[:-1], held)
        begin = np.zeros(first[-1], np.int32)
        end = np.full(first[-1], z + 2, np.int32)
        end[at] = self.begin + 1
        begin[at + 1] = self.end + 1
        number = _joined(first, begin, end, y + 2, steps)
        return Runs(first, begin, end, number, (x + 2, y + 2, z + 2))

    def painted(self, number: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
        """Numbers of the objects as a map (x, y, z), from 1; 0 outside.

        Args:
            number: for each run, in the place of that of its object; -1 leaves it out.
        """
        painted = np.zeros((len(self.first) - 1, self.shape[2]), np.int32)
        number = self.number if number is None else number
        _paint(painted, self.first, self.begin, self.end, number)
        return painted.reshape(self.shape)


def component_runs(mask: NDArray[np.bool_], steps: int) -> Runs:
    """Connected components of a mask.

    Args:
        mask: up to three axes.
        steps: along how many axes neighbours may differ, 1 to 3.

    Example:
        >>> runs = component_runs(np.array([[True, True, False], [False, False, True]]), steps=2)
        >>> runs.begin, runs.end, runs.number
        (array([0, 2], dtype=int32), array([2, 3], dtype=int32), array([0, 0], dtype=int32))
    """
    x, y, z = (1,) * (3 - mask.ndim) + mask.shape
    first, begin, end = _find(as_rows(mask))
    number = _joined(first, begin, end, y, steps)
    return Runs(first, begin, end, number, (x, y, z))


def object_runs(objects: NDArray[Any]) -> Runs:
    """Objects that are numbered already, whether or not they touch.

    Args:
        objects: number of the object of each voxel, up to three axes; 0 outside.

    Example:
        >>> runs = object_runs(np.array([[7, 7, 3], [0, 3, 3]]))
        >>> runs.begin.tolist(), runs.end.tolist(), runs.number.tolist()
        ([0, 2, 1], [2, 3, 3], [1, 0, 0])
    """
    x, y, z = (1,) * (3 - objects.ndim) + objects.shape
    rows = as_rows(objects)
    edges = np.ones((len(rows), z + 1), np.bool_)
    np.not_equal(rows[:, 1:], rows[:, :-1], out=edges[:, 1:-1])
    row, begin = (edges[:, :-1] & (rows != 0)).nonzero()
    end = (edges[:, 1:] & (rows != 0)).nonzero()[1] + 1
    first = np.searchsorted(row, np.arange(len(rows) + 1))
    number = np.unique(rows[row, begin], return_inverse=True)[1]
    return Runs(
        first.astype(np.int64),
        begin.astype(np.int32),
        end.astype(np.int32),
        number.astype(np.int32),
        (x, y, z),
    )


def voxels_of(
    runs: Runs, number: NDArray[np.int32], count: int, ignored: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """Voxels of each object that count.

    Args:
        runs: of a mask.
        number: of the object that each run belongs to.
        count: of the objects.
        ignored: rows of voxels that do not count, or ``None``.
    """
    lengths: NDArray[Any] = runs.end - runs.begin
    if ignored is not None:
        lengths = _counting(runs.first, runs.begin, runs.end, ignored)
    return np.bincount(number, weights=lengths, minlength=count).astype(np.int64)


def as_rows(mask: NDArray[Any]) -> NDArray[Any]:
    """The rows of a mask along its last axis, in C order."""
    return np.ascontiguousarray(mask).reshape(math.prod(mask.shape[:-1]), mask.shape[-1])


@_loops.kernel
def _find(rows: Any) -> Any:
    """The runs of every row."""
    first = np.zeros(len(rows) + 1, np.int64)
    begin, end, n = np.empty(1024, np.int32), np.empty(1024, np.int32), 0
    for r in range(len(rows)):
        row = rows[r]
        some = False
        for z in range(len(row)):  # most rows hold nothing, which a vector of voxels tells
            some |= row[z]
        if some:
            if n + len(row) > len(begin):
                begin = np.concatenate((begin, np.empty(len(begin) + len(row), np.int32)))
                end = np.concatenate((end, np.empty(len(end) + len(row), np.int32)))
            inside = False
            for z in range(len(row)):
                if row[z] != inside:
                    if inside:
                        end[n] = z
                        n += 1
                    else:
                        begin[n] = z
                    inside = not inside
            if inside:
                end[n] = len(row)
                n += 1
        first[r + 1] = n
    return first, begin[:n].copy(), end[:n].copy()


@_loops.part
def _root(parent: Any, run: Any) -> Any:
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@_loops.kernel
def _joined(first: Any, begin: Any, end: Any, depth: Any, steps: Any) -> Any:
    """Number of the object of each run, from 0."""
    parent = np.arange(len(begin))
    for r in range(len(first) - 1):
        if first[r] == first[r + 1]:
            continue
        y = r % depth
        # The rows before this one that are beside it; by 1 or 2 axes, and how far z may differ too.
        for back, axes, there in (
            (1, 1, y > 0),
            (depth, 1, r >= depth),
            (depth + 1, 2, r >= depth and y > 0),
            (depth - 1, 2, r >= depth and y < depth - 1),
        ):
            if not there or axes > steps:
                continue
            reach = 1 if axes < steps else 0
            a, b = first[r], first[r - back]
            while a < first[r + 1] and b < first[r - back + 1]:
                if begin[a] < end[b] + reach and begin[b] < end[a] + reach:
                    one, other = _root(parent, a), _root(parent, b)
                    if one < other:
                        parent[other] = one
                    else:
                        parent[one] = other
                if end[a] < end[b]:
                    a += 1
                else:
                    b += 1
    number, many = np.empty(len(begin), np.int32), 0
    for run in range(len(begin)):  # a root is the first run of its object
        root = _root(parent, run)
        if root == run:
            number[run] = many
            many += 1
        else:
            number[run] = number[root]
    return number


@_loops.kernel
def _within(first: Any, begin: Any, first_around: Any, end_around: Any, number: Any) -> Any:
    found = np.empty(len(begin), np.int32)
    for r in range(len(first) - 1):
        b = first_around[r]
        for a in range(first[r], first[r + 1]):
            while b < first_around[r + 1] and end_around[b] <= begin[a]:
                b += 1
            found[a] = number[b] if b < first_around[r + 1] else -1
    return found


@_loops.kernel
def _grow(rows: Any, first: Any, begin: Any, end: Any, depth: Any, n: Any) -> None:
    for r in range(len(first) - 1):
        x, y = r // depth, r % depth
        for there_x in range(max(0, x - n), min(len(rows) // depth, x + n + 1)):
            for there_y in range(max(0, y - n), min(depth, y + n + 1)):
                reach = min(n, 2 * n - abs(there_x - x) - abs(there_y - y))
                there = there_x * depth + there_y
                for run in range(first[r], first[r + 1]):
                    rows[there, max(0, begin[run] - reach) : end[run] + reach] = True


@_loops.kernel
def _paint(rows: Any, first: Any, begin: Any, end: Any, number: Any) -> None:
    for r in range(len(first) - 1):
        for run in range(first[r], first[r + 1]):
            rows[r, begin[run] : end[run]] = number[run] + 1


@_loops.kernel
def _counting(first: Any, begin: Any, end: Any, ignored: Any) -> Any:
    """Voxels of each run that are not ignored."""
    lengths = np.zeros(len(begin), np.int64)
    for r in range(len(first) - 1):
        for run in range(first[r], first[r + 1]):
            for z in range(begin[run], end[run]):
                lengths[run] += not ignored[r, z]
    return lengths
