"""The soft skeleton of volumes, and its gradient: a few volumes at a time, in cache.

All erosions are of one another, and what one leaves is opened by dilating the next, so that each is
made once. Minima and maxima are taken over shifted slices: on a CPU that is a hundred times faster
than torch's pooling, which looks for the place of each maximum and keeps it in 8 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ABOVE, BELOW = 2.0, -1.0
"""Beyond any probability: voxels that do not count are never the least or the largest."""


@dataclass(frozen=True)
class Peeled:
    """What repeated erosion makes of N volumes.

    Args:
        layers: the volumes, eroded 0 to K + 1 times; voxels that do not count hold ``ABOVE``.
        before: what of Π (1 − δ_j) is there before each δ_k; with all of them at the end.
    """

    layers: list[Tensor]
    before: list[Tensor]

    @property
    def skeleton(self) -> Tensor:
        """1 − Π (1 − δ_k)."""
        return 1 - self.before[-1]


def soft_skeleton(x: Tensor, iterations: int, known: Tensor | None = None) -> Tensor:
    r"""What openings of repeated erosions remove: 1 − Π_k (1 − max(e_k − dilated(e_(k+1)), 0)).

    e_k is ``x`` eroded k times by the cross of face neighbours, k from 0 to ``iterations``;
    dilation is by the block of all neighbours. What is beyond the image is left out of both.

    Args:
        x: (N, \*spatial), in [0, 1].
        iterations: of erosion, at least the radius in voxels of the thickest structure.
        known: bool, broadcasts to ``x``; other voxels are as if beyond the image. None: all.

    Example:
        >>> bar = torch.zeros(1, 5, 7)
        >>> bar[:, 1:4] = 1
        >>> soft_skeleton(bar, 2)[0].int()
        tensor([[0, 0, 0, 0, 0, 0, 0],
                [0, 0, 0, 0, 0, 0, 0],
                [1, 1, 1, 1, 1, 1, 1],
                [0, 0, 0, 0, 0, 0, 0],
                [0, 0, 0, 0, 0, 0, 0]], dtype=torch.int32)

    Source:
        Shit 2021, arXiv:2003.07311.
    """
    left = torch.ones_like(x)
    layer = _filled(x, known, ABOVE)
    for _ in range(iterations + 1):
        layer, (removed, _) = _peel(layer, known)
        left.mul_(removed.neg_().add_(1))
    return 1 - left


def peeled(x: Tensor, iterations: int, known: Tensor | None = None) -> Peeled:
    """All that :func:`skeleton_slopes` needs; arguments of :func:`soft_skeleton`."""
    layers, before = [_filled(x, known, ABOVE)], [torch.ones_like(x)]
    for _ in range(iterations + 1):
        layer, (removed, _) = _peel(layers[-1], known)
        layers.append(layer)
        before.append(before[-1] * removed.neg_().add_(1))
    return Peeled(layers, before)


def skeleton_slopes(peeled: Peeled, slope: Tensor, known: Tensor | None = None) -> Tensor:
    """Gradient by the volumes, for a gradient of their soft skeleton; equal voxels share it."""
    by_layer = torch.zeros_like(slope)
    for k in range(len(peeled.layers) - 2, -1, -1):
        layer, nxt = peeled.layers[k], peeled.layers[k + 1]
        removed, steps = _removed(layer, nxt, known)
        by_removed = (slope * peeled.before[k]).mul_(removed > 0)
        slope = removed.neg_().add_(1).mul_(slope)
        by_layer.sub_(_by_block(steps, by_removed))
        if known is not None:
            by_layer.mul_(known)
        by_layer = _by_cross(layer, nxt, by_layer).add_(by_removed)
    return by_layer if known is None else by_layer.mul_(known)


def _peel(layer: Tensor, known: Tensor | None) -> tuple[Tensor, tuple[Tensor, list[Tensor]]]:
    """The next layer, and what its dilation lacks of this one."""
    nxt = _filled(_eroded(layer), known, ABOVE)
    return nxt, _removed(layer, nxt, known)


def _removed(layer: Tensor, nxt: Tensor, known: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    """max(e_k − dilated(e_(k+1)), 0), and the steps of that dilation."""
    steps = _dilations(_filled(nxt, known, BELOW))
    removed = torch.sub(layer, steps[-1]).clamp_min_(0)
    return removed if known is None else removed.mul_(known), steps


def _filled(x: Tensor, known: Tensor | None, value: float) -> Tensor:
    return x if known is None else x.where(known, value)


def _eroded(x: Tensor) -> Tensor:
    """Minimum over a voxel and its face neighbours."""
    out = x.clone(memory_format=torch.contiguous_format)
    for axis in range(1, x.ndim):
        _spread(torch.minimum, out, x, axis)
    return out


def _dilations(x: Tensor) -> list[Tensor]:
    """Maximum over a voxel and all of its neighbours, one axis after the other."""
    steps = [x]
    for axis in range(1, x.ndim):
        out = steps[-1].clone(memory_format=torch.contiguous_format)
        _spread(torch.maximum, out, steps[-1], axis)
        steps.append(out)
    return steps


def _spread(choose: Callable[..., Tensor], out: Tensor, x: Tensor, axis: int) -> None:
    """Choose between ``out`` and both neighbours in ``x`` along an axis, in place."""
    n = x.shape[axis] - 1
    if n:
        later, earlier = out.narrow(axis, 1, n), out.narrow(axis, 0, n)
        choose(later, x.narrow(axis, 0, n), out=later)
        choose(earlier, x.narrow(axis, 1, n), out=earlier)


def _by_cross(x: Tensor, least: Tensor, slope: Tensor) -> Tensor:
    """Gradient by what was eroded, for one of the result."""
    return _shared(x, least, slope, list(range(1, x.ndim)))


def _by_block(steps: list[Tensor], slope: Tensor) -> Tensor:
    """Gradient by what was dilated, for one of the result."""
    for axis in range(slope.ndim - 1, 0, -1):
        slope = _shared(steps[axis - 1], steps[axis], slope, [axis])
    return slope


def _shared(x: Tensor, chosen: Tensor, slope: Tensor, axes: list[int]) -> Tensor:
    """The gradient of a choice among a voxel and its neighbours along axes, in equal shares."""
    own = x == chosen
    count = own.to(torch.uint8)
    hits = []
    for axis in axes:
        n = x.shape[axis] - 1
        for source, result in ((0, 1), (1, 0)) if n else ():
            hit = x.narrow(axis, source, n) == chosen.narrow(axis, result, n)
            count.narrow(axis, result, n).add_(hit)
            hits.append((axis, n, source, result, hit))
    share = slope / count.clamp_min_(1)
    out = share * own
    for axis, n, source, result, hit in hits:
        out.narrow(axis, source, n).addcmul_(share.narrow(axis, result, n), hit.to(share.dtype))
    return out


def plain_skeleton(x: Tensor, iterations: int, known: Tensor | None = None) -> Tensor:
    r"""As :func:`soft_skeleton`, in torch that autograd sees through; slow, and of much memory.

    Equal voxels share a gradient.

    Args:
        x: (N, \*spatial).
        iterations: of erosion.
        known: bool, broadcasts to ``x``, or None.
    """
    left, layer = torch.ones_like(x), _filled(x, known, ABOVE)
    axes = range(1, x.ndim)
    for _ in range(iterations + 1):
        eroded = _filled(_around(layer, axes, ABOVE).amin(0), known, ABOVE)
        opened = _filled(eroded, known, BELOW)
        for axis in axes:
            opened = _around(opened, [axis], BELOW).amax(0)
        removed = F.relu(layer - opened)  # whose slope at 0 is 0: there a voxel opens itself
        left = left * (1 - (removed if known is None else removed * known))
        layer = eroded
    return 1 - left


def _around(x: Tensor, axes: Sequence[int], beyond: float) -> Tensor:
    """Each voxel and its neighbours along some axes, one after the other on a new first axis."""
    found = [x]
    for axis in axes:
        n = x.shape[axis]
        padded = F.pad(x, [0, 0] * (x.ndim - 1 - axis) + [1, 1], value=beyond)
        found += [padded.narrow(axis, 0, n), padded.narrow(axis, 2, n)]
    return torch.stack(found)
