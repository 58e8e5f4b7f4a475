"""Steps on a grid, sorted by their physical length: the order in which neighbours are visited."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

RADIUS_VOXELS = 6
"""How far is near, in voxels of the same volume that are cubes."""

Spacing = tuple[float, float, float]


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
