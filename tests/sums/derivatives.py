"""Every kind of derivative that torch knows how to ask for, each with its right value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacrev, jvp, vjp, vmap
from torch.utils.checkpoint import checkpoint

Function = Callable[[Tensor], Tensor]
STEP = 1e-6


@dataclass(frozen=True)
class At:
    """A function of a place z, a direction u, and what finite differences say there."""

    f: Function
    z: Tensor
    u: Tensor
    slope: Tensor
    along: Tensor
    curved: Tensor

    @classmethod
    def of(cls, f: Function, z: Tensor, u: Tensor) -> At:
        def slope(z: Tensor) -> Tensor:
            leaf = z.clone().requires_grad_()
            return torch.autograd.grad(f(leaf), leaf)[0]

        before, after = z - STEP * u, z + STEP * u
        along = (f(after) - f(before)) / (2 * STEP)
        curved = (slope(after) - slope(before)) / (2 * STEP)
        return cls(f, z, u, slope(z), along, curved)

    def leaf(self) -> Tensor:
        return self.z.clone().requires_grad_()

    def first(self) -> tuple[Tensor, Tensor]:
        """A leaf, and a slope that has a graph."""
        z = self.leaf()
        return z, torch.autograd.grad(self.f(z), z, create_graph=True)[0]


def double_backward(at: At) -> Tensor:
    z, slope = at.first()
    return torch.autograd.grad(slope, z, at.u)[0]


def double_backward_into_leaves(at: At) -> Tensor | None:
    z, slope = at.first()
    (slope * at.u).sum().backward()
    return z.grad


def dual(at: At) -> Tensor | None:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(at.f(forward_ad.make_dual(at.z, at.u))).tangent


def dual_of_backward(at: At) -> Tensor | None:
    with forward_ad.dual_level():
        z = forward_ad.make_dual(at.leaf(), at.u)
        (slope,) = torch.autograd.grad(at.f(z), z)
        return forward_ad.unpack_dual(slope).tangent


def dual_gradient(at: At) -> Tensor | None:
    """The tangent comes with the gradient alone."""
    z = at.leaf()
    value = at.f(z)
    with forward_ad.dual_level():
        one = forward_ad.make_dual(torch.ones_like(value), torch.ones_like(value))
        return forward_ad.unpack_dual(torch.autograd.grad(value, z, one)[0]).tangent


def batched(at: At) -> Tensor:
    z = at.leaf()
    twice = torch.ones(2, dtype=z.dtype)
    return torch.autograd.grad(at.f(z), z, twice, is_grads_batched=True)[0][1]


def batched_second(at: At) -> Tensor:
    z, slope = at.first()
    both = torch.stack([at.u, at.u])
    return torch.autograd.grad(slope, z, both, is_grads_batched=True)[0][1]


def checkpointed(at: At, reentrant: bool) -> Tensor | None:
    z = at.leaf()
    checkpoint(lambda z: at.f(2 * z / 2), z, use_reentrant=reentrant).backward()
    return z.grad


KINDS: dict[str, tuple[Callable[[At], Any], str]] = {
    "grad": (lambda at: grad(at.f)(at.z), "slope"),
    "vjp": (lambda at: vjp(at.f, at.z)[1](torch.ones((), dtype=at.z.dtype))[0], "slope"),
    "jvp": (lambda at: jvp(at.f, (at.z,), (at.u,))[1], "along"),
    "jacrev": (lambda at: jacrev(at.f)(at.z), "slope"),
    "jvp of grad": (lambda at: jvp(grad(at.f), (at.z,), (at.u,))[1], "curved"),
    "grad of grad": (lambda at: grad(lambda z: (grad(at.f)(z) * at.u).sum())(at.z), "curved"),
    "hessian": (lambda at: (hessian(at.f)(at.z) * at.u).flatten(at.z.ndim).sum(-1), "curved"),
    "vmap": (lambda at: vmap(at.f)(torch.stack([at.z, at.z + at.u]))[0], "value"),
    "vmap of grad": (lambda at: vmap(grad(at.f))(torch.stack([at.z, at.z + at.u]))[0], "slope"),
    "dual": (dual, "along"),
    "dual of backward": (dual_of_backward, "curved"),
    "dual gradient": (dual_gradient, "slope"),
    "double backward": (double_backward, "curved"),
    "double backward into leaves": (double_backward_into_leaves, "curved"),
    "batched gradients": (batched, "slope"),
    "batched second": (batched_second, "curved"),
    "checkpoint": (lambda at: checkpointed(at, False), "slope"),
    "checkpoint, reentrant": (lambda at: checkpointed(at, True), "slope"),
    "hvp": (lambda at: torch.autograd.functional.hvp(at.f, at.z, at.u)[1], "curved"),
}
"""What asks for the derivative, and which of finite differences it has to equal."""


def told(at: At, kind: str) -> str:
    """``right``, ``refused: ...`` or ``wrong: ...``."""
    ask, what = KINDS[kind]
    expected = at.f(at.z) if what == "value" else getattr(at, what)
    try:
        found = ask(at)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        return f"refused: {type(error).__name__}: {str(error).splitlines()[0][:150]}"
    if found is None:
        return "wrong: None"
    if torch.allclose(found, expected, rtol=2e-4, atol=2e-7):
        return "right"
    return f"wrong: {found.abs().max():.4g} for {expected.abs().max():.4g}"
