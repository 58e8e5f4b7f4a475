"""Derivatives of every kind: right, or refused in words; and nothing that keeps a graph alive."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from medloss.testing.loss_subject import LossSubject, demand_close, value
from medloss.testing.registry import ContractError, contract, demand
from medloss.testing.scenes import Scene

STEP = 1e-5
Function = Callable[[Tensor], Tensor]


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
    expected: dict[str, tuple[Callable[[Function, Tensor, Tensor], Any], Tensor]] = {
        "torch.func.grad": (_func_grad, gradient),
        "torch.func.vjp": (_func_vjp, gradient),
        "torch.func.jacrev": (_func_jacrev, gradient),
        "torch.func.jvp": (_func_jvp, along),
        "torch.autograd.forward_ad": (_dual, along),
        "torch.func.jvp of torch.func.grad": (_func_hvp, bent),
        "a second backward": (_twice, bent),
        "torch.autograd.grad of the gradient": (_twice_by_grad, bent),
        "torch.func.vmap of torch.func.grad": (_vmapped, torch.stack([gradient, gradient])),
        "is_grads_batched": (_batched, torch.stack([gradient, 2 * gradient])),
    }
    refused = []
    for name, (derive, wanted) in expected.items():
        try:
            found = derive(of, z, direction)
        except Exception as error:  # noqa: BLE001 torch says it in errors of many kinds
            refused.append(name)
            demand(str(error).strip(), f"{name} is refused without a word")
            continue
        if found is None:
            raise ContractError(f"{name} gives nothing")
        demand_close(found, wanted, name, rtol=2e-3, atol=1e-6)
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


def _func_grad(of: Function, z: Tensor, _: Tensor) -> Any:
    return torch.func.grad(of)(z)


def _func_vjp(of: Function, z: Tensor, _: Tensor) -> Any:
    pulled = torch.func.vjp(of, z)
    return pulled[1](torch.ones_like(pulled[0]))[0]


def _func_jacrev(of: Function, z: Tensor, _: Tensor) -> Any:
    return torch.func.jacrev(of)(z)


def _func_jvp(of: Function, z: Tensor, direction: Tensor) -> Any:
    return torch.func.jvp(of, (z,), (direction,))[1]


def _dual(of: Function, z: Tensor, direction: Tensor) -> Any:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(z.clone(), direction)  # type: ignore[no-untyped-call]
        return forward_ad.unpack_dual(of(dual)).tangent  # type: ignore[no-untyped-call]


def _func_hvp(of: Function, z: Tensor, direction: Tensor) -> Any:
    return torch.func.jvp(torch.func.grad(of), (z,), (direction,))[1]


def _twice(of: Function, z: Tensor, direction: Tensor) -> Any:
    leaf = z.clone().requires_grad_()
    (first,) = torch.autograd.grad(of(leaf), leaf, create_graph=True)
    torch.autograd.backward((first * direction).sum())
    return leaf.grad


def _twice_by_grad(of: Function, z: Tensor, direction: Tensor) -> Any:
    leaf = z.clone().requires_grad_()
    (first,) = torch.autograd.grad(of(leaf), leaf, create_graph=True)
    return torch.autograd.grad((first * direction).sum(), leaf)[0]


def _vmapped(of: Function, z: Tensor, _: Tensor) -> Any:
    return torch.func.vmap(torch.func.grad(of))(torch.stack([z, z]))


def _batched(of: Function, z: Tensor, _: Tensor) -> Any:
    leaf = z.clone().requires_grad_()
    result = of(leaf)
    several = torch.stack([torch.ones_like(result), 2 * torch.ones_like(result)])
    return torch.autograd.grad(result, leaf, several, is_grads_batched=True)[0]
