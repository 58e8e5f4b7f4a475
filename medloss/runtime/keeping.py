"""Compiled loops on disk, where that is possible, and what is said of it once.

numba's own cache gives up with an error where no folder can be written, where the disk is full and
where a file is damaged. Here each of these is said, and the loop is compiled: computing never
depends on a disk.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

from numba.core import caching

QUIET = "MEDLOSS_QUIET"
"""Environment variable: with any value but 0, nothing is said."""

_IMPORT = re.compile(rb"^(?:from ([\w.]+) )?import (\([^)]*\)|[\w., ]+)", re.MULTILINE)
_said: set[str] = set()
_lock = Lock()


@dataclass(frozen=True)
class CompiledKernels:
    """What became of kernels since the process started.

    Args:
        compiled: how many were compiled.
        loaded: how many were read from disk.
        lost: how many of those compiled the next process has to compile again.
        folders: where the others lie.
    """

    compiled: int = 0
    loaded: int = 0
    lost: int = 0
    folders: frozenset[str] = frozenset()


_record = CompiledKernels()


def record() -> CompiledKernels:
    """What became of kernels so far."""
    return _record


def _note(folder: str | None = None, *, compiled: int = 0, loaded: int = 0, lost: int = 0) -> None:
    global _record
    _record = CompiledKernels(
        _record.compiled + compiled,
        _record.loaded + loaded,
        _record.lost + lost,
        _record.folders | ({folder} if folder else set()),
    )


class _OnDisk(caching.FunctionCache):  # type: ignore[misc]
    """numba's, which notices a change in any module that the loop is made of, not only in one."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = stamp(function)


def _must_exist(locator: Any) -> None:
    if not Path(locator.get_cache_path()).is_dir():
        raise FileNotFoundError(locator.get_cache_path())


def _read_only(locator: type) -> type:
    return type(locator.__name__, (locator,), {"ensure_cache_path": _must_exist})


class _Impl(caching.CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = [  # noqa: RUF012
        _read_only(caching.UserProvidedCacheLocator),
        _read_only(caching.InTreeCacheLocator),
    ]


class _Shipped(_OnDisk):
    """A folder that may not be written any more: in an image, or another user's installation."""

    _impl_class = _Impl


class Kept:
    """What a dispatcher of numba asks for kept machine code, and gives new one to.

    Args:
        function: whose machine code it is.
        what: it computes, to say so.
    """

    every: ClassVar[list[Kept]] = []
    """Those of all loops that have been imported."""

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        self._what = what
        self._writable: _OnDisk | None = None
        self._places: list[_OnDisk] = []
        self.every.append(self)
        for kind in (_OnDisk, _Shipped):
            try:
                place = kind(function)
            except (RuntimeError, OSError):  # no place is suitable
                continue
            if place.cache_path not in [each.cache_path for each in self._places]:
                self._places.append(place)
            if kind is _OnDisk:
                self._writable = place

    @property
    def cache_path(self) -> str | None:
        """Folder that new machine code goes to."""
        return None if self._writable is None else str(self._writable.cache_path)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The machine code for some types, if it is kept anywhere."""
        for place in self._places:
            try:
                found = place.load_overload(signature, target)
            except Exception as error:  # noqa: BLE001 - a damaged file holds anything
                self._forget(place, error)
                continue
            if found is not None:
                _note(str(place.cache_path), loaded=1)
                return found
        _compiling_begins(self._what, self.cache_path)
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep machine code for the next process."""
        if self._writable is None:
            _note(compiled=1, lost=1)
            return
        try:
            self._writable.save_overload(signature, compiled)
            _note(self.cache_path, compiled=1)
        except OSError as error:
            _note(compiled=1, lost=1)
            say_once(
                "not kept",
                f"what was compiled cannot be kept in {self.cache_path} ({error.strerror}): every "
                "process compiles again. NUMBA_CACHE_DIR names another folder",
            )

    def counted(self) -> tuple[int, bool]:
        """For how many types of arguments machine code is kept, and whether any is outdated."""
        forms: set[Any] = set()
        outdated = False
        for place in self._places:
            try:
                found = place._cache_file._load_index()
                written = Path(place._cache_file._index_path).exists()
            except Exception:  # noqa: BLE001 - a damaged file holds anything
                found, written = {}, True
            forms |= found.keys()
            outdated |= written and not found
        return len(forms), outdated

    def flush(self) -> None:
        """Forget what is kept."""
        if self._writable is not None:
            self._writable.flush()

    def enable(self) -> None:
        """For numba: use what is on disk."""
        for place in self._places:
            place.enable()

    def disable(self) -> None:
        """For numba: neither read nor write."""
        for place in self._places:
            place.disable()

    def _forget(self, place: _OnDisk, error: Exception) -> None:
        say_once(
            f"damaged {place.cache_path}",
            f"compiled loops in {place.cache_path} cannot be read ({type(error).__name__}) and are "
            "compiled anew",
        )
        if place is self._writable:
            try:
                place.flush()
            except OSError:
                self._writable = None
        self._places.remove(place)


def say_once(about: str, text: str) -> None:
    """Write a line, unless something has been said about this, or nothing is to be said.

    It is no warning of Python: that would end programs that make errors of warnings.
    """
    with _lock:
        if about in _said:
            return
        _said.add(about)
    if os.environ.get(QUIET, "0") in ("", "0") and sys.stderr is not None:
        sys.stderr.write(f"medloss: {text}.\n")
        sys.stderr.flush()


def _compiling_begins(what: str, folder: str | None) -> None:
    """Say that some loops are being compiled, and whether the next process has to wait too."""
    kept = f"kept in {folder}"
    if folder is None:
        kept = "not kept, as no folder for them can be written: NUMBA_CACHE_DIR names one"
    say_once(
        f"compiling {what}",
        f"compiling loops for {what}, some seconds at their first use; {kept}",
    )


def stamp(function: Callable[..., Any]) -> str:
    """A digest of the module of a function and of those of its package that it is made of.

    Machine code that is kept must not outlive a change in a module that was compiled into it.
    """
    package = function.__module__.partition(".")[0]
    found: dict[str, bytes] = {}
    waiting = [function.__module__]
    while waiting:
        name = waiting.pop()
        file = getattr(sys.modules.get(name), "__file__", None)
        if name in found or not file:
            continue
        found[name] = _content(file)
        waiting += [each for each in _imported(found[name]) if each.partition(".")[0] == package]
    if not found:  # a function of no file that is known by its module
        found[""] = inspect.getsource(function).encode()
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + found[name])
    return digest.hexdigest()


@cache
def _content(file: str) -> bytes:
    return Path(file).read_bytes()


def _imported(source: bytes) -> Iterator[str]:
    """Modules that the imports at the left margin may mean.

    Example:
        >>> sorted(_imported(b"from a.b import c, d"))
        ['a.b', 'a.b.c', 'a.b.d']
    """
    for module, names in _IMPORT.findall(source):
        if module:
            yield module.decode()
        for name in names.decode().strip("()").split(","):
            word = name.split(" as ")[0].strip()
            if word:
                yield f"{module.decode()}.{word}" if module else word
