"""Compressed arrays (.npz): what nnU-Net saves beside its predictions, or a label map.

Nothing is unpickled.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.npy import read_array, unordered
from medloss.evaluation.reading.opened import open_file
from medloss.evaluation.reading.stored import (
    DEFLATE_RATIO,
    CaseError,
    Stored,
    Unplaced,
    check_stored,
)

NAMES = ("probabilities", "softmax")
"""What nnU-Net 2 and nnU-Net 1 call the array."""

LABELS, SPACING = "seg", "spacing"
"""What a label map is called, and the size of its voxels in mm, along the axes of the array."""

_END, _END_64 = b"PK\x05\x06", b"PK\x06\x06"
_LONGEST_END = (1 << 16) + 98
_LONGEST_LIST = 1 << 20


def read_npz(path: Path) -> Stored | Unplaced:
    """Probabilities with the classes last, whose place the file does not say; or a label map.

    A label map is called ``seg``, perhaps with ``spacing`` beside it, or is the only array.

    Raises:
        CaseError: the file is damaged, or holds something else.
    """
    try:
        with open_file(path) as content:
            _check_list(path, content)
            with zipfile.ZipFile(content) as archive:
                return _read(path, archive)
    except (CaseError, OSError, MemoryError):
        raise
    except Exception as error:  # each method of compression has errors of its own
        raise CaseError(f"{path} is a damaged .npz file: {_reason(error)}") from error


def _read(path: Path, archive: zipfile.ZipFile) -> Stored | Unplaced:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    name = next((name for name in NAMES if name in members), None)
    if name is not None:
        array = _array(path, archive, members[name])
        if array.ndim != 4:
            raise CaseError(f"{path} has {array.ndim} axes; expected (classes, z, y, x)")
        return Unplaced(array.transpose(3, 2, 1, 0))  # (C, z, y, x) to (x, y, z, C), a view
    others = [other for other in members if other != SPACING]
    name = LABELS if LABELS in members else others[0] if len(others) == 1 else None
    if name is None:
        listed = ", ".join(repr(other[:40]) for other in sorted(members)[:5]) or "nothing"
        raise CaseError(f"{path} has no array {', '.join(NAMES)} or {LABELS}; it has {listed}")
    array = _array(path, archive, members[name])
    if SPACING not in members:
        return unordered(path, array)
    sizes = np.asarray(_array(path, archive, members[SPACING]), np.float64).ravel()
    if sizes.size not in (2, 3) or sizes.size > array.ndim or not (sizes > 0).all():
        raise CaseError(f"{path} states the spacing {sizes[:4].tolist()}; expected 2 or 3 sizes")
    return unordered(path, array, tuple(sizes.tolist()))


def _array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CaseError(f"{path} is compressed in another way than numpy does it")
    check_stored(path, info.file_size, max(info.compress_size, 1), DEFLATE_RATIO)
    with archive.open(info) as file:
        return read_array(path, file, info.file_size)


def _check_list(path: Path, file: BinaryIO) -> None:
    """Raise for a list of members, which is read whole, that is longer than any of ours."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _LONGEST_END))
    tail = file.read(_LONGEST_END)
    file.seek(0)
    for mark, place, width in ((_END, 12, 4), (_END_64, 40, 8)):
        found = tail.rfind(mark)
        length = int.from_bytes(tail[found + place : found + place + width], "little")
        if found >= 0 and _LONGEST_LIST < length < (1 << 8 * width) - 1:
            raise CaseError(f"{path} is a damaged .npz file: its list of arrays has {length} bytes")


def _reason(error: Exception) -> str:
    """What zipfile says, without the bytes that it may quote."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.removeprefix("Error -3 while decompressing data: ")[:100]
