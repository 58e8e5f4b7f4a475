"""A loss inside ``compound``: the weighted sum of its terms, in any company."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import torch

from medloss.base import SegmentationLoss
from medloss.offers.host import host
from medloss.testing.crossing import Answer, variants
from medloss.testing.loss_crossings import demand_pair
from medloss.testing.loss_subject import LossSubject, value_and_gradient
from medloss.testing.registry import ExemptError, contract
from medloss.testing.scenes import Scene

WEIGHTS = (0.7, 1.9)
COMPANIONS = ("dice", "cross_entropy", "focal", "noise_robust_dice", "dice_focal", "boundary")
"""Losses that share class sums with others under one name and different parameters."""


@contract("loss", excusable=False)
def compounds_add_up(subject: LossSubject) -> str:
    """In compound, in either order and nested, value and gradient are those of the weighted sum.

    Beside itself with other parameters and beside losses that ask for sums of the same name: terms
    share one pass over the voxels, and each must get its own sums.
    """
    if not issubclass(subject.target, SegmentationLoss):
        raise ExemptError("a loss that brings its own activation shares no pass")
    scene = subject.crossed[0]
    own = [{}, *variants(subject)]
    chosen = random.Random(0).sample(own, min(len(own), 3))
    pairs = 0
    for options in chosen:
        first = _term(subject, options, scene)
        for second in _companions(subject, own, scene):
            _demand_sum(subject, scene, [first, second])
            _demand_sum(subject, scene, [second, first])
            pairs += 2
    _demand_nested(subject, scene)
    return f"{pairs} pairs"


def _demand_nested(subject: LossSubject, scene: Scene) -> None:
    """A compound inside a compound, with the loss in both."""
    alone = _term(subject, {}, scene)[1]
    for other, answer in _companions(subject, variants(subject), scene):
        inner = _compound(subject, [subject.build(), other])
        expected = _weighted([alone, answer])
        outer = _compound(subject, [inner, subject.build()])
        demand_pair(value_and_gradient(outer, scene), _weighted([expected, alone]), "nested")


Term = tuple[Any, Answer]
"""A loss, and its value and gradient alone."""


def _term(subject: LossSubject, options: dict[str, Any], scene: Scene) -> Term:
    loss = subject.build(**options)
    return loss, value_and_gradient(loss, scene)


def _companions(subject: LossSubject, own: list[dict[str, Any]], scene: Scene) -> Iterator[Term]:
    yield from (_term(subject, options, scene) for options in own[:3])
    activation = {subject.activation: True}
    for name in COMPANIONS:
        found = [offer for offer in host().losses if offer.record.name == name]
        for offer in found[:1]:
            loss = offer.load()(**activation)
            try:
                yield loss, value_and_gradient(loss, scene)
            except ValueError:  # for another number of classes
                continue


def _demand_sum(subject: LossSubject, scene: Scene, terms: list[Term]) -> None:
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
