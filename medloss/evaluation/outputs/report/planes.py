"""Slices through the error of a label: outlines, areas, and the image below them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.outputs.report.grey import data_uri, shrunk
from medloss.evaluation.outputs.report.orientation import Box, Display
from medloss.evaluation.outputs.report.paths import area_path, outline_path

_MARGIN_MM = 4.0
_SURROUNDINGS_MM = 12.0
"""Around a label on an image, whose surroundings say where it is."""

_MOST_PIXELS, _MOST_LOCATOR_PIXELS = 256, 96
"""Across or down, of a grey-scale slice and of the small one that says where it is."""

_SMALL = 0.4
"""A crop that is less than this share of its slice has a small picture of the whole."""

Shown = Callable[[Box], NDArray[np.uint8]]
"""Grey values of a part of the image as it is shown, (x, y, z)."""


@dataclass(frozen=True)
class Locator:
    """The whole slice, small, and where in it the crop is.

    Args:
        size_mm: across and down.
        crop_mm: left, top, width and height.
        grey: the slice as a data URI, empty where there is no image.
    """

    size_mm: tuple[float, float]
    crop_mm: tuple[float, float, float, float]
    grey: str = ""


@dataclass(frozen=True)
class Plane:
    """One slice. Paths are in voxels of the crop, x to the right, y down.

    Args:
        name: the anatomical plane nearest to it, or the axis of the file that it lies across.
        index: of the slice along its axis in the file, from 1.
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
        grey: the image there as a data URI, empty where there is none.
        locator: where the crop lies, if it is a small part of the slice.
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
    grey: str = ""
    locator: Locator | None = None

    @property
    def size_mm(self) -> tuple[float, float]:
        """Of the crop, across and down."""
        return self.size[0] * self.voxel_mm[0], self.size[1] * self.voxel_mm[1]


def planes(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    display: Display,
    shown: Shown | None = None,
    inside: Box | None = None,
) -> tuple[Plane, ...]:
    """Axial, coronal and sagittal slice with most wrong voxels; the only slice of a 2D image.

    Where nothing is wrong, the slice with the largest area of the label; of equal slices that in
    their middle.

    Args:
        reference: mask, 2D or 3D; not empty unless ``prediction`` is not.
        prediction: mask of the same shape.
        display: how they are shown.
        shown: the image below them.
        inside: :func:`tight_box` of both, where it is known.
    """
    true, found = display.turned(reference), display.turned(prediction)
    inside = inside or tight_box(true | found)
    box = grown(inside, display, _SURROUNDINGS_MM if shown else _MARGIN_MM)
    wrong = true[inside] ^ found[inside]
    areas = wrong if wrong.any() else true[inside]
    cuts = []
    for plane in display.planes:
        across, down, through = plane
        sizes = areas.sum(axis=(across, down))
        equal = np.flatnonzero(sizes == sizes.max())
        place = int(equal[len(equal) // 2])
        index = inside[through].start + place
        count = int(wrong.take(place, through).sum())
        cuts.append(_plane(true, found, display, box, plane, index, count, shown))
    return tuple(cuts)


def _plane(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    display: Display,
    box: Box,
    plane: tuple[int, int, int],
    index: int,
    wrong_pixels: int,
    shown: Shown | None,
) -> Plane:
    across, down, through = plane
    here = _at(box, through, index)
    # Rows down, columns across.
    ref, pred = (_rows(side[here], plane) for side in (reference, prediction))
    voxel = display.voxel_mm[across], display.voxel_mm[down]
    return Plane(
        name=display.names[through],
        index=display.number(through, index),
        count=display.size[through],
        letters=(*display.letters[across], *display.letters[down]),
        voxel_mm=voxel,
        size=(ref.shape[1], ref.shape[0]),
        overlap=area_path(ref & pred),
        extra=area_path(pred & ~ref),
        lacking=area_path(ref & ~pred),
        reference=outline_path(ref),
        prediction=outline_path(pred),
        error_mm2=wrong_pixels * voxel[0] * voxel[1],
        grey=_grey(shown, here, plane, _MOST_PIXELS),
        locator=_locator(display, box, plane, index, shown),
    )


def _locator(
    display: Display, box: Box, plane: tuple[int, int, int], index: int, shown: Shown | None
) -> Locator | None:
    across, down, through = plane
    whole, crop, start = [], [], []
    for axis in (across, down):
        mm = display.voxel_mm[axis]
        whole.append(display.size[axis] * mm)
        start.append(box[axis].start * mm)
        crop.append((box[axis].stop - box[axis].start) * mm)
    if crop[0] * crop[1] >= _SMALL * whole[0] * whole[1]:
        return None
    everything = slice(0, display.size[0]), slice(0, display.size[1]), slice(0, display.size[2])
    grey = _grey(shown, _at(everything, through, index), plane, _MOST_LOCATOR_PIXELS)
    return Locator((whole[0], whole[1]), (start[0], start[1], crop[0], crop[1]), grey)


def _grey(shown: Shown | None, box: Box, plane: tuple[int, int, int], most: int) -> str:
    return "" if shown is None else data_uri(shrunk(_rows(shown(box), plane), most))


def _at(box: Box, axis: int, index: int) -> Box:
    """One slice of a part."""
    found = [slice(index, index + 1) if i == axis else part for i, part in enumerate(box)]
    return found[0], found[1], found[2]


def _rows(array: NDArray[Any], plane: tuple[int, int, int]) -> NDArray[Any]:
    """A slice of (x, y, z) as rows down and columns across."""
    across, down, through = plane
    return array.transpose(down, across, through)[..., 0]


def tight_box(mask: NDArray[np.bool_]) -> Box:
    """Around all true voxels of what is shown."""
    found = []
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        where = np.flatnonzero(mask.any(axis=others))
        found.append(slice(int(where[0]), int(where[-1]) + 1))
    return found[0], found[1], found[2]


def grown(box: Box, display: Display, margin_mm: float) -> Box:
    """A part with a margin, inside the image."""
    found = []
    for part, mm, size in zip(box, display.voxel_mm, display.size, strict=True):
        margin = max(2, round(margin_mm / mm))
        found.append(slice(max(0, part.start - margin), min(size, part.stop + margin)))
    return found[0], found[1], found[2]
