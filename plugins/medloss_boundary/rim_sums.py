"""Sums over the rims of probabilities and masks, with their gradient: a volume at a time."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.spacing import Spacing, reach, within
from medloss.sums import Term
from medloss_boundary.rims import rim, soft_rim, soft_rim_slopes

TERMS = tuple(map(Term, ("near_true", "near_predicted", "predicted", "true")))

PAIRS = {"cpu": 1 << 18}
"""Pairs of a rim voxel and an offset that are looked at together: on a CPU they stay in cache."""
PAIRS_ELSEWHERE = 1 << 22

Offset = tuple[int, ...]


def rim_sums(
    p: Tensor, inside: Tensor, spacing_mm: Spacing, tolerance_mm: float, *, skip: int
) -> Tensor:
    r"""Σ ∂p [d(∂g) ≤ τ], Σ ∂g max_{d ≤ τ} ∂p, Σ ∂p and Σ ∂g of each sample and class, (B, 4, C).

    There is one gradient, by ``p``.

    Args:
        p: (B, C, \*spatial), probabilities.
        inside: (B, C, \*spatial) bool, the target.
        spacing_mm: size of a voxel of each sample.
        tolerance_mm: τ.
        skip: the first classes, which have sums of 0.
    """
    sums: Tensor = _apply(p, inside, spacing_mm, tolerance_mm, skip)
    return sums


class _RimSums(torch.autograd.Function):
    """Keeps a byte for each voxel, and where each true rim voxel found its largest value."""

    @staticmethod
    def forward(
        ctx: Any, p: Tensor, inside: Tensor, spacing_mm: Spacing, tolerance_mm: float, skip: int
    ) -> Tensor:
        out = p.new_zeros(p.shape[0], len(TERMS), p.shape[1])
        near, best = torch.zeros_like(inside, memory_format=torch.contiguous_format), []
        ctx.volumes = [(b, c) for b in range(p.shape[0]) for c in range(skip, p.shape[1])]
        offsets = [_offsets(p.shape[2:], row, tolerance_mm) for row in spacing_mm]
        for b, c in ctx.volumes:
            one = slice(b, b + 1), slice(c, c + 1)
            predicted = soft_rim(p[one])[0, 0].contiguous()
            true = rim(inside[one])[0, 0].nonzero()
            near[b, c], where = _within(predicted, true, offsets[b])
            best.append(where)
            near_true = (predicted * near[b, c]).sum()
            found = predicted.flatten()[where].sum()
            of_true = out.new_tensor(len(true))
            out[b, :, c] = torch.stack([near_true, found, predicted.sum(), of_true])
        ctx.save_for_backward(p, near, *best)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        p, near, *best = ctx.saved_tensors
        out = torch.zeros_like(p, memory_format=torch.contiguous_format)
        for (b, c), where in zip(ctx.volumes, best, strict=True):
            near_true, found, predicted, _ = slopes[0][b, :, c]
            slope = (near_true * near[b, c]).add_(predicted)
            slope.view(-1).index_add_(0, where, found.expand(len(where)))
            one = slice(b, b + 1), slice(c, c + 1)
            out[one] = soft_rim_slopes(p[one], slope[None, None])
        return out, None, None, None, None


# How many rim voxels there are depends on the values: a compiled graph breaks here.
_apply: Any = torch.compiler.disable(_RimSums.apply)  # type: ignore[no-untyped-call]


def _offsets(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], tolerance_mm: float
) -> list[Offset]:
    """Steps in voxels to all that is within the tolerance."""
    farthest = [
        min(math.floor(reach(tolerance_mm) / step), length - 1)
        for step, length in zip(spacing_mm, shape, strict=True)
    ]

    def length_mm(offset: Offset) -> float:
        return math.hypot(*(k * s for k, s in zip(offset, spacing_mm, strict=True)))

    every = itertools.product(*(range(-n, n + 1) for n in farthest))
    return [offset for offset in every if within(length_mm(offset), tolerance_mm)]


def _within(values: Tensor, voxels: Tensor, offsets: list[Offset]) -> tuple[Tensor, Tensor]:
    r"""What is within an offset of some voxels, and the flat index of the largest value near each.

    Args:
        values: (\*spatial), of at least 0.
        voxels: (N, axes), their indices.
        offsets: any of them plus a voxel may lie beyond the image.
    """
    margins = [max(steps) for steps in zip(*offsets, strict=True)]
    padded = F.pad(values, [r for n in reversed(margins) for r in (n, n)], value=-1.0).contiguous()
    strides = torch.tensor(padded.stride(), device=values.device)
    centres = ((voxels + torch.tensor(margins, device=values.device)) * strides).sum(1)
    within = (torch.tensor(offsets, device=values.device) * strides).sum(1)
    flat, near = padded.flatten(), torch.zeros_like(padded, dtype=torch.bool).flatten()
    best = [centres[:0]]
    pairs = PAIRS.get(values.device.type, PAIRS_ELSEWHERE)
    parts: tuple[Tensor, ...] = centres.split(max(1, pairs // len(within)))  # type: ignore[no-untyped-call]
    for part in parts:
        around = part[:, None] + within
        near.index_fill_(0, around.flatten(), True)
        largest = flat[around].argmax(1, keepdim=True)
        best.append(around.gather(1, largest)[:, 0])
    image = [slice(n, n + length) for n, length in zip(margins, values.shape, strict=True)]
    steps = torch.unravel_index(torch.cat(best), padded.shape)
    where = torch.zeros_like(steps[0])
    for step, n, length in zip(steps, margins, values.shape, strict=True):
        where = where * length + step - n
    return near.view(padded.shape)[tuple(image)], where
