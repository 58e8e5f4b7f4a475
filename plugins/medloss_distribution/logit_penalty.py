"""What calibration losses share: cross entropy plus a penalty on the logits."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.base import SegmentationLoss, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term
from medloss.sums.numeric import ratio
from medloss_distribution.cross_entropy import cross_entropy_of


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
