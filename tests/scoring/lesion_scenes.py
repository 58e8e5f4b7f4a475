"""Pairs of masks with several lesions, without chance, for values that other packages computed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scoring.shapes import Mask

SHAPE = (40, 36, 30)
SPACING = (1.0, 1.0, 1.0)

Ball = tuple[int, int, int, float]
"""Centre and radius, in voxels."""


def balls(*several: Ball, shape: tuple[int, ...] = SHAPE) -> Mask:
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    mask = np.zeros(shape, dtype=bool)
    for *centre, radius in several:
        mask |= sum((x - c) ** 2 for x, c in zip(axes, centre, strict=False)) <= radius**2
    return mask


def _scattered(first: int, many: int, radius: float) -> Iterable[Ball]:
    """Balls on a rough grid, the same on every machine."""
    for n in range(first, first + many):
        x, y, z = (11 * n) % 33 + 3, (7 * n * n + 3 * n) % 29 + 3, (5 * n) % 23 + 3
        yield x, y, z, radius + (n % 3) / 2


def lesion_scenes() -> dict[str, tuple[Mask, Mask]]:
    """Reference and prediction by name."""
    three = [(8, 8, 8, 4.0), (28, 10, 15, 5.0), (18, 28, 22, 2.5)]
    moved = [(9, 9, 8, 4.0), (28, 11, 15, 4.5)]
    split = balls(*three)
    split[:, :, 15] = False
    merged = balls(*three, (18, 9, 12, 1.0))
    merged[8:29, 9:11, 11:13] = True
    corner = balls((8, 8, 8, 2.0))
    corner[11:14, 8:11, 8:11] = True  # touches the ball's voxel (10, 8, 8) along one axis
    corner[14, 11, 11] = True  # touches the cube at a corner
    bars, other_bars = np.zeros((2, *SHAPE), dtype=bool)
    for first, last in ((0, 10), (12, 22)):
        bars[first:last, 5:8, 5:8] = True
    for first, last in ((0, 3), (4, 16)):  # the largest IoU first, or the largest sum
        other_bars[first:last, 5:8, 5:8] = True
    near = balls((8, 8, 8, 3.0), (16, 8, 8, 3.0), (30, 28, 20, 2.0))
    return {
        "two of three moved": (balls(*three), balls(*moved)),
        "a false one": (balls(*three), balls(*three[:2], (32, 30, 5, 3.0))),
        "split in two": (balls(*three), split),
        "merged": (balls(*three), merged),
        "bars": (bars, other_bars),
        "corner": (balls((8, 8, 8, 2.0)), corner),
        "near each other": (near, balls((12, 8, 8, 5.0), (30, 28, 25, 1.5))),
        "scattered": (
            balls(*_scattered(0, 17, 1.5)),
            balls(*_scattered(3, 12, 1.7), *_scattered(40, 4, 1.0)),
        ),
        "missed": (balls(*three), balls()),
        "spurious": (balls(), balls(*three)),
    }
