"""Slices through the error of a label, as outlines and areas that an SVG path can draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARGIN_MM = 4.0
_NAMES = ("sagittal", "coronal", "axial")
_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
_OBLIQUE = 0.35
"""A direction is called by two letters where the second is more than about 20 degrees away."""

# Where display axes lead: the patient's right is on the left of the picture (radiological), the
# front on the left of a sagittal one, the head or the front is up.
_ACROSS = {0: -1, 1: -1}
_DOWN = {1: -1, 2: -1}


@dataclass(frozen=True)
class Plane:
    """One slice. Paths are in voxels of the crop, x to the right, y down.

    Args:
        name: the anatomical plane nearest to it, or the axis of the file that it lies across.
        index: of the slice along its axis, from 1.
        count: slices along that axis.
        letters: where left, right, top and bottom lead in the patient.
        voxel_mm: size of a voxel across and down.
        size: of the crop, in voxels across and down.
        overlap: area in both.
        extra: area in the prediction only.
        lacking: area in the reference only.
        reference: outline.
        prediction: outline.
        error_mm2: area of ``extra`` and ``lacking`` in this slice.
    """

    name: str
    index: int
    count: int
    letters: tuple[str, str, str, str]
    voxel_mm: tuple[float, float]
    size: tuple[int, int]
    overlap: str
    extra: str
    lacking: str
    reference: str
    prediction: str
    error_mm2: float

    @property
    def size_mm(self) -> tuple[float, float]:
        """Of the crop, across and down."""
        return self.size[0] * self.voxel_mm[0], self.size[1] * self.voxel_mm[1]


def planes(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    affine: NDArray[np.float64],
    *,
    placed: bool = True,
) -> tuple[Plane, ...]:
    """Axial, coronal and sagittal slice with most wrong voxels; the only slice of a 2D image.

    Where nothing is wrong, the slice with the largest area of the label.

    Args:
        reference: mask, 2D or 3D; not empty unless ``prediction`` is not.
        prediction: mask of the same shape.
        affine: 4x4, voxel index to RAS+ mm.
        placed: whether the affine says where left and front are; else the slices are called after
            the axes of the file, and their sides have no letters.
    """
    if reference.ndim == 2:
        columns = affine[:3, :2]
        normal = np.cross(columns[:, 0], columns[:, 1])
        affine = np.column_stack([columns, normal / np.linalg.norm(normal)])
        reference, prediction = reference[..., None], prediction[..., None]
        axes: tuple[int, ...] = (2,)
    else:
        affine, axes = affine[:3, :3], (0, 1, 2)
    world = _world_axes(affine)
    box = _box(reference | prediction, np.linalg.norm(affine, axis=0))
    found = [_plane(reference, prediction, affine, world, box, axis) for axis in axes]
    if not placed:
        found = [
            replace(plane, name=f"axis {axis + 1}", letters=("", "", "", ""))
            for axis, plane in zip(axes, found, strict=True)
        ]
    return tuple(sorted(found, key=lambda plane: plane.name))


def _plane(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    affine: NDArray[np.float64],
    world: tuple[int, ...],
    box: tuple[slice, ...],
    axis: int,
) -> Plane:
    others = tuple(i for i in range(3) if i != axis)
    wrong = (reference ^ prediction).sum(axis=others)
    areas = wrong if wrong.any() else reference.sum(axis=others)
    index = int(areas.argmax())
    # Across is R-L, or A-P in a sagittal slice; down is the other axis.
    across, down = sorted(others, key=lambda i: world[i])
    directions, cuts = [], []
    for mask in (reference, prediction):
        cut = np.take(
            mask[tuple(box[i] if i != axis else slice(None) for i in range(3))], index, axis
        )
        cuts.append(cut if across < down else cut.T)  # (across, down)
    for position, (i, leads) in enumerate(((across, _ACROSS), (down, _DOWN))):
        direction = affine[:, i] / np.linalg.norm(affine[:, i])
        if np.sign(direction[world[i]]) != leads[world[i]]:
            cuts = [np.flip(cut, axis=position) for cut in cuts]
            direction = -direction
        directions.append(direction)
    right, bottom = directions
    voxel = tuple(float(np.linalg.norm(affine[:, i])) for i in (across, down))
    ref, pred = (cut.T for cut in cuts)  # rows down, columns across
    return Plane(
        name=_NAMES[world[axis]],
        index=index + 1,
        count=reference.shape[axis],
        letters=(_leads(-right), _leads(right), _leads(-bottom), _leads(bottom)),
        voxel_mm=(voxel[0], voxel[1]),
        size=(ref.shape[1], ref.shape[0]),
        overlap=area_path(ref & pred),
        extra=area_path(pred & ~ref),
        lacking=area_path(ref & ~pred),
        reference=outline_path(ref),
        prediction=outline_path(pred),
        error_mm2=float(wrong[index]) * voxel[0] * voxel[1],
    )


def area_path(mask: NDArray[np.bool_]) -> str:
    """SVG path that covers the true pixels of ``mask[y, x]``, a rectangle for each run.

    Example:
        >>> area_path(np.array([[False, True, True]]))
        'M1 0h2v1h-2z'
    """
    return "".join(f"M{x} {y}h{n}v1h-{n}z" for y, x, n in _runs(mask))


def outline_path(mask: NDArray[np.bool_]) -> str:
    """SVG path along the sides of pixels where ``mask[y, x]`` changes, the image edge included.

    Example:
        >>> outline_path(np.array([[True, True]]))
        'M0 0h2M0 1h2M0 0v1M2 0v1'
    """
    padded = np.pad(mask, 1)
    across = _runs((padded[:-1] != padded[1:])[:, 1:-1])
    down = _runs((padded[:, :-1] != padded[:, 1:])[1:-1].T)
    return "".join([f"M{x} {y}h{n}" for y, x, n in across] + [f"M{x} {y}v{n}" for x, y, n in down])


def _runs(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """Row, first column and length of every run of true pixels."""
    change = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, ends = np.argwhere(change == 1), np.argwhere(change == -1)
    for (row, start), (_, end) in zip(starts.tolist(), ends.tolist(), strict=True):
        yield row, start, end - start


def _box(mask: NDArray[np.bool_], spacing_mm: NDArray[Any]) -> tuple[slice, ...]:
    """Around all true voxels, with a margin, inside the image."""
    found = []
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        where = np.flatnonzero(mask.any(axis=others))
        margin = max(2, round(_MARGIN_MM / float(spacing_mm[axis])))
        low, high = int(where[0]) - margin, int(where[-1]) + 1 + margin
        found.append(slice(max(0, low), min(mask.shape[axis], high)))
    return tuple(found)


def _world_axes(affine: NDArray[np.float64]) -> tuple[int, ...]:
    """Which of R-L, A-P and S-I each voxel axis is nearest to, each once."""
    from nibabel.orientations import io_orientation

    square = np.eye(4)
    square[:3, :3] = affine
    return tuple(int(axis) for axis in io_orientation(square)[:, 0])


def _leads(direction: NDArray[np.float64]) -> str:
    order = sorted(range(3), key=lambda axis: -abs(direction[axis]))
    letters = [_LETTERS[axis][int(direction[axis] > 0)] for axis in order]
    return letters[0] + (letters[1] if abs(direction[order[1]]) > _OBLIQUE else "")
