"""Ctrl-C at any moment of a command: it ends by exit code 130 and never with a traceback.

Python raises ``KeyboardInterrupt`` wherever it happens to be. Inside an import compiled code may
make another error of it; in a finaliser it is printed and forgotten. So there, and at the second
Ctrl-C, the process ends at once; anywhere else ``KeyboardInterrupt`` is raised, and what is open is
closed. SIGTERM, by which batch systems end a process, means the same.

This module is imported before all others, and imports nothing that is not there at the start of
Python: until it is imported, nobody listens.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

EXIT_CODE = 130
SIGNALS = (int(_signal.SIGINT), int(_signal.SIGTERM))

_SHOW_CURSOR = b"\x1b[?25h"
_asked = False
_raises = True


def catch() -> None:
    """From now on, as said above; for a process that is a command, and no library."""
    for number in SIGNALS:
        _signal.signal(number, _handle)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)
    sys.unraisablehook = _unraisable
    sys.excepthook = _uncaught


def finish() -> None:
    """All is done and only the process is left to end: nothing more is raised."""
    global _raises
    _raises = False


def asked() -> bool:
    """Whether there was a Ctrl-C, however far it came."""
    return _asked


def leave_at_once() -> NoReturn:
    """End the process with what belongs to it: half-written files and workers."""
    for path in getattr(sys.modules.get("medloss.runtime.files"), "unfinished", ()):
        _try(os.unlink, path)
    if processes := sys.modules.get("multiprocessing.process"):
        for child in [*getattr(processes, "_children", ())]:
            _try(child.kill)  # a signal that it could handle may be lost while it begins
    try:
        if os.isatty(2):  # a bar may have hidden it
            os.write(2, _SHOW_CURSOR)
        os.write(2, b"\nError: interrupted\n")
    finally:
        os._exit(EXIT_CODE)


def _forget() -> None:
    """A copy of this process is no command: a signal ends it, silently."""
    for number in SIGNALS:
        _signal.signal(number, _signal.SIG_DFL)


def _handle(number: int, frame: FrameType | None) -> None:
    global _asked, _raises
    if not _raises or _importing(frame):
        leave_at_once()
    _asked, _raises = True, False
    raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _unraisable(unraisable: Any) -> None:
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        leave_at_once()
    sys.__unraisablehook__(unraisable)


def _uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        leave_at_once()
    sys.__excepthook__(kind, error, trace)


def _try(function: Any, *arguments: Any) -> None:
    try:
        function(*arguments)
    except Exception:  # noqa: BLE001  # the process ends, whatever it is
        return
