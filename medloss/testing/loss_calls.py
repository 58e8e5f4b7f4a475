"""What a loss is, and how it is called: a module that can be copied, and what it must refuse."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from medloss.testing.loss_subject import (
    LossSubject,
    demand_close,
    demand_same,
    value,
    value_and_gradient,
)
from medloss.testing.registry import ExemptError, contract, copies, demand, demand_refused
from medloss.testing.scenes import Scene, meta_tensor

WRONG_OPTIONS: dict[str, dict[str, Any]] = {
    "softmax": {"softmax": True, "sigmoid": True},
    "reduction": {"reduction": "avg"},
    "batch": {"batch": "galaxy"},
    "other_act": {"other_act": 3},
    "weight": {"weight": [-1.0, 1.0, 1.0]},
}


@contract("loss", excusable=False)
def module_without_parameters(subject: LossSubject) -> None:
    """A loss is a torch loss module, and has nothing to train.

    MONAI and torch tell losses by that class, and no optimiser is given the loss's parameters.
    """
    loss = subject.build()
    demand(isinstance(loss, _Loss), f"{type(loss).__name__} is no torch.nn.modules.loss._Loss")
    names = [name for name, _ in loss.named_parameters()]
    demand(not names, f"it has the parameters {', '.join(names)}")


@contract("loss", excusable=False)
def repr_tells_every_option(subject: LossSubject) -> None:
    """The repr names every option, so that a log says what was trained."""
    loss = subject.build()
    options = inspect.signature(type(loss)).parameters
    missing = [name for name in options if f"{name}=" not in repr(loss)]
    demand(not missing, f"it does not name {', '.join(missing)}")


@contract("loss", excusable=False)
def copies_and_pickles(subject: LossSubject) -> None:
    """Deep copies, pickles and a loaded state give the same loss, whatever its options.

    Losses are copied for deep supervision, pickled for worker processes and saved in checkpoints.
    """
    scene = subject.scene()
    weights = {"weight": [0.5 + c for c in range(subject.classes)]}
    variants: list[dict[str, Any]] = [{}, {"reduction": "sum"}, {"batch": True}, weights]
    for options in [*variants, {"ignore_index": 255}]:
        try:
            loss = subject.build(**options)
            expected = value(loss, scene)
        except ValueError:
            if options is not weights:
                raise
            continue  # a loss may have no use for class weights, if it says so
        loaded = subject.build(**options)
        loaded.load_state_dict(loss.state_dict())
        for name, other in {**copies(loss), "a loaded state": loaded}.items():
            demand(repr(other) == repr(loss), f"with {options} {name} is {other!r}, not {loss!r}")
            same = torch.equal(value(other, scene), expected)
            demand(same, f"with {options} {name} gives another value")


@contract("loss", excusable=False)
def wrong_options_are_refused(subject: LossSubject) -> None:
    """Options that contradict each other or mean nothing are refused by name, when building.

    A typo that is ignored costs a training run.
    """
    for name, options in WRONG_OPTIONS.items():
        demand_refused(
            functools.partial(subject.build, activation="", **options),
            name,
            f"{options} is refused without naming {name}",
            f"{options} is accepted",
        )


@contract("loss", excusable=False)
def mapping_equals_keywords(subject: LossSubject) -> None:
    """A mapping as target, in any order, means what the same words as keywords mean.

    A MONAI ``prepare_batch`` returns input and target, and has no other way to pass extras on.
    """
    scene = subject.scene()
    mask = torch.ones_like(scene.target, dtype=torch.bool)
    mask[..., 1] = False
    expected = value_and_gradient(subject.build(), scene.given(mask=mask))
    mapping = {"label": scene.target, "mask": mask, **scene.extras}
    for order in (mapping, dict(reversed(mapping.items()))):
        called = Scene(scene.logits, order)
        demand_same(subject.build(), called, expected, f"with a mapping of {', '.join(order)}")


@contract("loss", excusable=False)
def metatensors_are_understood(subject: LossSubject) -> None:
    """MetaTensors give a plain tensor, and their spacing is the one that counts."""
    scene = subject.scene()
    expected = value_and_gradient(subject.build(), scene)[0]
    input, target = meta_tensor(scene.logits), meta_tensor(scene.target)
    result = subject.build()(input, target, **scene.given(spacing_mm=None).extras)
    demand(type(result) is Tensor, f"the value is a {type(result).__name__}")
    demand_close(result, expected, "the value")


@contract("loss", excusable=False)
def wrong_input_is_refused(subject: LossSubject) -> None:
    """Shapes, labels and words that cannot be meant raise, and the error names the argument.

    Broadcasting and silent casts make a wrong shape a wrong number.
    """
    scene = subject.scene()
    for name, called, wrong in (*_wrong(scene, subject.activation), *_wrong_extras(scene)):
        demand_refused(
            functools.partial(value, subject.build(), called),
            name,
            f"a wrong {name} is refused without naming it",
            f"a wrong {name} is accepted: {', '.join(map(_told, wrong))}",
        )


@contract("loss", excusable=False)
def logits_without_activation_are_refused(subject: LossSubject) -> None:
    """Without an activation values outside [0, 1] are refused, and the error names softmax=True.

    A loss that takes logits by default says so by its ``default_activation``.
    """
    default = getattr(subject.target, "default_activation", "probabilities")
    if default != "probabilities":
        raise ExemptError(f"its default_activation is {default}")
    scene = subject.scene()
    demand_refused(
        functools.partial(value, subject.build(activation=""), scene),
        "softmax=True",
        "the error says",
        "logits are taken as probabilities",
    )


def _of_channels(scene: Scene, channels: int) -> dict[str, Any]:
    """The extras of the first channels, with a spacing that fits any number of axes."""
    extras = dict(scene.given(spacing_mm="voxel").extras)
    return {k: v[:, :channels] if isinstance(v, Tensor) else v for k, v in extras.items()}


Wrong = tuple[str, Scene, tuple[Any, ...]]
"""A word that the error must have, a call, and what is wrong in it."""


def _wrong(scene: Scene, activation: str) -> Iterator[Wrong]:
    z, y = scene.logits, scene.target
    wrong: list[tuple[str, Tensor, Any]] = [
        ("input", z.long(), y),
        ("input", z[:, :, 0, 0], y),
        ("target", z, y[:, 0, 0]),
        ("target", z, y[..., 1:]),
        ("target", z, y + 1),
        ("target", z, y - 1),
        ("target", z, y.float() + 0.5),
        ("target", z, y.numpy()),
        ("label", z, {"lable": y}),
        ("label", z, {"mask": y}),
    ]
    if activation == "softmax":
        wrong.append(("softmax", z[:, :1], y.clamp_max(1)))
    for name, input, target in wrong:
        extras = _of_channels(scene, input.shape[1])
        yield name, Scene(input, target, extras), (input, target)


def _wrong_extras(scene: Scene) -> Iterator[Wrong]:
    everywhere = torch.ones_like(scene.target)
    for name, wrong in (
        ("mask", everywhere[..., 1:]),
        ("mask", 2 * everywhere),
        ("present", [[1, 1]]),
        ("spacing_mm", (1.0, 2.0)),
        ("distance_map", scene.logits[..., 1:]),
    ):
        yield name, scene.given(**{name: wrong}), (wrong,)


def _told(argument: Any) -> str:
    if isinstance(argument, Tensor):
        return f"{argument.dtype} {list(argument.shape)}"
    return repr(argument)[:60]
