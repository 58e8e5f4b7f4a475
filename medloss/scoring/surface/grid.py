"""The grid of a box of voxels: what kernels are told of it, its rows, and the steps on it.

Steps are sorted by their physical length, the order in which neighbours are visited.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medloss.runtime.compiling import Loops
from medloss.scoring.maps import Box

_loops = Loops("metrics")

RADIUS_VOXELS = 6
"""How far is near, in voxels of the same volume that are cubes."""

Spacing = tuple[float, float, float]

CREDIT = 2000
"""Steps that a class may take in vain before its elements are left to the far search."""

_FOUND, _UNTRIED = 250, 8
"""Steps that are earned by a search that finds something, and by an element that is not tried."""

FAR = 0xFFFF
"""Bin of an element whose distance the search did not find."""

IGNORED = 0xFFFE
"""Bin of an element in or beside the ignored region: others may be near it, it does not count."""


class Frame(NamedTuple):
    """Where a kernel reads the labels of a map, and where it finds them in the volume.

    Args:
        box: of the map, that holds all classes.
        flat: whether it is the only slice of a 2D map.
        pad: margin of the volume on each side of the box, along each axis.
        outside: a row of no class.
        corners: whether voxels that share no more than a corner are neighbours too.
    """

    box: Box
    flat: bool
    pad: tuple[int, int, int]
    outside: NDArray[Any]
    corners: bool


class Sought(NamedTuple):
    """What a kernel searches, and in which volume.

    Args:
        ignored: which voxels of the whole map do not count; of no voxel for none.
        wanted: for each class whether it is searched.
        bits: of each class where the volume holds bits; several classes may share one.
        shape: of the volume.
        volume: the surface that was marked from the other map, as one axis.
        near: steps and their lengths, as the kind of elements has them.
    """

    ignored: NDArray[np.uint8]
    wanted: NDArray[np.bool_]
    bits: NDArray[np.uint8]
    shape: tuple[int, int, int]
    volume: NDArray[Any]
    near: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Near:
    """Every step up to a radius, by increasing length.

    Args:
        steps: (n, 3) whole numbers; the first is no step.
        mm: (n,) lengths.
        start_at: for each quarter of the smallest step, the first longer step.
        per_mm: quarters in a mm.
        pad: largest step along each axis.
    """

    steps: NDArray[np.int64]
    mm: NDArray[np.float64]
    start_at: NDArray[np.int64]
    per_mm: float
    pad: tuple[int, int, int]


def linear(steps: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Steps as differences of places in a volume in C order.

    Example:
        >>> linear(np.array([[0, 1, -1]]), (9, 5, 4))
        array([3])
    """
    offsets: NDArray[np.int64] = steps @ np.array([shape[1] * shape[2], shape[2], 1])
    return offsets


def radius_mm(spacing: Spacing) -> float:
    """How far is near."""
    used = [mm for mm in spacing if math.isfinite(mm)]
    return RADIUS_VOXELS * math.prod(used) ** (1 / len(used))


@cache
def near_steps(spacing: Spacing) -> Near:
    """Every step up to :func:`radius_mm`; along an axis of infinite spacing there is none."""
    radius = radius_mm(spacing)
    steps = all_steps(spacing, radius)
    mm = lengths(steps, spacing)
    order = np.argsort(mm, kind="stable")
    order = order[mm[order] <= radius * (1 + 1e-12)]
    steps, mm = steps[order], mm[order]
    quarter = min(spacing) / 4
    start_at = np.searchsorted(mm, np.arange(0, radius, quarter) - 1e-9)
    a, b, c = (int(most) for most in steps.max(axis=0))
    for array in (steps, mm, start_at):
        array.flags.writeable = False  # shared
    return Near(steps, mm, start_at, 1 / quarter, (a, b, c))


def all_steps(spacing: Spacing, radius: float) -> NDArray[np.int64]:
    """Every step of at most ``radius`` along each axis, (n, 3)."""
    most = [int(radius / mm) for mm in spacing]
    grids = np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij")
    return np.stack(grids, axis=-1).reshape(-1, 3)


def lengths(steps: NDArray[Any], spacing: Spacing) -> NDArray[np.float64]:
    """Length in mm of each step."""
    finite = [mm if math.isfinite(mm) else 0.0 for mm in spacing]
    mm: NDArray[np.float64] = np.sqrt(((steps * finite) ** 2).sum(axis=-1))
    return mm


@_loops.part
def label_row(labels: Any, box: Any, i: Any, j: Any, outside: Any) -> Any:
    """Row of a box, which is at ``box[:3]`` and has the size ``box[3:]``; empty outside of it."""
    if i < 0 or j < 0 or i >= box[3] or j >= box[4]:
        return outside[: box[5]]
    return labels[box[0] + i, box[1] + j][box[2] : box[2] + box[5]]


@_loops.part
def is_ignored(ignored: Any, box: Any, i: Any, j: Any, k: Any) -> Any:
    """Whether a voxel of the box, or one beside it, is in the ignored region."""
    x, y, z = box[0] + i, box[1] + j, box[2] + k
    if x < 0 or y < 0 or z < 0:
        return False
    if x >= ignored.shape[0] or y >= ignored.shape[1] or z >= ignored.shape[2]:
        return False
    return ignored[x, y, z] != 0


@_loops.part
def with_room(array: Any, used: Any, wanted: Any) -> Any:
    """The array, or one of more than twice its size with the same ``used`` elements."""
    if array.size - used >= wanted:
        return array
    larger = np.empty(2 * array.size + wanted, array.dtype)
    for n in range(used):  # a slice brings numba's error texts with it, 2 s of compiling
        larger[n] = array[n]
    return larger


@_loops.part
def worth_a_try(c: Any, credit: Any) -> Any:
    """Whether to search near an element of class ``c``, or to leave it to the far search at once.

    Searches that find something earn what the next ones may take. Where a class has used up its
    credit, few of its elements are tried.
    """
    if credit[c] > 0:
        return True
    credit[c] += _UNTRIED
    return False


@_loops.part
def pay(c: Any, steps: Any, found: Any, credit: Any) -> None:
    """Account for a search."""
    credit[c] = min(CREDIT, credit[c] - steps + (_FOUND if found else 0))


@_loops.part
def first_step(c: Any, k: Any, last: Any, near: Any) -> Any:
    """The first step that can be long enough, from what was found for the last element of a row.

    Distances differ by no more than the way between the two elements. Where ``k`` is a place in the
    volume, its margin leaves nothing of what was found in another row.
    """
    last_k, last_c, last_mm = last
    _, _, _, start_at, per_mm, step_mm = near
    at_least = last_mm - (k - last_k) * step_mm
    if last_c != c or at_least <= 0:
        return 0
    return start_at[int(min(at_least * per_mm, start_at.size - 1.0))]
