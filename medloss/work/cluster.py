"""Items given away to the workers of a Dask cluster, on as many machines as it has."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import uuid
from collections.abc import Generator, Sequence
from typing import Any

from medloss.work.jobs import Crew, Failed, Item, Job, Result, Share, State

_ITEMS_A_THREAD = 2
_PATIENCE_S = 30

_starting, _exclusive = threading.Lock(), threading.Lock()
_started: dict[str, Any] = {}
"""In a worker: what its latest job has started, by the job's token."""


def connect(address: str) -> Any:
    """A client of the scheduler at ``address``.

    Raises:
        ValueError: Dask is not installed, or nobody answers as a scheduler.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError("--scheduler needs Dask: the extra dask of medloss") from error
    # That the scheduler is gone is said in a sentence, and not in a traceback of its log.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        client: Any = Client(address, timeout=_PATIENCE_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"--scheduler: no scheduler answers at {address}: {reason}") from error
    return client


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


def on_cluster(
    job: Job[State, Item, Result], items: Sequence[Item], crew: Crew
) -> Generator[tuple[Item, Result | Failed]]:
    """Do a job on a cluster, and give items in the order in which they are done.

    Dask gives the item of a worker that died to another one. An item that has cost as many workers
    as the scheduler allows (its setting ``allowed-failures``, 3) has failed. Workers read files
    themselves, at the same paths; each thread of a worker has an item of its own, unless the job
    wants a process to itself.

    Args:
        job: what is done.
        items: in the order in which they begin.
        crew: with the address of a scheduler.

    Raises:
        ValueError: Dask is not installed, or nobody answers as a scheduler.
        ConnectionError: the scheduler is gone.
    """
    if not items or crew.scheduler is None:
        return
    with connect(crew.scheduler) as client:
        from distributed import as_completed

        waiting = iter(items)
        running: dict[Any, Item] = {}
        done: Any = as_completed(loop=client.loop)  # type: ignore[no-untyped-call]
        given = job, Share(0 if job.exclusive else 1, crew.device), uuid.uuid4().hex

        def submit(count: int) -> None:
            for item in itertools.islice(waiting, count):
                # pure=False: what is done again must not be answered from an earlier job.
                future = client.submit(_do_there, *given, item, pure=False)
                running[future] = item
                done.add(future)

        try:
            submit(_ITEMS_A_THREAD * max(1, sum(client.nthreads().values())))
            for future in done:
                item = running.pop(future)
                if future.status in ("cancelled", "lost"):
                    raise ConnectionError("the Dask scheduler is gone")
                submit(1)
                if future.status == "error":
                    yield item, Failed(_sentence(future.exception(), job.verb))
                else:
                    yield item, future.result()
        finally:
            client.cancel([*running])


def _do_there(
    job: Job[State, Item, Result], share: Share, token: str, item: Item
) -> Result | Failed:
    with _exclusive if job.exclusive else contextlib.nullcontext():
        with _starting:
            if token not in _started:
                _started.clear()
                _started[token] = job.start(share)
            state = _started[token]
        return job.attempt(state, item)


def _sentence(error: BaseException, verb: str) -> str:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return f"every Dask worker that {verb} it died; perhaps it needs more memory than they have"
    return " ".join(f"Dask: {type(error).__name__}: {error}".split())
