"""Starting the process again with a heap that keeps what is freed."""

from __future__ import annotations

import os
import platform
import sys

WARM_HEAP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "200000000000"}
"""Nothing is mapped for one tensor alone, nothing goes back to the system: no page faults."""


def is_warm() -> bool:
    """Whether this process was started with a heap that keeps what is freed."""
    return all(os.environ.get(name) == value for name, value in WARM_HEAP.items())


def with_warm_heap() -> None:
    """Replace this process by one with the same command line and a warm heap; does not return.

    glibc reads the variables when a process starts, so they cannot be set later.

    Raises:
        ValueError: the C library is not glibc, which alone knows them.
    """
    if platform.libc_ver()[0] != "glibc":
        raise ValueError("--warm-heap: its settings are glibc's, and this C library is another")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [*sys.orig_argv], {**os.environ, **WARM_HEAP})
