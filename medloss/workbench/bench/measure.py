"""Alternating rounds: every entrant once in each round, each time from another start.

What moving memory takes is measured in the same rounds, by a copy.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from medloss.workbench.bench.devices import CallTime, Device

T = TypeVar("T")


LARGE = 256 << 20
"""Bytes of a buffer to copy: larger than any cache."""


@dataclass(frozen=True)
class Entrant:
    """Something to measure.

    Args:
        name: unlike that of the others.
        call: what is measured.
        reset: run before every call, and not measured.
        calls: in a row in each round, whose median is the round's time. A call that is over sooner
            than the machine forgets what ran before it needs many.
    """

    name: str
    call: Callable[[], object]
    reset: Callable[[], object] = lambda: None
    calls: int = 1


@dataclass
class Measured:
    """What the rounds gave for one entrant."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


class MemoryCopy:
    """A copy between two warm buffers, which tells how fast a machine moves memory.

    Args:
        device: where the buffers are.
        size: bytes of each.
    """

    def __init__(self, device: str, size: int = LARGE) -> None:
        self._from = torch.ones(size // 4, device=device)
        self._to = torch.ones_like(self._from)
        self.moved_bytes = 2 * self._from.nbytes

    def __call__(self) -> None:
        """Copy once."""
        self._to.copy_(self._from)


def rounds(
    entrants: Sequence[Entrant],
    count: int,
    device: Device,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Measured]:
    """Time every entrant once in each of ``count`` rounds.

    Raises:
        ValueError: fewer than one round.
    """
    if count < 1:
        raise ValueError(f"rounds: expected at least 1, got {count}")
    found = {entrant.name: Measured() for entrant in entrants}
    with _older_objects_left_alone():
        for number in range(count):
            for entrant in rotated(entrants, number):
                tell(f"round {number + 1} of {count}, {entrant.name}")
                timing = _turn(entrant, device)
                found[entrant.name].wall_s.append(timing.wall_s)
                found[entrant.name].cpu_s.append(timing.cpu_s)
    return found


def memory(entrants: Sequence[Entrant], device: Device) -> dict[str, int]:
    """Peak extra bytes of one untimed call of each."""
    found = {}
    with _older_objects_left_alone():
        for entrant in entrants:
            _prepare(entrant)
            found[entrant.name] = device.extra_bytes(entrant.call)
            entrant.reset()
    return found


def rotated(items: Sequence[T], start: int) -> Iterator[T]:
    """All items, beginning with number ``start``.

    Example:
        >>> [*rotated("abc", 4)]
        ['b', 'c', 'a']
    """
    for at in range(len(items)):
        yield items[(start + at) % len(items)]


@contextlib.contextmanager
def _older_objects_left_alone() -> Iterator[None]:
    """Leave out the million objects of the imported libraries, which take a second to look at."""
    gc.collect(1)  # what the calls before have left
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _turn(entrant: Entrant, device: Device) -> CallTime:
    """The median call of a round."""
    gc.collect()
    timings = []
    for _ in range(entrant.calls):
        entrant.reset()
        timings.append(device.time(entrant.call))
    return CallTime(*map(statistics.median, zip(*timings, strict=True)))


def _prepare(entrant: Entrant) -> None:
    entrant.reset()
    gc.collect()
