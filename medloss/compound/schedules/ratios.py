"""Schedules that follow what the terms of a loss turn out to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from medloss.compound.schedules.checks import check_count, check_weights

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
