"""What a process says on its error output while loops are compiled: each thing once."""

from __future__ import annotations

import os
import sys
from threading import Lock

QUIET = "MEDLOSS_QUIET"
"""Environment variable: with any value but 0, nothing is said."""

_said: set[str] = set()
_lock = Lock()


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


def compiling_begins(what: str, folder: str | None, why_not: str) -> None:
    """Say that some loops are being compiled, and whether the next process has to wait too."""
    kept = f"kept in {folder}"
    if folder is None:
        kept = f"not kept, as {why_not}: NUMBA_CACHE_DIR names one"
    say_once(
        f"compiling {what}",
        f"compiling loops for {what}, some seconds at their first use; {kept}",
    )
