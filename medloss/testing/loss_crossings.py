"""Options crossed with each other: what each means alone it means beside all the others."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from medloss.testing.crossing import (
    IGNORED,
    Answer,
    Crossing,
    answered,
    crossings,
    rows,
    tried,
)
from medloss.testing.loss_subject import LossSubject, demand_close, value_and_gradient
from medloss.testing.registry import ExemptError, contract
from medloss.testing.scenes import Scene
from medloss.testing.voxel_lists import slow_value


@contract("loss", excusable=False)
def crossed_targets_agree(subject: LossSubject) -> str:
    """Integer and one-hot labels are one target, whatever other options they meet.

    A denominator that counts other voxels than its numerator differs between the two. Means with
    weights are left out: torch divides them by weights for the one and by voxels for the other.
    """
    if subject.classes == 1:
        raise ExemptError("a single class is its own one-hot label")

    def attempt(crossing: Crossing) -> bool:
        if crossing.weighted and crossing.reduction != "sum":
            return False
        dense = replace(crossing, form="one_hot")
        expected, found = (answered(subject, c, c.scene(subject)) for c in (crossing, dense))
        if expected is None or found is None:
            return False
        demand_pair(found, expected, "of one-hot labels")
        return True

    return tried(subject, crossings(subject, fixed={"form": ("integer",)}), attempt)


@contract("loss", excusable=False)
def crossed_ignored_labels_are_a_mask(subject: LossSubject) -> str:
    """Voxels with the label ``ignore_index`` are masked ones, whatever other options they meet.

    Beside a mask of weights, with classes that are not annotated, in every reduction.
    """

    def attempt(crossing: Crossing) -> bool:
        scene = crossing.scene(subject)
        expected = answered(subject, crossing, scene)
        if expected is None:
            return False
        loss = subject.build(**replace(crossing, ignored=False).options(subject))
        found = value_and_gradient(loss, _masked(scene))
        demand_pair(found, expected, "with a mask instead of ignore_index")
        return True

    return tried(subject, crossings(subject, fixed={"ignored": (True,)}), attempt)


@contract("loss")
def crossed_masks_equal_voxel_lists(subject: LossSubject) -> str:
    """What is masked or ignored may be cut out of the image, and pooled samples are one sample.

    With ``batch=True`` the value is that of the list of voxels which count, for classes that are
    annotated in all samples.
    """
    if not subject.takes_lists:
        raise ExemptError("it looks at where voxels lie, and takes no list of them")

    def attempt(crossing: Crossing) -> bool:
        scene = crossing.scene(subject)
        answer = answered(subject, crossing, scene)
        if answer is None:
            return False
        kept, listed = _listed(_masked(scene) if crossing.ignored else scene)
        loss = subject.build(**replace(crossing, ignored=False).options(subject))
        expected, of_list = value_and_gradient(loss, listed)
        found = answer[0], rows(answer[1])[:, kept]
        demand_pair(found, (expected, of_list[0, :, :, 0, 0]), "of the image")
        return True

    fixed = {
        "batch": (True,),
        "mask": ("binary", None),
        "present": (None, "alike"),
        "reduction": ("mean", "sum"),
    }
    return tried(subject, crossings(subject, fixed=fixed), attempt)


@contract("loss")
def crossed_classes_may_be_left_out(subject: LossSubject) -> str:
    """A class that no sample has annotated might as well not be there, beside any other option.

    Seen with sigmoid, where classes do not share a softmax, and with a target for each class.
    """
    if subject.classes < 3 or not subject.takes("sigmoid"):
        raise ExemptError("it takes no three classes with sigmoid")
    last = subject.classes - 1

    def attempt(crossing: Crossing) -> bool:
        scene = crossing.scene(subject)
        answer = answered(subject, crossing, scene)
        options = crossing.options(subject)
        if crossing.weighted:
            options["weight"] = options["weight"][:-1]
        try:
            fewer = value_and_gradient(subject.build(**options), _fewer(scene, last))
        except ValueError:  # options for one number of classes
            return False
        if answer is None:
            return False
        demand_pair((answer[0], answer[1][:, :last]), fewer, "of all classes")
        return True

    fixed = {
        "activation": ("sigmoid",),
        "form": ("one_hot", "soft"),
        "present": ("alike",),
        "ignored": (False,),
        "reduction": ("mean", "sum"),
    }
    return tried(subject, crossings(subject, fixed=fixed), attempt)


@contract("loss", excusable=False)
def crossings_equal_the_slow_formula(subject: LossSubject) -> str:
    """Crossed options give what a slow formula on lists of voxels gives, value and gradient.

    For losses on class sums whose reduction is the shared one; written once, in float64, without
    the engine.
    """

    def attempt(crossing: Crossing) -> bool:
        scene = crossing.scene(subject)
        answer = answered(subject, crossing, scene)
        if answer is None:
            return False
        loss = subject.build(**crossing.options(subject))
        leaf = scene.logits.clone().requires_grad_()
        expected = slow_value(loss, Scene(leaf, scene.target, scene.extras))
        (gradient,) = torch.autograd.grad(expected.sum(), leaf)
        demand_pair(answer, (expected.detach(), gradient), "of the engine")
        return True

    return tried(subject, crossings(subject, fixed={}), attempt)


def demand_pair(found: Answer, expected: Answer, when: str) -> None:
    """Raise unless value and gradient agree to nearly the last digit of float64."""
    demand_close(found[0], expected[0], f"the value {when}", rtol=1e-6)
    demand_close(found[1], expected[1], f"the gradient {when}", rtol=1e-6)


def _masked(scene: Scene) -> Scene:
    """The same with what is ignored as a part of the mask, and valid labels there."""
    target = scene.target
    if target.shape[1] == 1:
        counts = target != IGNORED
        target = torch.where(counts, target, 0)
    else:
        counts = (target > 0).any(1, keepdim=True)
        first = torch.zeros_like(target)
        first[:, 0] = 1
        target = torch.where(counts, target, first)
    mask = scene.extras.get("mask", torch.ones(counts.shape, dtype=torch.float64))
    return Scene(scene.logits, target, scene.extras).given(mask=mask * counts)


def _listed(scene: Scene) -> tuple[Tensor, Scene]:
    """Which voxels of all samples count, and they as one sample that is a line of voxels."""
    mask = scene.extras.get("mask")
    kept = torch.ones(scene.target[:, 0].numel(), dtype=torch.bool)
    if mask is not None:
        kept = mask.flatten() > 0

    def line(tensor: Tensor) -> Tensor:
        if tensor.ndim == 2:  # present, alike in all samples
            return tensor[:1]
        return rows(tensor)[:, kept][None, :, :, None, None]

    return kept, scene.given(mask=None).moved(line)


def _fewer(scene: Scene, classes: int) -> Scene:
    def cut(tensor: Tensor) -> Tensor:
        return tensor[:, :classes] if tensor.shape[1] > 1 else tensor

    extras = {k: v for k, v in scene.extras.items() if k not in ("present", "mask", "components")}
    kept = {k: scene.extras[k] for k in ("mask", "components") if k in scene.extras}
    return Scene(scene.logits, scene.target, extras).moved(cut).given(**kept)
