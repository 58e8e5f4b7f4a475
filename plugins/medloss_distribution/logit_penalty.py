"""Cross entropy with a penalty on the logits, for calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from medloss.base import SegmentationLoss, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term
from medloss.sums.numeric import ratio
from medloss_distribution.cross_entropy import cross_entropy_of
from medloss_distribution.svls_cross_entropy import window_sum


@options
class LogitPenaltyLoss(SegmentationLoss):
    """Cross entropy plus ``lambda_penalty`` times the mean penalty on the logits."""

    lambda_penalty: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lambda_penalty >= 0:
            raise ValueError(f"lambda_penalty: expected at least 0, got {self.lambda_penalty!r}")
        self.cross_entropy = cross_entropy_of(self)

    def check(self, prepared: Prepared) -> None:
        """Probabilities no longer tell the logits."""
        super().check(prepared)
        if prepared.activation == "probabilities":
            raise ValueError(
                f"{type(self).__name__}: expected logits with softmax=True or sigmoid=True, "
                f"got probabilities"
            )

    def penalty(self, z: Tensor, prepared: Prepared) -> Tensor:
        """Penalty on logits z (B, C, *spatial), of the same shape.

        For independent classes the caller gives each as two exclusive ones with logits 0 and z.
        """
        raise TypeError(f"{type(self).__name__}: a logit penalty must define penalty()")

    def compute(self, prepared: Prepared) -> Tensor:
        """Both terms, each with its own mean."""
        penalty = self.penalty(prepared.input, prepared)
        counts = torch.ones_like(penalty)
        if prepared.mask is not None:
            penalty, counts = penalty * prepared.mask, counts * prepared.mask
        both = ClassSums(torch.stack([penalty, counts], 1), (Term("penalty"), Term("count")))
        ce = self.cross_entropy
        both, _ = ce.counted(both, prepared, pool=False)
        value = ce.compute(prepared)
        if self.reduction == "mean":
            total = ClassSums(both.values.flatten(3).sum(3), both.terms).over_batch(self.batch)
            mean = ratio(total["penalty"].sum(), total["count"].sum())
            return value + self.lambda_penalty * mean
        each, count = both["penalty"], both["count"]
        if prepared.activation == "softmax":  # a voxel has one penalty: the mean over its classes
            valid = (count > 0).sum(1, keepdim=True)
            each = ratio(each.sum(1, keepdim=True), valid.to(each))
        if self.reduction == "sum":
            one = each.flatten(1).sum(1).view(-1, 1, 1)
            each = ClassSums(one, (Term("penalty"),)).over_batch(self.batch).values.sum()
        return value + self.lambda_penalty * each


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
