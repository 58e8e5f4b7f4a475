"""The last 1x1x1 convolution inside the kernels: logits are made from features, tile by tile.

``head`` is the weight (classes, features) and the bias (classes) or None; where it is given, ``x``
are the features. The products run on tensor cores: with float32, in three parts of TF32, which
keeps its precision. What a head adds to its gradients is kept in the registers of a program.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from medloss.sums.gpu.tiles import AS_MANY, Tile
from medloss.sums.gpu.voxels import (
    is_class,
    load_classes,
    load_labels,
    load_tile,
    load_weights,
    store_tile,
)

LEAST = 16
"""Rows and columns that a product on tensor cores has at least."""
TILE, FOLD = Tile(LEAST, 32, 4, AS_MANY), 8
"""Of the logits; what is summed lies with the threads of eight voxels."""
MOST_WEIGHTS = 1 << 13
"""Elements of a weight, padded, whose gradient the registers of a program hold."""
MOST_FEATURES = 1 << 8
"""Of which the registers hold a tile: with twice as many 3 KB of a thread spill. What threads share
is a matter of the device: :func:`~medloss.sums.gpu.residence.stages_that_fit`."""


class Head(NamedTuple):
    """The convolution and what it takes, float32.

    Args:
        features: (B, F, *spatial), float32 or 16 bits.
        weight: (C, F).
        bias: (C), or None.
    """

    features: Tensor
    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, features: Tensor, weight: Tensor, bias: Tensor | None) -> Head:
        """From a convolution's parameters."""
        of_bias = None if bias is None else bias.detach().float().contiguous()
        return cls(features.detach(), weight.detach().flatten(1).float().contiguous(), of_bias)

    @property
    def padded(self) -> int:
        """Features, with those that a product on tensor cores has at least."""
        return _padded(self.weight.shape[1])


def why_not(weight: Tensor, dtype: torch.dtype) -> str | None:
    """Why the kernels cannot serve a head, or None.

    Args:
        weight: (C, F).
        dtype: what is computed in.
    """
    classes, features = map(_padded, weight.shape)
    if dtype != torch.float32:
        return f"they compute in float32, not in {dtype}"
    if features > MOST_FEATURES:
        return f"there are more than {MOST_FEATURES} features"
    if classes * features > MOST_WEIGHTS:
        return f"the weight has more than {MOST_WEIGHTS} elements, padded to powers of two"
    return None


def _padded(n: int) -> int:
    """Rows or columns of a product."""
    return max(LEAST, int(triton.next_power_of_2(n)))


