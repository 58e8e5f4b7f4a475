"""Running what others wrote, so that all it can do is fail: the host goes on, and says what it was.

What ends the process from inside (``os._exit``, a crash of compiled code) or never returns (an
endless loop at import) is beyond that; ``MEDLOSS_DISABLE`` keeps such a plugin from being imported.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from types import FrameType


class IsolatedError(Exception):
    """What somebody's code raised, whatever it was, as one line of text that can be shown."""


_came: ContextVar[list[int] | None] = ContextVar("signals of the user", default=None)


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Turn whatever is raised inside into :class:`IsolatedError`, but Ctrl-C of the user.

    A plugin may raise ``KeyboardInterrupt`` itself: it is the user's where the signal came.

    Raises:
        IsolatedError: something was raised.
    """
    with apart() as came:
        try:
            yield
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and came:
                raise
            raise IsolatedError(told(error)) from error


@contextlib.contextmanager
def apart() -> Iterator[list[int]]:
    """Keep apart what is printed inside, and know of Ctrl-C; set up once around many isolations."""
    came = _came.get()
    if came is not None:
        yield came
        return
    with _signals() as came, _output_apart():
        token = _came.set(came)
        try:
            yield came
        finally:
            _came.reset(token)


def told(error: BaseException) -> str:
    r"""An error in a line, even one that cannot say what it is.

    Example:
        >>> told(ValueError("two\nlines"))
        'ValueError: two lines'
    """
    try:
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        return " ".join(text.encode("utf-8", "backslashreplace").decode("utf-8").split())
    except BaseException:  # noqa: BLE001  # of anyone's __str__
        return f"{object.__repr__(error)}, whose text cannot be had"


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """A list that gets the signal of Ctrl-C if it comes; it does what it would have done."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came  # signals are handled by the main thread alone
        return
    before = signal.getsignal(signal.SIGINT)
    if not callable(before):  # ignored, or set by something that is not Python
        yield came
        return

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


class _Told(io.TextIOBase):
    """Text that goes to the error output; closing it closes nothing."""

    def write(self, text: str) -> int:
        if sys.stderr is not None:
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        if sys.stderr is not None:
            sys.stderr.flush()

    def close(self) -> None:
        pass


@contextlib.contextmanager
def _output_apart() -> Iterator[None]:
    """What is printed inside, by other languages and processes too, is no output of a command."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(_Told()))
        with contextlib.suppress(OSError):  # one of the two is closed
            kept = os.dup(1)
            stack.callback(os.close, kept)
            os.dup2(2, 1)
            stack.callback(os.dup2, kept, 1)
        yield
