"""Options crossed with each other, and losses in compound: each means what it means alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from medloss.base import SegmentationLoss
from medloss.offers.host import host
from medloss.testing.crossing import IGNORED, Crossing, crossed, rows
from medloss.testing.loss_subject import Answer, LossSubject, demand_pair, value_and_gradient
from medloss.testing.registry import ExemptError, contract
from medloss.testing.scenes import Scene
from medloss.testing.voxel_lists import slow_value

WEIGHTS = (0.7, 1.9)
COMPANIONS = ("dice", "cross_entropy", "focal", "noise_robust_dice", "dice_focal", "boundary")
"""Losses that share class sums with others under one name and different parameters."""

Companion = tuple[Any, Answer]
"""A loss, and its value and gradient alone."""


@contract("loss", excusable=False)
def crossed_targets_agree(subject: LossSubject) -> str:
    """Integer and one-hot labels are one target, whatever other options they meet.

    A denominator that counts other voxels than its numerator differs between the two. Means with
    weights are left out: torch divides them by weights for the one and by voxels for the other.
    """
    if subject.classes == 1:
        raise ExemptError("a single class is its own one-hot label")

    def attempt(crossing: Crossing, _: Scene, expected: Answer) -> bool:
        dense = replace(crossing, form="one_hot")
        found = subject.answer(dense.scene(subject), **dense.options(subject))
        if found is not None:
            demand_pair(found, expected, "of one-hot labels")
        return found is not None

    def comparable(crossing: Crossing) -> bool:
        return crossing.reduction == "sum" or not crossing.weighted

    return crossed(subject, attempt, comparable, form=("integer",))


@contract("loss", excusable=False)
def crossed_ignored_labels_are_a_mask(subject: LossSubject) -> str:
    """Voxels with the label ``ignore_index`` are masked ones, whatever other options they meet.

    Beside a mask of weights, with classes that are not annotated, in every reduction.
    """

    def attempt(crossing: Crossing, scene: Scene, expected: Answer) -> None:
        loss = subject.build(**replace(crossing, ignored=False).options(subject))
        found = value_and_gradient(loss, _masked(scene))
        demand_pair(found, expected, "with a mask instead of ignore_index")

    return crossed(subject, attempt, ignored=(True,))


@contract("loss")
def crossed_masks_equal_voxel_lists(subject: LossSubject) -> str:
    """What is masked or ignored may be cut out of the image, and pooled samples are one sample.

    With ``batch=True`` the value is that of the list of voxels which count, for classes that are
    annotated in all samples.
    """
    if not subject.takes_lists:
        raise ExemptError("it looks at where voxels lie, and takes no list of them")

    def attempt(crossing: Crossing, scene: Scene, answer: Answer) -> None:
        kept, listed = _listed(_masked(scene) if crossing.ignored else scene)
        loss = subject.build(**replace(crossing, ignored=False).options(subject))
        expected, of_list = value_and_gradient(loss, listed)
        found = answer[0], rows(answer[1])[:, kept]
        demand_pair(found, (expected, of_list[0, :, :, 0, 0]), "of the image")

    return crossed(
        subject,
        attempt,
        batch=(True,),
        mask=("binary", None),
        present=(None, "alike"),
        reduction=("mean", "sum"),
    )


@contract("loss")
def crossed_classes_may_be_left_out(subject: LossSubject) -> str:
    """A class that no sample has annotated might as well not be there, beside any other option.

    Seen with sigmoid, where classes do not share a softmax, and with a target for each class.
    """
    if subject.classes < 3 or not subject.takes("sigmoid"):
        raise ExemptError("it takes no three classes with sigmoid")
    last = subject.classes - 1

    def attempt(crossing: Crossing, scene: Scene, answer: Answer) -> bool:
        options = crossing.options(subject)
        if crossing.weighted:
            options["weight"] = options["weight"][:-1]
        try:
            fewer = value_and_gradient(subject.build(**options), _fewer(scene, last))
        except ValueError:  # options for one number of classes
            return False
        demand_pair((answer[0], answer[1][:, :last]), fewer, "of all classes")
        return True

    return crossed(
        subject,
        attempt,
        activation=("sigmoid",),
        form=("one_hot", "soft"),
        present=("alike",),
        ignored=(False,),
        reduction=("mean", "sum"),
    )


@contract("loss", excusable=False)
def crossings_equal_the_slow_formula(subject: LossSubject) -> str:
    """Crossed options give what a slow formula on lists of voxels gives, value and gradient.

    For losses on class sums whose reduction is the shared one; written once, in float64, without
    the engine.
    """

    def attempt(crossing: Crossing, scene: Scene, answer: Answer) -> None:
        loss = subject.build(**crossing.options(subject))
        leaf = scene.logits.clone().requires_grad_()
        expected = slow_value(loss, Scene(leaf, scene.target, scene.extras))
        (gradient,) = torch.autograd.grad(expected.sum(), leaf)
        demand_pair(answer, (expected.detach(), gradient), "of the engine")

    return crossed(subject, attempt)


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


@contract("loss", excusable=False)
def compounds_add_up(subject: LossSubject) -> str:
    """In compound, in either order and nested, value and gradient are those of the weighted sum.

    Beside itself with other parameters and beside losses that ask for sums of the same name: terms
    share one pass over the voxels, and each must get its own sums.
    """
    if not issubclass(subject.target, SegmentationLoss):
        raise ExemptError("a loss that brings its own activation shares no pass")
    scene = subject.crossed[0]
    own = [{}, *subject.variants]
    alike = [_term(subject, options, scene) for options in own[:4]]
    others = [*_companions(subject, scene)]
    chosen = random.Random(0).sample(own, min(len(own), 3))
    pairs = 0
    for options in chosen:
        first = _term(subject, options, scene)
        for second in (*alike[:3], *others):
            _demand_sum(subject, scene, [first, second])
            _demand_sum(subject, scene, [second, first])
            pairs += 2
    _demand_nested(subject, scene, alike[0][1], [*alike[1:], *others])
    return f"{pairs} pairs"


def _demand_nested(
    subject: LossSubject, scene: Scene, alone: Answer, companions: list[Companion]
) -> None:
    """A compound inside a compound, with the loss in both."""
    for other, answer in companions:
        inner = _compound(subject, [subject.build(), other])
        expected = _weighted([alone, answer])
        outer = _compound(subject, [inner, subject.build()])
        demand_pair(value_and_gradient(outer, scene), _weighted([expected, alone]), "nested")


def _term(subject: LossSubject, options: dict[str, Any], scene: Scene) -> Companion:
    loss = subject.build(**options)
    return loss, value_and_gradient(loss, scene)


def _companions(subject: LossSubject, scene: Scene) -> Iterator[Companion]:
    activation = {subject.activation: True}
    for name in COMPANIONS:
        found = [offer for offer in host().losses if offer.record.name == name]
        for offer in found[:1]:
            loss = offer.load()(**activation)
            try:
                yield loss, value_and_gradient(loss, scene)
            except ValueError:  # for another number of classes
                continue


def _demand_sum(subject: LossSubject, scene: Scene, terms: list[Companion]) -> None:
    loss = _compound(subject, [term for term, _ in terms])
    expected = _weighted([alone for _, alone in terms])
    names = " and ".join(repr(term) for term, _ in terms)
    demand_pair(value_and_gradient(loss, scene), expected, f"of {names} together")


def _compound(subject: LossSubject, terms: list[Any]) -> Any:
    activation = {subject.activation: True}
    return host().losses.find("compound").load()(terms=terms, weights=list(WEIGHTS), **activation)


def _weighted(answers: list[Answer]) -> Answer:
    values, gradients = zip(*answers, strict=True)
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    value = sum(w * v for w, v in zip(weights, values, strict=True))
    slope = sum(w * g for w, g in zip(weights, gradients, strict=True))
    return torch.as_tensor(value), torch.as_tensor(slope)
