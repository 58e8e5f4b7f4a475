"""A study from beginning to end: what is kept, what is still to do, and who does it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.journal import Journal, open_journal
from medloss.evaluation.score import CaseResult, Study, evaluate
from medloss.runtime import threads
from medloss.work.interrupts import Interrupts

Evaluator = Callable[[Sequence[Pair], Study], Iterator[CaseResult]]

SMALL_BYTES = 16 << 20
"""Studies whose files are smaller than this together are scored in this process by default."""


class Interrupted(Exception):  # noqa: N818  # it is no error
    """Ctrl-C, with the number of cases that are done."""

    def __init__(self, done: int) -> None:
        super().__init__(done)
        self.done = done


def default_workers(pairs: Iterable[Pair]) -> int:
    """One for each processor; one for a small study, over before other processes have started."""
    total = 0
    for pair in pairs:
        for path in (pair.prediction, pair.reference):
            with contextlib.suppress(OSError):
                total += path.stat().st_size if path else 0
        if total > SMALL_BYTES:
            return threads.processors()
    return 1


def evaluate_all(
    pairs: Sequence[Pair],
    study: Study,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    evaluator: Evaluator = evaluate,
    journal: Path | None = None,
    on_begin: Callable[[int, int], None] = lambda kept, outdated: None,
    on_case: Callable[[CaseResult], None] = lambda case: None,
) -> list[CaseResult]:
    """Score every pair once, and return the results sorted by the names of the cases.

    Args:
        pairs: cases.
        study: what is computed.
        workers: processes; 1 scores in this one.
        scheduler: address of a Dask scheduler whose workers do the work instead.
        evaluator: what scores pairs in this process.
        journal: file that keeps every result as it comes, and gives those that it holds.
        on_begin: told how many results the journal gave, and how many of it were outdated.
        on_case: told every new result.

    Raises:
        Interrupted: Ctrl-C.
        ValueError: the journal is of another study, or the work cannot be given away.
    """
    found: dict[Pair, CaseResult] = {}
    with contextlib.ExitStack() as stack:
        log: Journal | None = None
        if journal is not None:
            log = stack.enter_context(open_journal(journal, pairs, study))
            found |= log.kept
            on_begin(len(found), log.outdated)
        todo = [pair for pair in pairs if pair not in found]
        try:
            interrupts = stack.enter_context(Interrupts())
            results = stack.enter_context(_results(todo, study, workers, scheduler, evaluator))
            elsewhere = workers > 1 or scheduler is not None
            while True:
                interrupts.check()
                with interrupts.waiting() if elsewhere else contextlib.nullcontext():
                    case = next(results, None)
                if case is None:
                    break
                if case.pair in found:  # however a case came to be scored twice, it counts once
                    continue
                if log:
                    log.add(case)
                found[case.pair] = case
                on_case(case)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(len(found)) from interrupt
    return [found[pair] for pair in sorted(pairs, key=lambda pair: pair.name)]


@contextlib.contextmanager
def _results(
    pairs: Sequence[Pair],
    study: Study,
    workers: int,
    scheduler: str | None,
    evaluator: Evaluator,
) -> Iterator[Iterator[CaseResult]]:
    """Results as they come; whoever makes them is gone at the end."""
    if not pairs:
        yield iter(())
    elif scheduler is not None:
        from medloss.work.cluster import connect, evaluate_on_cluster

        with (
            connect(scheduler) as client,
            contextlib.closing(evaluate_on_cluster(pairs, study, client)) as results,
        ):
            yield results
    elif workers > 1:
        from medloss.work.processes import evaluate_in_processes

        with contextlib.closing(evaluate_in_processes(pairs, study, workers)) as results:
            yield results
    else:
        yield evaluator(pairs, study)
