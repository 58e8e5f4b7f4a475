"""Who does a job, and until when: to its end, or to Ctrl-C, between items and not inside of one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Collection, Generator, Hashable, Iterator, Sequence
from types import FrameType
from typing import Any

from medloss.runtime.interruption import SIGNALS
from medloss.work.jobs import Crew, Failed, Item, Job, Result, State


def give_away(
    job: Job[State, Item, Result], items: Sequence[Item], crew: Crew
) -> Generator[tuple[Item, Result | Failed]]:
    """Every item with its result, in the order in which they are done by a crew.

    Raises:
        ValueError: the job cannot be given away.
        CannotStart: processes end before they have begun.
        ConnectionError: the scheduler is gone.
    """
    # What is not needed is not imported, so that a command starts at once.
    if crew.scheduler is None:
        from medloss.work.processes import in_processes

        return in_processes(job, items, crew)
    from medloss.work.cluster import on_cluster

    return on_cluster(job, items, crew)


class Interrupted(Exception):  # noqa: N818  # it is no error
    """Ctrl-C or SIGTERM, with the number of items that are done, of how many."""

    def __init__(self, done: int, of: int) -> None:
        super().__init__(done, of)
        self.done, self.of = done, of


def work_through(
    results: Generator[Result],
    keep: Callable[[Result], None],
    *,
    key: Callable[[Result], Hashable],
    kept: Collection[Any],
    of: int,
    elsewhere: bool = True,
) -> None:
    """Keep each result as it comes; whoever makes them is gone at the end.

    Args:
        results: as they come.
        keep: what is done with one.
        key: the item of a result. However an item came to be done twice, it counts once.
        kept: items that are done; ``keep`` adds to it.
        of: how many items there are with those.
        elsewhere: other processes make the results, so that nothing is lost by leaving at once.

    Raises:
        Interrupted: Ctrl-C, or the signal that batch systems send.
    """
    try:
        with Interrupts() as interrupts, contextlib.closing(results):
            while True:
                interrupts.check()
                with interrupts.waiting() if elsewhere else contextlib.nullcontext():
                    result = next(results, None)
                if result is None:
                    return
                if key(result) not in kept:
                    keep(result)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(len(kept), of) from interrupt


class Interrupts:
    """While it is entered, Ctrl-C waits for :meth:`check`; a second one does not wait.

    Compiled code and C libraries may turn an interruption into errors of their own, which would
    make a failed item of one that has nothing wrong with it. SIGTERM means the same.
    """

    def __init__(self) -> None:
        self._asked = False
        self._at_once = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for one in SIGNALS:
                self._before[one] = signal.signal(one, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for one, before in self._before.items():
            if before is not None:
                signal.signal(one, before)

    def check(self) -> None:
        """Raise if there was a Ctrl-C.

        Raises:
            KeyboardInterrupt: there was.
        """
        if self._asked:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Where this process only waits for others, so that it can be interrupted at once."""
        self._at_once = True
        try:
            self.check()
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked or self._at_once:
            before = self._before.get(number)
            if callable(before):  # which knows where nothing can be raised
                before(number, frame)
            raise KeyboardInterrupt
        self._asked = True
