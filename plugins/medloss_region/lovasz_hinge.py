"""Lovász hinge loss."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.base import options
from medloss.base.targets import Prepared
from medloss_region.lovasz import LovaszBase


def margins(logits: Tensor, *, exclusive: bool) -> Tensor:
    """How clearly each class wins, (B, C, ...): its logit, above the best other if exclusive."""
    if not exclusive:
        return logits
    best, winner = logits.topk(2, 1)
    classes = torch.arange(logits.shape[1], device=logits.device)
    wins = winner[:, :1] == classes.view(1, -1, *[1] * (logits.ndim - 2))
    return logits - torch.where(wins, best[:, 1:], best[:, :1])


@options
class LovaszHingeLoss(LovaszBase):
    """Lovász hinge: convex stand-in for the Jaccard loss on the margins of the logits.

    Formula:
        m_v = max(0, 1 − (2 g − 1) f) for each class and voxel, f its logit (sigmoid), or with
        softmax its logit minus the largest other one; m sorted in falling order;
        L = Σ_i m_i (J_i − J_{i−1}), J_i the Jaccard loss if the first i voxels are wrong;
        then the mean over samples and classes.

    Takes logits: sigmoid=True or softmax=True must be given, and says only which margin is meant.

    Range: [0, ∞); exactly 0, with no gradient, where every margin is at least 1.

    Empty target:
        only the worst false positive of the image costs anything.

    Sorts the voxels of each class: time O(N log N), no fused pass and no ``batch="world"``. The
    papers pool the batch (``batch=True``). Labels are meant to be 0 or 1. The smoothing options
    have no use here.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(LovaszHingeLoss(sigmoid=True)(p.logit(), g).item(), 11)
        0.94970191704

    Source:
        Yu and Blaschko 2015, arXiv:1512.07797; Berman 2018, arXiv:1705.08790, algorithm 1.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch == "world":
            raise ValueError("batch: expected False or True, no rank can sort the voxels of others")

    def check(self, prepared: Prepared) -> None:
        """Refuse probabilities: they have no margin."""
        super().check(prepared)
        if prepared.activation == "probabilities":
            raise ValueError(
                "input: expected logits, with sigmoid=True or softmax=True to say which margin is "
                "meant, got probabilities or other_act"
            )

    def errors(self, prepared: Prepared) -> Tensor:
        """How far each margin falls short of 1, (B, C, *spatial)."""
        margin = margins(prepared.input, exclusive=prepared.activation == "softmax")
        return (1 - (2 * prepared.one_hot() - 1) * margin).relu()

    def compute(self, prepared: Prepared) -> Tensor:
        """Sort and reduce."""
        return self.reduce_classes(self.by_sorting(prepared)[0], self.annotated(prepared))
