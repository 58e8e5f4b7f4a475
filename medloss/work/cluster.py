"""Cases scored by the workers of a Dask cluster, on as many machines as it has."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from typing import Any

from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.records import CaseResult
from medloss.evaluation.score import EvalPlan, evaluate_pair
from medloss.work.processes import share_processors

_CASES_A_THREAD = 2
_PATIENCE_S = 30


def connect(address: str) -> Any:
    """A client of the scheduler at ``address``.

    Raises:
        ValueError: Dask is not installed, or nobody answers as a scheduler.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError("--scheduler needs Dask: the extra dask of medloss") from error
    try:
        client: Any = Client(address, timeout=_PATIENCE_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"--scheduler: no scheduler answers at {address}: {reason}") from error
    return client


def evaluate_on_cluster(
    pairs: Sequence[Pair], plan: EvalPlan, client: Any
) -> Generator[CaseResult]:
    """Score every pair, in the order in which they finish.

    Dask gives the case of a worker that died to another one. A case that has cost as many workers
    as the scheduler allows (its setting ``allowed-failures``, 3) is a failed case. Workers read the
    files themselves, at the same paths.

    Args:
        pairs: cases.
        plan: what is computed.
        client: connected.

    Raises:
        ConnectionError: the scheduler is gone.
    """
    from distributed import as_completed

    waiting = iter(pairs)
    running: dict[Any, Pair] = {}
    done: Any = as_completed(loop=client.loop)  # type: ignore[no-untyped-call]

    def submit(count: int) -> None:
        for pair in itertools.islice(waiting, count):
            # pure=False: what is scored again must not be answered from an earlier study.
            future = client.submit(_score, pair, plan, pure=False)
            running[future] = pair
            done.add(future)

    try:
        submit(_CASES_A_THREAD * max(1, sum(client.nthreads().values())))
        for future in done:
            pair = running.pop(future)
            if future.status in ("cancelled", "lost"):
                raise ConnectionError("the Dask scheduler is gone")
            submit(1)
            if future.status == "error":
                yield CaseResult(pair, error=_sentence(future.exception()))
            else:
                yield future.result()
    finally:
        client.cancel([*running])


def _score(pair: Pair, plan: EvalPlan) -> CaseResult:
    # Dask gives each thread of a worker a case of its own.
    share_processors(plan, 1)
    return evaluate_pair(pair, plan)


def _sentence(error: BaseException) -> str:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return "every Dask worker that scored it died; perhaps it needs more memory than they have"
    return " ".join(f"Dask: {type(error).__name__}: {error}".split())
