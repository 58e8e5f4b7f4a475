"""Schedules that are functions of the step alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from medloss.compound.schedules.checks import check_count, check_weights


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The same weight in every step.

    Formula:
        w(t) = value.
    """

    value: float

    def __post_init__(self) -> None:
        check_weights(self, "value")

    def at(self, step: int) -> float:
        """Weight in a step."""
        return self.value


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """A straight line from one weight to another.

    Formula:
        w(t) = start + (end − start) · x, x = (t − begin) / steps, held in [0, 1].

    Args:
        steps: how many it takes from start to end.
        start: weight until ``begin``.
        end: weight from ``begin + steps`` on.
        begin: the last step that has ``start``; steps are counted from 0.

    Example:
        >>> [Ramp(steps=4, begin=1).at(t) for t in range(7)]
        [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """

    steps: int
    start: float = 0.0
    end: float = 1.0
    begin: int = 0

    def __post_init__(self) -> None:
        check_weights(self, "start", "end")
        check_count(self, "steps", 1)
        check_count(self, "begin", 0)

    def at(self, step: int) -> float:
        """Weight in a step."""
        return self.start + (self.end - self.start) * self.shape(self.part(step))

    def part(self, step: int) -> float:
        """Part of the way, in [0, 1]."""
        return min(max((step - self.begin) / self.steps, 0.0), 1.0)

    def shape(self, x: float) -> float:
        """Part of the change."""
        return x


@dataclass(frozen=True, kw_only=True)
class Cosine(Ramp):
    """Half a wave of a cosine from one weight to another: flat at both ends.

    Formula:
        w(t) = start + (end − start) · (1 − cos π x) / 2, x = (t − begin) / steps in [0, 1].

    Example:
        >>> [round(Cosine(steps=4).at(t), 3) for t in range(5)]
        [0.0, 0.146, 0.5, 0.854, 1.0]
    """

    def shape(self, x: float) -> float:
        """Part of the change."""
        return (1 - math.cos(math.pi * x)) / 2


@dataclass(frozen=True, kw_only=True)
class Rebalance:
    """The weight α of this term grows, and every other term is multiplied by 1 − α.

    Formula:
        α(t) = min(start + increment · max(t − begin, 0), end).

    Source:
        Kervadec 2021, doi:10.1016/j.media.2020.101851.

    Example:
        >>> [Rebalance(increment=0.25, end=0.75).at(t) for t in range(5)]
        [0.01, 0.26, 0.51, 0.75, 0.75]
    """

    start: float = 0.01
    end: float = 0.99
    increment: float = 0.01
    begin: int = 0

    def __post_init__(self) -> None:
        check_weights(self, "start", "end", "increment")
        check_count(self, "begin", 0)
        if not self.start <= self.end <= 1:
            raise ValueError(
                f"rebalance: expected start <= end <= 1, got start {self.start!r}, end {self.end!r}"
            )
        if not self.increment > 0:
            raise ValueError(f"increment: expected more than 0, got {self.increment!r}")

    def at(self, step: int) -> float:
        """Weight α in a step."""
        return min(self.start + self.increment * max(step - self.begin, 0), self.end)
