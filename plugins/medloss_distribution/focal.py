"""Focal loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from medloss.base import VoxelLoss, options, weights
from medloss.base.targets import Prepared
from medloss.sums import Activation, ClassSums, Term
from medloss.sums.numeric import ratio
from medloss.sums.ratios import Linear
from medloss_distribution.cross_entropy import along_classes, times_class_weight


@options
class FocalLoss(VoxelLoss):
    """Focal loss: cross entropy that fades out voxels already classified well.

    Formula:
        sigmoid: L = −α g (1 − p)^γ log p − (1 − α) (1 − g) p^γ log(1 − p), without α by default;
        softmax: L = −α_y (1 − p_y)^γ log p_y for the true class y;
        then the mean over samples, classes that count and voxels (so softmax divides by C N, as
        MONAI does; Lin divides by the number of voxels N). ``reduction="sum"`` adds up the means
        over the voxels of each sample and class, as MONAI's; other voxel losses add up voxels.

    Takes logits: without an option the activation is sigmoid, as in MONAI.

    Range: [0, ∞).

    Empty target:
        finite value and gradient that pushes false positives down.

    MONAI differs: with softmax and ``include_background=False`` it drops class 0 before the softmax
    and renormalises over the foreground; with ``ignore_index`` its mean is C times too large.

    Args:
        gamma: γ, focus; 0 is cross entropy.
        alpha: sigmoid: weight α of positives, 1 − α of negatives; softmax: 1 − α for class 0 and α
            for the others; or one weight for each class that counts (sigmoid: of its positives).
        use_softmax: MONAI's name of ``softmax``.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(FocalLoss(gamma=2, alpha=0.25)(p.logit(), g).item(), 12)
        0.060165684158

    Source:
        Lin 2017, arXiv:1708.02002.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "include_background",
        "to_onehot_y",
        "gamma",
        "alpha",
        "weight",
        "reduction",
        "use_softmax",
        "ignore_index",
    )

    gamma: float = 2.0
    alpha: float | Sequence[float] | None = None
    use_softmax: bool = False

    default_activation: ClassVar[Activation] = "sigmoid"

    def __post_init__(self) -> None:
        self.softmax = self.softmax or self.use_softmax
        super().__post_init__()
        if not self.gamma >= 0:
            raise ValueError(f"gamma: expected at least 0, got {self.gamma!r}")
        self.register_buffer("class_alpha", weights(self.alpha, "alpha", highest=1))

    def terms(self) -> tuple[str | Term, ...]:
        """Positive half and, for independent classes, the negative half."""
        negative = () if self.softmax else (Term("focal_neg", float(self.gamma)),)
        return (Term("focal", float(self.gamma)), *negative, "v")

    def per_class(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Weighted focal loss, (B, C, ...)."""
        positive, negative = self.alphas(s.v, prepared.is_exclusive)
        value = s.focal if positive is None else s.focal * along_classes(positive, s.focal)
        if not prepared.is_exclusive:
            value = value + (s.focal_neg if negative is None else s.focal_neg * negative)
        return times_class_weight(self, value)

    def as_ratio(self, prepared: Prepared) -> tuple[Linear, Linear] | None:
        """The mean over voxels and classes, without weights of positives."""
        if self._buffers["class_alpha"] is not None:
            return None
        gamma = float(self.gamma)
        negative: Linear = () if self.softmax else ((Term("focal_neg", gamma), 1),)
        if prepared.is_exclusive and negative:
            return None
        return ((Term("focal", gamma), 1), *negative), (("v", 1),)

    def alphas(self, like: Tensor, exclusive: bool) -> tuple[Tensor | None, float | None]:
        """Weights of positives, (C,), and of negatives.

        Raises:
            ValueError: a sequence whose length is not the number of classes that count.
        """
        alpha = self._buffers["class_alpha"]
        if alpha is None:
            return None, None
        classes = like.shape[1]
        if alpha.ndim == 1:
            if alpha.shape[0] != classes:
                raise ValueError(
                    f"alpha: expected a number or {classes} values, got {alpha.shape[0]}"
                )
            return alpha.to(like), None
        positive = alpha.to(like).repeat(classes)
        if exclusive and self.include_background:
            positive[0] = 1 - positive[0]
        return positive, 1 - float(alpha)

    def summed(self, total: Tensor, s: ClassSums) -> Tensor:
        """Mean over space, then the sum over samples and classes, as MONAI's ``"sum"``."""
        return ratio(total, s.v).sum()
