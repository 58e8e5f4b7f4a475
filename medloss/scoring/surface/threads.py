"""Pieces of work on a few threads; the kernels run without Python's lock.

numba's own threads are left alone: one of its layers spins at barriers when other processes work
too, and another aborts the process when two Python threads enter it at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

T = TypeVar("T")

_lock = Lock()
_pool: ThreadPoolExecutor | None = None
_most: int | None = None


def count() -> int:
    """Processors that this process may use, or fewer if a limit says so."""
    if hasattr(os, "sched_getaffinity"):
        found = len(os.sched_getaffinity(0))
    else:
        found = os.cpu_count() or 1
    return found if _most is None else min(found, _most)


def limit(most: int) -> None:
    """Use at most so many threads: for a process that has others beside it."""
    global _most
    _most = most


def run(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Results of all tasks, in their order.

    The calling thread works too, so that this cannot hang when the pool is busy with other calls.

    Example:
        >>> run([lambda: 1, lambda: 2])
        [1, 2]
    """
    if len(tasks) < 2 or count() < 2:
        return [task() for task in tasks]
    futures: list[Future[T]] = [_executor().submit(task) for task in tasks]
    results: dict[int, T] = {}
    try:
        # From the other end than the pool takes them: what has not begun is done here.
        for n in reversed(range(len(tasks))):
            if futures[n].cancel():
                results[n] = tasks[n]()
        return [results[n] if n in results else future.result() for n, future in enumerate(futures)]
    finally:
        for future in futures:  # after an error, the others stop too
            future.cancel()


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(count() - 1, thread_name_prefix="medloss-scoring")
        return _pool


def _forget() -> None:
    """In a forked child: its copy of the pool has no threads, and the lock may be held."""
    global _lock, _pool
    _lock, _pool = Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
