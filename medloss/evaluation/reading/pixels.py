"""What files of pictures have in common: rows before columns, masks of 255, slices in a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.opened import note, read_file
from medloss.evaluation.reading.stored import CaseError, Stored, by, sizes_alone, voxel_bytes
from medloss.runtime.config_text import parse_json

UNKNOWN = float("nan")
"""Size of a voxel that a file does not state."""

SLICES = (".png", ".tif", ".tiff")
"""Suffixes of the files that a folder of slices may hold, all of one kind."""

_LARGEST_TEXT = 1 << 24
_MOST_SLICES = 1 << 16


def pixel_labels(
    array: NDArray[Any], spacing_mm: Sequence[float], *, classes: bool = False
) -> Stored:
    """Voxels out of pages, rows and columns, without a place.

    Where 255 is the one value beside 0 (65535 of 16 bits), it is how pictures say "yes": label 1.

    Args:
        array: ``([z], y, x)``, with the classes as last axis if ``classes``.
        spacing_mm: along x, y and z; NaN where the file does not state it.
        classes: whether there is such an axis.

    Example:
        >>> stored = pixel_labels(np.array([[0, 0, 255]], dtype=np.uint8), (1, 1))
        >>> stored.array.tolist(), stored.note
        ([[0], [0], [1]], 'the only value, 255, is read as label 1')
    """
    dimensions = array.ndim - classes
    array = array.transpose(*reversed(range(dimensions)), *range(dimensions, array.ndim))
    said = ""
    if array.dtype.kind in "bu" and array.size:
        full = 1 if array.dtype.kind == "b" else int(np.iinfo(array.dtype).max)
        if full > 1 and array.max() == full and bool(((array == 0) | (array == full)).all()):
            array = (array == full).view(np.uint8)
            said = f"the only value, {full}, is read as label 1"
    return Stored(array, sizes_alone(spacing_mm), dimensions, said, space="")


def read_slices(folder: Path) -> Stored:
    """A stack out of a folder that holds a file for each slice, in the order of their numbers.

    The number is the last one of a name, and there is none missing between the first and the last.

    Raises:
        CaseError: the folder holds something else, or slices that do not belong together.
    """
    files = _slices(folder)
    from medloss.evaluation.reading.png import read_pixels
    from medloss.evaluation.reading.tiff import read_plane

    read = read_pixels if files[0].suffix.lower() == ".png" else read_plane
    planes: NDArray[Any] | None = None
    for place, path in enumerate(files):
        plane = read(path)
        if planes is None:
            voxel_bytes(folder, (len(files), *plane.shape), plane.dtype.itemsize)
            planes = np.empty((len(files), *plane.shape), plane.dtype)
        if (plane.shape, plane.dtype) != (planes.shape[1:], planes.dtype):
            raise CaseError(
                f"{folder} holds slices that do not belong together: {files[0].name} is "
                f"{by(planes.shape[:0:-1])} of {planes.dtype}, {path.name} {by(plane.shape[::-1])} "
                f"of {plane.dtype}"
            )
        planes[place] = plane
    assert planes is not None  # noqa: S101  there is at least one file
    return pixel_labels(planes, (UNKNOWN,) * 3)


def is_slices(folder: Path) -> bool:
    """Whether a folder holds files of slices and nothing else that is an image."""
    try:
        _slices(folder)
    except (CaseError, OSError):
        return False
    return True


def _slices(folder: Path) -> list[Path]:
    note(folder)  # another slice changes it
    found: dict[int, Path] = {}
    kinds = set()
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        kind = path.suffix.lower()
        number = re.findall(r"\d{1,9}", path.stem, re.ASCII)
        if kind not in SLICES or not number:
            raise CaseError(f"{folder} is no stack of slices: it holds {path.name}")
        kinds.add(kind)
        if int(number[-1]) in found or len(kinds) > 1 or len(found) == _MOST_SLICES:
            raise CaseError(
                f"{folder} is no stack of slices: {path.name} and another file have one number, or "
                f"are of two kinds"
            )
        found[int(number[-1])] = path
    numbers = sorted(found)
    if not numbers:
        raise CaseError(f"{folder} holds no slices")
    if numbers[-1] - numbers[0] + 1 != len(numbers):
        gap = next(n for n in numbers if n + 1 not in found)
        raise CaseError(f"{folder} holds slices {numbers[0]} to {numbers[-1]}, without {gap + 1}")
    return [found[number] for number in numbers]


def read_json(path: Path) -> Any:
    """The content of a small JSON file.

    Raises:
        CaseError: it is none.
    """
    content = read_file(path, most=_LARGEST_TEXT)
    try:
        return parse_json(content.decode("utf-8"))
    except ValueError as error:
        raise CaseError(f"{path} is no JSON file: {error}") from error
