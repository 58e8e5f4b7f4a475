"""Results kept as they come, one line each, so that work that was interrupted can go on.

The first line says what the work is; other work cannot go on from it. A line is on the disk before
the next result is taken; the last one may be torn, and is then cut.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

Line = dict[str, Any]
Key = TypeVar("Key")
Value = TypeVar("Value")

_MOST_LETTERS = 200


@dataclass(frozen=True)
class Journal(Generic[Key, Value]):
    """Results in a file; open it with :func:`open_journal`.

    Args:
        file: positioned at its end.
        encode: a result as a line.
        kept: results that it holds and that still hold, by what they are of.
        outdated: how many results hold no longer.
    """

    file: BinaryIO
    encode: Callable[[Value], Line]
    kept: Mapping[Key, Value]
    outdated: int

    def add(self, result: Value) -> None:
        """Append a result; it is on the disk when this returns."""
        _append(self.file, self.encode(result))


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

    Args:
        path: of the file.
        head: first line: the format as ``journal``, and under ``settings`` all that results depend
            on, as JSON has it.
        encode: a result as a line.
        decode: results that still hold, by what they are of, and how many do not. It may raise
            ``KeyError`` or ``TypeError`` for lines of another make.
        of: whose journals these are, for sentences.
        deciding: those of the settings that two journals of the same work share.

    Raises:
        ValueError: it is of other work, or no journal.
    """
    with path.open("a+b") as file:
        file.seek(0)
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            kept, outdated = decode(_lines(path, whole, head, deciding) if whole else [])
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is no journal of {of}, or damaged") from error
        file.truncate(len(whole))
        if not whole:
            _append(file, head)
        yield Journal(file, encode, kept, outdated)


def append_text(file: BinaryIO, line: str) -> None:
    """Append a line to a file; it is on the disk when this returns."""
    file.write(line.encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def differences(was: Mapping[str, Any], is_now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of the settings that differ, each with both values in words.

    Example:
        >>> list(differences({"a": 1, "b": 2}, {"a": 1, "b": 3}))
        [('b', '2 there, 3 now')]
    """
    for name in sorted(was.keys() | is_now.keys()):
        if was.get(name) != is_now.get(name):
            yield name, f"{_short(was.get(name))} there, {_short(is_now.get(name))} now"


def _append(file: BinaryIO, line: Mapping[str, Any]) -> None:
    """NaN and infinity stay, in Python's spelling: nobody else reads this file."""
    append_text(file, json.dumps(line, separators=(",", ":")))


def _lines(
    path: Path,
    content: bytes,
    head: Mapping[str, Any],
    deciding: Callable[[dict[str, Any]], dict[str, Any]],
) -> list[Line]:
    first, *lines = [json.loads(line) for line in content.splitlines()]
    if first["journal"] != head["journal"]:
        raise ValueError(
            f"{path} has the format {first['journal']}; this version has {head['journal']}"
        )
    both_settings = deciding(first["settings"]), deciding(head["settings"])
    name, both = next(differences(*both_settings), ("", ""))
    if name:
        raise ValueError(
            f"{path.parent} holds a study with another {name}: {both}; --force begins anew"
        )
    return lines


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        value = [item.get("column", item) for item in value]
    text = json.dumps(value)
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
