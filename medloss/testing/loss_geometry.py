"""Symmetries: a loss does not depend on how the image lies in memory or in space."""

from __future__ import annotations

import functools
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from medloss.base import LossInParts, NotAdditiveError, SegmentationLoss
from medloss.testing.loss_subject import (
    LossSubject,
    demand_close,
    demand_same,
    value,
    value_and_gradient,
)
from medloss.testing.registry import SPACING_MM, ExemptError, contract
from medloss.testing.scenes import Scene


@contract("loss")
def flips_change_nothing(subject: LossSubject) -> None:
    """An image flipped along any axes, with its labels and maps, has the same loss."""
    loss, scene = subject.build(), subject.scene()
    result, gradient = value_and_gradient(loss, scene)
    for axes in ((2,), (3, 4)):
        flipped = scene.moved(functools.partial(torch.flip, dims=axes))
        demand_same(loss, flipped, (result, gradient.flip(axes)), f"flipped along {axes}")


@contract("loss")
def axis_order_changes_nothing(subject: LossSubject) -> None:
    """An image with its axes in another order, and its spacing likewise, has the same loss.

    Mixed-up spacing is the classic error of losses on distances.
    """
    loss, scene = subject.build(), subject.scene()
    result, gradient = value_and_gradient(loss, scene)
    x, y, z = SPACING_MM
    turned = scene.moved(lambda t: t.permute(0, 1, 4, 2, 3), spacing_mm=(z, x, y))
    expected = (result, gradient.permute(0, 1, 4, 2, 3))
    demand_same(loss, turned, expected, "with the last axis first")


@contract("loss", excusable=False)
def memory_layout_changes_nothing(subject: LossSubject) -> None:
    """Channels-last and strided tensors have the same loss as contiguous ones."""
    loss, scene = subject.build(), subject.scene()
    expected = value_and_gradient(loss, scene)
    last = scene.logits.to(memory_format=torch.channels_last_3d)
    wide = torch.empty(*scene.logits.shape[:-1], 2 * scene.logits.shape[-1])
    strided = wide[..., ::2].copy_(scene.logits)
    for name, logits in (("channels last", last), ("with strides", strided)):
        demand_same(loss, Scene(logits, scene.target, scene.extras), expected, name)


@contract("loss")
def flat_volume_equals_image(subject: LossSubject) -> None:
    """An image has the loss of a volume that is one voxel thick. Maps are given ready."""
    flat = subject.ready_scene(shape=(6, 5, 1))
    image = flat.moved(lambda t: t[..., 0], spacing_mm=SPACING_MM[:2])
    loss = subject.build()
    result, gradient = value_and_gradient(loss, flat)
    demand_same(loss, image, (result, gradient[..., 0]), "in 2D")


@contract("loss", excusable=False)
def two_channels_equal_one(subject: LossSubject) -> None:
    """Foreground of two softmax channels equals one sigmoid channel of their difference.

    Only for losses that claim it by a class attribute ``two_channels_equal_one = True``; many count
    a voxel once with softmax and each class with sigmoid.
    """
    if not getattr(subject.target, "two_channels_equal_one", False):
        raise ExemptError("the loss does not claim it (two_channels_equal_one is not True)")
    two = subject.scene(classes=2)
    one = Scene(two.logits[:, 1:] - two.logits[:, :1], two.target, _foreground(two.extras))
    softmax = subject.build(activation="softmax", include_background=False, weight=None)
    sigmoid = subject.build(activation="sigmoid", include_background=True, weight=None)
    demand_close(value(softmax, two), value(sigmoid, one), "the value of two channels")


@contract("loss", excusable=False)
def parts_add_up(subject: LossSubject) -> None:
    """Where a loss says that its class sums add up, those of two parts give the loss of the whole.

    ``is_additive`` says it; by it a volume is scored in windows that are never there together.
    """
    ready = subject.ready_scene(dtype=torch.float64)
    mask = torch.ones_like(ready.target, dtype=torch.bool)
    mask[..., 0] = False
    tried = False
    for scene in (ready, ready.given(mask=mask), subject.scene(dtype=torch.float64)):
        for background in subject.backgrounds():
            loss = subject.build(include_background=background)
            if not isinstance(loss, SegmentationLoss):
                continue
            parts = LossInParts(loss)
            try:
                for rows in (slice(0, 2), slice(2, None)):
                    part = scene.images(itemgetter((slice(None), slice(None), rows)))
                    parts.add(part.logits, part.target, **part.extras)
            except NotAdditiveError:
                continue
            tried = True
            demand_close(parts.value(), value(loss, scene), "the value from two parts")
    if not tried:
        raise ExemptError("the loss does not claim it (is_additive is not true)")


def _foreground(extras: Any) -> dict[str, Any]:
    """The extras of class 1 alone."""
    return {
        name: each[:, 1:] if isinstance(each, Tensor) and each.shape[1] == 2 else each
        for name, each in extras.items()
    }
