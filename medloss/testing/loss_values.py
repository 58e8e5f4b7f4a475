"""Values, gradients and derivatives: finite, right or refused, best where the prediction is."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.gradcheck import GradcheckError

from medloss.testing.loss_subject import (
    LossSubject,
    demand_close,
    demand_same,
    value,
    value_and_gradient,
)
from medloss.testing.registry import ContractError, contract, demand
from medloss.testing.scenes import SHAPE, Scene, make_scene

HUGE = 1e4
CERTAIN = 12.0
BEYOND_HALF = (48, 48, 48)
"""110592 voxels, two thirds of them background: float16 ends at 65504."""
STEP = 1e-5
Function = Callable[[Tensor], Tensor]


def corner_labels(classes: int) -> dict[str, Tensor]:
    """Targets at the edge of what occurs: (2, 1, *SHAPE) class indices."""
    last = max(classes - 1, 1)
    alike = (torch.arange(2 * torch.Size(SHAPE).numel()) % max(last, 1)).view(2, 1, *SHAPE)
    single = torch.zeros(2, 1, *SHAPE, dtype=torch.long)
    single[:, :, 2, 3, 1] = last
    return {
        "an empty target": torch.zeros_like(single),
        "a target full of the last class": torch.full_like(single, last),
        "a target without the last class": alike,
        "a target of a single voxel": single,
    }


@contract("loss", excusable=False)
def value_and_gradient_are_finite(subject: LossSubject) -> None:
    """Value and gradient are finite for empty, full and tiny targets and for logits of 10000.

    One NaN ends a training run; each of these comes up in patches of real volumes.
    """
    corners = corner_labels(subject.classes)
    for kind, labels in corners.items():
        for background in subject.backgrounds():
            loss = subject.build(include_background=background)
            for scale in (1.0, HUGE):
                scene = subject.scene(labels=labels, scale=scale)
                what = f"{kind}, logits of {scale:g} and include_background={background}"
                _demand_finite(*value_and_gradient(loss, scene), what)
    scene = subject.scene()
    for sign, word in ((1, "perfect"), (-1, "all wrong")):
        sure = Scene(sign * HUGE * (scene.one_hot() - 0.5), scene.target, scene.extras)
        what = f"an {word} and saturated prediction" if sign < 0 else "a perfect, saturated one"
        _demand_finite(*value_and_gradient(subject.build(), sure), what)


@contract("loss", excusable=False)
def half_precision_is_enough(subject: LossSubject) -> None:
    """Logits in float16 and bfloat16 give the value and gradient of float64, beyond 65504 voxels.

    Sums in half precision overflow on any real volume: Dice is then 1 without a gradient.
    """
    loss, scene = subject.build(), _large_scene(subject)
    for dtype in (torch.float16, torch.bfloat16):
        half = Scene(scene.logits.to(dtype), scene.target, scene.extras)
        result, gradient = value_and_gradient(loss, half)
        exact = Scene(half.logits.double(), scene.target, scene.extras)
        expected, expected_gradient = value_and_gradient(loss, exact)
        demand(result.dtype == torch.float32, f"for {dtype} the value is {result.dtype}")
        demand(gradient.dtype == dtype, f"for {dtype} the gradient is {gradient.dtype}")
        demand_close(result, expected, f"in {dtype} the value", rtol=1e-5, atol=1e-6)
        # stored in half precision, where numbers below 6e-8 do not exist
        rtol = 4 * torch.finfo(dtype).eps
        demand_close(gradient, expected_gradient, f"in {dtype} the gradient", rtol=rtol, atol=6e-8)


@contract("loss")
def gradient_is_the_derivative(subject: LossSubject) -> None:
    """The gradient is the derivative of the value, in float64, with each activation it takes."""
    for activation in ("softmax", "sigmoid"):
        if (activation == "softmax" and subject.classes == 1) or not subject.takes(activation):
            continue
        scene = subject.scene(batch=1, shape=(2, 2, 2), scale=1.0, dtype=torch.float64)
        if activation == "sigmoid":
            scene = Scene(scene.logits, scene.one_hot(), scene.extras)
        try:
            _gradcheck(subject.build(activation=activation), scene)
        except GradcheckError as error:
            first = str(error).strip().partition("\n")[0].rstrip(",")
            raise ContractError(f"with {activation} gradcheck says: {first}") from error


@contract("loss")
def perfect_is_best(subject: LossSubject) -> None:
    """A perfect prediction has a lower loss than an all-wrong one, and none is better.

    A term of the wrong sign trains towards the wrong answer.
    """
    loss, scene = subject.build(), subject.scene()
    perfect = 2 * CERTAIN * (scene.one_hot() - 0.5)
    best = float(value(loss, Scene(perfect, scene.target, scene.extras)))
    wrong = float(value(loss, Scene(-perfect, scene.target, scene.extras)))
    demand(best < wrong, f"the perfect one has {best:.8g} and the all-wrong one {wrong:.8g}")
    for seed in range(1, 6):
        noise = subject.scene(seed=seed, scale=20.0).logits
        other = float(value(loss, Scene(perfect + noise, scene.target, scene.extras)))
        demand(best <= other + 1e-6, f"the perfect one has {best:.8g}, another one {other:.8g}")


@contract("loss", excusable=False)
def same_again_and_nothing_touched(subject: LossSubject) -> None:
    """The same call gives the same value, and changes neither its inputs nor the random state."""
    loss, scene = subject.build(), subject.scene()
    before, state = (scene.logits.clone(), scene.target.clone()), torch.get_rng_state()
    first = value(loss, scene)
    demand(torch.equal(value(loss, scene), first), "the second call gave another value")
    demand(torch.equal(scene.logits, before[0]), "it changed its input")
    demand(torch.equal(scene.target, before[1]), "it changed its target")
    demand(torch.equal(torch.get_rng_state(), state), "it drew random numbers")


@contract("loss", excusable=False)
def targets_of_every_kind_agree(subject: LossSubject) -> None:
    """Integer, float and one-hot targets of any dtype give the same value and gradient.

    MONAI hands over float labels, some pipelines one-hot ones: none may mean another loss.
    """
    scene = subject.scene()
    expected = value_and_gradient(subject.build(), scene)
    dense = scene.one_hot()
    kinds = {
        "float labels": scene.target.float(),
        "uint8 labels": scene.target.to(torch.uint8),
        "a one-hot target": dense,
        "an int16 one-hot target": dense.to(torch.int16),
    }
    for kind, target in kinds.items():
        other = Scene(scene.logits, target, scene.extras)
        demand_same(subject.build(), other, expected, f"with {kind}")
    if subject.classes > 1:
        demand_same(subject.build(to_onehot_y=True), scene, expected, "with to_onehot_y=True")


def _gradcheck(loss: Any, scene: Scene) -> None:
    def of_logits(logits: Tensor) -> Tensor:
        return value(loss, Scene(logits, scene.target, scene.extras))

    torch.autograd.gradcheck(of_logits, (scene.logits.requires_grad_(),))


def _large_scene(subject: LossSubject) -> Scene:
    labels = make_scene(subject.classes, batch=1, shape=BEYOND_HALF).target
    labels[:, :, : BEYOND_HALF[0] // 2] = 0
    scene = subject.scene(batch=1, shape=BEYOND_HALF, labels=labels)
    scene.logits[:, 0] += 2
    return scene


def _demand_finite(result: Tensor, gradient: Tensor, what: str) -> None:
    demand(result.isfinite().all(), f"for {what} the value is {result.tolist()}")
    demand(gradient.isfinite().all(), f"for {what} the gradient is not finite")


@contract("loss")
def derivatives_are_right_or_refused(subject: LossSubject) -> str:
    """Forward mode, torch.func and second derivatives are right, or refused in words.

    A tangent that is lost on the way is 0, which looks like an optimum.
    """
    scene = subject.ready_scene(batch=1, shape=(2, 3, 2), scale=1.0, dtype=torch.float64)
    loss = subject.build()
    z = scene.logits
    generator = torch.Generator().manual_seed(3)
    direction = torch.randn(z.shape, generator=generator, dtype=z.dtype)

    def of(logits: Tensor) -> Tensor:
        return value(loss, Scene(logits, scene.target, scene.extras))

    def slope(logits: Tensor) -> Tensor:
        leaf = logits.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(of(leaf), leaf)
        return gradient

    gradient = slope(z)
    along = (gradient * direction).sum()
    bent = (slope(z + STEP * direction) - slope(z - STEP * direction)) / (2 * STEP)
    expected = {
        "gradient": gradient,
        "along": along,
        "bent": bent,
        "alike": torch.stack([gradient, gradient]),
        "doubled": torch.stack([gradient, 2 * gradient]),
    }
    refused = []
    for name, (wanted, derive) in _ways(of, z, direction).items():
        try:
            found = derive()
        except Exception as error:  # noqa: BLE001 torch says it in errors of many kinds
            refused.append(name)
            demand(str(error).strip(), f"{name} is refused without a word")
            continue
        if found is None:
            raise ContractError(f"{name} gives nothing")
        demand_close(found, expected[wanted], name, rtol=2e-3, atol=1e-6)
    return f"refused: {', '.join(refused)}" if refused else ""


@contract("loss", excusable=False)
def no_graph_stays_alive(subject: LossSubject) -> None:
    """When the value is gone so is the graph behind it, without a garbage collection.

    A loss that keeps a view of its last value keeps a network's activations until the next step.
    """
    scene, loss = subject.scene(), subject.build()
    was = gc.isenabled()
    gc.disable()
    try:
        leaf = scene.logits.clone().requires_grad_()
        hidden = leaf * 1
        alive = weakref.ref(hidden)
        result = loss(hidden, scene.target, **scene.extras)
        result.sum().backward()
        del result, hidden
        demand(alive() is None, "its input is still alive after the value is gone")
    finally:
        if was:
            gc.enable()


def _ways(of: Function, z: Tensor, direction: Tensor) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Every way to ask torch for a derivative of a loss at some logits, and what it is to give."""
    slope = torch.func.grad(of)

    def pulled() -> Any:
        value, pull, *_ = torch.func.vjp(of, z)
        return pull(torch.ones_like(value))[0]

    def dual() -> Any:
        ad: Any = forward_ad
        with ad.dual_level():
            return ad.unpack_dual(of(ad.make_dual(z.clone(), direction))).tangent

    def once(**how: Any) -> tuple[Tensor, Any]:
        leaf = z.clone().requires_grad_()
        return leaf, torch.autograd.grad(of(leaf), leaf, **how)[0]

    def twice() -> Any:
        leaf, first = once(create_graph=True)
        torch.autograd.backward((first * direction).sum())
        return leaf.grad

    def twice_by_grad() -> Any:
        leaf, first = once(create_graph=True)
        return torch.autograd.grad((first * direction).sum(), leaf)[0]

    def batched() -> Any:
        one = torch.ones_like(of(z))
        return once(grad_outputs=torch.stack([one, 2 * one]), is_grads_batched=True)[1]

    return {
        "torch.func.grad": ("gradient", lambda: slope(z)),
        "torch.func.vjp": ("gradient", pulled),
        "torch.func.jacrev": ("gradient", lambda: torch.func.jacrev(of)(z)),
        "torch.func.jvp": ("along", lambda: torch.func.jvp(of, (z,), (direction,))[1]),
        "torch.autograd.forward_ad": ("along", dual),
        "torch.func.jvp of torch.func.grad": (
            "bent",
            lambda: torch.func.jvp(slope, (z,), (direction,))[1],
        ),
        "a second backward": ("bent", twice),
        "torch.autograd.grad of the gradient": ("bent", twice_by_grad),
        "torch.func.vmap of torch.func.grad": (
            "alike",
            lambda: torch.func.vmap(slope)(torch.stack([z, z])),
        ),
        "is_grads_batched": ("doubled", batched),
    }