@triton.jit
def load_voxels(
    x, head, target, mask, b, start, voxels, DTYPE: tl.constexpr, INDEX: tl.constexpr,
    SOFTMAX: tl.constexpr, FEATURES: tl.constexpr, PADDED: tl.constexpr,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """What a program works on: how many voxels there are, weights, labels, logits, features.

    ``PADDED`` is 0 without a head; in place of features are then the weights.
    """
    left = tl.minimum(voxels - start, VOXELS).to(tl.int32)
    w = load_weights(mask, b, start, left, DTYPE, ROWS, VOXELS)
    labels = load_labels(target, b, start, left, INDEX, CLASSES, ROWS, VOXELS)
    if PADDED > 0:
        h = load_features(x, mask, b, start, left, DTYPE, FEATURES, PADDED, VOXELS)
        z = logits_of(head, h, w, SOFTMAX, FEATURES, PADDED, CLASSES, ROWS)
        return left, w, labels, z, h
    else:
        z = load_classes(x, mask, w, b, start, left, SOFTMAX, CLASSES, ROWS, VOXELS)
        return left, w, labels, z, w


@triton.jit
def load_features(
    x, mask, b, start, left, DTYPE: tl.constexpr,
    FEATURES: tl.constexpr, PADDED: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """Features (PADDED, VOXELS), 0 where a voxel has the weight 0, and beyond the last feature."""
    h = load_tile(x, b, start, left, 0, FEATURES, PADDED, VOXELS).to(DTYPE)
    if mask is not None:
        w = load_weights(mask, b, start, left, DTYPE, PADDED, VOXELS)
        h = tl.where(w == 0, 0.0, h)
    return h


@triton.jit
def _load_weight(
    weight, i, FEATURES: tl.constexpr, PADDED: tl.constexpr, CLASSES: tl.constexpr,
    ROWS: tl.constexpr,
):  # fmt: skip
    """Rows of the ``i``-th lot of classes, (ROWS, PADDED)."""
    classes = (tl.arange(0, ROWS) + i * ROWS)[:, None]
    features = tl.arange(0, PADDED)[None, :]
    inside = (classes < CLASSES) & (features < FEATURES)
    return tl.load(weight + classes * FEATURES + features, mask=inside, other=0.0)


@triton.jit
def logits_of(
    head, h, weights, SOFTMAX: tl.constexpr, FEATURES: tl.constexpr, PADDED: tl.constexpr,
    CLASSES: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Logits of all classes, as ``load_classes`` would read them; 0 for voxels of weight 0."""
    weight, bias = head
    tiles = ()
    for i in tl.static_range((CLASSES + ROWS - 1) // ROWS):
        of_lot = _load_weight(weight, i, FEATURES, PADDED, CLASSES, ROWS)
        z = tl.dot(of_lot, h, input_precision="tf32x3")
        classes = tl.arange(0, ROWS) + i * ROWS
        if bias is not None:
            z += tl.load(bias + classes, mask=classes < CLASSES, other=0.0)[:, None]
        z = tl.where(weights == 0, 0.0, z)
        if SOFTMAX and (i + 1) * ROWS > CLASSES:
            z = tl.where((classes < CLASSES)[:, None], z, float("-inf"))
        tiles = tiles + (z,)
    return tiles


@triton.jit
def of_labels(z, labels):
    """The logit of the class that the label names, in each row; 0 without one."""
    ROWS: tl.constexpr = labels.shape[0]
    found = tl.zeros(labels.shape, z[0].dtype)
    for i in tl.static_range(len(z)):
        found += tl.where(is_class(labels, i, ROWS), z[i], 0.0)
    return tl.broadcast_to(tl.sum(found, 0)[None, :], labels.shape)


@triton.jit
def nothing_yet(LOTS: tl.constexpr, ROWS: tl.constexpr, PADDED: tl.constexpr, DTYPE: tl.constexpr):
    """Gradients of the weight (LOTS tiles), and of the bias, before the first voxel."""
    by_weight = ()
    by_bias = ()
    for _ in tl.static_range(LOTS):
        by_weight = by_weight + (tl.zeros([ROWS, PADDED], DTYPE),)
        by_bias = by_bias + (tl.zeros([ROWS], DTYPE),)
    return by_weight, by_bias


@triton.jit
def through_head(
    slopes, head, h, by_weight, by_bias, out, b, start, left,
    FEATURES: tl.constexpr, PADDED: tl.constexpr, CLASSES: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """Write the gradient of the features, and add to those of weight and bias."""
    ROWS: tl.constexpr = slopes[0].shape[0]
    by_features = tl.zeros([PADDED, VOXELS], h.dtype)
    added = ()
    summed = ()
    for i in tl.static_range(len(slopes)):
        slope = slopes[i]
        if (i + 1) * ROWS > CLASSES:  # where a logit of −inf may have made a NaN
            slope = tl.where((tl.arange(0, ROWS) + i * ROWS < CLASSES)[:, None], slope, 0.0)
        of_lot = _load_weight(head[0], i, FEATURES, PADDED, CLASSES, ROWS)
        by_features += tl.dot(tl.trans(of_lot), slope, input_precision="tf32x3")
        product = tl.dot(slope, tl.trans(h), input_precision="tf32x3")
        added = added + (by_weight[i] + product,)
        summed = summed + (by_bias[i] + tl.sum(slope, 1),)
    store_tile(out, by_features, b, start, left, 0, FEATURES, PADDED, VOXELS)
    return added, summed


@triton.jit
def store_head(
    by_weight, by_bias, partial,
    FEATURES: tl.constexpr, PADDED: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """Write what a program found: (CLASSES, FEATURES + 1), the bias last."""
    ROWS: tl.constexpr = by_weight[0].shape[0]
    for i in tl.static_range(len(by_weight)):
        classes = tl.arange(0, ROWS) + i * ROWS
        features = tl.arange(0, PADDED)
        at = partial + classes * (FEATURES + 1)
        inside = (classes < CLASSES)[:, None] & (features < FEATURES)[None, :]
        tl.store(at[:, None] + features[None, :], by_weight[i], mask=inside)
        tl.store(at + FEATURES, by_bias[i], mask=classes < CLASSES)
