"""Whether a piece of a Zarr array stands for as many bytes as its metadata say, and no more.

A few bytes can stand for gigabytes, and what decodes them takes the memory at once.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloss.evaluation.reading.stored import CaseError
from medloss.evaluation.reading.voxel_files import BZIP2, GZIP, ZLIB, Inflating

_STREAMS = {"gzip": GZIP, "zlib": ZLIB, "bz2": BZIP2}
_PLAIN = ("bytes", "transpose", "crc32c")
_ABSENT = (1 << 64) - 1


def check_chunk(path: Path, content: bytes, described: Any, expected: int, itemsize: int) -> None:
    """Raise for a piece that inflates to another size than its share.

    Args:
        path: of the piece.
        content: its bytes.
        described: metadata of the array, of either version of Zarr.
        expected: bytes that it stands for.
        itemsize: bytes of one value.

    Raises:
        CaseError: it does, or is compressed in a way that cannot be looked into.
    """
    if described.get("zarr_format") == 2:
        compressor = described.get("compressor")
        if described.get("filters"):
            raise CaseError(f"{path} is stored through filters, which are not supported")
        if compressor:
            _check(path, content, str(compressor.get("id")), expected)
        return
    _check_codecs(path, content, described.get("codecs"), expected, itemsize)


def _check_codecs(path: Path, content: bytes, codecs: Any, expected: int, itemsize: int) -> None:
    for codec in codecs:
        name, settings = codec.get("name"), codec.get("configuration") or {}
        if name == "sharding_indexed":
            _check_shard(path, content, settings, expected, itemsize)
        elif name not in _PLAIN:
            if codecs[-1].get("name") == "crc32c":
                content = content[:-4]
            _check(path, content, str(name), expected)
            return  # what comes before it is of its size


def _check_shard(
    path: Path, content: bytes, settings: Mapping[str, Any], expected: int, itemsize: int
) -> None:
    """Every piece of a shard, by the index at its end: places and lengths, and a checksum."""
    inner = itemsize
    for length in settings["chunk_shape"]:
        inner *= length
    count = expected // inner
    names = [codec.get("name") for codec in settings.get("index_codecs", ())]
    index = content[-16 * count - 4 : -4]
    known = settings.get("index_location", "end") == "end" and names == ["bytes", "crc32c"]
    if not known or len(index) != 16 * count:
        raise CaseError(f"{path} is damaged, or its index is of an unknown kind")
    total = 0
    for place, length in struct.iter_unpack("<QQ", index):
        if (place, length) == (_ABSENT, _ABSENT):
            continue
        total += length
        if place + length > len(content) or total > len(content):
            raise CaseError(f"{path} is damaged: its index leads outside of it")
        piece = content[place : place + length]
        _check_codecs(path, piece, settings["codecs"], inner, itemsize)


def _check(path: Path, content: bytes, name: str, expected: int) -> None:
    if name in _STREAMS:
        Inflating(path, content, _STREAMS[name]).read_last(expected, 1)
        return
    said = _said(content, name)
    if said is None:
        raise CaseError(f"{path} is compressed by {name[:40]}, which is not supported")
    if said != expected:
        raise CaseError(
            f"{path} is damaged: it stands for {said} bytes, and {expected} are expected"
        )


def _said(content: bytes, name: str) -> int | None:
    """Bytes that the header of a compressed piece says; None where it does not."""
    if name == "blosc" and len(content) >= 16:
        return int.from_bytes(content[4:8], "little")
    if name == "lz4" and len(content) >= 4:
        return int.from_bytes(content[:4], "little")
    if name == "zstd" and content[:4] == b"\x28\xb5\x2f\xfd" and len(content) > 5:
        return _zstd_size(content)
    return -1 if name in ("blosc", "lz4", "zstd") else None


def _zstd_size(content: bytes) -> int | None:
    """The size of the content that a frame begins with: RFC 8878, section 3.1.1.1."""
    described = content[4]
    single = described >> 5 & 1
    place = 5 + (not single) + (0, 1, 2, 4)[described & 3]
    width: Sequence[int] = (1 if single else 0, 2, 4, 8)
    length = width[described >> 6]
    if not length:
        return None
    size = int.from_bytes(content[place : place + length], "little")
    return size + 256 if length == 2 else size
