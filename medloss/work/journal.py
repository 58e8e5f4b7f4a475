"""Results kept as they come, one line each, so that work that was interrupted can go on.

The first line says what the work is; other work cannot go on from it. A line is on the disk before
the next result is taken. Each begins with a checksum of the rest, so that a line that was damaged
is noticed and its result made again; the last one may be torn, and is then cut. Only one process
may have a journal open: whoever opens it holds :func:`medloss.work.lock.locked` of its folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Generic, TypeVar

from medloss.runtime.files import CannotWriteError, partial_file

Line = dict[str, Any]
Key = TypeVar("Key")
Value = TypeVar("Value")

_MOST_LETTERS = 200
_SUM = re.compile(rb'\{"sum":"([0-9a-f]{8})",')
_SUMMED = "sums"
"""In a first line that was written with checksums: then every line must have one."""
_OURS = re.compile(rb'"sum":"|"sums":true')


@dataclass(frozen=True)
class Journal(Generic[Key, Value]):
    """Results in a file; open it with :func:`open_journal`.

    Args:
        file: positioned at its end.
        encode: a result as a line.
        kept: results that it holds and that still hold, by what they are of.
        outdated: how many results hold no longer.
        damaged: how many lines are not as they were written.
    """

    file: FileIO
    encode: Callable[[Value], Line]
    kept: Mapping[Key, Value]
    outdated: int
    damaged: int

    def add(self, result: Value) -> None:
        """Append a result; it is on the disk when this returns.

        Raises:
            CannotWriteError: the disk is full, or the like.
        """
        append_line(self.file, self.encode(result))


@contextlib.contextmanager
def open_journal(
    path: Path,
    head: Mapping[str, Any],
    encode: Callable[[Value], Line],
    decode: Callable[[Sequence[Line]], tuple[dict[Key, Value], int]],
    *,
    of: str,
    deciding: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Iterator[Journal[Key, Value]]:
    """Go on with the journal at ``path``, or begin one.

    Where the first line is damaged nobody knows what the others are of, and the journal is begun
    anew. Lines without checksums, of an earlier version, are believed if they can be read.

    Args:
        path: of the file.
        head: first line: the format as ``journal``, and under ``settings`` all that results depend
            on, as JSON has it.
        encode: a result as a line.
        decode: results that still hold, by what they are of, and how many do not. It may raise
            ``KeyError``, ``TypeError`` or ``ValueError`` for a line of another make, which is then
            damaged.
        of: whose journals these are, for sentences.
        deciding: those of the settings that two journals of the same work share.

    Raises:
        ValueError: it is of other work, or no journal.
        CannotWriteError: the disk is full, or the like.
    """
    content = path.read_bytes() if path.exists() else b""
    first, *lines = content[: content.rfind(b"\n")].split(b"\n") if b"\n" in content else [b""]
    kept: dict[Key, Value] = {}
    outdated, good = 0, [_text({_SUMMED: True, **head})]
    if first and (there := _head(path, content, head, deciding, of)):
        # What was written without checksums gets them.
        good = [first if _whole(first) else _text({_SUMMED: True, **there})]
        read = [found for line in lines if (found := _read(line, summed=_SUMMED in there))]
        read = _decodable(read, decode)
        kept, outdated = decode([line for _, line in read])
        good += [text for text, _ in read]
    damaged = len(lines) - (len(good) - 1)
    whole = b"".join(line + b"\n" for line in good)
    if whole != content:
        with partial_file(path) as partial:
            partial.write_bytes(whole)
    with path.open("ab", buffering=0) as file:
        yield Journal(file, encode, kept, outdated, damaged)


def append_line(file: FileIO, line: Mapping[str, Any]) -> None:
    """Append a line to a file; it is on the disk when this returns.

    NaN and infinity stay, in Python's spelling: nobody else reads these files.

    Args:
        file: without a buffer, which would fail once more when it is closed.
        line: as JSON has it.

    Raises:
        CannotWriteError: the disk is full, or the like; the line may then be torn.
    """
    left = _text(line) + b"\n"
    try:
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
    except OSError as error:
        raise CannotWriteError(file.name, error) from error


def differences(was: Mapping[str, Any], is_now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of the settings that differ, each with both values in words.

    Example:
        >>> list(differences({"a": 1, "b": 2}, {"a": 1, "b": 3}))
        [('b', '2 there, 3 now')]
    """
    for name in sorted(was.keys() | is_now.keys()):
        if was.get(name) != is_now.get(name):
            yield name, f"{_short(was.get(name))} there, {_short(is_now.get(name))} now"


def _text(line: Mapping[str, Any]) -> bytes:
    r"""A line without its end.

    Example:
        >>> _text({"name": "a"})
        b'{"sum":"c8fc79ef","name":"a"}'
    """
    plain = {name: value for name, value in line.items() if name != "sum"}
    rest = json.dumps(plain, separators=(",", ":"), default=str).encode()[1:]
    return b'{"sum":"%08x",%s' % (zlib.crc32(rest), rest)


def _whole(line: bytes) -> bool:
    """Whether a line is as it was written, by its checksum."""
    found = _SUM.match(line)
    return found is not None and zlib.crc32(line[found.end() :]) == int(found[1], 16)


_Read = tuple[bytes, Line]
"""A line as it is to stand in the file, and what it says."""


def _read(line: bytes, *, summed: bool) -> _Read | None:
    """What a line says; None where it is damaged."""
    if _whole(line):
        return line, json.loads(line)
    if summed or _SUM.match(line):
        return None
    try:
        found = json.loads(line)
        return _text(found), found
    except (ValueError, AttributeError):
        return None


def _decodable(
    lines: list[_Read], decode: Callable[[Sequence[Line]], tuple[dict[Key, Value], int]]
) -> list[_Read]:
    """Without those of another form, which nobody checked or which another version wrote."""
    try:
        decode([line for _, line in lines])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        half = len(lines) // 2
        return [
            *(_decodable(lines[:half], decode) if half else ()),
            *(_decodable(lines[half:], decode) if half else ()),
        ]
    return lines


def _head(
    path: Path,
    content: bytes,
    head: Mapping[str, Any],
    deciding: Callable[[dict[str, Any]], dict[str, Any]],
    of: str,
) -> Line:
    """The first line of a journal of this work; empty where it is damaged.

    Without a checksum that fits it is believed if it says what it should.

    Raises:
        ValueError: it is of other work, or this is no journal.
    """
    first = content[: content.index(b"\n")]
    # Every line has one of these marks, so that damage of one does not hide whose journal it is.
    damaged = not _whole(first) and _OURS.search(content)
    try:
        there: Line = {**json.loads(first)}
        version, settings = there["journal"], deciding(there["settings"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if damaged:
            return {}
        raise ValueError(
            f"{path} is no journal of {of}, or damaged; --force begins anew"
        ) from error
    wrong = ""
    if version != head["journal"]:
        wrong = f"{path} has the format {version}; this version has {head['journal']}"
    for name, both in differences(settings, deciding({**head["settings"]})):
        wrong = wrong or f"{path.parent} holds a study with another {name}: {both}"
    if wrong and damaged:
        return {}
    if wrong:
        raise ValueError(f"{wrong}; --force begins anew")
    return there


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        value = [item.get("column", item) for item in value]
    text = json.dumps(value)
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
