"""One input in all its forms: moved in space or memory, in other dtypes and other containers."""

from __future__ import annotations

import functools
import itertools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from medloss.base import LossInParts, NotAdditiveError, SegmentationLoss
from medloss.sums import backends, chosen_backend
from medloss.testing.crossing import Crossing, crossed
from medloss.testing.loss_subject import (
    Answer,
    LossSubject,
    demand_close,
    demand_pair,
    demand_same,
    value,
    value_and_gradient,
)
from medloss.testing.registry import SPACING_MM, ExemptError, contract
from medloss.testing.scenes import Scene, meta_tensor

BACKEND = "MEDLOSS_BACKEND"
DTYPES = (
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float32,
    torch.float16,
)


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
    for name, laid in LAYOUTS.items():
        demand_same(loss, replace(scene, logits=laid(scene.logits)), expected, name)


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


def _foreground(extras: Any) -> dict[str, Any]:
    """The extras of class 1 alone."""
    return {
        name: each[:, 1:] if isinstance(each, Tensor) and each.shape[1] == 2 else each
        for name, each in extras.items()
    }


def _strided(tensor: Tensor) -> Tensor:
    wide = torch.empty(*tensor.shape[:-1], 2 * tensor.shape[-1], dtype=tensor.dtype)
    return wide[..., ::2].copy_(tensor)


def _reversed(tensor: Tensor) -> Tensor:
    """The same values, the last axis slowest in memory."""
    order = list(reversed(range(tensor.ndim)))
    return tensor.permute(order).contiguous().permute(order)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda tensor: tensor,
    "channels last": lambda tensor: tensor.to(memory_format=torch.channels_last_3d),
    "strided": _strided,
    "axes reversed in memory": _reversed,
}


@dataclass(frozen=True)
class InputForm:
    """A form of the same input.

    Args:
        dtype: of the labels.
        container: of the target: ``"keywords"``, ``"mapping"`` or ``"MetaTensor"``.
        layout: in memory.
        turned: whether the spatial axes stand in another order.
        backend: that sums, or ``""`` for the preferred one.
    """

    dtype: torch.dtype
    container: str
    layout: str
    turned: bool
    backend: str

    def __str__(self) -> str:
        turned = ", the last axis first" if self.turned else ""
        by = f", summed by {self.backend}" if self.backend else ""
        return f"{self.dtype} labels in {self.container}, {self.layout}{turned}{by}"

    def of(self, scene: Scene) -> Scene:
        """The scene in this form; a target of one channel for each class keeps its dtype."""
        index = scene.target.shape[1] == 1
        target = scene.target.to(self.dtype) if index else scene.target
        scene = replace(scene, target=target)
        if self.turned:
            x, y, z = scene.extras["spacing_mm"]
            scene = scene.images(lambda t: t.permute(0, 1, 4, 2, 3)).given(spacing_mm=(z, x, y))
        scene = scene.images(LAYOUTS[self.layout])
        if self.container == "mapping":
            return Scene(scene.logits, {**scene.extras, "label": scene.target})
        if self.container == "MetaTensor":
            spacing = scene.extras["spacing_mm"]
            return replace(scene.given(spacing_mm=None), target=meta_tensor(scene.target, spacing))
        return scene


@contract("loss", excusable=False)
def crossed_forms_are_one_input(subject: LossSubject) -> str:
    """Labels of any dtype, in any container, layout, order of axes and backend are one input.

    Whatever other options they meet: a form that takes another path takes it with every option.
    """
    names = [name for name in backends() if _can(name)]
    whole = list(
        itertools.product(
            DTYPES, ("keywords", "mapping", "MetaTensor"), LAYOUTS, (False, True), ("", *names)
        )
    )
    draw = random.Random(0)
    turns = not {"axis_order_changes_nothing"} & set(subject.record.exempt)

    def attempt(crossing: Crossing, scene: Scene, expected: Answer) -> None:
        form = InputForm(*draw.choice(whole))
        form = replace(form, turned=form.turned and turns)
        if crossing.ignored and form.dtype == torch.int8:  # which holds no 255
            form = replace(form, dtype=torch.int16)
        loss = subject.build(**crossing.options(subject))
        with chosen(form.backend):
            value, gradient = value_and_gradient(loss, form.of(scene))
        if form.turned:
            gradient = gradient.permute(0, 1, 3, 4, 2)
            value = value.permute(0, 1, 3, 4, 2) if value.ndim == 5 else value
        demand_pair((value, gradient), expected, f"of {form}")

    return crossed(subject, attempt)


@contract("loss")
def crossed_samples_add_up(subject: LossSubject) -> str:
    """With ``reduction="sum"`` a batch is the sum of its samples, each seen alone."""
    if "samples_are_independent" in subject.record.exempt:
        return "it is exempt from samples_are_independent"

    def attempt(crossing: Crossing, scene: Scene, whole: Answer) -> None:
        loss = subject.build(**crossing.options(subject))
        alone = [value_and_gradient(loss, one) for one in scene.samples()]
        added = sum(value for value, _ in alone), torch.cat([slope for _, slope in alone])
        demand_pair(whole, (torch.as_tensor(added[0]), added[1]), "of the batch")

    return crossed(subject, attempt, batch=(False,), reduction=("sum",))


@contract("loss")
def any_number_of_axes(subject: LossSubject) -> None:
    """Voxels in a line or along four axes have the loss of the same voxels in a volume.

    For losses that need no geometry; others refuse what is neither an image nor a volume.
    """
    if not subject.takes_lists:
        raise ExemptError("it looks at where voxels lie, and takes no list of them")
    scene = subject.crossed[0].given(spacing_mm=None)
    expected = value_and_gradient(subject.build(), scene)
    count = scene.logits[0, 0].numel()
    for shape in ((count,), (2, count // 2), (2, 1, count // 2, 1)):
        other = scene.shaped(shape)
        value, gradient = value_and_gradient(subject.build(), other)
        demand_pair((value, gradient.view_as(expected[1])), expected, f"of {len(shape)} axes")


@contextmanager
def chosen(backend: str) -> Iterator[None]:
    """Sums by one backend, for a while."""
    before = os.environ.get(BACKEND)
    try:
        if backend:
            os.environ[BACKEND] = backend
        yield
    finally:
        os.environ.pop(BACKEND, None)
        if before is not None:
            os.environ[BACKEND] = before


def _can(backend: str) -> bool:
    """Whether a backend can sum on this machine's CPU."""
    try:
        with chosen(backend):
            chosen_backend(torch.zeros(1, 2, 2, 2, dtype=torch.float64))
    except ValueError:
        return False
    return True


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
