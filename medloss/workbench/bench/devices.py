"""How a call is timed and its memory measured, on the CPU and elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from medloss.workbench.bench import memory


class Timing(NamedTuple):
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

    def time(self, call: Callable[[], object]) -> Timing:
        """Run the call once and time it."""

    def extra_bytes(self, call: Callable[[], object]) -> int:
        """Run the call once; the most memory it held at any moment, beyond what was held before."""

    def describe(self) -> dict[str, str]:
        """The device, for the record of the environment."""


class CPU:
    """The processor; memory is that of the whole process, as the kernel counts it."""

    name = "cpu"

    @property
    def no_memory(self) -> str:
        """Why memory cannot be measured, or nothing."""
        return memory.why_not()

    def time(self, call: Callable[[], object]) -> Timing:
        """Run the call once and time it."""
        cpu, wall = time.process_time(), time.perf_counter()
        call()
        wall_s = time.perf_counter() - wall
        return Timing(wall_s, time.process_time() - cpu)

    def extra_bytes(self, call: Callable[[], object]) -> int:
        """Run the call once; the rise of the process's high-water mark."""
        return memory.extra_bytes(call)

    def describe(self) -> dict[str, str]:
        """Nothing: the environment tells the processor anyway."""
        return {}


def find_device(name: str) -> Device:
    """The device called ``cpu`` or ``cuda``.

    Raises:
        ValueError: it is neither, or this machine has none.
    """
    if name == "cpu":
        return CPU()
    if name == "cuda":
        from medloss.workbench.bench.cuda import CUDA

        return CUDA()
    raise ValueError(f"device: expected cpu or cuda, got {name!r}")
