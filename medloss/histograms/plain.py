"""Error histograms in plain torch, class by class: the truth, any device, second derivatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.histograms.cells import edges, place
from medloss.sums import Activation, voxel_terms


def histograms(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: Activation, bins: int
) -> Tensor:
    """As :func:`medloss.histograms.error_histograms`."""
    weight = torch.ones_like(target[:, :1], dtype=torch.float64)
    if mask is not None:  # so that not even a NaN where the weight is 0 has influence
        input, weight = input.where(mask != 0, 0), mask.double()
    errors = voxel_terms(input, target, ("l1",), activation=activation).l1
    # of an empty batch there are no others
    rows = [errors.double().flatten()[:0, None, None].expand(0, 2, bins + 1)]
    for b, own in enumerate(errors):
        for c, error in enumerate(own):
            index = target.shape[1] != input.shape[1]
            y = (target[b, 0] == c if index else target[b, c]).double().flatten()
            w = weight[b, 0].flatten()
            rows.append(soft_histogram(error.flatten(), w * y, w * (1 - y), bins)[None])
    return torch.cat(rows).view(*errors.shape[:2], 2, bins + 1)


def soft_histogram(errors: Tensor, foreground: Tensor, background: Tensor, bins: int) -> Tensor:
    """Soft histogram of errors in [0, 1]: each counts for both edges of its cell, by its distance.

    Args:
        errors: (N,).
        foreground: (N,), y, times the weight of the voxel.
        background: (N,), 1 − y, times the weight of the voxel.
        bins: number of cells.

    Returns:
        (2, bins + 1), foreground and background at the edges, in float64.

    Example:
        >>> one = torch.ones(1)
        >>> soft_histogram(0.3125 * one, one, 0 * one, 4)[0]
        tensor([0.0000, 0.5000, 0.5000, 0.0000, 0.0000], dtype=torch.float64)
    """
    histogram: Tensor = _SoftHistogram.apply(errors, foreground, background, bins)  # type: ignore[no-untyped-call]
    return histogram


class _SoftHistogram(torch.autograd.Function):
    """Its gradient looks up, for each voxel, the slope between the two edges around its error."""

    @staticmethod
    def forward(
        ctx: Any, errors: Tensor, foreground: Tensor, background: Tensor, bins: int
    ) -> Tensor:
        ctx.save_for_backward(errors, foreground, background)
        ctx.bins = bins
        cell, share = place(errors, bins)
        rows = []
        for weight in (foreground.double(), background.double()):
            row = errors.new_zeros(bins + 1, dtype=torch.float64)
            upper = weight * share
            row.scatter_add_(0, cell, weight - upper)
            row.scatter_add_(0, cell + 1, upper)
            rows.append(row)
        return torch.stack(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        errors, foreground, background = ctx.saved_tensors
        cell, _ = place(errors, ctx.bins)
        inside, outside = table(gradients[0])
        slopes = inside[cell] * foreground + outside[cell] * background
        return slopes.to(errors), None, None, None


def table(gradient: Tensor) -> Tensor:
    """Derivative by an error in each cell, (..., bins), from that by the edges' values."""
    return gradient.diff() / edges(gradient.shape[-1] - 1, gradient).diff().to(gradient)
