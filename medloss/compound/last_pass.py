"""What a forward pass leaves behind, until somebody asks for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from medloss.compound.breakdown import TermValue
from medloss.compound.class_values import ClassValues, named


class LastPass(NamedTuple):
    """Values of the terms, on their device: nothing waits for them before they are asked for.

    Args:
        values: of each term, without axes.
        weights: they were multiplied by these.
        classes: values of classes, of terms that tell them apart.
        norms: of the terms' gradients by the logits, or None where this pass was not measured.
    """

    values: dict[str, Tensor]
    weights: dict[str, float | Tensor]
    classes: dict[str, ClassValues]
    norms: list[Tensor] | None

    def told(
        self, *, class_names: Sequence[str] | None, with_gradient: bool
    ) -> dict[str, TermValue]:
        """All of it as numbers."""
        weights = [float(weight) for weight in self.weights.values()]
        values, norms = _numbers(list(self.values.values())), [math.nan] * len(weights)
        if self.norms is not None:
            norms = [w * n for w, n in zip(weights, _numbers(self.norms), strict=True)]
        total = sum(norms)
        terms = {}
        for name, value, weight, norm in zip(self.values, values, weights, norms, strict=True):
            classes = self.classes.get(name)
            terms[name] = TermValue(
                value,
                weight,
                {} if classes is None else named(classes, class_names),
                norm if with_gradient else None,
                (norm / total if total else math.nan) if with_gradient else None,
            )
        return terms


def _numbers(tensors: list[Tensor]) -> list[float]:
    """All at once, as each transfer would wait for the device."""
    numbers: list[float] = torch.stack([each.double() for each in tensors]).tolist()
    return numbers
