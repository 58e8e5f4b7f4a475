"""Marginal loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor, nn

from medloss.base import SegmentationLoss, options
from medloss.base.targets import Prepared
from medloss.compound.inner_loss import build_loss
from medloss_compound.partial_labels import marginal


@options
class MarginalLoss(SegmentationLoss):
    """Any loss on marginal probabilities: background may be any class that was not annotated.

    Formula:
        L = loss(q, y) over the annotated classes of each sample, with q_c = p_c for those and
        q_0 = p_0 + Σ p_c over the classes that were not annotated; y has class 0 in place of them.

    ``present`` (B, C) says which classes were annotated in each sample; without it this is the loss
    inside. For exclusive classes: softmax, or probabilities that add up to 1; independent classes
    (sigmoid) need no merging, there ``present`` alone is right. The merged background is known
    wherever any class was annotated, whatever ``present`` says of class 0.

    Range: that of the loss inside.

    Empty target:
        as the loss inside; a sample without any annotated class has no influence.

    Args:
        loss: name (``"dice_ce"``), mapping with ``name`` and options, or a loss, whose options
            then serve here too; nested ``_target_`` in a bundle config.

    Example:
        >>> import torch
        >>> p = torch.tensor([0.5, 0.2, 0.3]).view(1, 3, 1, 1)
        >>> y = torch.zeros(1, 1, 1, 1, dtype=torch.long)  # no class 1 here; 2 was not annotated
        >>> loss = MarginalLoss(loss="cross_entropy")
        >>> round(loss(p, y, present=[[True, True, False]]).exp().item(), 4)  # 1 / (0.5 + 0.3)
        1.25

    Source:
        Shi 2021, arXiv:2007.03868; Fidon 2021, arXiv:2107.03846 (as a family of such losses).
    """

    loss: str | Mapping[str, Any] | nn.Module = "dice_ce"

    def __post_init__(self) -> None:
        super().__post_init__()
        own = {f.name: f.default for f in fields(SegmentationLoss)}
        given = {k: getattr(self, k) for k in own if getattr(self, k) is not own[k]}
        inside = build_loss(self.loss, given)
        if not isinstance(inside, SegmentationLoss):
            raise TypeError(
                f"loss: expected a loss of medloss, which knows `present`, got "
                f"{type(inside).__name__}"
            )
        for name in own:
            setattr(self, name, getattr(inside, name))
        self.reduction = inside.reduction
        self.inside = inside
        if self.sigmoid:
            raise ValueError(
                "sigmoid: expected exclusive classes; independent ones need no merging: give "
                "`present` to the loss itself"
            )

    def check(self, prepared: Prepared) -> None:
        """As the loss inside."""
        self.inside.check(prepared)

    def compute(self, prepared: Prepared) -> Tensor:
        """The loss inside on the marginal probabilities."""
        return self.inside.evaluate(marginal(prepared))
