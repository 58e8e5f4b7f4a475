"""One input in all its forms: dtypes, containers, layouts, axes, backends, crossed with options."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medloss.sums import backends, chosen_backend
from medloss.testing.crossing import Answer, Crossing, answered, crossings, tried
from medloss.testing.loss_calls import meta_tensor
from medloss.testing.loss_crossings import demand_pair
from medloss.testing.loss_subject import LossSubject, value_and_gradient
from medloss.testing.registry import ExemptError, contract
from medloss.testing.scenes import Scene

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

    def attempt(crossing: Crossing) -> bool:
        form = InputForm(*draw.choice(whole))
        form = replace(form, turned=form.turned and turns)
        scene = crossing.scene(subject)
        if crossing.ignored and form.dtype == torch.int8:  # which holds no 255
            form = replace(form, dtype=torch.int16)
        expected = answered(subject, crossing, scene)
        if expected is None:
            return False
        loss = subject.build(**crossing.options(subject))
        with chosen(form.backend):
            value, gradient = value_and_gradient(loss, form.of(scene))
        if form.turned:
            gradient = gradient.permute(0, 1, 3, 4, 2)
            value = value.permute(0, 1, 3, 4, 2) if value.ndim == 5 else value
        demand_pair((value, gradient), expected, f"of {form}")
        return True

    return tried(subject, crossings(subject, fixed={}), attempt)


@contract("loss")
def crossed_samples_add_up(subject: LossSubject) -> str:
    """With ``reduction="sum"`` a batch is the sum of its samples, each seen alone."""
    if "samples_are_independent" in subject.record.exempt:
        return "it is exempt from samples_are_independent"

    def attempt(crossing: Crossing) -> bool:
        scene = crossing.scene(subject)
        whole = answered(subject, crossing, scene)
        if whole is None:
            return False
        loss = subject.build(**crossing.options(subject))
        alone: list[Answer] = []
        for b in range(2):
            one = scene.moved(lambda t, b=b: t[b : b + 1])  # type: ignore[misc]
            alone.append(value_and_gradient(loss, one))
        added = sum(value for value, _ in alone), torch.cat([slope for _, slope in alone])
        demand_pair(whole, (torch.as_tensor(added[0]), added[1]), "of the batch")
        return True

    fixed = {"batch": (False,), "reduction": ("sum",)}
    return tried(subject, crossings(subject, fixed=fixed), attempt)


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
        other = scene.images(lambda t, s=shape: t.reshape(*t.shape[:2], *s))  # type: ignore[misc]
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
