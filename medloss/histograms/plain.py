"""Error histograms in plain torch, class by class: the truth, any device, second derivatives.

The cells are finest at 0 and at 1, where trained networks have their errors. Edge k of K lies at
2 (k/K)² up to the middle and mirrored above it, so that the cell of an error, and the share of it
that the upper edge gets, take one square root: with m the distance to the nearer end and
v = K √(m/2), the cell is ⌊v⌋ and the share (v² − ⌊v⌋²) / (2 ⌊v⌋ + 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from medloss.runtime.eager import evaluate
from medloss.sums import Activation, voxel_terms


def check_bins(bins: int) -> None:
    """Refuse what the mirrored edges cannot be.

    Raises:
        ValueError: ``bins`` is no even number of at least 2.
    """
    if bins < 2 or bins != int(bins) or bins % 2:
        raise ValueError(f"bins: expected an even number of at least 2, got {bins!r}")


def edges(bins: int, like: Tensor) -> Tensor:
    """The ``bins`` + 1 edges, in float64 on the device of ``like``.

    Example:
        >>> edges(4, torch.zeros(1)).tolist()
        [0.0, 0.125, 0.5, 0.875, 1.0]
    """
    lower = 2 * (torch.arange(bins // 2 + 1, dtype=torch.float64, device=like.device) / bins) ** 2
    return torch.cat([lower, 1 - lower[:-1].flip(0)])


def place(errors: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """The cell of each error in [0, 1], and the share of it that the cell's upper edge gets.

    The cell exists whatever the error is; of a NaN the share is NaN.

    Example:
        >>> place(torch.tensor([0.0, 0.3125, 1.0]), 4)
        (tensor([0, 1, 3]), tensor([0.0000, 0.5000, 1.0000]))
    """
    low = errors <= 0.5
    v = (torch.where(low, errors, 1 - errors).clamp_min(0) / 2).sqrt() * bins
    whole = v.floor().clamp_max(bins // 2 - 1)
    share = ((v * v - whole * whole) / (2 * whole + 1)).clamp(0, 1)
    cell = torch.where(low, whole, bins - 1 - whole).nan_to_num(nan=0).long()
    return cell, torch.where(low, share, 1 - share)


def spread_nan(counts: Tensor) -> Tensor:
    """NaN in both histograms (..., 2, bins + 1) of a class where one of them has a NaN anywhere.

    Example:
        >>> spread_nan(torch.tensor([[1.0, torch.nan], [0.0, 1.0]]))
        tensor([[nan, nan],
                [nan, nan]])
    """
    return counts + 0 * counts.sum((-2, -1), keepdim=True)


def histograms(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: Activation, bins: int
) -> Tensor:
    """As :func:`medloss.histograms.error_histograms`."""
    weight = torch.ones_like(target[:, :1], dtype=torch.float64)
    if mask is not None:  # so that not even a NaN where the weight is 0 has influence
        input, target = (t.where(mask != 0, 0) for t in (input, target))
        weight = mask.double()
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
    fast = _SoftHistogram(bins)
    if foreground.requires_grad or background.requires_grad:
        return fast.plain(errors, foreground, background)
    return evaluate(fast, errors, foreground, background)


@dataclass(frozen=True)
class _SoftHistogram:
    """Its gradient looks up, for each voxel, the slope between the two edges around its error."""

    differentiable: ClassVar[int] = 1

    bins: int

    def value(self, *tensors: Any) -> Tensor:
        """Both rows."""
        errors, *weights = tensors
        return self._rows(*place(errors, self.bins), weights)

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by the errors."""
        errors, foreground, background = tensors
        cell, _ = place(errors, self.bins)
        inside, outside = table(gradient)
        slopes = (inside[cell] * foreground + outside[cell] * background).to(errors)
        return (slopes.where(errors == errors, errors),)

    def plain(self, *tensors: Any) -> Tensor:
        """With a share that is linear in the error, as autograd is to see it."""
        errors, *weights = tensors
        cell, _ = place(errors.detach(), self.bins)
        at = edges(self.bins, errors)
        share = (errors - at[cell]) / (at[cell + 1] - at[cell])
        return self._rows(cell, share, weights)

    def recorded(self, *tensors: Any) -> Tensor:
        """As torch has it."""
        return self.plain(*tensors)

    def _rows(self, cell: Tensor, share: Tensor, weights: list[Tensor]) -> Tensor:
        rows = []
        for weight in weights:
            upper = weight.double() * share
            row = upper.new_zeros(self.bins + 1)
            row = row.scatter_add(0, cell, weight.double() - upper)
            rows.append(row.scatter_add(0, cell + 1, upper))
        return spread_nan(torch.stack(rows))


def table(gradient: Tensor) -> Tensor:
    """Derivative by an error in each cell, (..., bins), from that by the edges' values."""
    return gradient.diff() / edges(gradient.shape[-1] - 1, gradient).diff().to(gradient)
