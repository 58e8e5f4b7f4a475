"""Repeated erosion of an error, and its gradient: a few volumes at a time, in cache.

An erosion is the mean over a voxel and its face neighbours minus 1/2, at least 0. A voxel keeps
something only beside one of more than 1/2, so all that counts lies in a box around those, which
shrinks from step to step until nothing is left. What is outside of the box is 0 and stays 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from medloss.runtime.operators import operator
from medloss.runtime.slabs import Lot, lots, target_of
from medloss_boundary.rims import neighbours

NEARLY_HALF = 0.49
"""The rounded mean of numbers below this is below 1/2."""

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Erosion:
    """One of them, of N volumes; numbers of a volume are of shape (N, 1, ...).

    Args:
        box: where it was done, within the box of the one before; the first axis is of volumes.
        raw: sum over a voxel and its face neighbours minus half of their number.
        left: what is left, ``(max(raw, 0) − low) scale``; 0 where voxels do not count.
        scale: one over the number of neighbours, or what stretches to [0, 1].
        low: least ``max(raw, 0)`` in the image; None where nothing is stretched.
        high: largest, likewise.
        varies: bool, whether they differ, so that it was stretched, likewise.
        counted: the voxels of the box that count, (1, *spatial) bool; None where all do.
    """

    box: Box
    raw: Tensor
    left: Tensor
    scale: Tensor | float
    low: Tensor | None
    high: Tensor | None
    varies: Tensor | None
    counted: Tensor | None


def erosions(
    error: Tensor, counted: Tensor | None, number: int, *, normalize: bool
) -> Iterator[Erosion]:
    r"""Erode until nothing is left, at most ``number`` times.

    Args:
        error: (N, \*spatial), in [0, 1], 0 where voxels do not count.
        counted: (1, \*spatial) bool, or None where all voxels count.
        number: of erosions.
        normalize: stretch what is left between its least and largest value in the image.
    """
    voxels = _how_many(error, counted)
    for _ in range(number):
        box = _around(error, NEARLY_HALF, margin=2)
        if box is None:
            return
        error = error[box]
        counted = None if counted is None else counted[(slice(None), *box[1:])]
        step = _erosion(box, error, counted, voxels, normalize)
        yield step
        error = step.left


def gradient(steps: list[Erosion], weights: list[Tensor]) -> Tensor:
    """Gradient of the weighed sum of all that is left, by the error in the first box.

    Args:
        steps: all erosions.
        weights: (N, 1, ...) of each, that of a voxel which is left.
    """
    slope = torch.zeros_like(steps[-1].left)
    for step, later, weight in zip(
        reversed(steps), [None, *reversed(steps[1:])], reversed(weights), strict=False
    ):
        if later is not None:
            whole = torch.zeros_like(step.left)
            whole[later.box] = slope
            slope = whole
        slope = slope.add_(weight)
        if step.counted is not None:
            slope = slope.mul_(step.counted)
        slope = _by_raw(step, slope)
        slope = _add_neighbours(slope, slope.clone())
    return slope


def _erosion(
    box: Box, error: Tensor, counted: Tensor | None, voxels: int, normalize: bool
) -> Erosion:
    """Erode in a box outside of which nothing is left."""
    axes = tuple(range(1, error.ndim))
    neighbours = 1 + 2 * sum(error.shape[axis] > 1 for axis in axes)
    raw = _add_neighbours(error, error - neighbours / 2)
    left = raw.clamp_min(0)
    if counted is not None:
        left.mul_(counted)
    if not normalize:
        scale = 1 / neighbours
        return Erosion(box, raw, left.mul_(scale), scale, None, None, None, counted)
    low, high = left, left
    if counted is not None:
        low, high = (left.where(counted, bound) for bound in (torch.inf, -torch.inf))
    low, high = low.amin(axes, keepdim=True), high.amax(axes, keepdim=True)
    if voxels > _how_many(error, counted):  # nothing is left of those beyond the box
        low, high = low.clamp_max(0), high.clamp_min(0)
    varies = (high > low) & (high - low).isfinite()
    factor = torch.where(varies, 1 / (high - low), 1 / neighbours)
    if bool((varies & (low > 0)).any()):
        left.sub_(torch.where(varies, low, 0))
        if counted is not None:
            left.mul_(counted)
    return Erosion(box, raw, left.mul_(factor), factor, low, high, varies, counted)


def _by_raw(step: Erosion, slope: Tensor) -> Tensor:
    """Gradient by ``step.raw``, from that by what is left."""
    out = slope * step.scale
    if step.varies is not None and step.low is not None and step.high is not None:
        axes = tuple(range(1, slope.ndim))
        by_high = -(out * step.left).sum(axes, keepdim=True)
        by_low = -out.sum(axes, keepdim=True) - by_high
        _share(out, by_high * step.varies, step.raw == step.high, step.counted)
        if bool((step.low > 0).any()):  # or else what attains it is not left
            of_low = by_low * (step.varies & (step.low > 0))
            _share(out, of_low, step.raw == step.low, step.counted)
    return out.mul_(step.raw.clone().ge_(0))


def _share(slope: Tensor, extra: Tensor, attained: Tensor, counted: Tensor | None) -> None:
    """Add the gradient by an extreme, in equal shares, to those that attain it."""
    attained = attained if counted is None else attained & counted
    number = attained.flatten(1).sum(1).view(extra.shape)
    slope.add_(attained * (extra / number.clamp_min(1)))


def _add_neighbours(x: Tensor, total: Tensor) -> Tensor:
    """Add to ``total`` the face neighbours of each voxel of ``x``; 0 beyond."""
    for axis in range(1, x.ndim):
        steps = x.shape[axis] - 1
        if steps:
            total.narrow(axis, 1, steps).add_(x.narrow(axis, 0, steps))
            total.narrow(axis, 0, steps).add_(x.narrow(axis, 1, steps))
    return total


def _around(x: Tensor, least: float, *, margin: int) -> Box | None:
    """The box of all that is not less, in any volume, and a margin; None where there is none."""
    box = [slice(None)]
    lines = x.amax(-1)
    for axis in range(1, x.ndim):
        of = x if axis == x.ndim - 1 else lines
        highest = of.amax([other for other in range(of.ndim) if other != axis])
        found = (~(highest < least)).nonzero()  # NaN is not less
        if not len(found):
            return None
        first, last = int(found[0]), int(found[-1])
        box.append(slice(max(0, first - margin), min(x.shape[axis], last + 1 + margin)))
    return tuple(box)


def _how_many(x: Tensor, counted: Tensor | None) -> int:
    """How many voxels of a volume count."""
    return x[0].numel() if counted is None else int(counted.sum())


@dataclass(frozen=True)
class Eroded:
    r"""Σ_k k^alpha Σ_v e_k of each sample and class, (B, C), in all ways; one gradient, by ``p``.

    Its tensors are p, (B, C, \*spatial); the target, likewise, or (B, 1, \*spatial) class indices;
    and the mask, (B, 1, \*spatial), or None where every voxel counts.

    Args:
        skip: the first classes, which have sum 0.
        number: of erosions.
        alpha: exponent of the number of an erosion.
        normalize: stretch what each erosion leaves.
    """

    differentiable: ClassVar[int] = 1

    skip: int
    number: int
    alpha: float
    normalize: bool

    def value(self, p: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """A few volumes at a time, in boxes."""
        out = p.new_zeros(p.shape[:2])
        for part in lots(p, self.skip):
            error = _difference(p, target, part).square_()
            error, counted = _weighed(error, mask, part)
            steps = erosions(error, counted, self.number, normalize=self.normalize)
            for k, step in enumerate(steps, 1):
                out[part] += k**self.alpha * step.left.flatten(1).sum(1)
        return out

    def slopes(self, gradient_: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by ``p``."""
        p, target, mask = tensors
        out = torch.zeros_like(p, memory_format=torch.contiguous_format)
        for part in lots(p, self.skip):
            if not bool(gradient_[part].any()):
                continue
            difference = _difference(p, target, part)
            error, counted = _weighed(difference.square(), mask, part)
            steps = list(erosions(error, counted, self.number, normalize=self.normalize))
            if steps:
                box = steps[0].box
                each = gradient_[part].view(-1, *[1] * (p.ndim - 2))
                weights = [k**self.alpha * each for k in range(1, len(steps) + 1)]
                by_p, _ = _weighed(2 * difference, mask, part)
                out[part][box] = gradient(steps, weights).mul_(by_p[box])
        return (out,)

    def plain(self, p: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """All volumes at once."""
        classes = slice(self.skip, p.shape[1])
        g = torch.stack([target_of(p, target, (b, classes)) for b in range(len(p))])
        left, total = (p[:, classes] - g).square(), p.new_zeros(*g.shape[:2])
        counted = torch.ones_like(g[:, :1], dtype=torch.bool) if mask is None else mask > 0
        left = left if mask is None else left * mask
        axes = tuple(range(2, p.ndim))
        number = 1 + 2 * sum(p.shape[axis] > 1 for axis in axes)
        for k in range(1, self.number + 1):
            around = sum((one + other for one, other in neighbours(left)), left)
            raw = (around - number / 2).clamp_min(0) * counted
            left = raw / number
            if self.normalize:
                low = raw.where(counted, torch.inf).amin(axes, keepdim=True)
                high = raw.where(counted, -torch.inf).amax(axes, keepdim=True)
                varies = (high > low) & (high - low).isfinite()
                span = torch.where(varies, high - low, 1)
                stretched = (raw - torch.where(varies, low, 0)) / span * counted
                left = torch.where(varies, stretched, left)
            total = total + k**self.alpha * left.flatten(2).sum(2)
        return torch.cat([p.new_zeros(len(p), self.skip), total], 1)

    def recorded(self, *tensors: Any) -> Tensor:
        """As an operator, so that a compiled graph need not break at it."""
        return _operator(*tensors, self.skip, self.number, self.alpha, self.normalize)


def _difference(p: Tensor, target: Tensor, part: Lot) -> Tensor:
    """Probability minus target, (N, *spatial)."""
    return p[part] - target_of(p, target, part)


def _weighed(x: Tensor, mask: Tensor | None, part: Lot) -> tuple[Tensor, Tensor | None]:
    """Times the weights of the voxels of the sample; and which of these count."""
    if mask is None:
        return x, None
    return x.mul_(mask[part[0]]), mask[part[0]] > 0


_operator = operator(
    "medloss_boundary::eroded_sums",
    "Tensor p, Tensor target, Tensor? mask",
    "int skip, int number, float alpha, bool normalize",
    of=Eroded,
    fake=lambda p, *_: p.new_empty(p.shape[:2]),
)
