"""A loss under test: how to build it, what to call it with, and how results are compared."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cached_property
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from medloss.base import SegmentationLoss
from medloss.offers.host import Offer
from medloss.offers.records import Loss
from medloss.testing.registry import ContractError, ContractSubject, demand
from medloss.testing.scenes import Scene, make_scene, ready_maps

ACTIVATIONS = ("softmax", "sigmoid", "other_act", "use_softmax")
BASE_OPTIONS = {field.name for field in fields(SegmentationLoss)}
SET_BY_CHECKS = ("reduction", "batch", "ignore_index", "to_onehot_y")
"""Options of every loss that the checks choose themselves, whatever the example says."""

CROSSED_SHAPE = (3, 4, 2)
SECONDS = 2.0
"""For each check that crosses options, unless somebody says otherwise."""

CLASSES = (3, 2, 4, 5, 6, 7, 8, 1)
"""Numbers of classes, in the order in which they are tried: options may fit only one number."""

Answer = tuple[Tensor, Tensor]
"""Value and gradient."""


class LossSubject(ContractSubject[Loss]):
    """A loss that is held to the contract.

    Args:
        offer: the loss.
        options: of the class, beside those of the record's example and instead of them.
        seconds: for each check that crosses options.
    """

    def __init__(
        self, offer: Offer[Loss], options: Mapping[str, Any], seconds: float = SECONDS
    ) -> None:
        super().__init__(offer, options)
        self.seconds = seconds
        self.activation = "sigmoid" if self.options.get("sigmoid") else "softmax"
        for name in ACTIVATIONS + SET_BY_CHECKS:
            self.options.pop(name, None)

    def build(self, *, activation: str | None = None, **options: Any) -> Any:
        """The loss with the example's options.

        Args:
            activation: ``"softmax"``, ``"sigmoid"`` or ``""`` for none; the example's by default.
            options: instead of the example's.
        """
        name = self.activation if activation is None else activation
        chosen = {name: True} if name else {}
        return self.target(**{**self.options, **chosen, **options})

    @cached_property
    def classes(self) -> int:
        """The first number of classes that the loss takes with the example's options.

        Raises:
            ContractError: it takes none.
        """
        first = None
        for classes in CLASSES:
            try:
                value(self.build(), self._filled(make_scene(classes)))
            except (ValueError, TypeError, RuntimeError) as error:
                first = first or error
            else:
                return classes
        raise ContractError(
            f"with the options of its example it takes no number of classes from 1 to 8, "
            f"for 3 it raised {type(first).__name__}: {first}"
        )

    def scene(
        self, *, classes: int | None = None, labels: Tensor | None = None, **how: Any
    ) -> Scene:
        """A small scene with what the loss cannot do without.

        Args:
            classes: of another number of classes than :attr:`classes`.
            labels: instead of the scene's.
            how: passed to :func:`make_scene`.
        """
        scene = make_scene(self.classes if classes is None else classes, **how)
        if labels is not None:
            scene = Scene(scene.logits, labels, scene.extras)
        return self._filled(scene)

    def ready_scene(self, **how: Any) -> Scene:
        """A scene with every map ready, so that the loss need not make one from the labels."""
        scene = self.scene(**how)
        return scene.given(**ready_maps(scene))

    @cached_property
    def crossed(self) -> tuple[Scene, Tensor]:
        """A small scene in float64 with every map ready, and noise (B, 1, *spatial) in [0, 1)."""
        scene = self.ready_scene(shape=CROSSED_SHAPE, dtype=torch.float64)
        generator = torch.Generator().manual_seed(1)
        return scene, torch.rand(scene.target.shape, generator=generator, dtype=torch.float64)

    @cached_property
    def variants(self) -> tuple[dict[str, Any], ...]:
        """Options of the loss's own, each with another value than it has, as far as they build."""
        hints = get_type_hints(self.target)
        found = []
        for name, parameter in inspect.signature(self.target).parameters.items():
            if name in BASE_OPTIONS or name in ACTIVATIONS or name.startswith("_"):
                continue
            default = self.options.get(name, parameter.default)
            for value in _others(default, hints.get(name)):
                if self.answer(self.crossed[0], **{name: value}) is not None:
                    found.append({name: value})
        return tuple(found)

    def answer(self, scene: Scene, **options: Any) -> Answer | None:
        """Value and gradient of a scene, or None where the loss refuses it in words."""
        try:
            return value_and_gradient(self.build(**options), scene)
        except (ValueError, TypeError):
            return None

    @cached_property
    def takes_lists(self) -> bool:
        """Whether the loss takes voxels that lie nowhere, (B, C, N): it needs no geometry."""
        scene = self.crossed[0].shaped((-1,)).given(spacing_mm=None)
        try:
            value(self.build(), scene)
        except ValueError as error:
            demand("input" in str(error), f"it refuses (B, C, N) without naming input: {error}")
            return False
        return True

    def takes(self, activation: str) -> bool:
        """Whether the loss takes this activation; a loss for exclusive classes may refuse sigmoid.

        Raises:
            ContractError: it refuses in another way than by a ValueError.
        """
        scene = self.scene()
        try:
            loss = self.build(activation=activation)
            value(loss, Scene(scene.logits, scene.one_hot(), scene.extras))
        except ValueError as error:
            named = activation in str(error)
            demand(named, f"it refuses {activation}=True without naming it: {error}")
            return False
        return True

    def backgrounds(self) -> Iterator[bool]:
        """Values of ``include_background`` that the example's options allow."""
        yield True
        if self.classes == 1:  # of which none is the background
            return
        try:
            value(self.build(include_background=False), self.scene())
        except ValueError:  # one weight for each of the classes
            return
        yield False

    def _filled(self, scene: Scene) -> Scene:
        if not self.record.needs:
            return scene
        maps = ready_maps(scene)
        return scene.given(**{name: maps[name] for name in self.record.needs})


