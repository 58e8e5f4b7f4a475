"""Cross entropy with weights for positives and for classes, given or from the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from medloss.base import VoxelLoss, options, weights
from medloss.base.targets import Prepared
from medloss.sums import ClassSums
from medloss.sums.numeric import ratio
from medloss_distribution.cross_entropy import along_classes, times_class_weight


def for_classes(weight: Tensor, like: Tensor, name: str) -> Tensor:
    """The weight of each class of ``like`` (B, C, ...), (C,).

    Raises:
        ValueError: their number is not that of the classes.
    """
    classes = like.shape[1]
    if weight.ndim == 1 and weight.shape[0] != classes:
        raise ValueError(
            f"{name}: expected a number or {classes} values, one for each class that counts, "
            f"got {weight.shape[0]}"
        )
    return weight.to(like).expand(classes)


@options
class BinaryCrossEntropyLoss(VoxelLoss):
    """Binary cross entropy: each class against the rest, whatever the other classes do.

    Formula:
        L = mean over voxels and classes of w_c (−pos_weight g log p − (1 − g) log(1 − p)).

    Classes are independent under any activation: with softmax each probability is judged against
    the rest, which also pushes down the wrong classes one by one.

    Range: [0, ∞).

    Empty target:
        finite value and full gradient; nothing to count (all voxels ignored) gives 0.

    Args:
        pos_weight: weight of positives, one number or one for each class that counts, as torch's;
            above 1 favours recall.
        weight: one number, or one for each class that counts, for both halves of the class.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(BinaryCrossEntropyLoss(pos_weight=2)(p, g).item(), 12)
        0.598450836096

    Source:
        Goodfellow, Bengio, Courville 2016, Deep Learning, section 6.2; equation 1 of Jadon 2020,
        arXiv:2006.14822.
    """

    pos_weight: float | Sequence[float] | None = None

    two_channels_equal_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.register_buffer("positive", weights(self.pos_weight, "pos_weight"))

    def terms(self) -> tuple[str, ...]:
        """Both halves and the number of voxels."""
        return ("ce", "ce_neg", "v")

    def per_class(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Weighted binary cross entropy, (B, C, ...)."""
        value = s.ce
        positive = self._buffers["positive"]
        if positive is not None:
            value = value * along_classes(for_classes(positive, value, "pos_weight"), value)
        value = value + s.ce_neg
        return times_class_weight(self, value)


