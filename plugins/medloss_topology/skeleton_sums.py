"""Sums over soft skeletons; the backward makes the skeletons again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from medloss.runtime.operators import operator
from medloss.runtime.slabs import Lot, lots, target_of
from medloss.sums import Term
from medloss_topology.soft_skeleton import peeled, plain_skeleton, skeleton_slopes, soft_skeleton

TERMS = tuple(map(Term, ("predicted_inside", "predicted", "true_inside", "true")))


@dataclass(frozen=True)
class SkeletonSums:
    r"""Σ S_p g, Σ S_p, Σ S_g p and Σ S_g of each sample and class, (B, 4, C), in all ways.

    Its tensors are p, (B, C, \*spatial), by which there is a gradient; the target, likewise, or
    (B, 1, \*spatial) class indices; S_g, as p, or None: the soft skeleton of the target; and the
    mask, (B, 1, \*spatial), weights of voxels, or None where every voxel counts.

    Args:
        skip: the first classes, which have sums of 0.
        iterations: of erosion.
    """

    differentiable: ClassVar[int] = 1

    skip: int
    iterations: int

    def value(self, *tensors: Any) -> Tensor:
        """A few volumes at a time."""
        return self._sums(soft_skeleton, *tensors)

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by ``p``."""
        p, target, skeleton, mask = tensors
        out = torch.zeros_like(p, memory_format=torch.contiguous_format)
        for part in lots(p, self.skip):
            slope = gradient[part[0], :, part[1]]
            inside, alone, true, _ = slope.view(4, -1, *[1] * (p.ndim - 2))
            known, weight = _known(mask, part)
            g = target_of(p, target, part)
            by_skeleton = (g * inside).add_(alone)
            by_p = _skeleton_of(g, skeleton, part, self.iterations, known) * true
            if weight is not None:
                by_skeleton, by_p = by_skeleton.mul_(weight), by_p.mul_(weight)
            layers = peeled(p[part], self.iterations, known)
            out[part] = by_p.add_(skeleton_slopes(layers, by_skeleton, known))
        return (out,)

    def plain(self, *tensors: Any) -> Tensor:
        """With a skeleton of the prediction that autograd sees through."""
        return self._sums(plain_skeleton, *tensors)

    def recorded(self, *tensors: Any) -> Tensor:
        """As an operator, so that a compiled graph need not break at it."""
        return _operator(*tensors, self.skip, self.iterations)

    def _sums(
        self,
        skeleton_of: Callable[[Tensor, int, Tensor | None], Tensor],
        p: Tensor,
        target: Tensor,
        skeleton: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        out = p.new_zeros(p.shape[0], len(TERMS), p.shape[1])
        for part in lots(p, self.skip):
            known, weight = _known(mask, part)
            g = target_of(p, target, part)
            of_p = skeleton_of(p[part], self.iterations, known)
            of_g = _skeleton_of(g, skeleton, part, self.iterations, known)
            if weight is not None:
                of_p, of_g = of_p * weight, of_g * weight
            sums = (of_p * g, of_p, of_g * p[part], of_g)
            out[part[0], :, part[1]] = torch.stack([each.flatten(1).sum(1) for each in sums])
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


_operator = operator(
    "medloss_topology::skeleton_sums",
    "Tensor p, Tensor target, Tensor? skeleton, Tensor? mask",
    "int skip, int iterations",
    of=SkeletonSums,
    fake=lambda p, *_: p.new_empty(p.shape[0], len(TERMS), p.shape[1]),
)
