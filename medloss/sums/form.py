"""What is summed and how, apart from the tensors: the class sums in all their ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from medloss.sums import reference
from medloss.sums.choice import load
from medloss.sums.request import Request
from medloss.sums.terms import Activation, Term


@dataclass(frozen=True)
class Form:
    """Class sums as :func:`medloss.runtime.eager.evaluate` takes them.

    The tensors are input, target, mask or None, and the maps.

    Args:
        terms: a term with a map names it by its number among the maps.
        activation: how the input becomes probabilities.
        backend: by name.
    """

    differentiable: ClassVar[int] = 1

    terms: tuple[Term, ...]
    activation: Activation
    backend: str

    def value(self, *tensors: Any) -> Tensor:
        """Sums (B, K, C)."""
        with torch.autocast(tensors[0].device.type, enabled=False):
            return load(self.backend).sums(self.request(*tensors))

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by the input."""
        with torch.autocast(tensors[0].device.type, enabled=False):
            return (load(self.backend).slopes(self.request(*tensors), gradient),)

    def plain(self, *tensors: Any) -> Tensor:
        """Sums (B, K, C) of the reference."""
        with torch.autocast(tensors[0].device.type, enabled=False):
            return reference.sums(self.request(*tensors))

    def recorded(self, *tensors: Any) -> Tensor:
        """Sums (B, K, C) as the operator."""
        from medloss.sums import operators

        first, maps = tensors[:3], list(tensors[3:])
        return operators.class_sums(*first, maps, *operators.options(self))

    def request(self, input: Tensor, target: Tensor, mask: Tensor | None, *maps: Tensor) -> Request:
        """With its tensors, as a backend takes it."""
        return Request(input, target, mask, maps, self.terms, self.activation)
