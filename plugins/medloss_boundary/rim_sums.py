"""Sums over the rims of probabilities and masks, with their gradient: a volume at a time."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.objects.spacing import Spacing, reach, within
from medloss.runtime.eager import evaluate, outside_graphs
from medloss.runtime.slabs import ELEMENTS
from medloss.sums import Term
from medloss_boundary.rims import rim, soft_rim, soft_rim_slopes

TERMS = tuple(map(Term, ("near_true", "near_predicted", "predicted", "true")))

Offset = tuple[int, ...]


# How many rim voxels there are depends on the values: a compiled graph breaks here.
@outside_graphs
def rim_sums(
    p: Tensor,
    inside: Tensor,
    known: Tensor | None,
    spacing_mm: Spacing,
    tolerance_mm: float,
    *,
    skip: int,
) -> Tensor:
    r"""Σ ∂p [d(∂g) ≤ τ], Σ ∂g max_{d ≤ τ} ∂p, Σ ∂p and Σ ∂g of each sample and class, (B, 4, C).

    The gradient is by ``p``.

    Args:
        p: (B, C, \*spatial), probabilities.
        inside: (B, C, \*spatial) bool, the target.
        known: (B, 1, \*spatial) bool; other voxels are neither inside nor outside. None: all.
        spacing_mm: size of a voxel of each sample.
        tolerance_mm: τ.
        skip: the first classes, which have sums of 0.
    """
    near, found = torch.zeros_like(inside, memory_format=torch.contiguous_format), []
    volumes = [(b, c) for b in range(p.shape[0]) for c in range(skip, p.shape[1])]
    offsets = [_offsets(p.shape[2:], row, tolerance_mm) for row in spacing_mm]
    with torch.no_grad():
        for b, c in volumes:
            one = slice(b, b + 1), slice(c, c + 1)
            there = None if known is None else known[one[0]]
            predicted = soft_rim(p[one], there)[0, 0].contiguous()
            true = rim(inside[one], there)[0, 0].nonzero()
            near[b, c], where = _within(predicted, true, offsets[b])
            found.append(where)
    return evaluate(_Rims(tuple(volumes)), p, near, known, *found)


@dataclass(frozen=True)
class _Rims:
    """Sums from p, what is near the true rim, what is known, and where true rims find theirs."""

    differentiable: ClassVar[int] = 1

    volumes: tuple[tuple[int, int], ...]

    def value(self, *tensors: Any) -> Tensor:
        """Volume by volume."""
        p, near, known, *found = tensors
        out: Tensor = p.new_zeros(p.shape[0], len(TERMS), p.shape[1])
        for (b, c), where in zip(self.volumes, found, strict=True):
            there = None if known is None else known[b : b + 1]
            predicted = soft_rim(p[b : b + 1, c : c + 1], there)[0, 0]
            sums = (
                (predicted * near[b, c]).sum(),
                predicted.flatten()[where].sum(),
                predicted.sum(),
                p.new_tensor(len(where)),
            )
            out[b, :, c] = torch.stack(sums)
        return out

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by p."""
        p, near, known, *best = tensors
        out = torch.zeros_like(p, memory_format=torch.contiguous_format)
        for (b, c), where in zip(self.volumes, best, strict=True):
            near_true, found, predicted, _ = gradient[b, :, c]
            slope = (near_true * near[b, c]).add_(predicted)
            slope.view(-1).index_add_(0, where, found.expand(len(where)))
            one = slice(b, b + 1), slice(c, c + 1)
            there = None if known is None else known[one[0]]
            out[one] = soft_rim_slopes(p[one], slope[None, None], there)
        return (out,)

    def plain(self, *tensors: Any) -> Tensor:
        """The value, which autograd sees through."""
        return self.value(*tensors)

    def recorded(self, *tensors: Any) -> Tensor:
        """As torch has it."""
        return self.value(*tensors)


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
    flat, near = (
        padded.flatten(),
        torch.zeros(padded.shape, dtype=torch.bool, device=padded.device).flatten(),
    )
    best = [centres[:0]]
    pairs = ELEMENTS.on(values.device)  # of a rim voxel and an offset, looked at together
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
