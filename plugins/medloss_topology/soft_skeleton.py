"""The soft skeleton of volumes, and its gradient: a few volumes at a time, in cache.

All erosions are of one another, and what one leaves is opened by dilating the next, so that each is
made once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.base.neighbours import around, by_dilations, dilations, shared, spread
from medloss.runtime.operators import without_gradient

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


def skeletons_of_masks(mask: Tensor, known: Tensor | None, iterations: int) -> Tensor:
    r"""The same of masks, as masks.

    Args:
        mask: (B, C, \*spatial) bool.
        known: (B, 1, \*spatial) bool; other voxels are as if beyond the image. None: all.
        iterations: of erosion.
    """
    found: Tensor = _of_masks(mask, known, iterations)
    return found


def _skeletons_of_masks(mask: Tensor, known: Tensor | None, iterations: int) -> Tensor:
    whole = mask != 0
    skeleton = torch.zeros_like(whole, memory_format=torch.contiguous_format)
    for b, layer in enumerate(whole):
        counts = None if known is None else known[b]
        layer = _all_of(layer, counts)
        for _ in range(iterations + 1):
            nxt = _all_of(_eroded(layer), counts)
            opened = nxt if counts is None else nxt & counts
            removed = layer & ~dilations(opened, range(1, layer.ndim))[-1]
            skeleton[b] |= removed if counts is None else removed & counts
            layer = nxt
            if layer.device.type == "cpu" and not layer.any():
                break
    return skeleton


def _all_of(layer: Tensor, known: Tensor | None) -> Tensor:
    """With voxels that do not count as part of the mask, where they end no object."""
    return layer if known is None else layer | ~known


_of_masks = without_gradient(
    "medloss_topology::skeletons_of_masks",
    "(Tensor mask, Tensor? known, int iterations) -> Tensor",
    _skeletons_of_masks,
    lambda mask, *_: mask.new_empty(mask.shape, dtype=torch.bool),
)


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
    by_layer, axes = torch.zeros_like(slope), range(1, slope.ndim)
    for k in range(len(peeled.layers) - 2, -1, -1):
        layer, nxt = peeled.layers[k], peeled.layers[k + 1]
        removed, steps = _removed(layer, nxt, known)
        by_removed = (slope * peeled.before[k]).mul_(removed > 0)
        slope = removed.neg_().add_(1).mul_(slope)
        by_layer.sub_(by_dilations(steps, by_removed, axes))
        if known is not None:
            by_layer.mul_(known)
        by_layer = shared(layer, nxt, by_layer, axes).add_(by_removed)
    return by_layer if known is None else by_layer.mul_(known)


def _peel(layer: Tensor, known: Tensor | None) -> tuple[Tensor, tuple[Tensor, list[Tensor]]]:
    """The next layer, and what its dilation lacks of this one."""
    nxt = _filled(_eroded(layer), known, ABOVE)
    return nxt, _removed(layer, nxt, known)


def _removed(layer: Tensor, nxt: Tensor, known: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    """max(e_k − dilated(e_(k+1)), 0), and the steps of that dilation."""
    steps = dilations(_filled(nxt, known, BELOW), range(1, layer.ndim))
    removed = torch.sub(layer, steps[-1]).clamp_min_(0)
    return removed if known is None else removed.mul_(known), steps


def _filled(x: Tensor, known: Tensor | None, value: float) -> Tensor:
    return x if known is None else x.where(known, value)


def _eroded(x: Tensor) -> Tensor:
    """Minimum over a voxel and its face neighbours."""
    out = x.clone(memory_format=torch.contiguous_format)
    for axis in range(1, x.ndim):
        spread(torch.minimum, out, x, axis)
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
        eroded = _filled(around(layer, axes, ABOVE).amin(0), known, ABOVE)
        opened = _filled(eroded, known, BELOW)
        for axis in axes:
            opened = around(opened, [axis], BELOW).amax(0)
        removed = F.relu(layer - opened)  # whose slope at 0 is 0: there a voxel opens itself
        left = left * (1 - (removed if known is None else removed * known))
        layer = eroded
    return 1 - left
