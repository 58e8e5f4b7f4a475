"""Blocks of work on a few threads of our own, and what each of them scribbles on.

The kernels run without Python's lock.

numba's own threading is left alone: its OpenMP layer shares torch's thread count and slows torch
down, and its other layer aborts the process when two Python threads enter it at once.
"""

from __future__ import annotations

import functools
import math
import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock, local
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

EACH = 1 << 17
"""Elements that keep a thread busy for longer than it takes to wake it."""

_lock = Lock()
_pool: ThreadPoolExecutor | None = None
_most: int | None = None
_kept = local()


def processors() -> int:
    """Processors that this process may use, or fewer if a limit says so."""
    most = quota()
    return _limited(allowed() if most is None else min(allowed(), math.ceil(most)))


def allowed() -> int:
    """Processors that this process may run on; macOS and Windows do not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Processors' worth of time that a container is granted, where there is such a limit.

    Args:
        root: where the kernel tells it, by either version of its control groups.
    """
    for limit in ("cpu.max", "cpu/cpu.cfs_quota_us"):
        try:
            words = (root / limit).read_text().split()
            if len(words) == 1:
                words.append((root / "cpu" / "cpu.cfs_period_us").read_text())
            most, period = float(words[0]), float(words[1])
        except (OSError, ValueError, IndexError):  # none, or the word "max"
            continue
        if most > 0 and period > 0:
            return most / period
    return None


def described() -> str:
    """What limits the processors, in words."""
    most = quota()
    of_container = "" if most is None else f", of which a limit of the container leaves {most:g}"
    return f"{allowed()} of {os.cpu_count()} may be used{of_container}"


def count() -> int:
    """Threads that work at once: as torch is told, one for each processor in a process without it.

    ``torch.set_num_threads`` and :func:`limit` thereby reach all that is computed here.
    """
    of_torch = getattr(sys.modules.get("torch"), "get_num_threads", None)
    return processors() if of_torch is None else _limited(of_torch())


def limit(most: int | None) -> None:
    """Use at most so many threads: for a process that has others beside it; None is no limit."""
    global _most
    _most = most


def run(blocks: int, work: Callable[[int], T], elements: int | None = None) -> list[T]:
    """Results of ``work`` for every number below ``blocks``, in their order.

    The calling thread works too, so that this cannot hang when the pool is busy with other calls.

    Args:
        blocks: how many.
        work: what to do with each.
        elements: of all blocks; few are not worth another thread.

    Example:
        >>> run(3, lambda n: n * n)
        [0, 1, 4]
    """
    useful = blocks if elements is None else max(1, min(blocks, elements // EACH))
    helpers = min(count(), useful) - 1 if useful > 1 else 0
    if helpers < 1:
        return [work(block) for block in range(blocks)]
    waiting = deque(range(blocks))
    results: dict[int, T] = {}

    def until_empty() -> None:
        while True:
            try:
                block = waiting.popleft()
            except IndexError:
                return
            results[block] = work(block)

    futures = [_executor().submit(until_empty) for _ in range(helpers)]
    try:
        until_empty()
    finally:
        waiting.clear()  # after an error, the others stop too
        for future in futures:
            if not future.cancel():
                future.result()
    return [results[block] for block in range(blocks)]


class Scratch:
    """Tiles, rows, labels and bins for one thread.

    Args:
        classes: C.
        size: voxels in a tile.
        tiles: how many, 0 to 2.
        rows: how many rows.
        dtype: that of the computation.
    """

    def __init__(
        self, classes: int, size: int, tiles: int, rows: int, dtype: npt.DTypeLike
    ) -> None:
        # One row more than classes, finite, stands for labels that are no class.
        self.tiles = (np.zeros((tiles, classes + 1, size), dtype),) if tiles else ()
        # -1: where the target holds no labels, none is equal to a class
        self.rows_and_labels = np.zeros((rows, size), dtype), np.full(size, -1, np.int32)
        self.bins = np.zeros((4, classes + 1))


def scratch(classes: int, size: int, tiles: int, rows: int, dtype: npt.DTypeLike) -> Scratch:
    """The calling thread's, made anew when the last call wanted another."""
    wanted = (classes, size, tiles, rows, np.dtype(dtype))
    if getattr(_kept, "wanted", None) != wanted:
        _kept.wanted, _kept.scratch = wanted, Scratch(*wanted)
    made: Scratch = _kept.scratch
    return made


def _limited(number: int) -> int:
    return number if _most is None else min(number, _most)


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="medloss")
        return _pool


def _forget() -> None:
    """In a forked child: its copy of the pool has no threads, and the lock may be held."""
    global _lock, _pool
    _lock, _pool = Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
