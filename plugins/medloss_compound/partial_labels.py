"""What a partial annotation says: background means background or any class not annotated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from medloss.base import SegmentationLoss, options
from medloss.base.input_checks import Look
from medloss.base.targets import Prepared
from medloss.compound import adopt_inner_loss
from medloss.sums import any_over_batch, work_dtype
from medloss.sums.numeric import ratio

NEVER = 1e4
"""A logit so far below the highest one has probability 0, in float64 too."""

_ROUNDING = 1e-2
"""Probabilities in half precision add up to 1 so exactly."""


def background_like(present: Tensor) -> Tensor:
    """Classes that a label of 0 may mean, (B, C): class 0 and those that were not annotated.

    Args:
        present: (B, C) bool.
    """
    like = ~present
    like[:, 0] = True
    return like


def merge_probabilities(p: Tensor, merged: Tensor) -> Tensor:
    """Marginal probabilities: q_0 = Σ p_c over the classes merged, which have 0 themselves.

    Args:
        p: (B, C, *spatial), of exclusive classes.
        merged: (B, C) bool, with class 0.
    """
    merged = _like(merged, p)
    together = torch.where(merged, p, 0).sum(1, keepdim=True)
    return torch.cat([together, torch.where(merged, 0, p)[:, 1:]], 1)


def merge_logits(z: Tensor, merged: Tensor) -> Tensor:
    """Logits whose softmax is the marginal probabilities: z_0 = log Σ exp z_c over those merged.

    Args:
        z: (B, C, *spatial).
        merged: (B, C) bool, with class 0.
    """
    merged = _like(merged, z)
    together = torch.where(merged, z, -torch.inf).logsumexp(1, keepdim=True)
    never = z.detach().amax(1, keepdim=True) - NEVER
    return torch.cat([together, torch.where(merged, never, z)[:, 1:]], 1)


def merge_target(target: Tensor, merged: Tensor) -> Tensor:
    """The target with the classes merged into class 0.

    Args:
        target: (B, 1, *spatial) class indices, or (B, C, *spatial).
        merged: (B, C) bool, with class 0.
    """
    if target.shape[1] != merged.shape[1]:
        classes = torch.arange(merged.shape[1], device=target.device).to(target.dtype)
        meaning = torch.where(merged, 0, classes)
        known = (target >= 0) & (target < merged.shape[1])
        number = torch.where(known, target, 0).flatten(1).long()
        return torch.where(known, meaning.gather(1, number).view_as(target), target)
    merged = _like(merged, target)
    kept = torch.where(merged, torch.zeros_like(target), target)
    kept[:, :1] = (target * merged).sum(1, keepdim=True).to(target.dtype)
    return kept


def marginal(prepared: Prepared) -> Prepared:
    """Input and target of what was annotated: the classes that were not are merged into class 0.

    The merged background is known wherever any class was annotated.

    Raises:
        ValueError: classes that are not exclusive, or a single one.
    """
    classes = prepared.values.shape[1]
    if prepared.activation == "sigmoid":
        raise ValueError(
            "sigmoid: expected exclusive classes, whose probabilities can be added; independent "
            "ones need no merging: give `present` to the loss itself"
        )
    if classes == 1:
        raise ValueError("input: expected two exclusive classes or more, got a single channel")
    if prepared.present is None:
        return prepared
    merged = background_like(prepared.present)
    present = prepared.present.clone()
    present[:, 0] = present.any(1)
    values = prepared.input  # 0 in ignored voxels
    if prepared.activation == "softmax":
        values = merge_logits(values, merged)
    else:
        values = _at_most_one(merge_probabilities(values, merged))
    return replace(
        prepared, values=values, target=merge_target(prepared.target, merged), present=present
    )


def excluded(prepared: Prepared) -> Tensor:
    """Where the label tells that a class is not there: (B, C, *spatial), bool or soft.

    For a class that was annotated: where its label is not. For one that was not, and for the
    background: where the label names an annotated class other than the background.
    """
    if prepared.present is None:
        return _without(prepared.target, prepared)
    merged = background_like(prepared.present)
    known = merge_target(prepared.target, merged)
    elsewhere = _without(known, prepared)
    return torch.where(_like(merged, elsewhere), elsewhere[:, :1], elsewhere)


def _without(target: Tensor, prepared: Prepared) -> Tensor:
    """1 − target, one channel for each class."""
    if prepared.is_index:
        classes = torch.arange(prepared.values.shape[1], device=target.device)
        return target != classes.view(1, -1, *[1] * (target.ndim - 2))
    return 1 - target.to(work_dtype(prepared.values))


def _like(merged: Tensor, values: Tensor) -> Tensor:
    return merged.reshape(*merged.shape, *[1] * (values.ndim - 2))


def _at_most_one(q: Tensor) -> Tensor:
    """Marginal probabilities without their rounding errors.

    Raises:
        ValueError: they exceed 1 by more.
    """
    look = Look(q.device)
    look.at(q, _no_shares)
    look.finish()
    return q.clamp_max(1)


def _no_shares(low: float, high: float) -> str | None:
    if high > 1 + _ROUNDING:
        return (
            f"input: expected probabilities of exclusive classes, which add up to 1, got a sum "
            f"of {high:.4g}; for logits pass softmax=True"
        )
    return None


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
        self.inside = adopt_inner_loss(self, self.loss, knows="`present`")
        if self.sigmoid:
            raise ValueError(
                "sigmoid: expected exclusive classes; independent ones need no merging: give "
                "`present` to the loss itself"
            )

    def check(self, prepared: Prepared) -> None:
        """As the loss inside."""
        self.inside.check(prepared)

    def is_additive(self, prepared: Prepared) -> bool:
        """Where nothing is merged, as the loss inside."""
        return prepared.present is None and self.inside.is_additive(prepared)

    def compute(self, prepared: Prepared) -> Tensor:
        """The loss inside on the marginal probabilities."""
        return self.inside.evaluate(marginal(prepared))


@options
class ExclusionLoss(SegmentationLoss):
    """Overlap of each class with the voxels whose label tells that it is not there.

    Formula:
        L = 2 Σ e p / (Σ e + Σ p + smooth_dr) for each sample and class; e is 1 where a voxel is
        labelled as a class that excludes this one: for an annotated class every other label, for
        the background and for a class that was not annotated every annotated class but the
        background.

    Beside a loss that learns what was annotated, such as ``marginal``: classes that were not
    annotated in a sample (``present``) must at least keep out of the organs that were. For
    exclusive classes.

    Range: [0, 1].

    Empty target:
        for a class that was not annotated, value 0 and gradient 0: nothing tells where it is not.

    Args:
        unannotated_only: only classes that were not annotated are penalised, as ``marginal``
            teaches the others already; without ``present`` the value is 0.

    Example:
        >>> import torch
        >>> p = torch.tensor([[0.1, 0.7], [0.6, 0.1], [0.3, 0.2]]).view(1, 3, 1, 2)
        >>> y = torch.tensor([[[[1, 0]]]])  # class 2 was not annotated
        >>> loss = ExclusionLoss(unannotated_only=True, smooth_dr=0)
        >>> round(loss(p, y, present=[[1, 1, 0]]).item(), 4)  # 2 * 0.3 / (1 + 0.5)
        0.4

    Source:
        Shi 2021, arXiv:2007.03868.
    """

    unannotated_only: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigmoid:
            raise ValueError("sigmoid: expected exclusive classes, independent ones may overlap")

    def is_additive(self, prepared: Prepared) -> bool:
        """Which classes a voxel excludes it tells alone."""
        return True

    def compute(self, prepared: Prepared) -> Tensor:
        """Sums with the excluded voxels as target, then their overlap."""
        counts = self._counts(prepared)
        without = replace(prepared, target=excluded(prepared), present=None)
        s = without.sums(("tp", "p", "t"))
        if counts is not None:
            s = s.only(counts)
        if self.batch is not False:
            s = s.over_batch(self.batch)
            counts = None if counts is None else any_over_batch(counts, self.batch)
        if not self.include_background:
            s = s.without_background()
            counts = None if counts is None else counts[:, 1:]
        return self.reduce_classes(ratio(2 * s.tp, s.p + s.t + self.smooth_dr), counts)

    def _counts(self, prepared: Prepared) -> Tensor | None:
        """Classes that are penalised, (B, C), or None for all."""
        if not self.unannotated_only:
            return None
        shape, device = prepared.values.shape[:2], prepared.values.device
        if prepared.present is None:
            return torch.zeros(shape, dtype=torch.bool, device=device)
        return ~prepared.present
