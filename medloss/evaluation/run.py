"""An evaluation from beginning to end: what is kept, what is still to do, and who does it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path

from medloss.evaluation.inputs.pairing import Pair, files_of
from medloss.evaluation.journal import open_journal
from medloss.evaluation.records import CaseResult
from medloss.evaluation.score import EvalPlan, evaluate, evaluate_pair
from medloss.runtime import threads
from medloss.work.engine import give_away, work_through
from medloss.work.jobs import Crew, Failed, Job, Share
from medloss.work.journal import Journal

Evaluator = Callable[[Sequence[Pair], EvalPlan], Iterator[CaseResult]]

SMALL_BYTES = 16 << 20
"""Studies whose files are smaller than this together are scored in this process by default."""


def default_workers(pairs: Iterable[Pair]) -> int:
    """One for each processor; one for a small study, over before other processes have started."""
    total = 0
    for pair in pairs:
        for path in (*files_of(pair.prediction), *files_of(pair.reference)):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
        if total > SMALL_BYTES:
            return threads.processors()
    return 1


def evaluate_all(
    pairs: Sequence[Pair],
    plan: EvalPlan,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    evaluator: Evaluator = evaluate,
    journal: Path | None = None,
    on_begin: Callable[[int, int, int], None] = lambda kept, outdated, damaged: None,
    on_case: Callable[[CaseResult], None] = lambda case: None,
) -> list[CaseResult]:
    """Score every pair once, and return the results sorted by the names of the cases.

    Args:
        pairs: cases.
        plan: what is computed.
        workers: processes; 1 scores in this one.
        scheduler: address of a Dask scheduler whose workers do the work instead.
        evaluator: what scores pairs in this process.
        journal: file that keeps every result as it comes, and gives those that it holds.
        on_begin: told how many results the journal gave, how many of it were outdated, and how many
            damaged.
        on_case: told every new result.

    Raises:
        Interrupted: Ctrl-C, or SIGTERM.
        CannotWriteError: the journal cannot be written.
        ValueError: the journal is of another study, or the work cannot be given away.
    """
    found: dict[Pair, CaseResult] = {}
    elsewhere = workers > 1 or scheduler is not None
    with contextlib.ExitStack() as stack:
        log: Journal[Pair, CaseResult] | None = None
        if journal is not None:
            log = stack.enter_context(open_journal(journal, pairs, plan))
            found |= log.kept
            on_begin(len(found), log.outdated, log.damaged)

        def keep(case: CaseResult) -> None:
            if log:
                log.add(case)
            found[case.pair] = case
            on_case(case)

        todo = [pair for pair in pairs if pair not in found]
        if elsewhere:
            results = evaluate_elsewhere(todo, plan, workers, scheduler)
        else:
            results = _evaluate_here(todo, plan, evaluator)
        work_through(
            results,
            keep,
            key=lambda case: case.pair,
            kept=found.keys(),
            of=len(pairs),
            elsewhere=elsewhere,
        )
    return [found[pair] for pair in sorted(pairs, key=lambda pair: pair.name)]


def evaluate_elsewhere(
    pairs: Sequence[Pair], plan: EvalPlan, workers: int = 1, scheduler: str | None = None
) -> Generator[CaseResult]:
    """Score every pair by other processes, in the order in which they finish.

    Args:
        pairs: cases.
        plan: what is computed.
        workers: processes.
        scheduler: address of a Dask scheduler whose workers do the work instead.

    Raises:
        ValueError: the plan cannot be sent to another process.
        CannotStart: processes end before they have begun.
        ConnectionError: the scheduler is gone.
    """
    job = Job(
        functools.partial(start_worker, plan),
        _score,
        verb="scored",
        advice="; --workers 1 scores in this process",
        preload="medloss.evaluation.worker_start",
    )
    crew = Crew(workers, device=plan.device, scheduler=scheduler)
    results = give_away(job, pairs, crew)
    with contextlib.closing(results):
        for pair, result in results:
            if isinstance(result, Failed):
                yield CaseResult(pair, error=result.reason)
            else:
                yield result


def start_worker(plan: EvalPlan, share: Share) -> EvalPlan:
    """Begin to score in a process that has others beside it."""
    share.take(torch=bool(plan.losses) or share.device is not None)
    return dataclasses.replace(plan, device=share.device)


def _score(plan: EvalPlan, pair: Pair) -> CaseResult:
    return evaluate_pair(pair, plan)


def _evaluate_here(
    pairs: Sequence[Pair], plan: EvalPlan, evaluator: Evaluator
) -> Generator[CaseResult]:
    if pairs:
        yield from evaluator(pairs, plan)
