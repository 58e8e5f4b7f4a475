"""A metric under test: how it is called, and small cases to call it on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.offers.records import Metric
from medloss.scoring import Case
from medloss.testing.registry import SPACING_MM, ContractSubject, demand, load_monai

Masks = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Reference and prediction."""


class MetricSubject(ContractSubject[Metric]):
    """A metric that is held to the contract."""

    def build(self) -> Any:
        """The MONAI form of the metric with the example's options."""
        load_monai()
        from medloss.metrics import monai_class

        return monai_class(self.offer)(spacing_mm=1.0, **self.options)

    def value(
        self,
        reference: NDArray[Any],
        prediction: NDArray[Any],
        spacing_mm: Sequence[float] = SPACING_MM,
        **options: Any,
    ) -> float:
        """The function on the facts of class 1, without any policy for empty classes.

        Raises:
            ContractError: it returns no number.
        """
        case = self.case(reference, prediction, (1,), spacing_mm)
        return self.of_facts(self.facts(case), **options)

    def case(
        self,
        reference: NDArray[Any],
        prediction: NDArray[Any],
        labels: Sequence[int],
        spacing_mm: Sequence[float] = SPACING_MM,
    ) -> Case:
        """A case of two label maps; a metric of probabilities has those that are 0 and 1."""
        probabilities = {label: (prediction == label).astype(np.float32) for label in labels}
        return Case(
            reference,
            prediction,
            labels=labels,
            spacing_mm=spacing_mm,
            probabilities=probabilities if self.record.of_probabilities else None,
        )

    def facts(self, case: Case, label: int = 1) -> list[Any]:
        """What the record asks for."""
        return [case.fact(name, label) for name in self.record.facts]

    def of_facts(self, facts: Sequence[Any], **options: Any) -> float:
        """The function on given facts.

        Raises:
            ContractError: it returns no number.
        """
        result = self.target(*facts, **{**self.options, **options})
        number = isinstance(result, int | float | np.floating | np.integer)
        demand(number, f"it returns a {type(result).__name__}, expected a float")
        return float(result)

    @property
    def perfect(self) -> float:
        """The best value: 0 where lower is better, else 1."""
        return 0.0 if self.record.better == "lower" else 1.0

    def not_better(self, worse: float, better: float) -> bool:
        """Whether a value is no better than another one."""
        if self.record.better == "lower":
            return worse >= better - 1e-9
        return worse <= better + 1e-9


def same(one: float, other: float) -> bool:
    """Whether two values agree up to rounding; NaN agrees with NaN."""
    both_nan = math.isnan(one) and math.isnan(other)
    return both_nan or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def blob(shape: tuple[int, ...] = (18, 17, 16)) -> NDArray[np.uint8]:
    """An object without symmetry: a box with a bump on one corner."""
    mask = np.zeros(shape, dtype=np.uint8)
    mask[tuple(slice(3, 8 + axis) for axis in range(len(shape)))] = 1
    mask[tuple(slice(7, 9 + axis) for axis in range(len(shape)))] = 1
    return mask


def moved(mask: NDArray[np.uint8], voxels: int) -> NDArray[np.uint8]:
    """The object moved along every axis."""
    axes = tuple(range(mask.ndim))
    return np.roll(mask, (voxels,) * mask.ndim, axes)


def imperfect(mask: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Predictions that miss something, add something or both."""
    larger, smaller, far = mask.copy(), mask.copy(), mask.copy()
    larger[3:8, 8:11] = 1
    smaller[3:5] = 0
    far[0, 0] = 1
    return {
        "a moved prediction": moved(mask, 2),
        "a larger prediction": larger,
        "a smaller prediction": smaller,
        "a prediction with a far false positive": far,
    }


def emptied(mask: NDArray[np.uint8]) -> dict[str, Masks]:
    """A class that is missed, and one that is spurious."""
    nothing = np.zeros_like(mask)
    return {"missed": (mask, nothing), "spurious": (nothing, mask)}
