"""Cross entropy over the hardest voxels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medloss.base import options
from medloss.base.targets import Prepared
from medloss.sums.numeric import ratio
from medloss_distribution.voxelwise_cross_entropy import EachVoxelLoss, weighed


@options
class TopKCrossEntropyLoss(EachVoxelLoss):
    """Cross entropy over the hardest fraction of the voxels.

    Formula:
        L = Σ w_y (−log p_y) / Σ w_y over the n voxels with the largest w_y (−log p_y),
        n = max(1, ⌈k N⌉), N the number of voxels that count; sigmoid: over voxels and classes.

    The hardest voxels are those of each image; with ``batch=True`` those of the batch, as in
    nnU-Net. Voxels that are masked, ignored or of weight 0 do not count towards N. Voxels that are
    equally hard share what is left of n. ``reduction="none"`` gives one value for each image.

    Range: [0, ∞).

    Empty target:
        finite value, and a gradient on the worst false positives.

    Args:
        k: fraction of the voxels, in (0, 1]; 1 is cross entropy.
        batch: pool the voxels of the batch; ``"world"`` is refused, as it would take every voxel of
            every rank.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> round(TopKCrossEntropyLoss(softmax=True, k=0.5)(z, y).item(), 12)
        0.892200137989

    Source:
        Wu 2016, arXiv:1605.06885.
    """

    k: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.k <= 1:
            raise ValueError(f"k: expected a fraction in (0, 1], got {self.k!r}")
        if self.batch == "world":
            raise ValueError("batch: expected False or True, the hardest of all ranks are unknown")

    def each(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Value and weight of the voxels chosen, 0 elsewhere."""
        value, weight = weighed(self.cross_entropy, prepared)
        rows = 1 if self.batch else value.shape[0]
        shape = (rows, value.numel() // max(1, rows))
        flat, counts = value.detach().reshape(shape), weight.reshape(shape) > 0
        chosen = torch.empty_like(flat)
        for out, *row in zip(chosen, flat, counts, strict=True):
            out.copy_(self.choose(*row))
        chosen = chosen.view_as(value)
        return value * chosen, weight * chosen

    def choose(self, value: Tensor, counts: Tensor) -> Tensor:
        """1 for the hardest of the entries that count, less for ties at the border, else 0."""
        if not value.numel():
            return torch.zeros_like(value)
        hardness, all_of_them = value.masked_fill(~counts, -math.inf), counts.sum()
        share = (self.k * all_of_them.double()).round(decimals=6)  # 0.1 · 30 is 3, not 3 + 4e-16
        n = share.ceil().clamp_min(1).long()
        border = nth_largest(hardness, n)
        above, tied = (value > border) & counts, (value == border) & counts
        chosen = above + tied * ((n - above.sum()) / tied.sum()).to(value)
        return torch.where(all_of_them > 0, chosen, 0)

    def compute(self, prepared: Prepared) -> Tensor:
        """As its base, but one value for each image where none is asked to be reduced."""
        if self.reduction != "none":
            return super().compute(prepared)
        return ratio(*self.of_images(prepared))


def nth_largest(values: Tensor, n: Tensor) -> Tensor:
    """The ``n``-th largest of (N,), for a whole number n; a device is not waited for.

    Example:
        >>> nth_largest(torch.tensor([3.0, 1, 2]), torch.tensor(2))
        tensor(2.)
    """
    if values.device.type == "cpu":
        return values.kthvalue(len(values) - int(n) + 1).values
    return values.sort(descending=True).values.index_select(0, n[None] - 1)[0]
