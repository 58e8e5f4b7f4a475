"""Class sums in plain differentiable torch: the truth that every faster backend must equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.numeric import power
from medloss.sums.terms import Activation, ClassSums, Term, as_terms


def class_sums(
    input: Tensor,
    target: Tensor,
    terms: Sequence[str | Term],
    *,
    activation: Activation,
    mask: Tensor | None = None,
    maps: Mapping[str, Tensor] | None = None,
) -> ClassSums:
    """Sum terms of probability and target over the voxels of each sample and class.

    Args:
        input: (B, C, *spatial), logits, or probabilities where ``activation`` says so.
        target: (B, 1, *spatial) class indices or (B, C, *spatial) one-hot, multi-label or soft.
        terms: names, or :class:`Term` where a parameter is needed.
        activation: how ``input`` becomes probabilities.
        mask: (B, 1, *spatial), weight of each voxel; 0 ignores it.
        maps: (B, C, *spatial) each, for the terms ``map``.

    Returns:
        Sums of shape (B, C) each, in the dtype of ``input``, at least float32.

    Example:
        >>> p = torch.tensor([[[[0.9, 0.4], [0.2, 0.1]]]])
        >>> y = torch.tensor([[[[1, 1], [0, 0]]]])
        >>> s = class_sums(p, y, ("tp", "p", "t"), activation="probabilities")
        >>> s.tp.item(), s.t.item()
        (1.2999999523162842, 2.0)
    """
    whole = as_terms(terms)
    each = _each(input, target, whole, activation, mask, maps)
    return ClassSums(torch.stack([value.flatten(2).sum(2) for value in each], 1), whole)


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
    voxels = _Voxels(input, target, activation, maps or {})
    for term in terms:
        value = _SUMMANDS[term.name](voxels, term)
        yield value if mask is None else value * mask.to(value)


class _Voxels:
    """Probabilities, their logarithms and the target, each made once and only if a term asks."""

    def __init__(
        self, input: Tensor, target: Tensor, activation: Activation, maps: Mapping[str, Tensor]
    ) -> None:
        self.input = input if input.dtype == torch.float64 else input.float()
        self.target = target
        self.activation = activation
        self.maps = maps

    @cached_property
    def p(self) -> Tensor:
        if self.activation == "probabilities":
            return self.input
        return self.input.softmax(1) if self.activation == "softmax" else self.input.sigmoid()

    @cached_property
    def log_p(self) -> Tensor:
        if self.activation == "probabilities":
            return _log(self.input)
        if self.activation == "softmax":
            return self.input.log_softmax(1)
        return F.logsigmoid(self.input)

    @cached_property
    def log_not_p(self) -> Tensor:
        if self.activation == "sigmoid":
            return F.logsigmoid(-self.input)
        return _log(self.not_p)

    @cached_property
    def not_p(self) -> Tensor:
        if self.activation == "sigmoid":
            return (-self.input).sigmoid()
        return -torch.expm1(self.log_p) if self.activation == "softmax" else 1 - self.p

    @cached_property
    def y(self) -> Tensor:
        if self.target.shape[1] == self.input.shape[1]:
            return self.target.to(self.input.dtype)
        classes = torch.arange(self.input.shape[1], device=self.target.device)
        return (self.target == classes.view(1, -1, *[1] * (self.input.ndim - 2))).to(self.input)


def _log(probability: Tensor) -> Tensor:
    """Finite at a probability of 0, where no logit says how far off it is."""
    return probability.clamp_min(torch.finfo(probability.dtype).tiny).log()


def _gamma(term: Term) -> float:
    if not isinstance(term.parameter, float | int):
        raise ValueError(f"{term.name}: expected a number as parameter, got {term.parameter!r}")
    return float(term.parameter)


_SUMMANDS: dict[str, Callable[[_Voxels, Term], Tensor]] = {
    "v": lambda x, _: torch.ones_like(x.input),
    "p": lambda x, _: x.p,
    "t": lambda x, _: x.y,
    "tp": lambda x, _: x.p * x.y,
    "pp": lambda x, _: x.p * x.p,
    "tt": lambda x, _: x.y * x.y,
    "l1": lambda x, _: (x.p - x.y).abs(),
    "power": lambda x, term: power((x.p - x.y).abs(), _gamma(term)),
    "sqt": lambda x, _: (x.p - x.y) ** 2 * x.y,
    "ce": lambda x, _: -x.y * x.log_p,
    "ce_neg": lambda x, _: (x.y - 1) * x.log_not_p,
    "nlog": lambda x, _: -x.log_p,
    "focal": lambda x, term: -x.y * power(x.not_p, _gamma(term)) * x.log_p,
    "focal_neg": lambda x, term: (x.y - 1) * power(x.p, _gamma(term)) * x.log_not_p,
    "map": lambda x, term: x.p * x.maps[str(term.parameter)],
    "map2": lambda x, term: (x.p - x.y) ** 2 * x.maps[str(term.parameter)],
}
