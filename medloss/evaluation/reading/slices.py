"""A folder with a file for each slice, as one image."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.opened import note
from medloss.evaluation.reading.pixels import UNKNOWN, pixel_labels
from medloss.evaluation.reading.png import read_pixels
from medloss.evaluation.reading.stored import CaseError, Stored, by, voxel_bytes
from medloss.evaluation.reading.tiff import read_plane

SLICES = (".png", ".tif", ".tiff")
"""Suffixes of the files that a folder of slices may hold, all of one kind."""

_MOST_SLICES = 1 << 16


def read_slices(folder: Path) -> Stored:
    """A stack out of a folder that holds a file for each slice, in the order of their numbers.

    The number ends a name, before which all names are the same, and none is missing between the
    first and the last.

    Raises:
        CaseError: the folder holds something else, or slices that do not belong together.
    """
    files = _slices(folder)
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
    found = pixel_labels(planes, (UNKNOWN,) * 3)
    said = f"{files[0].name} to {files[-1].name} are the {len(files)} slices of one image"
    return found._replace(note=f"{said}; {found.note}" if found.note else said)


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
        name = re.fullmatch(r"(.*?)(\d{1,9})", path.stem, re.ASCII | re.DOTALL)
        if path.suffix.lower() not in SLICES or name is None:
            raise CaseError(f"{folder} is no stack of slices: it holds {path.name}")
        kinds.add((name[1], path.suffix))
        if int(name[2]) in found or len(kinds) > 1 or len(found) == _MOST_SLICES:
            raise CaseError(
                f"{folder} is no stack of slices: beside {path.name} is another kind of name, or "
                f"the same number"
            )
        found[int(name[2])] = path
    numbers = sorted(found)
    if len(numbers) < 2:
        raise CaseError(f"{folder} is no stack of slices: it holds {len(numbers)}")
    if numbers[-1] - numbers[0] + 1 != len(numbers):
        gap = next(n for n in numbers if n + 1 not in found)
        raise CaseError(f"{folder} holds slices {numbers[0]} to {numbers[-1]}, without {gap + 1}")
    return [found[number] for number in numbers]
