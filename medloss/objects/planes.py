"""Which anatomical plane the slices along an axis lie in, by the affine of an image."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

Plane = Literal["sagittal", "coronal", "axial"]
PLANES: tuple[Plane, Plane, Plane] = ("sagittal", "coronal", "axial")
"""Slices along R-L, A-P and S-I; along the three axes of an image whose affine nobody knows."""


def world_axes(affine: Any) -> tuple[int, ...]:
    """Which of R-L, A-P and S-I each of three voxel axes is nearest to, each once.

    Args:
        affine: (3, 3) or (4, 4), from voxels to RAS+ or LPS+ mm.

    Example:
        >>> world_axes([[0, 0, 2.0], [-1.0, 0, 0], [0, 1.0, 0.1]])
        (1, 2, 0)
    """
    from nibabel.orientations import io_orientation

    square = np.eye(4)
    square[:3, :3] = np.asarray(affine, dtype=np.float64)[:3, :3]
    return tuple(int(axis) for axis in io_orientation(square)[:, 0])


def planes_of(affine: Any) -> tuple[Plane, ...]:
    """The plane of the slices along each of three axes.

    Example:
        >>> planes_of(np.diag([1.0, 1.0, 3.0]))
        ('sagittal', 'coronal', 'axial')
    """
    return tuple(PLANES[axis] for axis in world_axes(affine))
