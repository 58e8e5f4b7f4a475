"""What a partial annotation says: background means background or any class not annotated."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from medloss.base.targets import Prepared
from medloss.base.value_checks import Look
from medloss.sums import work_dtype

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
