"""Schedules: weights of loss terms that change from step to step, as a config writes them.

    "weights": [1.0, {"schedule": "ramp", "start": 0.0, "end": 1.0, "steps": 100}]

A step is an epoch or an iteration, whatever the training loop makes it.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal


def is_number(given: Any) -> bool:
    """Whether it is a real number, which True and False are not."""
    return isinstance(given, numbers.Real) and not isinstance(given, bool)


def check_weights(schedule: Any, *names: str) -> None:
    """Make these attributes floats.

    Raises:
        ValueError: one is no finite number of at least 0.
    """
    for name in names:
        given = getattr(schedule, name)
        if not is_number(given) or not 0 <= given < math.inf:
            raise ValueError(f"{name}: expected a finite number of at least 0, got {given!r}")
        object.__setattr__(schedule, name, float(given))


def check_count(schedule: Any, name: str, lowest: int) -> None:
    """Refuse an attribute that counts nothing.

    Raises:
        ValueError: it is no whole number, or less than the lowest.
    """
    given = getattr(schedule, name)
    if not isinstance(given, int) or isinstance(given, bool) or given < lowest:
        raise ValueError(f"{name}: expected a whole number from {lowest} on, got {given!r}")


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


Measured = Literal["value", "gradient_norm"]


@dataclass(frozen=True, kw_only=True)
class EqualValue:
    """The weight that gives this term the same weighted value as another one.

    Formula:
        w = w_to · mean |L_to| / mean |L| over the training passes of the step before.

    Where one of the means is 0 or nothing was measured, the weight stays.

    Args:
        to: name of the other term; by default the first one whose weight is no ratio itself.
        start: weight in step 0.
        max_weight: more than this it never gets, however small the term.

    Source:
        Karimi 2019, arXiv:1904.10030.
    """

    to: str | None = None
    start: float = 1.0
    max_weight: float = 1000.0

    measures: ClassVar[Measured] = "value"

    def __post_init__(self) -> None:
        check_weights(self, "start", "max_weight")
        if self.to is not None and not isinstance(self.to, str):
            raise TypeError(f"to: expected the name of a term, got {self.to!r}")

    def next(self, weight_to: float, mean_to: float, mean: float, now: float) -> float:
        """The next weight.

        Example:
            >>> EqualValue().next(1.0, 0.5, 10.0, now=1.0)
            0.05
        """
        if not (mean_to > 0 and mean > 0):
            return now
        return min(weight_to * mean_to / mean, self.max_weight)


@dataclass(frozen=True, kw_only=True)
class EqualGradientNorm(EqualValue):
    """The weight that gives this term the same norm of its weighted gradient as another one.

    Formula:
        w = w_to · mean ‖∂L_to/∂z‖ / mean ‖∂L/∂z‖ over the measured passes of the step before, z
        the logits.

    A measurement takes one more backward pass of each term as far as the logits.

    Args:
        every: one of so many training passes is measured.
    """

    every: int = 10

    measures: ClassVar[Measured] = "gradient_norm"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self, "every", 1)


Weight = float | Mapping[str, Any]
"""A number, or a schedule as a mapping: ``{"schedule": "ramp", "steps": 100}``."""

Schedule = Constant | Ramp | Rebalance | EqualValue

SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "ramp": Ramp,
    "cosine": Cosine,
    "rebalance": Rebalance,
    "equal_value": EqualValue,
    "equal_gradient_norm": EqualGradientNorm,
}


def parse_weight(given: Any, name: str) -> Schedule:
    """The schedule that a number or mapping stands for.

    Args:
        given: a number of at least 0, or a mapping with ``schedule`` and its options.
        name: what is weighted, for errors.

    Raises:
        ValueError: an unknown schedule (the nearest names are told) or an impossible option.
        TypeError: neither number nor mapping, or an option that the schedule lacks.

    Example:
        >>> parse_weight({"schedule": "ramp", "steps": 10}, "boundary").at(5)
        0.5
    """
    if not isinstance(given, Mapping):
        try:
            return Constant(value=given)
        except (TypeError, ValueError):
            kind = ValueError if is_number(given) else TypeError
            raise kind(
                f"{name}: expected a weight of at least 0, or a mapping with a schedule, "
                f"got {given!r}"
            ) from None
    options = dict(given)
    chosen = options.pop("schedule", None)
    if chosen not in SCHEDULES:
        near = difflib.get_close_matches(str(chosen), SCHEDULES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"expected {', '.join(SCHEDULES)}"
        said = "a mapping without the key" if "schedule" not in given else repr(chosen)
        raise ValueError(f"{name}: schedule: got {said}; {hint}")
    target = SCHEDULES[chosen]
    known = [each.name for each in fields(target)]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(str(option), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(
                f"{name}: the schedule {chosen!r} takes {', '.join(known)}, got {option!r}{hint}"
            )
    try:
        return target(**options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: the schedule {chosen!r}: {error}") from None
