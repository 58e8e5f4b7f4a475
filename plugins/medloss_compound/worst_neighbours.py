"""The worst value among a voxel's neighbours of its own class, and its gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from medloss.base.neighbours import around, by_dilations, dilations
from medloss.runtime.eager import evaluate
from medloss.runtime.operators import operator
from medloss.runtime.slabs import ELEMENTS, Lot, lots, target_of


def worst_neighbours(
    z: Tensor, target: Tensor, mask: Tensor | None, window: Sequence[int]
) -> Tensor:
    r"""The least of the neighbours in a voxel's class where it is one, the largest elsewhere.

    z̃_i = min{z_j : j in N(i), y_j = 1} where y_i = 1, max{z_j : j in N(i), y_j = 0} elsewhere, for
    each channel; N(i) is the window around i, cut at the border, without voxels that do not count.
    Those keep their value.

    Args:
        z: (B, C, \*spatial), by which there is a gradient; neighbours equally bad share it.
        target: (B, C, \*spatial), or (B, 1, \*spatial) class indices.
        mask: (B, 1, \*spatial), 0 for voxels that do not count, or None.
        window: odd number of voxels along each axis.

    Example:
        >>> z = torch.tensor([[[3.0, 1.0, 2.0, -1.0, -2.0]]])
        >>> y = torch.tensor([[[1, 1, 1, 0, 0]]])
        >>> worst_neighbours(z, y, None, [3])
        tensor([[[ 1.,  1.,  1., -1., -1.]]])
    """
    return evaluate(WorstNeighbours(tuple(window)), z, target, mask)


@dataclass(frozen=True)
class WorstNeighbours:
    """:func:`worst_neighbours` in all ways.

    Args:
        window: odd number of voxels along each axis.
    """

    differentiable: ClassVar[int] = 1

    window: Sequence[int]

    @property
    def axes(self) -> list[int]:
        """Axes of (N, *spatial), each as often as the window reaches voxels far."""
        return [axis for axis, size in enumerate(self.window, 1) for _ in range(size // 2)]

    def value(self, *tensors: Any) -> Tensor:
        """A volume at a time, in cache."""
        z, target, mask = tensors
        out = torch.empty_like(z, memory_format=torch.contiguous_format)
        for part in lots(z, 0, ELEMENTS):
            known, own = _sides(z, target, mask, part)
            worst = dilations(_badness(z[part], known, own), self.axes)[-1]
            out[part] = _chosen(z[part], known, own, worst)
        return out

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by ``z``."""
        z, target, mask = tensors
        out = torch.empty_like(z, memory_format=torch.contiguous_format)
        for part in lots(z, 0, ELEMENTS):
            known, own = _sides(z, target, mask, part)
            slope = gradient[part]
            of_worst = torch.cat([slope.where(own, 0), slope.where(~own, 0)])
            if known is not None:
                of_worst *= known
            steps = dilations(_badness(z[part], known, own), self.axes)
            inside, outside = by_dilations(steps, of_worst, self.axes).chunk(2)
            out[part] = inside.where(own, outside)
            if known is not None:
                out[part] = out[part].where(known, slope)
        return (out,)

    def plain(self, *tensors: Any) -> Tensor:
        """In torch that autograd sees through."""
        z, target, mask = tensors
        samples = []
        for b in range(len(z)):
            part = b, slice(0, z.shape[1])
            known, own = _sides(z, target, mask, part)
            worst = _badness(z[part], known, own)
            for axis in self.axes:
                worst = around(worst, [axis], -math.inf).amax(0)
            samples.append(_chosen(z[part], known, own, worst))
        return torch.stack(samples) if samples else z

    def recorded(self, *tensors: Any) -> Tensor:
        """As an operator, so that a compiled graph need not break at it."""
        return _operator(*tensors, [*self.window])


def _sides(
    z: Tensor, target: Tensor, mask: Tensor | None, part: Lot
) -> tuple[Tensor | None, Tensor]:
    """Which voxels count, (1, *spatial) or None, and which are of the class, (N, *spatial)."""
    known = None if mask is None else mask[part[0]] > 0
    return known, target_of(z, target, part) > 0.5


def _badness(x: Tensor, known: Tensor | None, own: Tensor) -> Tensor:
    """How bad each voxel is for those of its class, then for those outside, (2 N, *spatial).

    No number stands for the voxels of the other side: they are infinitely good.
    """
    inside, outside = (own, ~own) if known is None else (own & known, ~own & known)
    return torch.cat([torch.where(inside, -x, -math.inf), torch.where(outside, x, -math.inf)])


def _chosen(x: Tensor, known: Tensor | None, own: Tensor, worst: Tensor) -> Tensor:
    """The value of each voxel's own side."""
    inside, outside = worst.chunk(2)
    found = torch.where(own, -inside, outside)
    return found if known is None else torch.where(known, found, x)


_operator = operator(
    "medloss_compound::worst_neighbours",
    "Tensor z, Tensor target, Tensor? mask",
    "int[] window",
    of=WorstNeighbours,
    fake=lambda z, *_: torch.empty_like(z, memory_format=torch.contiguous_format),
)
