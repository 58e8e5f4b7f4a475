"""What terms are made of, in plain differentiable torch: probability, logarithms and target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Literal["softmax", "sigmoid", "probabilities"]


def work_dtype(input: Tensor) -> torch.dtype:
    """What is computed in, and the dtype of sums: float64 for float64, else float32."""
    return torch.float64 if input.dtype == torch.float64 else torch.float32


class _Once:
    """A property that is made once; torch.compile does not see through ``cached_property``."""

    def __init__(self, made: Callable[[Any], Tensor]) -> None:
        self.made = made
        self.__doc__ = made.__doc__

    def __get__(self, voxels: Voxels, owner: type) -> Tensor:
        name = self.made.__name__
        if name not in voxels.kept:
            voxels.kept[name] = self.made(voxels)
        return voxels.kept[name]


class Voxels:
    """Probabilities, their logarithms and the target, each made once and only if a term asks."""

    def __init__(
        self, input: Tensor, target: Tensor, activation: Activation, maps: Mapping[str, Tensor]
    ) -> None:
        self.input = input.to(work_dtype(input))
        self.target = target
        self.activation = activation
        self.maps = maps
        self.kept: dict[str, Tensor] = {}

    @_Once
    def p(self) -> Tensor:
        """Probability."""
        if self.activation == "probabilities":
            return self.input
        return self.input.softmax(1) if self.activation == "softmax" else self.input.sigmoid()

    @_Once
    def log_p(self) -> Tensor:
        """Its logarithm."""
        if self.activation == "probabilities":
            return _log(self.input)
        if self.activation == "softmax":
            return self.input.log_softmax(1)
        return F.logsigmoid(self.input)

    @_Once
    def log_not_p(self) -> Tensor:
        """The logarithm of its complement."""
        if self.activation == "sigmoid":
            return F.logsigmoid(-self.input)
        if self.activation == "probabilities":
            return _log(self.not_p)
        # 1 − p of the most probable class is summed over the others: where it is sure, and p
        # rounds to 1, a difference would lose all of it, and the gradient with it.
        best = self.best
        others = self.input.masked_fill(best, -torch.inf)
        ruled_out = others.amax(1, keepdim=True) == -torch.inf  # there log 0 has no slope
        others = others.masked_fill(ruled_out, 0).logsumexp(1, keepdim=True)
        of_best = others - self.input.logsumexp(1, keepdim=True)
        of_best = of_best.masked_fill(ruled_out, -torch.inf)
        return torch.where(best, of_best, torch.log1p(-self.p.masked_fill(best, 0)))

    @_Once
    def log_p_of_true(self) -> Tensor:
        """Log p where the target has any of the class: 0 times infinity would be NaN elsewhere."""
        return self.log_p.where(self.y != 0, 0)

    @_Once
    def log_not_p_of_false(self) -> Tensor:
        """Log(1 − p) where the target is not all of the class."""
        return self.log_not_p.where(self.y != 1, 0)

    @_Once
    def not_p(self) -> Tensor:
        """One minus probability."""
        if self.activation == "sigmoid":
            return (-self.input).sigmoid()
        return self.log_not_p.exp() if self.activation == "softmax" else 1 - self.p

    @_Once
    def best(self) -> Tensor:
        """Whether the class is the (first) most probable one of its voxel."""
        where = self.input.argmax(1, keepdim=True)
        return torch.zeros_like(self.input, dtype=torch.bool).scatter_(1, where, True)

    @_Once
    def y(self) -> Tensor:
        """The target of each class."""
        if self.target.shape[1] == self.input.shape[1]:
            return self.target.to(self.input.dtype)
        classes = torch.arange(self.input.shape[1], device=self.target.device)
        return (self.target == classes.view(1, -1, *[1] * (self.input.ndim - 2))).to(self.input)


def _log(probability: Tensor) -> Tensor:
    """Finite at a probability of 0, where no logit says how far off it is."""
    return probability.clamp_min(torch.finfo(probability.dtype).tiny).log()