@options
class WeightedCrossEntropyLoss(VoxelLoss):
    """Cross entropy with fixed weights for positives and for classes.

    Formula:
        sigmoid: −w_c β g log p − (1 − g) log(1 − p), summed over voxels and classes;
        softmax: −w_y log p_y for the true class y, where w_y has the factor β unless y is class 0;
        then divided by the sum of the weights ("weights") or by the number of voxels ("voxels").

    So β on one sigmoid channel is β on two softmax channels. Which divisor is taken matters for the
    size of the gradient: the mean of weights changes from patch to patch.

    Range: [0, ∞).

    Empty target:
        finite value and full gradient; nothing to count gives 0.

    Args:
        beta: weight of positives, one number or one for each class that counts; above 1 favours
            recall. A number leaves the background of exclusive classes at 1.
        normalise: ``"weights"`` or ``"voxels"``; by default as torch does: weights where classes
            are exclusive, voxels where they are independent.
        weight: one number, or one for each class that counts.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> for divisor in ("weights", "voxels"):
        ...     loss = WeightedCrossEntropyLoss(
        ...         softmax=True, weight=(0.2, 1, 2), normalise=divisor
        ...     )
        ...     print(round(loss(z, y).item(), 12))
        0.416966937922
        0.354421897234

    Source:
        Equation 2 of Jadon 2020, arXiv:2006.14822; class weights: Ronneberger 2015,
        arXiv:1505.04597.
    """

    beta: float | Sequence[float] = 1.0
    normalise: Literal["weights", "voxels"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.register_buffer("positive", weights(self.beta, "beta"))

    def terms(self) -> tuple[str, ...]:
        """Positive half, for independent classes the negative half, and what divides."""
        return ("ce", *(() if self.softmax else ("ce_neg",)), "t", "v")

    def per_class(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Weighted cross entropy, (B, C, ...); softmax voxels (B, 1, ...)."""
        positive = s.ce * along_classes(self.weights(s.ce, prepared), s.ce)
        if prepared.is_exclusive:
            return positive.sum(1, keepdim=True)
        return positive + s.ce_neg

    def weights(self, like: Tensor, prepared: Prepared) -> Tensor:
        """Weight of the positives of each class that counts, (C,)."""
        beta = torch.as_tensor(self._buffers["positive"])
        weight = for_classes(beta, like, "beta").clone()
        if beta.ndim == 0 and self.include_background and prepared.is_exclusive:
            weight[0] = 1
        of_class = self.class_weights(like.shape[1], like)
        return weight if of_class is None else weight * of_class

    def normalizer(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Weights of what was summed, or the number of voxels (and independent classes)."""
        exclusive = prepared.is_exclusive
        if self.normalise == "voxels" or (self.normalise is None and not exclusive):
            return s.t if exclusive else s.v
        positive = s.t * self.weights(s.t, prepared)
        return positive if exclusive else positive + s.v - s.t


@options
class BalancedCrossEntropyLoss(VoxelLoss):
    """Cross entropy with each class weighted by the share of voxels outside it.

    Formula:
        sigmoid: L = mean of −β g log p − (1 − β) (1 − g) log(1 − p), β = 1 − mean(g);
        softmax: L = mean over voxels of −β_y log p_y, y the true class, β_c = 1 − mean(g_c);
        β is kept within [least, 1 − least]. Two softmax channels equal one sigmoid channel.

    The shares are those of each image; with ``batch=True`` those of the batch.

    Range: [0, ∞).

    Empty target:
        unclamped, β would be 1 (0 for a full one) and value and gradient 0 whatever is predicted;
        ``least`` times the cross entropy remains.

    Args:
        beta: a fixed β instead: weight of positives; softmax: of all classes but class 0, which
            has 1 − β.
        least: smallest β and 1 − β taken from the target, in (0, 0.5].
        weight: one number, or one for each class that counts, on top of β.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(BalancedCrossEntropyLoss()(p, g).item(), 12)
        0.199483612032

    Source:
        Xie and Tu 2015, arXiv:1504.06375; equation 3 of Jadon 2020, arXiv:2006.14822.
    """

    beta: float | None = None
    least: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta is not None and not 0 <= self.beta <= 1:
            raise ValueError(f"beta: expected a number in [0, 1] or None, got {self.beta!r}")
        if not 0 < self.least <= 0.5:
            raise ValueError(f"least: expected a number in (0, 0.5], got {self.least!r}")

    def terms(self) -> tuple[str, ...]:
        """Positive half, for independent classes the negative half, and the shares."""
        return ("ce", *(() if self.softmax else ("ce_neg",)), "t", "v")

    def from_sums(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """β from the sums, then the weighted mean."""
        s, _ = self.counted(s, prepared)
        beta = self.share(s, prepared)
        if self.reduction == "none":
            voxels = prepared.each_voxel(self.terms())
            voxels, _ = self.counted(voxels, prepared, pool=False)
            beta = beta.reshape(*beta.shape, *[1] * (prepared.input.ndim - 2))
            return self.balanced(voxels, beta, prepared)
        total = self.balanced(s, beta, prepared).sum()
        exclusive = prepared.is_exclusive
        return total if self.reduction == "sum" else ratio(total, (s.t if exclusive else s.v).sum())

    def share(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """β of each sample and class that counts, (B, C)."""
        if self.beta is None:
            return (1 - ratio(s.t, s.v)).clamp(self.least, 1 - self.least)
        beta = torch.full_like(s.t, self.beta)
        if self.include_background and prepared.is_exclusive:
            beta[:, 0] = 1 - self.beta
        return beta

    def balanced(self, s: ClassSums, beta: Tensor, prepared: Prepared) -> Tensor:
        """Weighted cross entropy, (B, C, ...); softmax voxels (B, 1, ...)."""
        positive = times_class_weight(self, beta * s.ce)
        if prepared.is_exclusive:
            return positive.sum(1, keepdim=True)
        return positive + (1 - beta) * s.ce_neg
