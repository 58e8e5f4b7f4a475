"""Small numerical helpers that several losses share."""

from __future__ import annotations

import torch
from torch import Tensor

KNEE = 1e-6
"""Below it a fractional power continues as a straight line through 0."""


def power(x: Tensor, exponent: float) -> Tensor:
    """``x ** exponent`` for x >= 0, with a finite slope at 0 for exponents below 1.

    A fractional power has an infinite slope at 0, which becomes NaN in the gradient of a perfect
    prediction. Below ``KNEE`` the straight line through 0 is taken instead: 0 stays 0, and a
    rounding error below 0 stays harmless.

    Args:
        x: any shape, values of at least 0 up to rounding.
        exponent: at least 0.

    Example:
        >>> x = torch.tensor([0.0, 0.25], requires_grad=True)
        >>> power(x, 0.5).sum().backward()
        >>> x.grad
        tensor([1000.,    1.])
    """
    if exponent >= 1 or exponent == 0:
        return x.pow(exponent)
    return torch.where(x > KNEE, x.clamp_min(KNEE).pow(exponent), x * KNEE ** (exponent - 1))


def power_slope(x: Tensor, exponent: float) -> Tensor:
    """The derivative of :func:`power`."""
    if exponent == 0:
        return torch.zeros_like(x)
    if exponent >= 1:
        return exponent * x.pow(exponent - 1)
    steep = exponent * x.clamp_min(KNEE).pow(exponent - 1)
    return torch.where(x > KNEE, steep, KNEE ** (exponent - 1))


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """``numerator / denominator``, and 0 with gradient 0 where the denominator is 0.

    Example:
        >>> ratio(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 4.0]))
        tensor([0.0000, 0.2500])
    """
    zero = (denominator == 0) & (numerator == numerator)  # a NaN above stays one
    return torch.where(zero, 0, numerator) / torch.where(zero, 1, denominator)
