"""Cross entropy with labels smoothed over neighbouring voxels."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from medloss.base import SegmentationLoss, options
from medloss.base.targets import Prepared
from medloss_distribution.cross_entropy import cross_entropy_of


def window_sum(x: Tensor, side: float) -> Tensor:
    """Separable window (side, 1, side) along every spatial axis longer than one voxel.

    Beyond the image the outermost voxels are repeated.

    Args:
        x: (B, C, *spatial).
        side: weight of a neighbour along one axis; across a corner it is the product.
    """
    for axis in range(2, x.ndim):
        if x.shape[axis] > 1:
            before, after = _neighbours(x, axis, True)
            x = x + side * (before + after)
    return x


def filled(x: Tensor, valid: Tensor) -> Tensor:
    """Voxels that do not count take the mean of the nearest that do, within one voxel's reach.

    So a plane of the mask continues the image as replication continues it beyond its border.

    Args:
        x: (B, C, *spatial).
        valid: (B, 1, *spatial) bool.
    """
    known = valid.to(x)
    x = x * known
    for _ in range(2, x.ndim):  # faces, then edges, then corners
        total, count = torch.zeros_like(x), torch.zeros_like(known)
        for axis in range(2, x.ndim):
            total = total + sum(_neighbours(x, axis, False))
            count = count + sum(_neighbours(known, axis, False))
        new = (known == 0) & (count > 0)
        x = torch.where(new, total / count.clamp_min(1), x)
        known = known.masked_fill(new, 1)
    return x


def _neighbours(x: Tensor, axis: int, replicate: bool) -> tuple[Tensor, Tensor]:
    """The voxel before and the voxel after each, along an axis."""
    first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
    if not replicate:
        first, last = torch.zeros_like(first), torch.zeros_like(last)
    inner = x.shape[axis] - 1
    return (
        torch.cat([first, x.narrow(axis, 0, inner)], axis),
        torch.cat([x.narrow(axis, 1, inner), last], axis),
    )


@options
class SVLSCrossEntropyLoss(SegmentationLoss):
    """Cross entropy with labels smoothed over neighbours, so only along borders.

    Formula:
        L = mean over voxels of −Σ_c q_c log p_c; q = g / 2 + (Σ_n k_n g_n) / (2 Σ_n k_n) over the
        26 (2D: 8) neighbours n at r voxels, k_n = exp(−r² / 2σ²); sigmoid: binary cross entropy
        with q for g. Beyond the image, and behind a mask, the outermost voxels are repeated.

    Labels are soft, so class weights do not divide: the mean is over voxels, as torch's is.

    Range: [0, ∞); its least value is the entropy of q, above 0 along borders.

    Empty target:
        nothing to smooth: cross entropy, value and full gradient.

    Args:
        sigma: σ in voxels.

    Example:
        >>> import torch
        >>> y = torch.zeros(1, 1, 3, 3, 3, dtype=torch.long)
        >>> y[..., 1, 1, 1] = 1
        >>> z = torch.zeros(1, 2, 3, 3, 3, dtype=torch.float64)
        >>> z[:, 1] = 1
        >>> round(SVLSCrossEntropyLoss(softmax=True)(z, y).item(), 12)
        1.276224650481

    Source:
        Islam and Glocker 2021, arXiv:2104.05788.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    sigma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sigma > 0:
            raise ValueError(f"sigma: expected more than 0, got {self.sigma!r}")
        self.cross_entropy = cross_entropy_of(self)

    def compute(self, prepared: Prepared) -> Tensor:
        """Cross entropy with the smoothed labels."""
        return self.cross_entropy.compute(replace(prepared, target=self.smoothed(prepared)))

    @torch.no_grad()
    def smoothed(self, prepared: Prepared) -> Tensor:
        """q, (B, C, *spatial)."""
        g = prepared.one_hot()
        if prepared.mask is not None:
            g = filled(g, prepared.mask > 0)
        side = math.exp(-1 / (2 * self.sigma**2))
        axes = sum(length > 1 for length in g.shape[2:])
        neighbours = (1 + 2 * side) ** axes - 1
        if neighbours == 0:  # a single voxel has none
            return g
        return (g + (window_sum(g, side) - g) / neighbours) / 2
