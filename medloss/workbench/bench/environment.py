"""The machine and the versions that numbers belong to."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path

from medloss import __version__

PACKAGES = ("torch", "triton", "monai", "numba", "numpy", "exacta", "nnunetv2")
DISTANCE_PACKAGES = ("scipy", "edt", "cucim", "cupy")
METRIC_PACKAGES = ("surface-distance", "mikan-rs", "panoptica", "medpy")
ALLOCATOR = ("MALLOC_", "THP_MEM_ALLOC_ENABLE", "PYTORCH_CUDA_ALLOC_CONF", "LD_PRELOAD")
"""Beginnings of the variables that change how memory is handed out."""
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


def allocator_settings() -> dict[str, str]:
    """Variables in force that change how memory is handed out."""
    return {k: v for k, v in sorted(os.environ.items()) if k.startswith(ALLOCATOR)}


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
    settings = " ".join(f"{k}={v}" for k, v in allocator_settings().items())
    return f"{library}, {settings or 'default settings'}"


def _large_pages() -> str:
    if not _HUGE.is_file():
        return "unknown"
    found = re.search(r"\[(\w+)\]", _HUGE.read_text())
    return found[1] if found else "unknown"
