"""Class sums in plain differentiable torch: the truth that every faster backend must equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.sums.numeric import power
from medloss.sums.request import Request
from medloss.sums.terms import Activation, ClassSums, Term, as_terms, exponent, work_dtype


def class_sums(
    input: Tensor,
    target: Tensor,
    terms: Sequence[str | Term],
    *,
    activation: Activation,
    mask: Tensor | None = None,
    maps: Mapping[str, Tensor] | None = None,
) -> ClassSums:
    """As :func:`medloss.sums.class_sums`, differentiable in every tensor and to any order."""
    whole = as_terms(terms)
    each = _each(input, target, whole, activation, mask, maps)
    return ClassSums(torch.stack([value.flatten(2).sum(2) for value in each], 1), whole)


def sums(request: Request) -> Tensor:
    """Sums of shape (B, K, C) of a request."""
    maps = {str(number): each for number, each in enumerate(request.maps)}
    return class_sums(
        request.input,
        request.target,
        request.terms,
        activation=request.activation,
        mask=request.mask,
        maps=maps,
    ).values


def voxel_terms(
    input: Tensor,
    target: Tensor,
    terms: Sequence[str | Term],
    *,
    activation: Activation,
    mask: Tensor | None = None,
    maps: Mapping[str, Tensor] | None = None,
) -> ClassSums:
    """The summands of :func:`class_sums`, of shape (B, C, *spatial) each."""
    whole = as_terms(terms)
    each = _each(input, target, whole, activation, mask, maps)
    return ClassSums(torch.stack(list(each), 1), whole)


def _each(
    input: Tensor,
    target: Tensor,
    terms: tuple[Term, ...],
    activation: Activation,
    mask: Tensor | None,
    maps: Mapping[str, Tensor] | None,
) -> Iterator[Tensor]:
    if mask is not None:  # so that not even a NaN where the weight is 0 has influence
        input = input.where(mask != 0, 0)
    voxels = Voxels(input, target, activation, maps or {})
    for term in terms:
        value = SUMMANDS[term.name](voxels, term)
        yield value if mask is None else value * mask.to(value)


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


SUMMANDS: dict[str, Callable[[Voxels, Term], Tensor]] = {
    "v": lambda x, _: torch.ones_like(x.input),
    "p": lambda x, _: x.p,
    "t": lambda x, _: x.y,
    "tp": lambda x, _: x.p * x.y,
    "pp": lambda x, _: x.p * x.p,
    "tt": lambda x, _: x.y * x.y,
    "l1": lambda x, _: (x.p - x.y).abs(),
    "power": lambda x, term: power((x.p - x.y).abs(), exponent(term)),
    "sqt": lambda x, _: (x.p - x.y) ** 2 * x.y,
    "ce": lambda x, _: -x.y * x.log_p_of_true,
    "ce_neg": lambda x, _: (x.y - 1) * x.log_not_p_of_false,
    "nlog": lambda x, _: -x.log_p,
    "focal": lambda x, term: -x.y * power(x.not_p, exponent(term)) * x.log_p_of_true,
    "focal_neg": lambda x, term: (x.y - 1) * power(x.p, exponent(term)) * x.log_not_p_of_false,
    "map": lambda x, term: x.p * x.maps[str(term.parameter)],
    "map2": lambda x, term: (x.p - x.y) ** 2 * x.maps[str(term.parameter)],
    "tp_map": lambda x, term: x.p * x.y * x.maps[str(term.parameter)],
    "t_map": lambda x, term: x.y * x.maps[str(term.parameter)],
}
"""What each term sums."""