def value(loss: Any, scene: Scene) -> Tensor:
    """The loss of a scene."""
    result: Tensor = loss(scene.logits, scene.target, **scene.extras)
    return result


def value_and_gradient(loss: Any, scene: Scene) -> Answer:
    """The loss of a scene and the gradient of its sum on the logits.

    Raises:
        ContractError: no gradient reaches the logits.
    """
    leaf = scene.logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    result = loss(leaf, scene.target, **scene.extras)
    demand(isinstance(result, Tensor), f"the loss returned a {type(result).__name__}, no tensor")
    demand(result.requires_grad, "the value is cut off from the input: it has no gradient")
    result.sum().backward()
    if leaf.grad is None:
        raise ContractError("no gradient reached the input")
    return result.detach(), leaf.grad


def demand_close(
    got: Tensor, expected: Tensor, what: str, *, rtol: float = 1e-4, atol: float = 1e-7
) -> None:
    """Raise unless two tensors agree, up to rounding on the scale of the larger one.

    Args:
        got: what came.
        expected: what was demanded.
        what: subject of the sentence, for example ``"the gradient"``.
        rtol: of the largest absolute value expected.
        atol: added to it.

    Raises:
        ContractError: other shapes, or values farther apart.
    """
    demand(
        got.shape == expected.shape,
        f"{what} has the shape {list(got.shape)}, expected {list(expected.shape)}",
    )
    if not got.numel():
        return
    got, expected = got.double(), expected.double()
    error, scale = float((got - expected).abs().max()), float(expected.abs().max())
    good = error <= rtol * scale + atol
    if got.ndim == 0:
        demand(good, f"{what} is {float(got):.8g}, expected {float(expected):.8g}")
    demand(good, f"{what} differs by up to {error:.3g}, where the largest value is {scale:.3g}")


def demand_same(loss: Any, scene: Scene, expected: Answer, when: str) -> None:
    """Raise unless value and gradient of a scene are the expected ones.

    Raises:
        ContractError: they are not; ``when`` begins the sentence.
    """
    result, gradient = value_and_gradient(loss, scene)
    demand_close(result, expected[0], f"{when} the value")
    demand_close(gradient, expected[1], f"{when} the gradient")


def demand_pair(found: Answer, expected: Answer, when: str) -> None:
    """Raise unless value and gradient agree to nearly the last digit of float64."""
    demand_close(found[0], expected[0], f"the value {when}", rtol=1e-6)
    demand_close(found[1], expected[1], f"the gradient {when}", rtol=1e-6)


def _others(value: Any, hint: Any) -> Iterator[Any]:
    if value is inspect.Parameter.empty or value is MISSING:
        return
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (type(value)(other) for other in (2 * value + 1, value / 2) if other != value)
    for kind in (hint, *get_args(hint)):
        if get_origin(kind) is Literal:
            yield from (choice for choice in get_args(kind) if choice != value)
