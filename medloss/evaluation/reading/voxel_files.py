"""The voxels that a text header describes: behind it, or in a file beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.errors import CaseError
from medloss.evaluation.reading.inflate import GZIP, ZLIB, Inflating
from medloss.evaluation.reading.limits import DEFLATE_RATIO, check_stored, voxel_bytes

LONGEST_HEADER = 1 << 20
_LARGEST_NUMBER = 1e9


def beside(path: Path, name: str) -> Path:
    """The file that a header names, which must lie in the header's folder or below.

    Raises:
        CaseError: it does not, or is not there.
    """
    source = path.parent / name
    folder = path.parent.resolve()
    if "://" in name or "\0" in name or not source.resolve().is_relative_to(folder):
        raise CaseError(f"{path} points outside of its folder for its voxels: {name[:200]!r}")
    if not source.is_file():
        raise CaseError(f"{path} keeps its voxels in {name[:200]!r}, which does not exist")
    return source


def read_voxels(
    path: Path,
    content: bytes | memoryview,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    *,
    compressed: bool,
    skip: int = 0,
) -> NDArray[Any]:
    """Voxels in the file's order, first axis fastest.

    Args:
        path: for the error texts.
        content: the voxels, and perhaps more behind them.
        shape: size along every axis.
        dtype: of one voxel, with its byte order.
        compressed: whether ``content`` is a gzip or zlib stream.
        skip: bytes before the voxels, once inflated; -1 if the voxels are the last bytes.

    Raises:
        CaseError: the content is damaged, or less than the header says.
    """
    size = voxel_bytes(path, shape, dtype.itemsize)
    if compressed:
        if skip < 0:
            raise CaseError(f"{path} does not say where its compressed voxels begin")
        check_stored(path, size, len(content), DEFLATE_RATIO)
        packed = GZIP if bytes(content[:2]) == b"\x1f\x8b" else ZLIB
        stream = Inflating(path, content, packed)
        stream.read(skip)
        voxels: bytes | memoryview = stream.read(size)
        check_stored(path, size, len(voxels))
        stream.finish()
    else:
        start = len(content) - size if skip < 0 else skip
        check_stored(path, size, max(0, len(content) - start) if start >= 0 else len(content))
        voxels = content[start : start + size]
    array = np.frombuffer(voxels, dtype).reshape(tuple(shape), order="F")
    return array.astype(dtype.newbyteorder("="), copy=False)


def numbers(path: Path, field: str, text: str, count: int) -> NDArray[np.float64]:
    """Numbers of a header field.

    Raises:
        CaseError: other text, or another number of them.
    """
    try:
        found = np.array([float(word) for word in text.split()])
    except ValueError:
        found = np.array([np.nan])
    # Neither a length in mm nor a place is anywhere near the limit, and no product overflows.
    if len(found) != count or not (np.abs(found) < _LARGEST_NUMBER).all():
        raise CaseError(f"{path} is damaged: {field} is {text[:100]!r}; expected {count} numbers")
    return found


def whole_numbers(path: Path, field: str, text: str) -> tuple[int, ...]:
    """Whole numbers of a header field.

    Raises:
        CaseError: other text.
    """
    words = text.split()
    if not words or not all(
        word.removeprefix("-").isascii() and word.removeprefix("-").isdigit() and len(word) < 19
        for word in words
    ):
        raise CaseError(f"{path} is damaged: {field} is {text[:100]!r}; expected whole numbers")
    return tuple(int(word) for word in words)
