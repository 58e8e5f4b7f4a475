"""Which way an image is shown: the patient's left to the right, the back or the feet down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.objects.planes import world_axes

_NAMES = ("sagittal", "coronal", "axial")
_ENDS = (("R", "L"), ("A", "P"), ("S", "I"))
"""Letters at the beginning and the end of x, y and z as they are shown (radiological)."""

_OBLIQUE = 0.35
"""A direction is called by two letters where the second is more than about 20 degrees away."""

Box = tuple[slice, slice, slice]
"""A part of an image as it is shown."""

PLANES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))
"""Axial, coronal, sagittal: the shown axes across, down and through."""


@dataclass(frozen=True)
class Display:
    """An image as x, y and z, whatever the order and the direction of its axes in the file.

    x leads to the patient's left, y to the back and z to the feet, or as nearly there as an axis of
    the image does.

    Args:
        shape: of the image in the file, with three axes.
        axes: of the file, for each of x, y and z.
        backward: whether the file counts them the other way.
        voxel_mm: size of a voxel along each.
        letters: where the beginning and the end of each lead; empty if nobody knows.
        names: of the slices across each.
        flat: the axis that an image of two dimensions does not have, else ``None``.
    """

    shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    backward: tuple[bool, bool, bool]
    voxel_mm: tuple[float, float, float]
    letters: tuple[tuple[str, str], tuple[str, str], tuple[str, str]]
    names: tuple[str, str, str]
    flat: int | None = None

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels along x, y and z."""
        x, y, z = (self.shape[axis] for axis in self.axes)
        return x, y, z

    @property
    def planes(self) -> tuple[tuple[int, int, int], ...]:
        """Those of :data:`PLANES` that the image has."""
        return tuple(p for p in PLANES if self.flat is None or p[2] == self.flat)

    def turned(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of the image, or a part of it, as (x, y, z)."""
        array = array.reshape(*array.shape, *[1] * (3 - array.ndim)).transpose(self.axes)
        return array[
            tuple(slice(None, None, -1) if back else slice(None) for back in self.backward)
        ]

    def in_file(self, box: Box) -> Box:
        """Where a part lies in the file, by its own axes."""
        found = [slice(0)] * 3
        for part, axis, back in zip(box, self.axes, self.backward, strict=True):
            size = self.shape[axis]
            found[axis] = slice(size - part.stop, size - part.start) if back else part
        return found[0], found[1], found[2]

    def number(self, axis: int, index: int) -> int:
        """Of a slice across x, y or z, as the file counts it, from 1."""
        return self.size[axis] - index if self.backward[axis] else index + 1


def display_of(
    shape: tuple[int, ...], affine: NDArray[np.float64], *, placed: bool = True
) -> Display:
    """How an image is shown.

    Args:
        shape: of two or three axes.
        affine: 4x4, voxel index to RAS+ mm.
        placed: whether the affine says where left and front are; else slices are called after the
            axes of the file, and their sides have no letters. With sizes alone rows go down and
            columns to the right, as in any picture.

    Example:
        >>> display = display_of((4, 5, 6), np.diag([2.0, 2.0, 3.0, 1.0]))
        >>> display.backward, display.letters[0], display.size
        ((True, True, True), ('R', 'L'), (4, 5, 6))
    """
    columns = affine[:3, :3].copy()
    if len(shape) == 2:
        normal = np.cross(columns[:, 0], columns[:, 1])
        columns[:, 2] = normal / np.linalg.norm(normal)
    world = world_axes(columns)
    # Pictures and arrays have sizes alone, and are shown as they are stored.
    stored = not placed and bool((columns == np.diag(np.abs(np.diag(columns)))).all())
    found = []
    for shown in range(3):
        axis = world.index(shown)
        direction = columns[:, axis] / np.linalg.norm(columns[:, axis])
        # What is shown grows to the left, the back and the feet: against all three of RAS.
        back = bool(direction[shown] > 0) and not stored
        toward = -direction if back else direction
        letters = (_leads(-toward), _leads(toward)) if placed else ("", "")
        name = _NAMES[shown] if placed else f"axis {axis + 1}"
        found.append((axis, back, float(np.linalg.norm(columns[:, axis])), letters, name))
    axes, backward, voxel_mm, letters_, names = zip(*found, strict=True)
    three = (*shape, *[1] * (3 - len(shape)))
    flat = axes.index(2) if len(shape) == 2 else None
    return Display((three[0], three[1], three[2]), axes, backward, voxel_mm, letters_, names, flat)


def _leads(direction: NDArray[np.float64]) -> str:
    order = sorted(range(3), key=lambda axis: -abs(direction[axis]))
    letters = [_ENDS[axis][int(direction[axis] < 0)] for axis in order]
    return letters[0] + (letters[1] if abs(direction[order[1]]) > _OBLIQUE else "")
