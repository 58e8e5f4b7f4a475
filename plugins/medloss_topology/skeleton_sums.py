"""Sums over soft skeletons: an operator of torch whose backward makes the skeletons again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.sums import Term
from medloss.volumes import Lot, lots, target_of
from medloss_topology.soft_skeleton import peeled, skeleton_slopes, soft_skeleton

TERMS = tuple(map(Term, ("predicted_inside", "predicted", "true_inside", "true")))

ARGUMENTS = "Tensor p, Tensor target, Tensor? skeleton, Tensor? mask, int skip, int iterations"


def skeleton_sums(
    p: Tensor,
    target: Tensor,
    skeleton: Tensor | None,
    mask: Tensor | None,
    *,
    skip: int,
    iterations: int,
) -> Tensor:
    r"""Σ S_p g, Σ S_p, Σ S_g p and Σ S_g of each sample and class, (B, 4, C); gradient by ``p``.

    Args:
        p: (B, C, \*spatial), probabilities.
        target: (B, C, \*spatial), or (B, 1, \*spatial) class indices.
        skeleton: S_g, (B, C, \*spatial), or None: the soft skeleton of the target.
        mask: (B, 1, \*spatial), weights of voxels, or None where every voxel counts.
        skip: the first classes, which have sums of 0.
        iterations: of erosion.
    """
    sums: Tensor = _operator(p, target, skeleton, mask, skip, iterations)
    return sums


def _sums(
    p: Tensor,
    target: Tensor,
    skeleton: Tensor | None,
    mask: Tensor | None,
    skip: int,
    iterations: int,
) -> Tensor:
    out = p.new_zeros(p.shape[0], len(TERMS), p.shape[1])
    for part in lots(p, skip):
        known, weight = _known(mask, part)
        g = target_of(p, target, part)
        of_p = soft_skeleton(p[part], iterations, known)
        of_g = _skeleton_of(g, skeleton, part, iterations, known)
        if weight is not None:
            of_p, of_g = of_p * weight, of_g * weight
        sums = (of_p * g, of_p, of_g * p[part], of_g)
        out[part[0], :, part[1]] = torch.stack([each.flatten(1).sum(1) for each in sums])
    return out


def _slopes(
    slope: Tensor,
    p: Tensor,
    target: Tensor,
    skeleton: Tensor | None,
    mask: Tensor | None,
    skip: int,
    iterations: int,
) -> Tensor:
    """Gradient by ``p``, for a gradient of the sums."""
    out = torch.zeros_like(p, memory_format=torch.contiguous_format)
    for part in lots(p, skip):
        inside, alone, true, _ = slope[part[0], :, part[1]].view(4, -1, *[1] * (p.ndim - 2))
        known, weight = _known(mask, part)
        g = target_of(p, target, part)
        by_skeleton = (g * inside).add_(alone)
        by_p = _skeleton_of(g, skeleton, part, iterations, known) * true
        if weight is not None:
            by_skeleton, by_p = by_skeleton.mul_(weight), by_p.mul_(weight)
        layers = peeled(p[part], iterations, known)
        out[part] = by_p.add_(skeleton_slopes(layers, by_skeleton, known))
    return out


def _skeleton_of(
    g: Tensor, skeleton: Tensor | None, part: Lot, iterations: int, known: Tensor | None
) -> Tensor:
    if skeleton is None:
        return soft_skeleton(g, iterations, known)
    return skeleton[part].to(g.dtype)


def _known(mask: Tensor | None, part: Lot) -> tuple[Tensor | None, Tensor | None]:
    """Which voxels of the sample count, and their weights, (1, *spatial)."""
    return (None, None) if mask is None else (mask[part[0]] > 0, mask[part[0]])


def _fake(p: Tensor, *_: Any) -> Tensor:
    return p.new_empty(p.shape[0], len(TERMS), p.shape[1])


def _fake_slopes(slope: Tensor, p: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(p, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    p, target, skeleton, mask, *options = inputs
    ctx.save_for_backward(p, target, skeleton, mask)
    ctx.options = options


def _differentiate(ctx: Any, slope: Tensor) -> tuple[Any, ...]:
    by_p = _operator_of_slopes(slope, *ctx.saved_tensors, *ctx.options)
    return by_p, None, None, None, None, None


# Operators, so that a compiled graph need not break at them.
_operator = torch.library.custom_op(
    "medloss_topology::skeleton_sums", _sums, mutates_args=(), schema=f"({ARGUMENTS}) -> Tensor"
)
_operator_of_slopes = torch.library.custom_op(
    "medloss_topology::skeleton_sums_slopes",
    _slopes,
    mutates_args=(),
    schema=f"(Tensor slope, {ARGUMENTS}) -> Tensor",
)
_operator.register_fake(_fake)
_operator.register_autograd(_differentiate, setup_context=_keep)
_operator_of_slopes.register_fake(_fake_slopes)
