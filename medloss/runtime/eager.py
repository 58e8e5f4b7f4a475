"""A fast way and a plain way to one function, and which of them a call or a derivative takes.

Compiled loops are fast, but autograd does not see through them: what they are told to give is one
gradient. Plain torch has every derivative. A graph that is recorded can hold an operator of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from operator import attrgetter
from typing import Any, ClassVar, ParamSpec, Protocol, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

# What torch has no public name for. Without one of them: torch.func refuses what it meets here;
# every call is an operator; loops that are handed a batch of gradients refuse it; torch refuses
# to hand numbers to the host; and its compiler, a second of imports, is imported with this module.
PRIVATE: dict[str, Callable[..., Any]] = {
    "_C._are_functorch_transforms_active": lambda: False,
    "_C._len_torch_dispatch_stack": lambda: 1,
    "_C._functorch.is_legacy_batchedtensor": lambda tensor: False,
    "_functorch.pyfunctorch.temporarily_clear_interpreter_stack": nullcontext,
    "_disable_dynamo": torch.compiler.disable,
}


def _private(name: str) -> Callable[..., Any]:
    try:
        found: Callable[..., Any] = attrgetter(name)(torch)
    except AttributeError:
        return PRIVATE[name]
    return found


_in_transform, _modes, _is_batch_of_gradients, _no_transform, _disable = map(_private, PRIVATE)

_PLAIN = frozenset((Tensor, Parameter, type(None)))

Tensors = Sequence[Tensor | None]
P = ParamSpec("P")
R = TypeVar("R")


class Fast(Protocol):
    """A function of tensors, in several ways. What it is told beside tensors it holds itself."""

    differentiable: ClassVar[int]
    """It has a gradient by so many of the tensors, the first."""

    def value(self, *tensors: Any) -> Tensor:
        """The fast way."""

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor | None, ...]:
        """Gradient by the first tensors, for one of the value, the fast way."""

    def plain(self, *tensors: Any) -> Tensor:
        """In torch, differentiable to any order and in any mode."""

    def recorded(self, *tensors: Any) -> Tensor:
        """As an operator of torch, or whatever else can be recorded in a graph."""


def evaluate(fast: Fast, *tensors: Tensor | None) -> Tensor:
    """The value by the way that suits who asks; every derivative of it is right.

    Args:
        fast: the function.
        *tensors: as its methods take them.
    """
    if is_transformed(*tensors):
        return fast.plain(*tensors)
    if torch.compiler.is_compiling() or is_recorded(*tensors):
        return fast.recorded(*tensors)
    return evaluate_now(fast, *tensors)


def evaluate_now(fast: Fast, *tensors: Tensor | None) -> Tensor:
    """The value the fast way, where nothing is transformed, recorded or compiled."""
    if torch.is_grad_enabled() and any(_needs(t) for t in tensors[: fast.differentiable]):
        value: Tensor = _value(fast, *tensors)
        return value
    return fast.value(*tensors)


def without_autocast(device: str) -> AbstractContextManager[Any]:
    """``torch.autocast`` switched off; where it is off already, that would be most of a call."""
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def is_transformed(*tensors: Tensor | None) -> bool:
    """Whether derivatives are asked for that plain torch alone has: by torch.func, of tangents."""
    if _in_transform():
        return True
    # The number of levels is no part of a compiled graph, whose tensors are asked one by one.
    if not torch.compiler.is_compiling() and _no_tangents():
        return False
    return any(_has_tangent(t) for t in tensors if t is not None)


def is_plain(gradient: Tensor, *tensors: Tensor | None) -> bool:
    """Whether a backward pass is for plain torch: transformed, or of many gradients at once."""
    return is_transformed(gradient, *tensors) or bool(_is_batch_of_gradients(gradient))


def numbers_may_be_read(*tensors: Tensor | None) -> bool:
    """Whether tensors hold numbers for the host: not in torch.func, nor where a graph is made."""
    return not (torch.compiler.is_compiling() or is_transformed(*tensors) or is_recorded(*tensors))


def is_recorded(*tensors: Tensor | None) -> bool:
    """Whether a graph is recorded, or tensors hold no numbers that a loop could read."""
    if _modes() > 0 or torch._C._get_tracing_state() is not None:
        return True
    for tensor in tensors:  # noqa: SIM110 - a generator would take longer than all of it
        if type(tensor) not in _PLAIN:
            return True
    return False


def outside_graphs(function: Callable[P, R]) -> Callable[P, R]:
    """Keep a function out of graphs: a graph that is compiled breaks where it is called."""
    outside: Callable[P, R] = _disable(function)
    return outside


@outside_graphs
def as_array(tensor: Tensor) -> NDArray[Any]:
    """Numbers that no derivative passes through, on the host; within torch.func too.

    Raises:
        RuntimeError: vmap made a batch of it.
    """
    plain: Tensor = torch.func.debug_unwrap(tensor.detach().cpu())
    if plain.shape != tensor.shape:
        raise RuntimeError("vmap: a loss that looks for objects on the host takes one input a call")
    with _no_transform():
        array: NDArray[Any] = plain.numpy()
    return array


class _Value(torch.autograd.Function):
    """The fast value; its gradient is fast too, where it can be."""

    # With the context in ``forward``: a ``setup_context`` costs more than all else here, and
    # without one torch.func refuses, loudly, what ``is_transformed`` should ever miss.
    @staticmethod
    def forward(ctx: Any, fast: Fast, *tensors: Tensor | None) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.fast = fast
        return fast.value(*tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        fast, tensors, gradient = ctx.fast, ctx.saved_tensors, gradients[0]
        if (
            is_plain(gradient, *tensors)
            or is_recorded(gradient)
            or torch.compiler.is_compiling()  # of the backward alone
        ):
            slopes = plain_slopes(fast, gradient, tensors)
        elif torch.is_grad_enabled():
            slopes = _slopes(fast, gradient, *tensors)
        else:
            slopes = fast.slopes(gradient, *tensors)
        return (None, *slopes, *[None] * (len(tensors) - fast.differentiable))


class _Slopes(torch.autograd.Function):
    """The fast gradient, whose own derivatives are those of the plain way."""

    @staticmethod
    def forward(
        ctx: Any, fast: Fast, gradient: Tensor, *tensors: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        ctx.save_for_backward(gradient, *tensors)
        ctx.fast = fast
        ctx.set_materialize_grads(False)
        return fast.slopes(gradient, *tensors)

    @staticmethod
    def backward(ctx: Any, *by: Tensor | None) -> tuple[Tensor | None, ...]:
        gradient, *tensors = ctx.saved_tensors
        second = plain_second(ctx.fast, by, gradient, tensors)
        return (None, *second, *[None] * (len(tensors) - ctx.fast.differentiable))


# What torch has no types for.
_value: Any = _Value.apply
_slopes: Any = _Slopes.apply
_unpack: Any = forward_ad.unpack_dual


def plain_slopes(fast: Fast, gradient: Tensor, tensors: Tensors) -> tuple[Tensor | None, ...]:
    """Gradient by the first tensors, the plain way; with a graph where one is asked for."""
    more = torch.is_grad_enabled()
    with torch.enable_grad():
        own = [_apart(tensor) for tensor in tensors[: fast.differentiable]]
        value = fast.plain(*own, *tensors[fast.differentiable :])
        return _gradients([value], own, [gradient], graph=more)


def plain_second(
    fast: Fast, by: Tensors, gradient: Tensor, tensors: Tensors
) -> tuple[Tensor | None, ...]:
    """Gradient of the slopes, for gradients ``by`` them: by ``gradient`` and the first tensors."""
    more = torch.is_grad_enabled()
    with torch.enable_grad():
        of_value, *own = (_apart(t) for t in (gradient, *tensors[: fast.differentiable]))
        value = fast.plain(*own, *tensors[fast.differentiable :])
        first = _gradients([value], own, [of_value], graph=True)
        return _gradients(first, [of_value, *own], by, graph=more)


def _apart(tensor: Tensor | None) -> Tensor | None:
    """The tensor, so that a walk back from what is made of it ends here."""
    return tensor.view_as(tensor) if tensor is not None and tensor.requires_grad else tensor


def _gradients(
    values: Tensors, by: Tensors, gradients: Tensors, *, graph: bool
) -> tuple[Tensor | None, ...]:
    """Gradients by those that need one, 0 where nothing depends on it; None for the others."""
    pairs = [
        (value, gradient)
        for value, gradient in zip(values, gradients, strict=True)
        if value is not None and gradient is not None and value.requires_grad
    ]
    leaves = [tensor for tensor in by if tensor is not None and tensor.requires_grad]
    if not pairs or not leaves:
        return tuple(torch.zeros_like(t) if t is not None and _needs(t) else None for t in by)
    found = iter(
        torch.autograd.grad(
            [value for value, _ in pairs],
            leaves,
            [gradient for _, gradient in pairs],
            create_graph=graph,
            allow_unused=True,
            materialize_grads=True,
        )
    )
    return tuple(next(found) if _needs(tensor) else None for tensor in by)


def _needs(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.requires_grad


def _no_tangents() -> bool:
    """Whether no level of forward-mode derivatives is entered, so that no tensor has a tangent."""
    return bool(getattr(forward_ad, "_current_level", 0) < 0)


def _has_tangent(tensor: Tensor) -> bool:
    return _unpack(tensor).tangent is not None
