"""Sums of erosions of the squared error: an operator of torch whose backward recomputes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.volumes import Lot, lots, target_of
from medloss_boundary.erosion import erosions, gradient

ARGUMENTS = (
    "Tensor p, Tensor target, Tensor? mask, int skip, int number, float alpha, bool normalize"
)


def eroded_sums(
    p: Tensor,
    target: Tensor,
    mask: Tensor | None,
    *,
    skip: int,
    number: int,
    alpha: float,
    normalize: bool,
) -> Tensor:
    r"""Σ_k k^alpha Σ_v e_k of each sample and class, (B, C); one gradient, by ``p``.

    Args:
        p: (B, C, \*spatial), probabilities.
        target: (B, C, \*spatial), or (B, 1, \*spatial) class indices.
        mask: (B, 1, \*spatial), or None where every voxel counts.
        skip: the first classes, which have sum 0.
        number: of erosions.
        alpha: exponent of the number of an erosion.
        normalize: stretch what each erosion leaves.
    """
    sums: Tensor = _operator(p, target, mask, skip, number, alpha, normalize)
    return sums


def _sums(
    p: Tensor,
    target: Tensor,
    mask: Tensor | None,
    skip: int,
    number: int,
    alpha: float,
    normalize: bool,
) -> Tensor:
    out = p.new_zeros(p.shape[:2])
    for part in lots(p, skip):
        error = _difference(p, target, part).square_()
        error, counted = _weighed(error, mask, part)
        for k, step in enumerate(erosions(error, counted, number, normalize=normalize), 1):
            out[part] += k**alpha * step.left.flatten(1).sum(1)
    return out


def _slopes(
    slope: Tensor,
    p: Tensor,
    target: Tensor,
    mask: Tensor | None,
    skip: int,
    number: int,
    alpha: float,
    normalize: bool,
) -> Tensor:
    """Gradient by ``p``, for a gradient of the sums."""
    out = torch.zeros_like(p, memory_format=torch.contiguous_format)
    for part in lots(p, skip):
        if not bool(slope[part].any()):
            continue
        difference = _difference(p, target, part)
        error, counted = _weighed(difference.square(), mask, part)
        steps = list(erosions(error, counted, number, normalize=normalize))
        if steps:
            box = steps[0].box
            each = slope[part].view(-1, *[1] * (p.ndim - 2))
            by_error = gradient(steps, [k**alpha * each for k in range(1, len(steps) + 1)])
            by_p, _ = _weighed(2 * difference, mask, part)
            out[part][box] = by_error.mul_(by_p[box])
    return out


def _difference(p: Tensor, target: Tensor, part: Lot) -> Tensor:
    """Probability minus target, (N, *spatial)."""
    return p[part] - target_of(p, target, part)


def _weighed(x: Tensor, mask: Tensor | None, part: Lot) -> tuple[Tensor, Tensor | None]:
    """Times the weights of the voxels of the sample; and which of these count."""
    if mask is None:
        return x, None
    return x.mul_(mask[part[0]]), mask[part[0]] > 0


def _fake(p: Tensor, *_: Any) -> Tensor:
    return p.new_empty(p.shape[:2])


def _fake_slopes(slope: Tensor, p: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(p, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    p, target, mask, *options = inputs
    ctx.save_for_backward(p, target, mask)
    ctx.options = options


def _differentiate(ctx: Any, slope: Tensor) -> tuple[Any, ...]:
    by_p = _operator_of_slopes(slope, *ctx.saved_tensors, *ctx.options)
    return by_p, None, None, None, None, None, None


# Operators, so that a compiled graph need not break at them.
_operator = torch.library.custom_op(
    "medloss_boundary::eroded_sums", _sums, mutates_args=(), schema=f"({ARGUMENTS}) -> Tensor"
)
_operator_of_slopes = torch.library.custom_op(
    "medloss_boundary::eroded_sums_slopes",
    _slopes,
    mutates_args=(),
    schema=f"(Tensor slope, {ARGUMENTS}) -> Tensor",
)
_operator.register_fake(_fake)
_operator.register_autograd(_differentiate, setup_context=_keep)
_operator_of_slopes.register_fake(_fake_slopes)
