"""Ctrl-C between cases instead of in the middle of one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


class Interrupts:
    """While it is entered, Ctrl-C waits for :meth:`check`; a second one does not wait.

    Compiled code and C libraries may turn an interruption into errors of their own, which would
    make a failed case of one that has nothing wrong with it.
    """

    def __init__(self) -> None:
        self._asked = False
        self._at_once = False
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raise if there was a Ctrl-C.

        Raises:
            KeyboardInterrupt: there was.
        """
        if self._asked:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Where this process only waits for others, so that it can be interrupted at once."""
        self._at_once = True
        try:
            self.check()
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked or self._at_once:
            raise KeyboardInterrupt
        self._asked = True
