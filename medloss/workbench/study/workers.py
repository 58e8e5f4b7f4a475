"""Runs given away to processes of this machine.

A process trains many runs: MONAI is imported and data are read once. It has one run at a time, so
that a process that dies costs at most its run.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

from medloss.workbench.study.conditions import Conditions, Run

_ATTEMPTS = 2
_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Task:
    """Something a worker does with a run.

    Args:
        run: that is trained.
        folder: of the run; None only times a few steps.
        pictures: keep label maps.
    """

    run: Run
    folder: Path | None = None
    pictures: bool = False


@dataclass(frozen=True)
class Done:
    """What came of a task.

    Args:
        task: that was done.
        facts: of the run, or times of a pilot.
        error: why there are none, else empty.
    """

    task: Task
    facts: dict[str, Any]
    error: str = ""


def do(worker: Any, task: Task) -> Done:
    """Do a task; what goes wrong is its result."""
    try:
        if task.folder is None:
            return Done(task, worker.pilot(task.run))
        return Done(task, worker.run(task.run, task.folder, pictures=task.pictures))
    # A bundle's own code may raise anything.
    except Exception as error:  # noqa: BLE001
        return Done(task, {}, " ".join(f"{type(error).__name__}: {error}".split()))


def in_processes(
    tasks: Sequence[Task], conditions: Conditions, workers: int, threads: int
) -> Generator[Done]:
    """Do all tasks, in the order in which they end.

    Args:
        tasks: in the order in which they begin.
        conditions: of the study.
        workers: processes.
        threads: of each.

    Raises:
        RuntimeError: a process cannot begin; says why.
    """
    if not tasks:
        return
    with contextlib.closing(_Pool(conditions, min(workers, len(tasks)), threads)) as pool:
        yield from pool.do(tasks)


@dataclass(eq=False)
class _Process:
    process: Any
    channel: Any
    begun: bool = False
    task: Task | None = None


class _Pool:
    def __init__(self, conditions: Conditions, workers: int, threads: int) -> None:
        # Not "fork": the threads of torch and numba do not survive it.
        self._context: Any = multiprocessing.get_context("spawn")
        self._settings = conditions, threads
        self._processes: list[_Process] = []
        for _ in range(workers):
            self._start()

    def do(self, tasks: Sequence[Task]) -> Generator[Done]:
        waiting, deaths = deque(tasks), Counter[Task]()
        left = len(waiting)
        while left:
            finished: list[Done] = []
            for process in self._speaking():
                had, process.task = process.task, None
                try:
                    said = process.channel.recv()
                except (EOFError, OSError):
                    reason = self._bury(process)
                    if had is not None:
                        deaths[had] += 1
                        if deaths[had] < _ATTEMPTS:
                            waiting.append(had)
                        else:
                            finished.append(Done(had, {}, f"its process died ({reason}), twice"))
                    if waiting:
                        self._start()
                    continue
                if isinstance(said, str):
                    raise RuntimeError(said)
                process.begun = True
                if said is not None:
                    finished.append(said)
            for process in self._processes:
                if waiting and process.begun and process.task is None:
                    process.task = waiting.popleft()
                    with contextlib.suppress(OSError):  # it has died, as the next look will show
                        process.channel.send(process.task)
            left -= len(finished)
            yield from finished

    def close(self) -> None:
        for one in self._processes:
            one.process.terminate()
        for one in self._processes:
            one.process.join(_PATIENCE_S)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
            one.channel.close()

    def _speaking(self) -> list[_Process]:
        ready = connection.wait([one.channel for one in self._processes])
        return [one for one in self._processes if one.channel in ready]

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        # No daemon: those may have no processes of their own, as data loaders want.
        process = self._context.Process(target=_work, args=(theirs, *self._settings))
        process.start()
        theirs.close()  # so that the death of the process is the end of the channel
        self._processes.append(_Process(process, ours))

    def _bury(self, one: _Process) -> str:
        self._processes.remove(one)
        one.channel.close()
        one.process.join()
        reason = f"exit code {one.process.exitcode}"
        if not one.begun:
            raise RuntimeError(f"a worker process ended before it began ({reason})")
        return reason


def _work(channel: Any, conditions: Conditions, threads: int) -> None:
    """What a process does until the parent hangs up."""
    # Ctrl-C goes to every process of a terminal; what it means is for the parent to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        try:
            worker = new_worker(conditions, threads)
        # A bundle's own code may raise anything.
        except Exception as error:  # noqa: BLE001
            channel.send(str(error))
            return
        channel.send(None)
        while True:
            channel.send(do(worker, channel.recv()))


def new_worker(conditions: Conditions, threads: int) -> Any:
    """Import MONAI and read the bundle."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MONAI's import; those of a run are in its log
        from medloss.workbench.study.worker import Worker
    return Worker(conditions, threads)
