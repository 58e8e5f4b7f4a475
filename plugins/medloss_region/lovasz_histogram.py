"""The Lovász extension of the Jaccard loss from a histogram of errors: additive, without a sort.

With n(t) the voxels whose error exceeds t, the extension is the integral of J(n(t)) over t. A soft
histogram, in which an error between two edges counts for both by its distance, holds the mean of
n(t) over each cell, and J of that mean takes the place of the mean of J. J only falls with t, so
both lie between its values at the ends of the cell: the error is at most the widest cell.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medloss.numeric import ratio


def soft_histogram(errors: Tensor, foreground: Tensor, background: Tensor, bins: int) -> Tensor:
    """Soft histogram of errors in [0, 1], with edges sin²(π k / (2 bins)), finest at 0 and 1.

    Args:
        errors: (N,).
        foreground: (N,), g, times the weight of the voxel.
        background: (N,), 1 − g, times the weight of the voxel.
        bins: number of cells.

    Returns:
        (2, bins + 1), foreground and background at the edges, in float64.
    """
    histogram: Tensor = _SoftHistogram.apply(errors, foreground, background, bins)  # type: ignore[no-untyped-call]
    return histogram


def lovasz_of_histogram(histogram: Tensor) -> Tensor:
    """Σ over cells of their width times J of the mean counts above, (...).

    Args:
        histogram: (..., 2, bins + 1), of one image or the sum of several.
    """
    inside, outside = histogram.flip(-1).cumsum(-1).flip(-1)[..., 1:].unbind(-2)
    volume = histogram[..., 0, :].sum(-1, keepdim=True)
    widths = _edges(histogram.shape[-1] - 1, histogram).diff()
    return (ratio(inside + outside, volume + outside) * widths).sum(-1)


class _SoftHistogram(torch.autograd.Function):
    """Its gradient looks up, for each voxel, the slope between the two edges around its error."""

    @staticmethod
    def forward(
        ctx: Any, errors: Tensor, foreground: Tensor, background: Tensor, bins: int
    ) -> Tensor:
        ctx.save_for_backward(errors, foreground, background)
        ctx.bins = bins
        cell, edges, rows = _cells(errors, bins), _edges(bins, errors), []
        high = ((errors.double() - edges[cell]) / edges.diff()[cell]).clamp(0, 1)
        for weight in (foreground.double(), background.double()):
            row = errors.new_zeros(bins + 1, dtype=torch.float64)
            upper = weight * high
            row.scatter_add_(0, cell, weight - upper)
            row[1:] += row.new_zeros(bins).scatter_add_(0, cell, upper)
            rows.append(row)
        return torch.stack(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        errors, foreground, background = ctx.saved_tensors
        cell = _cells(errors, ctx.bins)
        slopes = (gradients[0].diff() / _edges(ctx.bins, errors).diff()).to(errors)
        return slopes[0][cell] * foreground + slopes[1][cell] * background, None, None, None


def _edges(bins: int, like: Tensor) -> Tensor:
    steps = torch.arange(bins + 1, dtype=torch.float64, device=like.device)
    return torch.sin(steps * (math.pi / (2 * bins))).square()


def _cells(errors: Tensor, bins: int) -> Tensor:
    angle = errors.clamp(0, 1).sqrt().asin()
    return (angle * (2 * bins / math.pi)).long().clamp_max(bins - 1)
