"""Inputs for error histograms, and plain torch in float64 to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.histograms import edges, error_histograms, plain

SPACE = (5, 15, 59)


def case(
    activation: str,
    kind: str,
    dtype: torch.dtype,
    *,
    classes: int = 5,
    space: tuple[int, ...] = SPACE,
    seed: int = 0,
) -> dict[str, Any]:
    """Keyword arguments, without the number of bins."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(channels: int) -> Tensor:
        return torch.rand(2, channels, *space, generator=generator, dtype=torch.float64)

    z = 3 * torch.randn(2, classes, *space, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, classes + 1, (2, 1, *space), generator=generator)  # one is no class
    return {
        "input": (z.sigmoid() if activation == "probabilities" else z).to(dtype),
        "target": labels if kind == "index" else uniform(classes),
        "activation": activation,
        "mask": uniform(1) * (uniform(1) > 0.2),
    }


def weights(counts: Tensor) -> Tensor:
    """Smooth along the errors: rounding may move an error to the next cell."""
    generator = torch.Generator().manual_seed(1)
    bends = torch.randn((*counts.shape[:3], 1), generator=generator, dtype=torch.float64)
    return (3 * bends.to(counts) * edges(counts.shape[3] - 1, counts)).sin()


def both(arguments: dict[str, Any], bins: int) -> tuple[Tensor, Tensor]:
    """The histograms, and the gradient of one fixed weighting of them."""
    leaf = arguments["input"].detach().requires_grad_()
    counts = error_histograms(**{**arguments, "input": leaf}, bins=bins)
    (counts * weights(counts)).sum().backward()
    assert leaf.grad is not None
    return counts.detach(), leaf.grad


def errors_against_plain(arguments: dict[str, Any], bins: int) -> tuple[float, float]:
    """Largest error of the counts, and relative one of the gradient, which are asserted small."""
    counts, gradient = both(arguments, bins)
    leaf = arguments["input"].double().detach().requires_grad_()
    target, mask, activation = (arguments[name] for name in ("target", "mask", "activation"))
    expected = plain.histograms(leaf, target, mask, activation, bins)
    (expected * weights(expected)).sum().backward()
    assert leaf.grad is not None
    dtype = arguments["input"].dtype
    exact = dtype == torch.float64
    off = float((counts - expected.detach()).abs().max())
    bent = float((gradient.double() - leaf.grad).norm() / leaf.grad.norm())
    assert off < (1e-8 if exact else 1e-3), f"counts are off by {off}"
    tolerance = 1e-12 if exact else 1e-5 if dtype == torch.float32 else 5e-3
    assert bent < tolerance, f"the gradient is off by {bent}"
    return off, bent
