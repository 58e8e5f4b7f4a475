"""Axes of figures: where a value lies, and which values are named; and figures of rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from medloss.evaluation.records import Measure

Row = TypeVar("Row")

_COMPRESSED = 8.0
"""An axis is compressed when its largest value is so many times the bulk of the others."""

_LEAST_TICKS = 3


@dataclass(frozen=True)
class Axis:
    """From values to pixels.

    Args:
        low: value at ``start``.
        high: value at ``end``.
        start: pixel.
        end: pixel; smaller than ``start`` for an axis that points up.
        bend: 0 for a linear axis, else the value from which on it is compressed (asinh).
    """

    low: float
    high: float
    start: float
    end: float
    bend: float = 0.0

    def __call__(self, value: float) -> float:
        """The pixel of a value; what is beyond an end, infinity too, lies at the end."""
        value = min(max(value, self.low), self.high)
        low, high = self._bent(self.low), self._bent(self.high)
        return self.start + (self.end - self.start) * (self._bent(value) - low) / (high - low)

    def _bent(self, value: float) -> float:
        return math.asinh(value / self.bend) if self.bend else value

    def ticks(self, apart: float = 56.0) -> tuple[Tick, ...]:
        """Round values, about ``apart`` pixels from one another.

        Example:
            >>> [tick.text for tick in Axis(-4.9, 4.9, 140, 0).ticks()]
            ['−4', '0', '4']
        """
        if not self.bend:
            room = max(2, int(abs(self.end - self.start) / apart))
            found: Sequence[float] = _linear_ticks(self.low, self.high, room)
            while len(found) < _LEAST_TICKS:  # one alone gives no scale
                room += 1
                found = _linear_ticks(self.low, self.high, room)
        else:
            found = _bent_ticks(self.low, self.high)
        kept: list[Tick] = []
        for value in found:
            place = self(value)
            if not kept or abs(place - kept[-1].place) >= apart * 0.6:
                kept.append(Tick(place, _tick_text(value)))
        return tuple(kept)


@dataclass(frozen=True)
class Tick:
    """A named value of an axis."""

    place: float
    text: str = field(default="")


LETTER = 7.0
"""Room for a letter of a label, in pixels."""


@dataclass(frozen=True)
class RowFigure(Generic[Row]):
    """A figure with a row for each label or run, whose names stand at its left.

    Args:
        measure: metric or loss that it shows.
        axis: of its values.
        rows: from top to bottom.
        width: in pixels.
        height: in pixels.
        left: room for the names, in pixels.
    """

    measure: Measure
    axis: Axis
    rows: tuple[Row, ...]
    width: int
    height: int
    left: int

    @property
    def letters(self) -> int:
        """How many letters of a name there is room for."""
        return max(4, int((self.left - 8) / LETTER))


def room_for(names: Iterable[str], least: int, most: float) -> int:
    """Pixels at the left of a figure that names need, between two limits."""
    return int(min(most, max([least, *(len(name) * LETTER + 14 for name in names)])))


def axis_of(
    values: Iterable[float], start: float, end: float, *, share: bool = False, bend: bool = True
) -> Axis:
    """An axis that shows all finite values.

    Args:
        values: to be shown.
        start: pixel of the lowest value.
        end: pixel of the highest value.
        share: whether values lie between 0 and 1, so that the axis ends there.
        bend: whether the axis may be compressed where few values are far out.

    Example:
        >>> axis_of([0.2, 0.9], 0, 100, share=True)(1.0)
        100.0
        >>> [tick.text for tick in axis_of([0, 10], 0, 300).ticks()]
        ['0', '5', '10']
    """
    finite = sorted(value for value in values if math.isfinite(value))
    low, high = (finite[0], finite[-1]) if finite else (0.0, 1.0)
    if share and low >= 0 and high <= 1:
        return Axis(max(0.0, math.floor(low * 20 - 0.4) / 20), 1.0, start, end)
    if low >= 0:
        bulk = finite[int(0.75 * (len(finite) - 1))] if finite else 0.0
        bent = bend and bulk > 0 and high > _COMPRESSED * bulk
        return Axis(0.0, high * 1.04 or 1.0, start, end, bend=bulk if bent else 0.0)
    room = (high - low or abs(high) or 1.0) * 0.06
    return Axis(low - room, high + room, start, end)


def _linear_ticks(low: float, high: float, room: int) -> list[float]:
    raw = (high - low) / room
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _bent_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(high)) - 3, math.floor(math.log10(high)) + 1)
    steps = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    return [0.0, *(step for step in steps if low < step <= high)]


def _tick_text(value: float) -> str:
    text = f"{value:.6g}" if abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def shift(index: int) -> float:
    """From -0.5 to 0.5, evenly spread over any number of dots, the same on every run."""
    return math.modf(index * 0.6180339887498949)[0] - 0.5  # golden ratio
