"""Arrays that numpy saves (.npy, and label maps in .npz), without unpickling anything.

An array says neither where its voxels lie nor which of its axes is which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.opened import open_file
from medloss.evaluation.reading.stored import (
    CaseError,
    Stored,
    as_array,
    check_stored,
    sizes_alone,
    voxel_bytes,
)

_HEADER = re.compile(
    r"\{'descr': '([^']{1,20})', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\),? ?\}\s*",
    re.ASCII,
)
_LONGEST_HEADER = 1 << 12
_UNKNOWN = float("nan")


def read_npy(path: Path) -> Stored:
    """Voxels in the order of the array.

    Raises:
        CaseError: the file is damaged, or holds something else.
    """
    with open_file(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        return unordered(path, read_array(path, file, size))


def unordered(path: Path, array: NDArray[Any], spacing_mm: Sequence[float] = ()) -> Stored:
    """Voxels whose axes only the user knows.

    Args:
        path: for the error texts.
        array: of two or three spatial axes, perhaps one of classes among them.
        spacing_mm: along the spatial ones, in the order of the array, where the file states it.

    Raises:
        CaseError: another number of axes.
    """
    if array.ndim not in (2, 3, 4):
        raise CaseError(
            f"{path} has {array.ndim} axes; expected 2 or 3, and one of classes at most"
        )
    sizes = spacing_mm or (_UNKNOWN,) * min(array.ndim, 3)
    return Stored(array, sizes_alone(sizes), len(sizes), space="", ordered=False)


def read_array(path: Path, file: IO[bytes], size: int) -> NDArray[Any]:
    """The array of a .npy file, or of a member of a .npz file, of ``size`` bytes.

    Raises:
        CaseError: it is damaged, or holds Python's objects.
    """
    shape, fortran, dtype, begins = _header(path, file)
    expected = voxel_bytes(path, shape, dtype.itemsize)
    check_stored(path, expected, size - begins)
    content = file.read(expected)
    check_stored(path, expected, len(content))
    if file.read(1):
        raise CaseError(f"{path} is damaged: it holds more bytes than its header says")
    return as_array(content, shape, dtype, "F" if fortran else "C")


def _header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order and type of an array; numpy's own reader would parse it as Python."""
    start = file.read(8)
    width = {1: 2, 2: 4, 3: 4}.get(start[6] if len(start) == 8 else 0, 0)
    length = int.from_bytes(file.read(width), "little")
    found = _HEADER.fullmatch(file.read(min(length, _LONGEST_HEADER)).decode("latin-1"))
    if start[:6] != b"\x93NUMPY" or found is None:
        raise CaseError(
            f"{path} is a damaged {path.suffix} file: the header of its array is unknown"
        )
    descr, fortran, sizes = found.groups()
    if not re.fullmatch(r"[<>|][biuf][1248]", descr):
        raise CaseError(f"{path} holds values of type {descr!r}, not labels or probabilities")
    try:
        dtype = np.dtype(descr)
    except TypeError as error:
        raise CaseError(f"{path} holds values of type {descr!r}, which is none") from error
    words = sizes.replace(",", " ").split()
    if not words or max(map(len, words)) > 18:
        raise CaseError(f"{path} holds no voxels: its header says ({sizes[:40]})")
    return tuple(map(int, words)), fortran == "True", dtype, 8 + width + length
