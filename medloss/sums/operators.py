"""Class sums as operators of torch: one node in a compiled graph, a backward that recomputes.

Nothing is saved for the backward but the arguments, which exist anyway. A second derivative goes
through the reference.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from medloss.sums import reference
from medloss.sums.choice import load
from medloss.sums.request import Request, gradient_like
from medloss.sums.terms import WITH_MAP, Activation, Term, work_dtype

ARGUMENTS = (
    "Tensor input, Tensor target, Tensor? mask, Tensor[] maps, "
    "str[] names, float[] parameters, str activation, str backend"
)


def arguments(request: Request, backend: str) -> tuple[Any, ...]:
    """A request as the operators take it: a term's map is a number, as its exponent is."""
    names = [term.name for term in request.terms]
    parameters = [float(term.parameter or 0) for term in request.terms]
    maps = list(request.maps)
    whole = (request.input, request.target, request.mask, maps, names, parameters)
    return *whole, request.activation, backend


def _request(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    maps: list[Tensor],
    names: list[str],
    parameters: list[float],
    activation: str,
) -> Request:
    terms = (
        Term(name, str(int(parameter)) if name in WITH_MAP else parameter)
        for name, parameter in zip(names, parameters, strict=True)
    )
    return Request(input, target, mask, tuple(maps), tuple(terms), cast("Activation", activation))


def _sums(input: Tensor, *rest: Any) -> Tensor:
    with torch.autocast(input.device.type, enabled=False):
        return load(rest[-1]).sums(_request(input, *rest[:-1]))


def _slopes(gradient: Tensor, input: Tensor, *rest: Any) -> Tensor:
    with torch.autocast(input.device.type, enabled=False):
        return load(rest[-1]).slopes(_request(input, *rest[:-1]), gradient)


def _fake_sums(input: Tensor, target: Tensor, mask: Any, maps: Any, names: Any, *_: Any) -> Tensor:
    shape = (input.shape[0], len(names), input.shape[1])
    return input.new_empty(shape, dtype=work_dtype(input))


def _fake_slopes(gradient: Tensor, input: Tensor, *_: Any) -> Tensor:
    return gradient_like(input)


class_sums = torch.library.custom_op(
    "medloss::class_sums", _sums, mutates_args=(), schema=f"({ARGUMENTS}) -> Tensor"
)
class_sums_slopes = torch.library.custom_op(
    "medloss::class_sums_slopes",
    _slopes,
    mutates_args=(),
    schema=f"(Tensor gradient, {ARGUMENTS}) -> Tensor",
)


def _save(ctx: Any, tensors: tuple[Tensor | None, ...], inputs: tuple[Any, ...]) -> None:
    """Keep the arguments of :func:`class_sums`, with ``tensors`` before them."""
    input, target, mask, maps, *options = inputs
    ctx.save_for_backward(*tensors, input, target, mask, *maps)
    ctx.options = options


def _keep_for_slopes(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _save(ctx, (), inputs)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    input, target, mask, *maps = ctx.saved_tensors
    slopes = class_sums_slopes(gradient, input, target, mask, maps, *ctx.options)
    return slopes, None, None, [None] * len(maps), None, None, None, None


def _keep_for_second(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _save(ctx, (inputs[0],), inputs[1:])


def _differentiate_twice(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    of_sums, input, target, mask, *maps = ctx.saved_tensors
    more = torch.is_grad_enabled()
    with torch.enable_grad():
        # views: the graph behind the saved tensors is not to be walked here
        of_sums, input = (
            t.view_as(t) if more and t.requires_grad else t.detach().requires_grad_()
            for t in (of_sums, input)
        )
        sums = reference.sums(_request(input, target, mask, maps, *ctx.options[:-1]))
        second: tuple[Tensor | None, ...] = (None, None)
        if sums.requires_grad:
            (first,) = torch.autograd.grad(sums, input, of_sums, create_graph=True)
            second = torch.autograd.grad(
                first, (of_sums, input), gradient, create_graph=more, allow_unused=True
            )
    return *second, None, None, [None] * len(maps), None, None, None, None


class_sums.register_fake(_fake_sums)
class_sums.register_autograd(_differentiate, setup_context=_keep_for_slopes)
class_sums_slopes.register_fake(_fake_slopes)
class_sums_slopes.register_autograd(_differentiate_twice, setup_context=_keep_for_second)
