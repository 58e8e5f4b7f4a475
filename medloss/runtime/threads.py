"""Blocks of work on a few threads of our own, beside torch's.

numba's own threading is left alone: its OpenMP layer shares torch's thread count and slows torch
down, and its other layer aborts the process when two Python threads enter it at once.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import torch

EACH = 1 << 17
"""Elements that keep a thread busy for longer than it takes to wake it."""

_lock = Lock()
_pool: ThreadPoolExecutor | None = None


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


def run(blocks: int, work: Callable[[int], None], elements: int | None = None) -> None:
    """Call ``work`` with every number below ``blocks``, on up to ``torch.get_num_threads()``.

    The calling thread works too, so that this cannot hang when the pool is busy with other calls.

    Args:
        blocks: how many.
        work: what to do with each.
        elements: of all blocks; few are not worth another thread.
    """
    waiting = deque(range(blocks))

    def until_empty() -> None:
        while True:
            try:
                block = waiting.popleft()
            except IndexError:
                return
            work(block)

    useful = blocks if elements is None else max(1, elements // EACH)
    helpers = min(torch.get_num_threads(), blocks, useful) - 1
    futures = [_executor().submit(until_empty) for _ in range(helpers)]
    try:
        until_empty()
    finally:
        waiting.clear()  # after an error, the others stop too
        for future in futures:
            if not future.cancel():
                future.result()
