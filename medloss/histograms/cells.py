"""The cells of an error histogram: finest at 0 and at 1, where trained networks have their errors.

Edge k of K lies at 2 (k/K)² up to the middle and mirrored above it, so that the cell of an error,
and the share of it that the upper edge gets, take one square root: with m the distance to the
nearer end and v = K √(m/2), the cell is ⌊v⌋ and the share (v² − ⌊v⌋²) / (2 ⌊v⌋ + 1).
"""

from __future__ import annotations

import torch
from torch import Tensor


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
