"""Time and memory on a CUDA device."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from medloss.workbench.bench.devices import Timing


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

    def time(self, call: Callable[[], object]) -> Timing:
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
        return Timing(start.elapsed_time(end) / 1000, time.process_time() - cpu)

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
