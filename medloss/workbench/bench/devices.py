"""How a call is timed and its memory measured, on the CPU and on a CUDA device."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


class CallTime(NamedTuple):
    """Seconds of one call.

    Args:
        wall_s: on the clock; on a GPU between two events of its stream.
        cpu_s: of all threads of the process.
    """

    wall_s: float
    cpu_s: float


class Device(Protocol):
    """Where calls run."""

    name: str

    @property
    def no_memory(self) -> str:
        """Why memory cannot be measured, or nothing."""

    def time(self, call: Callable[[], object]) -> CallTime:
        """Run the call once and time it."""

    def extra_bytes(self, call: Callable[[], object]) -> int:
        """Run the call once; the most memory it held at any moment, beyond what was held before."""

    def describe(self) -> dict[str, str]:
        """The device, for the record of the environment."""


class CPU:
    """The processor; memory is that of the whole process, by the counters that Linux keeps."""

    name = "cpu"

    @property
    def no_memory(self) -> str:
        """Why this system cannot tell, or nothing."""
        if sys.platform != "linux":
            return f"peak memory of a process is read from Linux's /proc, not on {sys.platform}"
        if not os.access(_CLEAR, os.W_OK):
            return f"{_CLEAR} cannot be written, so the high-water mark cannot be reset"
        return ""

    def time(self, call: Callable[[], object]) -> CallTime:
        """Run the call once and time it."""
        cpu, wall = time.process_time(), time.perf_counter()
        call()
        wall_s = time.perf_counter() - wall
        return CallTime(wall_s, time.process_time() - cpu)

    def extra_bytes(self, call: Callable[[], object]) -> int:
        """Run the call once; how far the resident memory rose above what it was before.

        Memory that was freed but is still held by the allocator would hide what the call takes, so
        it is given back first.
        """
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others hold little
        if trim is not None:
            trim(0)
        before = _kilobytes("VmRSS")
        _CLEAR.write_text(_RESET_PEAK)
        call()
        return max(0, _kilobytes("VmHWM") - before) * 1024

    def describe(self) -> dict[str, str]:
        """Nothing: the environment tells the processor anyway."""
        return {}


class CUDA:
    """The current CUDA device: times between events, memory as torch's allocator counts it.

    Raises:
        ValueError: torch finds no CUDA device.
    """

    name = "cuda"
    no_memory = ""

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise ValueError("device: torch finds no CUDA device here")
        cache = getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 0) or 64 << 20
        self._flush = torch.empty(2 * cache, dtype=torch.uint8, device="cuda")

    def time(self, call: Callable[[], object]) -> CallTime:
        """Run the call once; from an event before it to one after all it started.

        The device's cache is filled with something else before, as a network's step leaves it.
        """
        start, end = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        self._flush.zero_()
        torch.cuda.synchronize()
        cpu = time.process_time()
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return CallTime(start.elapsed_time(end) / 1000, time.process_time() - cpu)

    def extra_bytes(self, call: Callable[[], object]) -> int:
        """Run the call once; the rise of the most that was allocated."""
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    def describe(self) -> dict[str, str]:
        """Name and memory of the device, and the CUDA that torch was built with."""
        device = torch.cuda.get_device_properties(torch.cuda.current_device())
        return {
            "GPU": f"{device.name}, {device.total_memory / 2**30:.0f} GiB",
            "CUDA": str(torch.version.cuda),
        }


def find_device(name: str) -> Device:
    """The device called ``cpu`` or ``cuda``.

    Raises:
        ValueError: it is neither, or this machine has none.
    """
    if name == "cpu":
        return CPU()
    if name == "cuda":
        return CUDA()
    raise ValueError(f"device: expected cpu or cuda, got {name!r}")


def _kilobytes(name: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{_STATUS} has no {name}")
    return int(found[1])
