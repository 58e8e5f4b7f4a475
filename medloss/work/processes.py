"""Items given away to processes of this machine; one that dies costs at most its item.

A process has one item at a time, so the parent knows which item a dead one had. That is what
``concurrent.futures`` cannot tell: there, one death fails every item that waits.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Generic

from medloss.runtime import threads
from medloss.work.devices import devices_in_turn
from medloss.work.jobs import CannotStart, Crew, Failed, Item, Job, Result, Share, State

_ATTEMPTS = 2
_STARTS_IN_VAIN = 3
_PATIENCE_S = 5.0


def in_processes(
    job: Job[State, Item, Result], items: Sequence[Item], crew: Crew
) -> Generator[tuple[Item, Result | Failed]]:
    """Do a job, and give items in the order in which they are done.

    An item whose process dies is tried once more, and has failed if that one dies too.

    Args:
        job: what is done.
        items: each different, in the order in which they begin.
        crew: how many processes.

    Raises:
        ValueError: the job cannot be sent to another process.
        CannotStart: processes end before they have begun.
    """
    if items:
        with contextlib.closing(_Pool(job, min(crew.workers, len(items)), crew)) as pool:
            yield from pool.do(items)


@dataclass(eq=False)
class _Worker(Generic[Item]):
    """A process and the item that it has; ``begun`` once it has said that it listens."""

    process: Any
    channel: Any
    begun: bool = False
    item: Item | None = None


class _Pool(Generic[State, Item, Result]):
    def __init__(self, job: Job[State, Item, Result], workers: int, crew: Crew) -> None:
        try:
            pickle.dumps(job)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(f"{error}{job.advice}") from error
        # Not "fork": the threads and locks of numba and of linear algebra do not survive it.
        copies = job.preload and "forkserver" in multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("forkserver" if copies else "spawn")
        if copies:  # imports and loads kernels once, for all workers
            self._context.set_forkserver_preload([job.preload])
        self._job, self._devices = job, devices_in_turn(crew.device)
        self._threads = crew.threads or max(1, threads.processors() // workers)
        self._in_vain = 0
        self._workers: list[_Worker[Item]] = []
        try:
            for _ in range(workers):
                self._start()
        except BaseException:
            self.close()
            raise

    def do(self, items: Sequence[Item]) -> Generator[tuple[Item, Result | Failed]]:
        waiting, deaths = deque(items), Counter[Item]()
        left = len(waiting)
        while left:
            finished: list[tuple[Item, Result | Failed]] = []
            for worker in self._speaking():
                had, worker.item = worker.item, None
                try:
                    said = worker.channel.recv()
                except (EOFError, OSError):
                    reason = self._bury(worker)
                    if had is not None:
                        deaths[had] += 1
                        if deaths[had] < _ATTEMPTS:
                            waiting.append(had)  # last, when fewer large items run beside it
                        else:
                            finished.append((had, self._died(reason)))
                    if waiting:
                        self._start()
                    continue
                self._in_vain = 0
                if had is not None:
                    finished.append((had, said))
                elif said:
                    raise CannotStart(said)
                worker.begun = True
            for worker in self._workers:
                if waiting and worker.begun and worker.item is None:
                    worker.item = waiting.popleft()
                    with contextlib.suppress(OSError):  # it has died, as the next look will show
                        worker.channel.send(worker.item)
            left -= len(finished)
            yield from finished

    def close(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_PATIENCE_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.channel.close()

    def _speaking(self) -> list[_Worker[Item]]:
        """Those that have sent something or died; waits for one."""
        ready = connection.wait([worker.channel for worker in self._workers])
        return [worker for worker in self._workers if worker.channel in ready]

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        share = Share(self._threads, next(self._devices))
        process = self._context.Process(
            target=_work, args=(theirs, self._job, share), daemon=not self._job.exclusive
        )
        with _deaf_to_ctrl_c():
            process.start()
        theirs.close()  # so that the death of the process is the end of the channel
        self._workers.append(_Worker(process, ours))

    def _bury(self, worker: _Worker[Item]) -> str:
        """What it died of."""
        self._workers.remove(worker)
        worker.channel.close()
        worker.process.join()
        reason = _reason(worker.process.exitcode)
        if not worker.begun:
            self._in_vain += 1
            if self._in_vain >= _STARTS_IN_VAIN:
                raise CannotStart(
                    f"worker processes end as soon as they start ({reason}){self._job.advice}"
                )
        return reason

    def _died(self, reason: str) -> Failed:
        return Failed(
            f"the process that {self._job.verb} it died ({reason}), {_ATTEMPTS} times; if memory "
            f"ran out, fewer --workers need less"
        )


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that begin inside do not hear Ctrl-C, which goes to every process of a terminal.

    What it means is for the parent to say, which hears it a moment later.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Its own start would let the signal through again.
    from multiprocessing.resource_tracker import ensure_running

    ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_with_parent() -> None:
    """End this process when the one that started it is gone, however: nobody waits for it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(channel: Any, job: Job[State, Item, Result], share: Share) -> None:
    """What a process does until the parent hangs up; first it says why it cannot, or nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        try:
            state = job.start(share)
        except Exception as error:  # noqa: BLE001  # of anyone's code
            channel.send(str(error) or type(error).__name__)
            return
        channel.send("")
        while True:
            channel.send(job.attempt(state, channel.recv()))


def _reason(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        try:
            return f"killed by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"killed by signal {-exit_code}"
    return f"exit code {exit_code}"
