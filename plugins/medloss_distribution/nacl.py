"""Neighbour-aware calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from medloss.base import options
from medloss.base.targets import Prepared
from medloss_distribution.logit_penalty import LogitPenaltyLoss
from medloss_distribution.neighbours import window_sum

DIVIDE_BY = ("valid", "window")


@options
class NACLLoss(LogitPenaltyLoss):
    """Cross entropy that keeps logits near the class shares among the neighbours.

    Formula:
        L = CE + lambda_penalty · mean over voxels and classes of |τ − z|, z the logit, τ the share
        of the class in the 3 x 3 (x 3) window around the voxel, itself included;
        sigmoid: each class is two exclusive ones with logits 0 and z.

    Needs logits, so softmax or sigmoid. Class weights are those of the cross entropy alone.

    Range: [0, ∞); not 0 at a perfect prediction, whose logits it wants finite: an
        infinite one costs infinitely much.

    Empty target:
        finite value and full gradient.

    MONAI differs: near the image border it divides by the whole window, so that the shares no
    longer sum to 1 (``divide_by="window"``).

    Args:
        lambda_penalty: weight of the penalty.
        divide_by: ``"valid"``, the voxels of the window that count, or ``"window"``, all of it.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> y = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> z = torch.cat([torch.zeros_like(p), p.logit()], 1)
        >>> round(NACLLoss(softmax=True)(z, y).item(), 12)
        0.533893844793

    Source:
        Murugesan 2023, arXiv:2303.06268; Murugesan 2024, arXiv:2401.14487.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    positional: ClassVar[tuple[str, ...]] = ()  # MONAI's are numbers of classes and of axes
    renamed: ClassVar[Mapping[str, str]] = {
        "classes": "the input tells how many there are; leave it out",
        "dim": "the input tells how many axes there are; leave it out",
        "kernel_size": "the window has 3 voxels along each axis; leave it out",
        "kernel_ops": "all neighbours count alike, which is 'mean'; leave it out",
        "distance_type": "the penalty is the absolute difference, 'l1'; leave it out",
        "alpha": "it is lambda_penalty here",
        "sigma": "all neighbours count alike; leave it out",
    }

    divide_by: Literal["valid", "window"] = "valid"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divide_by not in DIVIDE_BY:
            raise ValueError(f"divide_by: expected one of {DIVIDE_BY}, got {self.divide_by!r}")

    def penalty(self, z: Tensor, prepared: Prepared) -> Tensor:
        """|τ − z|, for independent classes its mean with that of the rest, |(1 − τ) − 0|."""
        share = self.share(prepared)
        penalty = (share - z).abs()
        return penalty if prepared.activation == "softmax" else (penalty + 1 - share) / 2

    @torch.no_grad()
    def share(self, prepared: Prepared) -> Tensor:
        """τ, (B, C, *spatial)."""
        g = prepared.one_hot()
        counts = torch.ones_like(g[:, :1])
        if prepared.mask is not None:
            counts = (prepared.mask > 0).to(g)
        inside: Tensor = window_sum(g * counts, 1.0)
        if self.divide_by == "window":
            return inside / float(3 ** sum(length > 1 for length in g.shape[2:]))
        return inside / window_sum(counts, 1.0).clamp_min(1)
