"""Binary cross entropy of independent classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from medloss.base import VoxelLoss, options, weights
from medloss.base.targets import Prepared
from medloss.sums import ClassSums
from medloss_distribution.cross_entropy import along_classes


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
        weight = self.class_weights(value.shape[1], value)
        return value if weight is None else value * along_classes(weight, value)
