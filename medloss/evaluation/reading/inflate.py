"""Compressed voxels, inflated by ISA-L: no further than a header says, and checked to the end."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from isal import igzip_lib

from medloss.evaluation.reading.errors import CaseError

GZIP = igzip_lib.DECOMP_GZIP
ZLIB = igzip_lib.DECOMP_ZLIB
DEFLATE = igzip_lib.DECOMP_DEFLATE

_ISAL_ERROR = cast(type[Exception], igzip_lib.IsalError)  # whose stub says that it is an instance
_SLACK = 1 << 16


class Inflating:
    """A compressed stream that gives up its bytes in the sizes that are asked for.

    Args:
        path: for the error texts.
        content: the compressed bytes; several gzip streams may follow one another.
        flag: ``GZIP``, ``ZLIB`` or ``DEFLATE`` (neither header nor checksum).

    Example:
        >>> import gzip
        >>> stream = Inflating(Path("a.gz"), gzip.compress(b"header, voxels"))
        >>> stream.read(6), stream.read(8), stream.finish()
        (b'header', b', voxels', None)
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

    def finish(self) -> None:
        """Read on to the end, where the checksum is.

        Raises:
            CaseError: the stream is damaged, has no end, or goes on far beyond what was read.
        """
        if len(self.read(_SLACK)) == _SLACK:
            raise CaseError(f"{self._path} is damaged: it holds more bytes than its header says")

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
