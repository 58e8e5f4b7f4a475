"""Runs given away to the workers of a Dask cluster."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import Any

from medloss.work.cluster import connect
from medloss.workbench.study.conditions import Conditions
from medloss.workbench.study.workers import Done, Task, do, new_worker

_one_at_a_time = threading.Lock()
_kept: dict[str, Any] = {}


def worker_count(address: str) -> int:
    """How many workers a cluster has.

    Raises:
        ValueError: Dask is not installed, nobody answers, or there is no worker.
    """
    with connect(address) as client:
        found = len(client.nthreads())
    if not found:
        raise ValueError(f"--scheduler: the scheduler at {address} has no workers")
    return found


def on_cluster(tasks: Sequence[Task], conditions: Conditions, address: str) -> Generator[Done]:
    """Do all tasks on a Dask cluster, whose workers see the same paths.

    Random numbers belong to a process, so a Dask worker trains one run at a time, however many
    threads it has: start them with ``--nthreads 1``.

    Raises:
        ValueError: Dask is not installed, or nobody answers as a scheduler.
        ConnectionError: the scheduler is gone.
    """
    if not tasks:
        return
    from distributed import as_completed

    with connect(address) as client:
        futures = {client.submit(_do_there, t, conditions, pure=False): t for t in tasks}
        try:
            done: Any = as_completed([*futures], loop=client.loop)  # type: ignore[no-untyped-call]
            for future in done:
                task = futures.pop(future)
                if future.status in ("cancelled", "lost"):
                    raise ConnectionError("the Dask scheduler is gone")
                if future.status == "error":
                    yield Done(task, {}, " ".join(f"Dask: {future.exception()}".split()))
                else:
                    yield future.result()
        finally:
            client.cancel([*futures])


def _do_there(task: Task, conditions: Conditions) -> Done:
    with _one_at_a_time:
        key = repr(conditions)
        if key not in _kept:
            _kept.clear()
            _kept[key] = new_worker(conditions, 0)
        return do(_kept[key], task)
