"""Cross entropy over the hardest voxels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medloss.base import options
from medloss.numeric import ratio
from medloss.targets import Prepared
from medloss_distribution.each_voxel import EachVoxelLoss, weighed


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
        hardness = value[counts]
        if not hardness.numel():
            return torch.zeros_like(value)
        n = max(1, math.ceil(round(self.k * hardness.numel(), 6)))  # 0.1 · 30 is 3, not 3 + 4e-16
        border = hardness.kthvalue(hardness.numel() - n + 1).values
        above, tied = (value > border) & counts, (value == border) & counts
        return above + tied * ((n - above.sum()) / tied.sum()).to(value)

    def compute(self, prepared: Prepared) -> Tensor:
        """As its base, but one value for each image where none is asked to be reduced."""
        if self.reduction != "none":
            return super().compute(prepared)
        return ratio(*self.of_images(prepared))
