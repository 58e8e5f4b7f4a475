"""How far long work has come, for whoever shows it: the work tells, and need not know whom.

Nobody hears it in a library. The command line listens, and draws bars on a terminal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sized
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


class Listener(Protocol):
    """Who shows how far pieces of work are."""

    def begin(self, what: str, total: int | None) -> int:
        """Work has begun; a number for it."""

    def update(
        self, number: int, *, steps: int = 0, what: str | None = None, total: int | None = None
    ) -> None:
        """Some more steps are done, or something about the work has changed."""

    def end(self, number: int) -> None:
        """The work is done, or given up."""


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


class Progress:
    """A piece of work, from its beginning to its end.

    Args:
        listener: who is told, if anybody is.
        what: is done, in a word or two.
        total: steps of it, if that is known.
    """

    def __init__(self, listener: Listener | None, what: str, total: int | None) -> None:
        self._listener = listener
        self._number = 0 if listener is None else listener.begin(what, total)

    def step(self) -> None:
        """One more step is done."""
        if self._listener is not None:
            self._listener.update(self._number, steps=1)

    def says(self, what: str) -> None:
        """What is being done now."""
        if self._listener is not None:
            self._listener.update(self._number, what=what)

    def expects(self, total: int) -> None:
        """So many steps in all."""
        if self._listener is not None:
            self._listener.update(self._number, total=total)

    def end(self) -> None:
        """No more is to come."""
        if self._listener is not None:
            self._listener.end(self._number)


@contextlib.contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Inside, all work of this thread is told to somebody."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextlib.contextmanager
def work(what: str, total: int | None = None) -> Iterator[Progress]:
    """A piece of work.

    Args:
        what: is done, in a word or two.
        total: steps, if that is known.

    Example:
        >>> with work("cases", 2) as cases:
        ...     cases.step()
    """
    piece = Progress(_listener.get(), what, total)
    try:
        yield piece
    finally:
        piece.end()


def tracked(items: Iterable[T], what: str) -> Iterator[T]:
    """Items, each of which is a step that is done when the next one is asked for.

    Example:
        >>> list(tracked([1, 2], "numbers"))
        [1, 2]
    """
    with work(what, len(items) if isinstance(items, Sized) else None) as piece:
        for item in items:
            yield item
            piece.step()
