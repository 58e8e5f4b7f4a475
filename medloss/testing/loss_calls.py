"""How a loss is called: mappings, MetaTensors, and what must be refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from medloss.testing.loss_subject import LossSubject, demand_close, demand_same, value_and_gradient
from medloss.testing.registry import (
    SPACING_MM,
    ContractError,
    ExemptError,
    contract,
    demand,
    load_monai,
)
from medloss.testing.scenes import Scene


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
    for name, input, target in _wrong(scene, subject.activation):
        try:
            subject.build()(input, target, **_of_channels(scene, input.shape[1]))
        except (ValueError, TypeError) as error:
            demand(name in str(error), f"a wrong {name} is refused without naming it: {error}")
        else:
            raise ContractError(f"a wrong {name} is accepted: {_told(input)}, {_told(target)}")
    for name, wrong in _wrong_extras(scene):
        try:
            subject.build()(scene.logits, scene.target, **scene.given(**{name: wrong}).extras)
        except (ValueError, TypeError) as error:
            demand(name in str(error), f"a wrong {name} is refused without naming it: {error}")
        else:
            raise ContractError(f"a wrong {name} is accepted: {_told(wrong)}")


@contract("loss", excusable=False)
def logits_without_activation_are_refused(subject: LossSubject) -> None:
    """Without an activation values outside [0, 1] are refused, and the error names softmax=True.

    A loss that takes logits by default says so by its ``default_activation``.
    """
    default = getattr(subject.target, "default_activation", "probabilities")
    if default != "probabilities":
        raise ExemptError(f"its default_activation is {default}")
    scene = subject.scene()
    try:
        subject.build(activation="")(scene.logits, scene.target, **scene.extras)
    except ValueError as error:
        demand("softmax=True" in str(error), f"the error says: {error}")
    else:
        raise ContractError("logits are taken as probabilities")


def meta_tensor(tensor: Tensor, spacing_mm: Sequence[float] = SPACING_MM) -> Any:
    """The tensor as MONAI's loader hands it over, with a spacing."""
    load_monai()
    from monai.data.meta_tensor import MetaTensor

    affine = torch.diag(torch.tensor([*spacing_mm, 1.0], dtype=torch.float64))
    return MetaTensor(tensor, affine=affine)


def _of_channels(scene: Scene, channels: int) -> dict[str, Any]:
    """The extras of the first channels, with a spacing that fits any number of axes."""
    extras = dict(scene.given(spacing_mm="voxel").extras)
    return {k: v[:, :channels] if isinstance(v, Tensor) else v for k, v in extras.items()}


def _wrong(scene: Scene, activation: str) -> Iterator[tuple[str, Any, Any]]:
    """A word that the error must have, and the input and target that are wrong."""
    z, y = scene.logits, scene.target
    yield "input", z.long(), y
    yield "input", z[:, :, 0, 0], y
    yield "target", z, y[:, 0]
    yield "target", z, y[..., 1:]
    yield "target", z, y + 1
    yield "target", z, y - 1
    yield "target", z, y.float() + 0.5
    yield "target", z, y.numpy()
    yield "label", z, {"lable": y}
    yield "label", z, {"mask": y}
    if activation == "softmax":
        yield "softmax", z[:, :1], y.clamp_max(1)


def _wrong_extras(scene: Scene) -> Iterator[tuple[str, Any]]:
    everywhere = torch.ones_like(scene.target)
    yield "mask", everywhere[..., 1:]
    yield "mask", 2 * everywhere
    yield "present", [[1, 1]]
    yield "spacing_mm", (1.0, 2.0)
    yield "distance_map", scene.logits[..., 1:]


def _told(argument: Any) -> str:
    if isinstance(argument, Tensor):
        return f"{argument.dtype} {list(argument.shape)}"
    return repr(argument)[:60]
