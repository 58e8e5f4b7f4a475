"""Compiled loops on disk, where that is possible; computing never depends on it.

numba's own cache gives up with an error where no folder can be written, where the disk is full and
where a file is damaged. Here each of these is said once, and the loop is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numba.core import caching

from medloss.runtime.saying import compiling_begins, say_once
from medloss.runtime.sources import stamp

NOWHERE = "no folder for them can be written"


@dataclass(frozen=True)
class Record:
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


_record = Record()


def record() -> Record:
    """What became of kernels so far."""
    return _record


def _note(folder: str | None = None, *, compiled: int = 0, loaded: int = 0, lost: int = 0) -> None:
    global _record
    _record = Record(
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

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        self._what = what
        self._writable: _OnDisk | None = None
        self._places: list[_OnDisk] = []
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
        compiling_begins(self._what, self.cache_path, NOWHERE)
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
