"""What numbers belong to: machine, versions, the heap, and whether kernels were compiled."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from medloss import __version__

PACKAGES = ("torch", "triton", "monai", "numba", "numpy", "exacta", "nnunetv2")
DISTANCE_PACKAGES = ("scipy", "edt", "cucim", "cupy")
METRIC_PACKAGES = ("surface-distance", "mikan-rs", "panoptica", "medpy")
ALLOCATOR = ("MALLOC_", "THP_MEM_ALLOC_ENABLE", "PYTORCH_CUDA_ALLOC_CONF", "LD_PRELOAD")
"""Beginnings of the variables that change how memory is handed out."""
WARM_HEAP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "200000000000"}
"""Nothing is mapped for one tensor alone, nothing goes back to the system: no page faults."""
_HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_PROCESSORS = Path("/proc/cpuinfo")


def environment(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Versions, machine and allocator settings, to read."""
    return {
        "medloss": __version__,
        **{name: version for name in packages if (version := _version(name))},
        "Python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": _cores(),
        "load before": _load(),
        "allocator": _allocator(),
        "large pages": _large_pages(),
        "MEDLOSS_BACKEND": os.environ.get("MEDLOSS_BACKEND", "not set"),
    }


class Kernels(NamedTuple):
    """Kernels compiled and loaded since the process started."""

    compiled: int = 0
    loaded: int = 0

    def since(self, before: Kernels) -> str:
        """What happened in between, to read.

        Example:
            >>> Kernels(2, 0).since(Kernels()), Kernels(2, 2).since(Kernels(2, 0))
            ('cold disk cache: 2 kernels compiled', 'warm disk cache: 2 kernels loaded')
        """
        compiled, loaded = self.compiled - before.compiled, self.loaded - before.loaded
        if compiled:
            also = f", {loaded} loaded" if loaded else ""
            return f"cold disk cache: {compiled} kernels compiled{also}"
        return f"warm disk cache: {loaded} kernels loaded" if loaded else "no new kernel needed"


def kernels() -> Kernels:
    """The count so far; does not import the compiled backend, which is part of a first call."""
    keeping = sys.modules.get("medloss.runtime.keeping")
    if keeping is None:
        return Kernels()
    found = keeping.record()
    return Kernels(found.compiled, found.loaded)


def is_warm() -> bool:
    """Whether this process was started with a heap that keeps what is freed."""
    return all(os.environ.get(name) == value for name, value in WARM_HEAP.items())


def restart_warm() -> None:
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


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    if _PROCESSORS.is_file():
        found = re.search(r"^model name\s*: (.*)$", _PROCESSORS.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _cores() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{usable} of {os.cpu_count()} logical cores may be used"


def _load() -> str:
    if not hasattr(os, "getloadavg"):
        return "unknown"
    return f"{os.getloadavg()[0]:.1f} processes running, mean of a minute"


def _allocator() -> str:
    library = " ".join(platform.libc_ver()).strip() or "unknown C library"
    settings = " ".join(
        f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith(ALLOCATOR)
    )
    return f"{library}, {settings or 'default settings'}"


def _large_pages() -> str:
    if not _HUGE.is_file():
        return "unknown"
    found = re.search(r"\[(\w+)\]", _HUGE.read_text())
    return found[1] if found else "unknown"
