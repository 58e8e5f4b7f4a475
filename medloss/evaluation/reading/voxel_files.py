"""Voxels out of files: no byte more is read or inflated than a header says, and all of them are.

And what text headers have in common: their numbers, and voxels behind them or in files beside.
"""

from __future__ import annotations

import binascii
import bz2
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from isal import igzip_lib
from numpy.typing import NDArray

from medloss.evaluation.reading.opened import look_for, open_file
from medloss.evaluation.reading.stored import (
    DEFLATE_RATIO,
    CaseError,
    as_array,
    by,
    check_stored,
    voxel_bytes,
)

GZIP, ZLIB, BZIP2 = "gzip", "zlib", "bzip2"
PACKED = (GZIP, ZLIB, BZIP2)
"""Encodings of a compressed stream; the others are raw bytes and two kinds of text."""

RAW, HEX, ASCII = "raw", "hex", "ascii"

LONGEST_HEADER = 1 << 24
"""Bytes of a text header at most: thousands of named labels take some megabytes."""

_STREAMS: dict[str, Callable[[], Any]] = {
    GZIP: lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP),
    ZLIB: lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB),
    BZIP2: bz2.BZ2Decompressor,
}
_NEXT_STREAM = {GZIP: b"\x1f\x8b", BZIP2: b"BZh"}
_ISAL_ERROR = cast(type[Exception], igzip_lib.IsalError)  # whose stub says that it is an instance
_STREAM_ERRORS = (_ISAL_ERROR, EOFError, ValueError, OSError)

_SLACK = 1 << 16
_FIRST_FEED = 1 << 9
_PIECE = 1 << 20
_LONGEST_SKIP = 1 << 28
_MOST_PACKED_MORE = 1 << 24
_MOST_FILES = 1 << 16
_LONGEST_NAME = 4096
_MOST_LETTERS = 64  # of a number as text
_LARGEST_NUMBER = 1e9


class Inflating:
    """A compressed stream that gives up its bytes in the sizes that are asked for.

    Args:
        path: for the error texts.
        content: the compressed bytes; several gzip or bzip2 streams may follow one another.
        packing: ``GZIP``, ``ZLIB`` or ``BZIP2``.

    Example:
        >>> import gzip
        >>> stream = Inflating(Path("a.gz"), gzip.compress(b"header, voxels"))
        >>> stream.read(6), stream.read_last(8)
        (b'header', b', voxels')
    """

    def __init__(self, path: Path, content: bytes | memoryview, packing: str = GZIP) -> None:
        self._path, self._packing = path, packing
        self._content, self._place = memoryview(content), 0
        self._stream = _STREAMS[packing]()
        self._feed = len(content)

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

    def skip(self, size: int) -> None:
        """Pass over bytes, fewer where the stream ends before.

        Raises:
            CaseError: as :meth:`read`, or so many bytes that no header has them.
        """
        if size > _LONGEST_SKIP:
            raise CaseError(f"{self._path} is damaged: its voxels begin at byte {size}")
        while size > 0 and (piece := self._piece(min(size, _PIECE))):
            size -= len(piece)

    def read_last(self, size: int, more: int = _SLACK) -> bytes:
        """All of the last ``size`` bytes; read on to the end, where the checksum is.

        Args:
            size: bytes that the header says.
            more: bytes that may follow.

        Raises:
            CaseError: the stream is damaged, has no end, fewer bytes, or goes on far beyond them.
        """
        found = self.read(size)
        check_stored(self._path, size, len(found))
        while more > 0 and (piece := self._piece(min(more, _PIECE))):
            more -= len(piece)
        if more <= 0:
            raise CaseError(f"{self._path} is damaged: it holds more bytes than its header says")
        return found

    def read_end(self, size: int) -> bytearray:
        """The last ``size`` bytes of the stream, whatever comes before them.

        Raises:
            CaseError: as :meth:`read_last`.
        """
        found = bytearray(self.read(size))
        before = 0
        while piece := self._piece(_PIECE):
            found += piece
            before += len(found) - size
            del found[:-size]
            if before > _LONGEST_SKIP:
                raise CaseError(
                    f"{self._path} is damaged: it holds more bytes than its header says"
                )
        check_stored(self._path, size, len(found))
        return found

    def _piece(self, size: int) -> bytes:
        while True:
            if self._stream.eof:
                # In small portions from here on: what a stream leaves over is copied, and there may
                # be many that are empty.
                self._place -= len(self._stream.unused_data)
                start = _NEXT_STREAM.get(self._packing)
                rest = self._content[self._place :]
                if start is None or rest[: len(start)] != start:
                    return b""
                self._stream, self._feed = _STREAMS[self._packing](), _FIRST_FEED
            given: bytes | memoryview = b""
            if self._stream.needs_input:
                given = self._content[self._place : self._place + self._feed]
                self._place += len(given)
                self._feed *= 2
            try:
                piece: bytes = self._stream.decompress(given, size)
            except _STREAM_ERRORS as error:
                raise CaseError(f"{self._path} is damaged: {_reason(error)}") from error
            if piece:
                return piece
            ended = self._place >= len(self._content) and self._stream.needs_input
            if ended and not self._stream.eof:
                raise CaseError(f"{self._path} is truncated: its compressed stream has no end")


