"""Margin-based label smoothing."""

from __future__ import annotations

from torch import Tensor

from medloss.base import options
from medloss.base.targets import Prepared
from medloss_distribution.logit_penalty import LogitPenaltyLoss


@options
class MarginLabelSmoothingLoss(LogitPenaltyLoss):
    """Cross entropy that lets the largest logit lead by a margin and no more.

    Formula:
        L = CE + lambda_penalty · mean over voxels and classes of max(0, max_c z_c − z − margin), z
        the logit; sigmoid: each class is two exclusive ones with logits 0 and z.

    Needs logits, so softmax or sigmoid. Class weights are those of the cross entropy alone. Label
    smoothing pulls every logit; this leaves those within the margin alone.

    Range: [0, ∞]; not 0 at a perfect prediction surer than the margin; infinite logits cost
        infinitely much.

    Empty target:
        finite value and full gradient.

    Args:
        lambda_penalty: weight of the penalty.
        margin: lead that costs nothing; the paper has 10.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> round(MarginLabelSmoothingLoss(softmax=True, margin=1)(z, y).item(), 12)
        0.598889398048

    Source:
        Liu 2022, arXiv:2111.15430; in medical images: Murugesan 2024, arXiv:2401.14487.
    """

    margin: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.margin >= 0:
            raise ValueError(f"margin: expected at least 0, got {self.margin!r}")

    def penalty(self, z: Tensor, prepared: Prepared) -> Tensor:
        """The lead beyond the margin."""
        if prepared.activation == "softmax":
            return (z.amax(1, keepdim=True) - z - self.margin).relu()
        return (z.abs() - self.margin).relu() / 2
