"""Rims of objects: the voxels that have a face neighbour outside of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.distance.steps import Steps
from medloss.objects.spacing import parse_spacing, reach, within
from medloss.runtime.eager import evaluate, outside_graphs
from medloss.runtime.slabs import ELEMENTS
from medloss.sums import Term

ABOVE = 2
"""Beyond any probability: voxels that are not known are never the least of a neighbourhood."""


def eroded(x: Tensor, known: Tensor | None = None) -> Tensor:
    """Minimum over a voxel and its face neighbours; what is beyond the image is 0.

    Axes of a single voxel have no neighbours, so that a slice is an image.

    Args:
        x: (B, C, *spatial), bool or in [0, 1].
        known: (B, 1, *spatial) bool; other voxels are neither inside nor outside: their neighbours
            do without them, and they stay as they are. None: all.
    """
    out, others = x, filled(x, known)
    for before, after in neighbours(others):
        out = torch.minimum(out, torch.minimum(before, after))
    return out


def filled(x: Tensor, known: Tensor | None) -> Tensor:
    """The same, with what is never the least in voxels that are not known."""
    if known is None:
        return x
    return x | ~known if x.dtype == torch.bool else x.where(known, ABOVE)


def neighbours(x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The face neighbours of every voxel along each axis longer than 1; 0 beyond."""
    for axis in _axes(x):
        padded = F.pad(x, [0, 0] * (x.ndim - 1 - axis) + [1, 1])
        yield padded.narrow(axis, 0, x.shape[axis]), padded.narrow(axis, 2, x.shape[axis])


def _axes(x: Tensor) -> list[int]:
    return [axis for axis in range(2, x.ndim) if x.shape[axis] > 1]


def rim(mask: Tensor, known: Tensor | None = None) -> Tensor:
    """Known voxels of a mask that have a face neighbour outside of it, or beyond the image.

    Args:
        mask: (B, C, *spatial) bool.
        known: (B, 1, *spatial) bool; other voxels are neither inside nor outside. None: all.

    Example:
        >>> mask = torch.ones(1, 1, 3, 4, dtype=torch.bool)
        >>> rim(mask)[0, 0].int()
        tensor([[1, 1, 1, 1],
                [1, 0, 0, 1],
                [1, 1, 1, 1]], dtype=torch.int32)
    """
    of_all = mask & ~eroded(mask, known)
    return of_all if known is None else of_all & known


def soft_rim(p: Tensor, known: Tensor | None = None) -> Tensor:
    """Probability minus its erosion: the rim, for probabilities; 0 in voxels that are not known."""
    of_all = p - eroded(p, known)
    return of_all if known is None else of_all.where(known, 0)


def soft_rim_slopes(p: Tensor, slope: Tensor, known: Tensor | None = None) -> Tensor:
    """Gradient by ``p``, for a gradient of its soft rim; equal neighbours share it."""
    if known is not None:
        p, slope = filled(p, known), slope.where(known, 0)
    steps, least = [], p
    for axis, (before, after) in zip(_axes(p), neighbours(p), strict=True):
        lower = torch.minimum(before, after)
        steps.append((axis, least, lower, before, after))
        least = torch.minimum(least, lower)
    out, kept = slope.clone(), -slope
    for axis, least, lower, before, after in reversed(steps):
        passed, kept = kept, _share_of_lower(least, lower).mul_(kept)
        passed = passed.sub_(kept)
        of_before = _share_of_lower(before, after).mul_(passed)
        of_after = passed.sub_(of_before)
        n = p.shape[axis] - 1
        out.narrow(axis, 0, n).add_(of_before.narrow(axis, 1, n))
        out.narrow(axis, 1, n).add_(of_after.narrow(axis, 0, n))
    out = out.add_(kept)
    return out if known is None else out.where(known, 0)


def _share_of_lower(one: Tensor, other: Tensor) -> Tensor:
    """What ``one`` has in the minimum of both: 1, of equal ones 1/2, or 0."""
    return (other - one).sign_().add_(1).mul_(0.5)


TERMS = tuple(map(Term, ("near_true", "near_predicted", "predicted", "true")))


Offset = tuple[int, ...]


# How many rim voxels there are depends on the values: a compiled graph breaks here.
@outside_graphs
def rim_sums(
    p: Tensor,
    inside: Tensor,
    known: Tensor | None,
    spacing_mm: Steps,
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
    rows = parse_spacing(spacing_mm, batch=p.shape[0], axes=p.ndim - 2)
    offsets = [_offsets(p.shape[2:], row, tolerance_mm) for row in rows]
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
    parts: tuple[Tensor, ...] = torch.split(centres, max(1, pairs // len(within)))
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
