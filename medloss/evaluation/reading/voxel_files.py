"""Voxels out of bytes: inflated no further than a header says, and checked to the end.

And what text headers have in common: their numbers, and voxels behind them or in a file beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from isal import igzip_lib
from numpy.typing import NDArray

from medloss.evaluation.reading.opened import read_file
from medloss.evaluation.reading.stored import (
    DEFLATE_RATIO,
    CaseError,
    as_array,
    check_stored,
    voxel_bytes,
)

GZIP = igzip_lib.DECOMP_GZIP
ZLIB = igzip_lib.DECOMP_ZLIB
DEFLATE = igzip_lib.DECOMP_DEFLATE

_ISAL_ERROR = cast(type[Exception], igzip_lib.IsalError)  # whose stub says that it is an instance
_SLACK = 1 << 16

LONGEST_HEADER = 1 << 20
_LARGEST_NUMBER = 1e9


class Inflating:
    """A compressed stream that gives up its bytes in the sizes that are asked for.

    Args:
        path: for the error texts.
        content: the compressed bytes; several gzip streams may follow one another.
        flag: ``GZIP``, ``ZLIB`` or ``DEFLATE`` (neither header nor checksum).

    Example:
        >>> import gzip
        >>> stream = Inflating(Path("a.gz"), gzip.compress(b"header, voxels"))
        >>> stream.read(6), stream.read_last(8)
        (b'header', b', voxels')
    """

    def __init__(self, path: Path, content: bytes | memoryview, flag: int = GZIP) -> None:
        self._path, self._flag = path, flag
        self._next: bytes | memoryview = content
        self._stream = igzip_lib.IgzipDecompressor(flag=flag)

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer where the stream ends before.

        Raises:
            CaseError: the stream is damaged or has no end.
        """
        pieces: list[bytes] = []
        while size > 0 and (piece := self._piece(size)):
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_last(self, size: int) -> bytes:
        """All of the last ``size`` bytes; read on to the end, where the checksum is.

        Raises:
            CaseError: the stream is damaged, has no end, fewer bytes, or goes on far beyond them.
        """
        found = self.read(size)
        check_stored(self._path, size, len(found))
        if len(self.read(_SLACK)) == _SLACK:
            raise CaseError(f"{self._path} is damaged: it holds more bytes than its header says")
        return found

    def _piece(self, size: int) -> bytes:
        while True:
            if self._stream.eof:
                rest = self._stream.unused_data
                if self._flag != GZIP or not rest.startswith(b"\x1f\x8b"):
                    return b""
                self._stream, self._next = igzip_lib.IgzipDecompressor(flag=self._flag), rest
            given, self._next = self._next, b""
            try:
                piece: bytes = self._stream.decompress(given, size)
            except (_ISAL_ERROR, EOFError, ValueError) as error:
                raise CaseError(f"{self._path} is damaged: {_reason(error)}") from error
            if piece:
                return piece
            if not self._stream.eof:
                raise CaseError(f"{self._path} is truncated: its compressed stream has no end")


def _reason(error: Exception) -> str:
    """``Error -6 Incorrect checksum found`` without its number."""
    words = str(error).split()
    words = words[2:] if words[:1] == ["Error"] else words
    text = " ".join(words) or "it cannot be decompressed"
    return text[0].lower() + text[1:]


def check_one_file(path: Path, name: str, whole: str) -> None:
    """Raise if what a header names for its voxels is more than one file.

    Raises:
        CaseError: see above; ``whole`` is the suffix of files that hold both.
    """
    if name.startswith("LIST") or "%" in name or len(name.split()) > 1:
        raise CaseError(f"{path} keeps its voxels in several files; save it as one {whole} file")


def read_beside(path: Path, name: str) -> memoryview:
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
    return memoryview(read_file(source))


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
        skip: bytes before them, once inflated; -1 if the voxels are the last bytes.

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
        voxels: bytes | memoryview = stream.read_last(size)
    else:
        start = len(content) - size if skip < 0 else skip
        check_stored(path, size, max(0, len(content) - start) if start >= 0 else len(content))
        voxels = content[start : start + size]
    return as_array(voxels, shape, dtype)


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
