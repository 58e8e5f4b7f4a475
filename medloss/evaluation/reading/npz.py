"""The probabilities that nnU-Net saves beside its predictions, without unpickling anything."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.opened import open_file
from medloss.evaluation.reading.stored import (
    DEFLATE_RATIO,
    CaseError,
    Unplaced,
    as_array,
    check_stored,
    voxel_bytes,
)

NAMES = ("probabilities", "softmax")
"""What nnU-Net 2 and nnU-Net 1 call the array."""

_HEADER = re.compile(
    r"\{'descr': '([^']{1,20})', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\),? ?\}\s*",
    re.ASCII,
)
_LONGEST_HEADER = 1 << 12


def read_npz(path: Path) -> Unplaced:
    """Probabilities with the classes last; their place the file does not say.

    Raises:
        CaseError: the file is damaged, or holds something else.
    """
    return Unplaced(_read(path).transpose(3, 2, 1, 0))  # (C, z, y, x) to (x, y, z, C), a view


def _read(path: Path) -> NDArray[Any]:
    try:
        with open_file(path) as content, zipfile.ZipFile(content) as archive:
            names = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            info = next((names[name] for name in NAMES if name in names), None)
            if info is None:
                listed = ", ".join(repr(name[:40]) for name in sorted(names)[:5]) or "nothing"
                raise CaseError(f"{path} has no array {' or '.join(NAMES)}; it has {listed}")
            check_stored(path, info.file_size, max(info.compress_size, 1), DEFLATE_RATIO)
            with archive.open(info) as file:
                return _array(path, file, info.file_size)
    except (CaseError, OSError, MemoryError):
        raise
    except Exception as error:  # each method of compression has errors of its own
        raise CaseError(f"{path} is a damaged .npz file: {_reason(error)}") from error


def _array(path: Path, file: IO[bytes], size: int) -> NDArray[Any]:
    shape, fortran, dtype = _header(path, file)
    if len(shape) != 4:
        raise CaseError(f"{path} has {len(shape)} axes; expected (classes, z, y, x)")
    expected = voxel_bytes(path, shape, dtype.itemsize)
    check_stored(path, expected, size)
    content = file.read(expected)
    check_stored(path, expected, len(content))
    if file.read(1):
        raise CaseError(f"{path} is damaged: it holds more bytes than its header says")
    return as_array(content, shape, dtype, "F" if fortran else "C")


def _header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of a .npy array; numpy's own reader would parse it as Python."""
    start = file.read(8)
    width = {1: 2, 2: 4, 3: 4}.get(start[6] if len(start) == 8 else 0, 0)
    length = int.from_bytes(file.read(width), "little")
    found = _HEADER.fullmatch(file.read(min(length, _LONGEST_HEADER)).decode("latin-1"))
    if start[:6] != b"\x93NUMPY" or found is None:
        raise CaseError(f"{path} is a damaged .npz file: the header of its array is unknown")
    descr, fortran, sizes = found.groups()
    if not re.fullmatch(r"[<>|][biuf][1248]", descr):
        raise CaseError(f"{path} holds values of type {descr!r}, not probabilities")
    shape = tuple(int(word) for word in sizes.replace(",", " ").split())
    return shape, fortran == "True", np.dtype(descr)


def _reason(error: Exception) -> str:
    """What zipfile says, without the bytes that it may quote."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.removeprefix("Error -3 while decompressing data: ")[:100]
