"""What is done to every item, and who does it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from medloss.runtime import threads

Item = TypeVar("Item", bound=Hashable)
State = TypeVar("State")
Result = TypeVar("Result")


class CannotStart(RuntimeError):  # noqa: N818  # it is said of workers
    """Workers end before they have begun, so that nothing can be done."""


@dataclass(frozen=True)
class Failed:
    """Why an item has no result, in a sentence."""

    reason: str


@dataclass(frozen=True)
class Crew:
    """Who works.

    Args:
        workers: processes of this machine.
        threads: of each, at most; 0 is its share of the processors.
        device: of torch, or ``None``; ``cuda`` gives each process one of the CUDA devices in turn.
        scheduler: address of a Dask scheduler whose workers do the work instead.
    """

    workers: int = 1
    threads: int = 0
    device: str | None = None
    scheduler: str | None = None


@dataclass(frozen=True)
class Share:
    """What a worker has of its machine.

    Args:
        threads: at most so many; 0 leaves them as they are.
        device: of torch, or ``None``.
    """

    threads: int = 0
    device: str | None = None

    def take(self, *, torch: bool) -> None:
        """Leave the other processors to the workers beside this one.

        Args:
            torch: this work uses torch, which has threads of its own.
        """
        if not self.threads:
            return
        threads.limit(self.threads)
        if torch:
            from torch import set_num_threads

            set_num_threads(self.threads)


@dataclass(frozen=True)
class Job(Generic[State, Item, Result]):
    """What workers do. It is sent to other processes, so functions are those of a module.

    Args:
        start: called once in a worker; makes what all of its items need.
        do: the result of an item, from what ``start`` made.
        verb: what is done, in the past, for sentences: ``scored``.
        advice: end of a sentence that says why there are no processes: ``; what to do instead``.
        preload: module that has all that is needed and of which processes are copies, where the
            system knows how; empty for processes that begin anew.
        exclusive: a worker has a process to itself: one item at a time wherever it is, and it may
            have processes of its own.
    """

    start: Callable[[Share], State]
    do: Callable[[State, Item], Result]
    verb: str
    advice: str = ""
    preload: str = ""
    exclusive: bool = False

    def attempt(self, state: State, item: Item) -> Result | Failed:
        """The result of an item; an error is the result, too."""
        try:
            return self.do(state, item)
        except Exception as error:  # noqa: BLE001  # of anyone's code
            return Failed(" ".join(f"{type(error).__name__}: {error}".split()))
