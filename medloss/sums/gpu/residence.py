"""How many programs a multiprocessor holds at once, which the registers of a kernel decide.

A kernel that goes through all voxels runs as many programs as reside, and no more: a second wave
would begin when the first ends, and its last programs would leave most of the device idle.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any

import torch
import triton
from torch import Tensor

REGISTERS, PARTITIONS, UNIT = 1 << 16, 4, 1 << 8
"""Of a multiprocessor: registers, the parts that they are in, and how many a warp takes at least.
All devices from compute capability 7.0 on have these."""
PROGRAMS = {75: 16, 86: 16, 87: 16, 89: 24, 110: 24, 120: 24, 121: 24}
"""At most, by compute capability times ten; 32 on all others (CUDA programming guide)."""
OWN_SHARED_BYTES = 1 << 10
"""Of the memory that its threads share, what each program takes for the system."""
UNKNOWN_WARPS = 32
"""On a multiprocessor, where there is none to ask."""

STAGES = (3, 2, 1)
"""Tiles whose loads are under way at once, triton's own choice first; each takes shared memory."""

_RESIDENT: dict[Hashable, int] = {}
_STAGES: dict[Hashable, int] = {}


class NoRoomError(ValueError):
    """A program would need more of the memory that its threads share than the device has."""


def stages_that_fit(
    kernel: Any, given: tuple[Any, ...], choices: Mapping[str, Any], device: torch.device
) -> int:
    """The first of :data:`STAGES` with which the device can run a kernel; compiles it.

    How much is shared no rule says: it is another number in each version of triton.

    Args:
        kernel: as for :func:`resident`, like all that follows.
        given: likewise.
        choices: likewise.
        device: likewise.

    Raises:
        NoRoomError: there is none.
    """
    if device.type != "cuda":
        return STAGES[0]
    key = kernel, _specialized(given), tuple(choices.items()), device
    if key not in _STAGES:
        _STAGES[key] = first_that_fits(kernel, given, choices, shared_bytes(device))
    if not _STAGES[key]:
        raise NoRoomError(f"{device} has less shared memory than a program of the kernel takes")
    return _STAGES[key]


def first_that_fits(
    kernel: Any, given: tuple[Any, ...], choices: Mapping[str, Any], most_bytes: int
) -> int:
    """The same where a program may share so many bytes; 0 if nothing fits."""
    for stages in STAGES:
        compiled = kernel.warmup(*given, grid=(1,), num_stages=stages, **choices)
        if compiled.metadata.shared <= most_bytes:
            return stages
    return 0


def resident(
    kernel: Any, given: tuple[Any, ...], choices: Mapping[str, Any], device: torch.device
) -> int:
    """Programs of a kernel that a multiprocessor of the device holds; compiles the kernel.

    Args:
        kernel: that is to be launched.
        given: its arguments; numbers that it is not compiled for may be any.
        choices: what else it is compiled for, ``num_warps`` with it.
        device: where; on a CPU, in triton's interpreter, there is nothing to hold it.
    """
    warps: int = choices["num_warps"]
    if device.type != "cuda":
        return max(1, UNKNOWN_WARPS // warps)
    key = kernel, _specialized(given), tuple(choices.items()), device
    if key not in _RESIDENT:
        compiled = kernel.warmup(*given, grid=(1,), **choices)
        compiled.run  # noqa: B018 loads it, whereupon its registers are known
        about: Any = torch.cuda.get_device_properties(device)
        _RESIDENT[key] = occupancy(
            compiled.n_regs,
            compiled.metadata.shared,
            warps,
            capability=10 * about.major + about.minor,
            threads=about.max_threads_per_multi_processor,
            shared_bytes=shared_bytes(device),
        )
    return _RESIDENT[key]


def occupancy(
    registers: int, shared: int, warps: int, *, capability: int, threads: int, shared_bytes: int
) -> int:
    """Programs on a multiprocessor.

    Args:
        registers: of a thread.
        shared: bytes that a program's threads share.
        warps: of a program.
        capability: compute capability times ten.
        threads: that a multiprocessor holds.
        shared_bytes: that one program may have.

    Example:
        >>> h200 = {"capability": 90, "threads": 2048, "shared_bytes": 227 << 10}
        >>> occupancy(168, 0, 4, **h200), occupancy(241, 2048, 1, **h200)
        (3, 8)
    """
    of_warp = -(-32 * registers // UNIT) * UNIT
    by_registers = PARTITIONS * (REGISTERS // PARTITIONS // of_warp) // warps
    by_shared = (shared_bytes + OWN_SHARED_BYTES) // (shared + OWN_SHARED_BYTES)
    by_threads = threads // (32 * warps)
    return max(1, min(by_registers, by_shared, by_threads, PROGRAMS.get(capability, 32)))


@cache
def shared_bytes(device: torch.device) -> int:
    """What a program may have at most, as triton asks before it launches."""
    about: dict[str, int] = triton.runtime.driver.active.utils.get_device_properties(device.index)
    return about["max_shared_mem"]


def _specialized(given: Any) -> Hashable:
    """What triton looks at in arguments: it compiles apart for 1, and for what 16 divides."""
    if isinstance(given, tuple):
        return tuple(map(_specialized, given))
    if isinstance(given, Tensor):
        return given.dtype, given.data_ptr() % 16 == 0
    if isinstance(given, int):
        return given == 1, given % 16 == 0, given.bit_length() > 31
    return type(given).__name__


def spread(tiles: int, programs: int) -> int:
    """How many programs share some tiles, at most so many, none having more than the others must.

    Example:
        >>> spread(100, 48), spread(3, 48)  # three tiles each, one each
        (34, 3)
    """
    rounds = -(-tiles // max(1, min(tiles, programs)))
    return -(-tiles // rounds)


@cache
def processors(device: torch.device) -> int:
    """Multiprocessors; two stand for the interpreter's, so that there is something to add."""
    if device.type != "cuda":
        return 2
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count
