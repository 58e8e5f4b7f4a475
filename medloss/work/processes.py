"""Cases scored by several processes; one that dies costs at most its case.

A process has one case at a time, so the parent knows which case a dead one had. That is what
``concurrent.futures`` cannot tell: there, one death fails every case that waits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import pickle
import signal
from collections import Counter, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any

from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.score import CaseResult, Study, evaluate_pair
from medloss.runtime import threads
from medloss.work.devices import devices_in_turn

_ATTEMPTS = 2
_STARTS_IN_VAIN = 3
_PATIENCE_S = 5.0


def evaluate_in_processes(
    pairs: Sequence[Pair], study: Study, workers: int
) -> Generator[CaseResult]:
    """Score every pair, in the order in which they finish.

    A case whose process dies is tried once more, and is a failed case if that one dies too.

    Args:
        pairs: cases.
        study: what is computed.
        workers: processes; each uses its share of the processors.

    Raises:
        ValueError: the study cannot be sent to another process.
        RuntimeError: processes end before they have begun.
    """
    if not pairs:
        return
    with contextlib.closing(_Pool(study, min(workers, len(pairs)))) as pool:
        yield from pool.score(pairs)


@dataclass(eq=False)
class _Worker:
    """A process and the case that it has; ``begun`` once it has said that it listens."""

    process: Any
    channel: Any
    begun: bool = False
    pair: Pair | None = None


class _Pool:
    def __init__(self, study: Study, workers: int) -> None:
        try:
            pickle.dumps(study)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(f"{error}; --workers 1 scores in this process") from error
        # Not "fork": the threads and locks of numba and of linear algebra do not survive it.
        methods = multiprocessing.get_all_start_methods()
        method = "forkserver" if "forkserver" in methods else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":  # imports and loads kernels once, for all workers
            self._context.set_forkserver_preload(["medloss.evaluation.worker_start"])
        self._study, self._devices = study, devices_in_turn(study.device)
        self._threads = max(1, threads.processors() // workers)
        self._in_vain = 0
        self._workers: list[_Worker] = []
        for _ in range(workers):
            self._start()

    def score(self, pairs: Sequence[Pair]) -> Generator[CaseResult]:
        waiting, deaths = deque(pairs), Counter[Pair]()
        left = len(waiting)
        while left:
            finished = []
            for worker in self._speaking():
                had, worker.pair = worker.pair, None
                try:
                    result = worker.channel.recv()
                except (EOFError, OSError):
                    reason = self._bury(worker)
                    if had is not None:
                        deaths[had] += 1
                        if deaths[had] < _ATTEMPTS:
                            waiting.append(had)  # last, when fewer large cases run beside it
                        else:
                            finished.append(CaseResult(had, error=_sentence(reason)))
                    if waiting:
                        self._start()
                else:
                    worker.begun, self._in_vain = True, 0
                    if result is not None:
                        finished.append(result)
            for worker in self._workers:
                if waiting and worker.begun and worker.pair is None:
                    worker.pair = waiting.popleft()
                    with contextlib.suppress(OSError):  # it has died, as the next look will show
                        worker.channel.send(worker.pair)
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

    def _speaking(self) -> list[_Worker]:
        """Those that have sent something or died; waits for one."""
        ready = connection.wait([worker.channel for worker in self._workers])
        return [worker for worker in self._workers if worker.channel in ready]

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        study = dataclasses.replace(self._study, device=next(self._devices))
        process = self._context.Process(
            target=_work, args=(theirs, study, self._threads), daemon=True
        )
        process.start()
        theirs.close()  # so that the death of the process is the end of the channel
        self._workers.append(_Worker(process, ours))

    def _bury(self, worker: _Worker) -> str:
        """What it died of."""
        self._workers.remove(worker)
        worker.channel.close()
        worker.process.join()
        reason = _reason(worker.process.exitcode)
        if not worker.begun:
            self._in_vain += 1
            if self._in_vain >= _STARTS_IN_VAIN:
                raise RuntimeError(
                    f"worker processes end as soon as they start ({reason}); "
                    f"--workers 1 scores in this process"
                )
        return reason


def _work(channel: Any, study: Study, most_threads: int) -> None:
    """What a process does until the parent hangs up."""
    # Ctrl-C goes to every process of a terminal; what it means is for the parent to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    share_processors(study, most_threads)
    with contextlib.suppress(EOFError, OSError):
        channel.send(None)
        while True:
            channel.send(evaluate_pair(channel.recv(), study))


def share_processors(study: Study, most_threads: int) -> None:
    """Leave processors to the other cases that are scored beside this one's."""
    threads.limit(most_threads)
    if study.losses or study.device is not None:
        import torch

        torch.set_num_threads(most_threads)


def _sentence(reason: str) -> str:
    return (
        f"the process that scored it died ({reason}), {_ATTEMPTS} times; if memory ran out, fewer "
        f"--workers need less"
    )


def _reason(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        try:
            return f"killed by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"killed by signal {-exit_code}"
    return f"exit code {exit_code}"
