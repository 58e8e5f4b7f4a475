"""Crossings of options: drawn with a fixed seed, tried until the time is spent, and counted."""

from __future__ import annotations

import functools
import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from medloss.testing.loss_subject import Answer, LossSubject
from medloss.testing.registry import ContractError, ExemptError, demand
from medloss.testing.scenes import Scene

AT_LEAST = 32
"""Crossings that are tried however long they take; nearly every pair of values is among them."""

AT_MOST = 192
"""Crossings of one check."""

IGNORED = 255
Form = Literal["integer", "one_hot", "soft"]

_FACTORS: dict[str, tuple[Any, ...]] = {
    "activation": ("softmax", "softmax", "sigmoid", ""),
    "form": ("integer", "integer", "one_hot", "soft"),
    "mask": (None, "binary", "weights"),
    "ignored": (False, True),
    "present": (None, "alike", "each"),
    "weighted": (False, False, True),
    "include_background": (True, True, False),
    "batch": (False, True),
    "reduction": ("mean", "mean", "sum", "none"),
}
"""What options may be; a value that stands twice is drawn twice as often."""


@dataclass(frozen=True)
class Crossing:
    """One value of each option, and one form of the inputs.

    Args:
        activation: ``"softmax"``, ``"sigmoid"`` or ``""`` for probabilities.
        form: of the target.
        mask: none, of 0 and 1, or with weights between.
        ignored: whether some voxels have the label ``ignore_index``.
        present: none, the same classes in each sample, or other ones in each.
        weighted: whether classes have weights.
        include_background: the option.
        batch: the option.
        reduction: the option.
        parameters: of the loss itself, instead of its example's.
    """

    activation: str
    form: Form
    mask: str | None
    ignored: bool
    present: str | None
    weighted: bool
    include_background: bool
    batch: bool
    reduction: str
    parameters: Mapping[str, Any]

    def __str__(self) -> str:
        told = {**vars(self), **self.parameters}
        del told["parameters"]
        return ", ".join(f"{name}={value!r}" for name, value in told.items() if value is not None)

    def options(self, subject: LossSubject) -> dict[str, Any]:
        """Options for :meth:`LossSubject.build`."""
        chosen = {
            "activation": self.activation,
            "include_background": self.include_background,
            "batch": self.batch,
            "reduction": self.reduction,
            **self.parameters,
        }
        if self.ignored:
            chosen["ignore_index"] = IGNORED
        if self.weighted:
            counted = subject.classes - (not self.include_background)
            chosen["weight"] = [0.5 + c for c in range(counted)]
        return chosen

    def scene(self, subject: LossSubject) -> Scene:
        """A small scene in float64 with every map ready."""
        made, noise = subject.crossed
        classes = made.logits.shape[1]
        input, extras = made.logits, {}
        if self.activation == "":
            input = input.softmax(1) if classes > 1 else input.sigmoid()
        target = made.target if self.form == "integer" else made.one_hot()
        if self.form == "soft":
            target = 0.8 * target + 0.2 / max(classes, 2)
        if self.ignored:
            target = torch.where(noise < 0.2, IGNORED if target.shape[1] == 1 else 0, target)
        if self.mask is not None:
            kept = (noise > 0.4).double()
            extras["mask"] = kept if self.mask == "binary" else kept * noise
        if self.present is not None:
            extras["present"] = torch.ones(2, classes, dtype=torch.bool)
            extras["present"][0 if self.present == "each" else slice(None), -1] = False
        return Scene(input, target, made.extras).given(**extras)


def crossed(
    subject: LossSubject,
    attempt: Callable[[Crossing, Scene, Answer], bool | None],
    only: Callable[[Crossing], bool] = lambda crossing: True,
    **fixed: tuple[Any, ...],
) -> str:
    """Try crossings of options until the subject's time is spent, and say how many there were.

    Args:
        subject: the loss, and how many seconds there are.
        attempt: takes a crossing, its scene, and value and gradient there; raises where something
            is wrong, and returns False where it does not apply.
        only: which crossings are meant.
        fixed: factors with fewer values than they could have.

    Raises:
        ContractError: a crossing failed, or the loss refused every one.
    """
    chosen = _crossings(subject, fixed)
    end = time.perf_counter() + subject.seconds
    applied = asked = 0
    for crossing in chosen:
        if applied >= AT_MOST or (applied >= AT_LEAST and time.perf_counter() > end):
            break
        asked += 1
        try:
            if not only(crossing):
                continue
            scene = crossing.scene(subject)
            answer = subject.answer(scene, **crossing.options(subject))
            applied += answer is not None and attempt(crossing, scene, answer) is not False
        except ExemptError:
            raise
        except Exception as error:  # a plugin may raise anything
            came = str(error) if isinstance(error, ContractError) else f"it raised {error!r}"
            raise ContractError(f"with {crossing}: {came}") from error
    demand(applied > 0, f"it refuses every one of {asked} crossings of its options")
    return f"{applied} crossings, {asked - applied} refused"


def _crossings(subject: LossSubject, fixed: Mapping[str, tuple[Any, ...]]) -> Iterator[Crossing]:
    """Crossings of the options that a loss has, in an order that is random and always the same.

    Numbers and choices among the loss's own options are varied too.
    """
    factors = {**_FACTORS, **fixed}
    if subject.classes == 1:
        narrow: dict[str, tuple[Any, ...]] = {"form": ("integer",), "include_background": (True,)}
        factors |= narrow | {"present": (None,), "weighted": (False,)}
        factors["activation"] = tuple(a for a in factors["activation"] if a != "softmax")
    # The example's parameters as often as all others together.
    others = list(subject.variants) or [{}]
    parameters: list[dict[str, Any]] = [{}] * len(others) + others
    whole, state = _shuffled(*factors.values())
    draw = random.Random()
    draw.setstate(state)
    named = (dict(zip(factors, values, strict=True)) for values in whole)
    return (Crossing(**each, parameters=draw.choice(parameters)) for each in named)


@functools.cache  # the same for every loss
def _shuffled(*factors: tuple[Any, ...]) -> tuple[list[tuple[Any, ...]], Any]:
    """Every combination in random order, and the state of what drew it."""
    draw = random.Random(0)
    whole = list(itertools.product(*factors))
    draw.shuffle(whole)
    return whole, draw.getstate()


def rows(tensor: Tensor) -> Tensor:
    """(B, C, *spatial) as (C, voxels), the samples one after the other."""
    return tensor.transpose(0, 1).flatten(1)
