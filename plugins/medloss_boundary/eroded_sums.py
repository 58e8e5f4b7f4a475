"""Sums of erosions of the squared error; the backward recomputes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from medloss.runtime.eager import evaluate
from medloss.runtime.operators import operator
from medloss.runtime.slabs import Lot, lots, target_of
from medloss_boundary.erosion import erosions, gradient
from medloss_boundary.rims import neighbours


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
    return evaluate(Eroded(skip, number, alpha, normalize), p, target, mask)


@dataclass(frozen=True)
class Eroded:
    """The sums in all their ways, from p, target and mask or None; see :func:`eroded_sums`."""

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
