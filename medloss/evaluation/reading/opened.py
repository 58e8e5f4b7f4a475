"""The files that a case is made of, each as it was when it was opened.

A header may name the file of its voxels, and an array without a place takes that of the image
beside it: which files decide a number is known only to whoever reads them, so every reader opens
files here, and a journal can tell later whether any of them has changed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from medloss.evaluation.reading.stored import CaseError

Opened = tuple[str, int | None, int | None, int | None]
"""Absolute path, size, and times in ns of the last change of the content and of the file itself;
``None`` for a file that was looked for and is not there."""

_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
_record: ContextVar[list[Opened] | None] = ContextVar("opened files", default=None)


@contextlib.contextmanager
def recording() -> Iterator[list[Opened]]:
    """A list that gets every file opened or looked for inside, each once."""
    found: list[Opened] = []
    token = _record.set(found)
    try:
        yield found
    finally:
        _record.reset(token)


def open_file(path: Path) -> BinaryIO:
    """Open a file to be read, and note it as it is now.

    Raises:
        CaseError: it is a folder, a pipe or anything else that is no file.
        OSError: it cannot be opened.
    """
    # A pipe without a writer would never open; without blocking it does, and is then refused.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    number = os.open(path, flags)
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            kind = next((name for is_it, name in _KINDS if is_it(status.st_mode)), "a device")
            raise CaseError(f"{path} is {kind} and no file")
        _note(path, status)
    except BaseException:
        os.close(number)
        raise
    return os.fdopen(number, "rb")


def read_file(path: Path, most: int | None = None) -> bytes:
    """The content of a file, which is noted as :func:`open_file` does.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        CaseError: it has more.
    """
    with open_file(path) as file:
        content = file.read(-1 if most is None else most + 1)
    if most is not None and len(content) > most:
        raise CaseError(f"{path} has more than the {most} bytes that are expected")
    return content


def look_for(path: Path) -> bool:
    """Whether there is a file; its absence is noted, for it would matter if it came later."""
    if path.is_file():
        return True
    _note(path, None)
    return False


def is_link(path: Path) -> bool:
    """Whether a path is a link, wherever it leads."""
    try:
        return path.is_symlink()
    except (OSError, ValueError):
        return False


def note(path: Path) -> None:
    """Note a file that something else reads, or one that is written."""
    _note(path, _status(path))


def state(path: str | os.PathLike[str]) -> Opened:
    """The file as it is now."""
    return _opened(path, _status(path))


def changed(files: Iterable[Opened]) -> str:
    """The first of these files that is not as it was; empty where all are."""
    return next((was[0] for was in files if state(was[0]) != was), "")


def _status(path: str | os.PathLike[str]) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _note(path: str | os.PathLike[str], status: os.stat_result | None) -> None:
    found = _record.get()
    if found is not None and (seen := _opened(path, status)) not in found:
        found.append(seen)


def _opened(path: str | os.PathLike[str], status: os.stat_result | None) -> Opened:
    absolute = os.path.abspath(path)
    if status is None:
        return (absolute, None, None, None)
    return (absolute, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
