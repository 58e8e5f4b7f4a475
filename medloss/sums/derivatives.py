"""Derivatives of the terms in plain torch, for the backend that writes its own backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from medloss.sums.numeric import KNEE, power
from medloss.sums.reference import Voxels
from medloss.sums.terms import Term, exponent


class Slope(NamedTuple):
    """Derivatives by p, log p and log(1 − p), taken as if these were independent."""

    p: Tensor | float = 0.0
    log_p: Tensor | float = 0.0
    log_not_p: Tensor | float = 0.0


OF_COMPLEMENT = ("ce_neg", "focal_neg")
"""Terms with the logarithm of 1 - p."""


def by_input(x: Voxels, weighted: list[tuple[Tensor, Term]]) -> Tensor:
    """Gradient of a weighted sum of terms by the input, for each voxel and class.

    Args:
        x: the voxels.
        weighted: gradients of the sums, to be spread over voxels, and their terms.
    """
    whole = [torch.zeros_like(x.input) for _ in Slope._fields]
    for weight, term in weighted:
        for total, slope in zip(whole, SLOPES[term.name](x, term), strict=True):
            if isinstance(slope, Tensor) or slope != 0:
                total += weight * slope
    by_p, by_log_p, by_log_not_p = whole
    if x.activation == "sigmoid":
        return x.p * x.not_p * by_p + x.not_p * by_log_p - x.p * by_log_not_p
    if x.activation == "probabilities":
        return by_p + _over(by_log_p, x.p) - _over(by_log_not_p, x.not_p)
    by_log = x.p * by_p + by_log_p
    if any(term.name in OF_COMPLEMENT for _, term in weighted):
        by_log += _by_log_of_others(x, by_log_not_p)
    return by_log - x.p * by_log.sum(1, keepdim=True)


def _by_log_of_others(x: Voxels, by_log_not_p: Tensor) -> Tensor:
    """Derivative by log p of softmax, from that by log(1 − p).

    1 − p of the most probable class is the sum of the others, which share its derivative; taken as
    a difference it would drown in rounding.
    """
    log_not_p = torch.where(x.best, x.log_not_p, 0).sum(1, keepdim=True)
    of_best = torch.where(x.best, by_log_not_p, 0).sum(1, keepdim=True)
    share = (x.log_p - log_not_p.clamp_min(torch.finfo(log_not_p.dtype).min)).exp()
    return torch.where(x.best, 0, share * of_best - x.p * _over(by_log_not_p, x.not_p))


def _over(value: Tensor, probability: Tensor) -> Tensor:
    """0 where the logarithm is held at a finite value."""
    held = probability < torch.finfo(probability.dtype).tiny
    return torch.where(held, 0, value / torch.where(held, 1, probability))


def _power_slope(x: Tensor, gamma: float) -> Tensor:
    """The derivative of :func:`medloss.sums.numeric.power`."""
    if gamma == 0:
        return torch.zeros_like(x)
    if gamma >= 1:
        return gamma * x.pow(gamma - 1)
    return torch.where(x > KNEE, gamma * x.clamp_min(KNEE).pow(gamma - 1), KNEE ** (gamma - 1))


def _power(x: Voxels, term: Term) -> Slope:
    error = x.p - x.y
    return Slope(error.sign() * _power_slope(error.abs(), exponent(term)))


def _focal(x: Voxels, term: Term) -> Slope:
    gamma = exponent(term)
    falling = x.y * power(x.not_p, gamma)
    return Slope(p=x.y * _power_slope(x.not_p, gamma) * x.log_p_of_true, log_p=-falling)


def _focal_neg(x: Voxels, term: Term) -> Slope:
    gamma = exponent(term)
    rising = (x.y - 1) * power(x.p, gamma)
    return Slope(
        p=(x.y - 1) * _power_slope(x.p, gamma) * x.log_not_p_of_false,
        log_not_p=rising,
    )


SLOPES: dict[str, Callable[[Voxels, Term], Slope]] = {
    "v": lambda x, _: Slope(),
    "p": lambda x, _: Slope(1.0),
    "t": lambda x, _: Slope(),
    "tp": lambda x, _: Slope(x.y),
    "pp": lambda x, _: Slope(2 * x.p),
    "tt": lambda x, _: Slope(),
    "l1": lambda x, _: Slope((x.p - x.y).sign()),
    "power": _power,
    "sqt": lambda x, _: Slope(2 * (x.p - x.y) * x.y),
    "ce": lambda x, _: Slope(log_p=-x.y),
    "ce_neg": lambda x, _: Slope(log_not_p=x.y - 1),
    "nlog": lambda x, _: Slope(log_p=-1.0),
    "focal": _focal,
    "focal_neg": _focal_neg,
    "map": lambda x, term: Slope(x.maps[str(term.parameter)]),
    "map2": lambda x, term: Slope(2 * (x.p - x.y) * x.maps[str(term.parameter)]),
    "tp_map": lambda x, term: Slope(x.y * x.maps[str(term.parameter)]),
    "t_map": lambda x, _: Slope(),
}
