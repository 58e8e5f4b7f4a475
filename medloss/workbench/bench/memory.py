"""Peak extra memory of a call, from the counters that Linux keeps for a process."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def why_not() -> str:
    """Why this system cannot tell, or nothing."""
    if sys.platform != "linux":
        return f"peak memory of a process is read from Linux's /proc, not on {sys.platform}"
    if not os.access(_CLEAR, os.W_OK):
        return f"{_CLEAR} cannot be written, so the high-water mark cannot be reset"
    return ""


def extra_bytes(call: Callable[[], object]) -> int:
    """Run the call once; how far the resident memory rose above what it was before.

    Memory that was freed but is still held by the allocator would hide what the call takes, so it
    is given back first.
    """
    _give_back()
    before = _kilobytes("VmRSS")
    _CLEAR.write_text(_RESET_PEAK)
    call()
    return max(0, _kilobytes("VmHWM") - before) * 1024


def _kilobytes(name: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{_STATUS} has no {name}")
    return int(found[1])


def _give_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; other allocators hold little
    if trim is not None:
        trim(0)