def _reason(error: Exception) -> str:
    """``Error -6 Incorrect checksum found`` without its number."""
    words = str(error).split()
    words = words[2:] if words[:1] == ["Error"] else words
    text = " ".join(words) or "it cannot be decompressed"
    return text[0].lower() + text[1:]


def read_packed(path: Path, file: BinaryIO, expected: int) -> bytes:
    """The compressed rest of a file, which is not much longer than what it stands for.

    Args:
        path: for the error text.
        file: at the first byte of the stream.
        expected: bytes that it stands for.

    Raises:
        CaseError: it is longer than any compressor makes it.
    """
    most = expected + expected // 64 + _MOST_PACKED_MORE
    content = file.read(min(most, _left(file)) + 1)
    if len(content) > most:
        raise CaseError(f"{path} is damaged: it is far longer than what its header says")
    return content


def read_voxels(
    path: Path,
    file: BinaryIO,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    *,
    encoding: str = RAW,
    skip: int = 0,
    more: int = _SLACK,
) -> NDArray[Any]:
    """Voxels in the file's order, first axis fastest.

    Args:
        path: for the error texts.
        file: at the first byte behind its header; perhaps with more behind the voxels.
        shape: size along every axis.
        dtype: of one voxel, with its byte order.
        encoding: ``RAW``, ``GZIP``, ``ZLIB``, ``BZIP2``, ``HEX`` or ``ASCII``; a gzip stream may
            also be a zlib stream, and the other way round.
        skip: bytes before them, once inflated; -1 if the voxels are the last bytes.
        more: bytes behind the voxels at most, once inflated.

    Raises:
        CaseError: the content is damaged, or less than the header says.
    """
    size = voxel_bytes(path, shape, dtype.itemsize)
    if encoding in PACKED:
        content = read_packed(path, file, size + max(skip, 0))
        if encoding != BZIP2:
            check_stored(path, size, len(content), DEFLATE_RATIO)
            encoding = GZIP if content.startswith(b"\x1f\x8b") else ZLIB
        stream = Inflating(path, content, encoding)
        if skip < 0:
            return as_array(memoryview(stream.read_end(size)), shape, dtype)
        stream.skip(skip)
        return as_array(stream.read_last(size, more), shape, dtype)
    left = _left(file)
    if encoding == RAW:
        before = left - size if skip < 0 else skip
        check_stored(path, size, max(0, left - before) if before >= 0 else left)
        file.seek(before, os.SEEK_CUR)
        content = file.read(size)
        check_stored(path, size, len(content))
        return as_array(content, shape, dtype)
    if skip < 0:
        raise CaseError(f"{path} does not say where its voxels begin, which are text")
    file.seek(skip, os.SEEK_CUR)
    read = _read_hex if encoding == HEX else _read_ascii
    return read(path, file, size // dtype.itemsize, dtype).reshape(tuple(shape), order="F")


def _left(file: BinaryIO) -> int:
    return max(0, os.fstat(file.fileno()).st_size - file.tell())


def _read_hex(path: Path, file: BinaryIO, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    found, size, half = bytearray(), count * dtype.itemsize, b""
    check_stored(path, 2 * size, _left(file))
    while len(found) < size and (text := file.read(_PIECE)):
        digits = half + text.translate(None, b" \t\r\n")
        half = digits[len(digits) // 2 * 2 :]
        try:
            found += binascii.unhexlify(digits[: len(digits) // 2 * 2])
        except ValueError as error:
            raise CaseError(f"{path} is damaged: its voxels are no hexadecimal digits") from error
    check_stored(path, size, len(found))
    return as_array(memoryview(found)[:size], (count,), dtype)


def _read_ascii(path: Path, file: BinaryIO, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    check_stored(path, 2 * count - 1, _left(file))
    found, done, rest = np.empty(count, dtype.newbyteorder("=")), 0, b""
    number: type[float] | type[int] = float if dtype.kind == "f" else int
    low, high = -np.inf, np.inf
    if dtype.kind != "f":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    while done < count and (text := file.read(_PIECE)):
        words = (rest + text.replace(b",", b" ")).split()
        whole = len(text) < _PIECE or text[-1:].isspace()
        rest = b"" if whole or not words else words.pop()
        words = words[: count - done]
        try:
            if len(rest) > _MOST_LETTERS:
                raise ValueError
            values = [number(word) for word in words]
        except ValueError as error:
            raise CaseError(f"{path} is damaged: its voxels are no numbers as text") from error
        if values and not (low <= min(values) and max(values) <= high):
            raise CaseError(f"{path} is damaged: its numbers as text do not fit type {dtype.name}")
        found[done : done + len(values)] = values
        done += len(values)
    check_stored(path, count, done)
    return found


def read_beside(
    path: Path,
    name: str,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    *,
    encoding: str = RAW,
    skip: int = 0,
    lines: int = 0,
) -> NDArray[Any]:
    """Voxels in another file, which must lie in the header's folder or below.

    Args:
        path: of the header.
        name: what the header says, relative to its folder.
        shape: as :func:`read_voxels`, and so are the others.
        dtype: likewise.
        encoding: likewise.
        skip: likewise.
        lines: that come before.

    Raises:
        CaseError: it does not, is not there, or is damaged.
    """
    source = path.parent / name
    folder = path.parent.resolve()
    if "://" in name or "\0" in name or not source.resolve().is_relative_to(folder):
        raise CaseError(f"{path} points outside of its folder for its voxels: {name[:200]!r}")
    if not look_for(source):
        raise CaseError(f"{path} keeps its voxels in {name[:200]!r}, which does not exist")
    with open_file(source) as file:
        skip_lines(path, file, lines)
        return read_voxels(path, file, shape, dtype, encoding=encoding, skip=skip)


def read_files(
    path: Path,
    names: Sequence[str],
    shape: Sequence[int],
    dtype: np.dtype[Any],
    axes: int,
    **how: Any,
) -> NDArray[Any]:
    """Voxels in several files, one part after the other along the slowest axis.

    Args:
        path: of the header.
        names: of the files, in order.
        shape: of all voxels.
        dtype: of one.
        axes: how many axes each file has.
        how: as :func:`read_beside`.

    Raises:
        CaseError: as there, or another number of files than the header says.
    """
    if len(names) == 1:
        return read_beside(path, names[0], shape, dtype, **how)
    voxel_bytes(path, shape, dtype.itemsize)
    count, parts = math.prod(shape), math.prod(shape[axes:]) if axes < len(shape) else len(names)
    if len(names) != parts or (axes >= len(shape) and shape[-1] % parts):
        raise CaseError(f"{path} names {len(names)} files for voxels of {by(shape)}")
    found = np.empty((parts, count // parts), dtype.newbyteorder("="))
    for part, name in zip(found, names, strict=True):
        part[:] = read_beside(path, name, (count // parts,), dtype, **how)
    return found.reshape(tuple(shape[::-1])).transpose()


def file_names(path: Path, text: str, after: Sequence[str], axes: int) -> tuple[list[str], int]:
    """What a header names for its voxels: one file, those of a pattern, or a list that follows.

    Args:
        path: for the error texts.
        text: ``a.raw``, ``LIST``, ``LIST 2`` or ``a%03d.raw 1 40 1``, perhaps with the number of
            axes of each file behind it.
        after: the lines behind.
        axes: of all voxels.

    Returns:
        The names, and the axes that each of several files has; those of the whole for one.

    Raises:
        CaseError: a pattern or a list that cannot be.

    Example:
        >>> file_names(Path("a.nhdr"), "a %02d.raw 8 10 1", (), 3)
        (['a 08.raw', 'a 09.raw', 'a 10.raw'], 2)
        >>> file_names(Path("a.nhdr"), "my voxels.raw", (), 3)
        (['my voxels.raw'], 3)
    """
    if len(text) > _LONGEST_NAME:
        raise CaseError(f"{path} is damaged: the name of its voxels has {len(text)} letters")
    listed = re.fullmatch(r"LIST(?: +(\d{1,2})D?)?", text)
    pattern = re.fullmatch(
        r"([^%]*)%(0?\d?)d([^%]*?)((?: +-?\d{1,9}){3})(?: +(\d{1,2}))?", text, re.ASCII
    )
    if listed is None and pattern is None:
        return [text], axes
    if pattern is not None:
        start, width, end, bounds, each = pattern.groups()
        first, last, step = map(int, bounds.split())
        numbers_ = range(first, last + (1 if step > 0 else -1), step) if step else range(0)
        count = len(numbers_)
        names = [f"{start}{n:{width}d}{end}" for n in numbers_[:_MOST_FILES]]
    else:
        each = listed[1] if listed else None
        names = [line.strip() for line in after if line.strip()]
        count = len(names)
    if not 0 < count <= _MOST_FILES:
        raise CaseError(f"{path} names {count} files for its voxels: {text[:100]!r}")
    return names, axes - 1 if each is None else int(each)


def skip_lines(path: Path, file: BinaryIO, lines: int) -> None:
    """Pass over lines.

    Raises:
        CaseError: there are not so many.
    """
    while lines > 0:
        piece = file.read(_PIECE)
        if not piece:
            raise CaseError(
                f"{path} is truncated: {lines} more lines should come before its voxels"
            )
        found = piece.count(b"\n")
        if found < lines:
            lines -= found
            continue
        end = -1
        for _ in range(lines):
            end = piece.index(b"\n", end + 1)
        file.seek(end + 1 - len(piece), os.SEEK_CUR)
        return


def read_header(file: BinaryIO, end: bytes, longest: int = LONGEST_HEADER) -> tuple[str, bool]:
    """The text of a header, and leave the file behind it.

    Args:
        file: at its beginning.
        end: a regular expression, which matches the end within 4096 bytes.
        longest: bytes that are looked at, or some more.

    Returns:
        The text with its end, and whether there is one; without one all that was looked at.
    """
    found, looked = bytearray(), 0
    while len(found) < longest and (piece := file.read(max(_SLACK, len(found)))):
        found += piece
        if match := re.compile(end, re.MULTILINE).search(found, max(0, looked - 4096)):
            if match.end() == len(found) and file.peek(1):  # type: ignore[attr-defined]
                continue  # the end may go on
            file.seek(match.end())
            return _decoded(found[: match.end()]), True
        looked = len(found)
    return _decoded(found), False


def read_lines(file: BinaryIO) -> list[str]:
    """The lines that follow, up to the length of a header."""
    return _decoded(file.read(LONGEST_HEADER)).splitlines()


def _decoded(content: bytes | bytearray) -> str:
    """Names of files keep their bytes, whatever these are."""
    return content.decode("utf-8", "surrogateescape")


def numbers(path: Path, field: str, text: str, count: int) -> NDArray[np.float64]:
    """Numbers of a header field.

    Raises:
        CaseError: other text, or another number of them.
    """
    try:
        found = np.array([float(word) for word in text[:_LONGEST_NAME].split()])
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
    words = text[:_LONGEST_NAME].split()
    if (
        not words
        or len(text) > _LONGEST_NAME
        or not all(
            word.removeprefix("-").isascii() and word.removeprefix("-").isdigit() and len(word) < 19
            for word in words
        )
    ):
        raise CaseError(f"{path} is damaged: {field} is {text[:100]!r}; expected whole numbers")
    return tuple(int(word) for word in words)
