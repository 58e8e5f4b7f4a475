"""Operators of torch: one node in a recorded graph, where autograd sees the fast way alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from medloss.runtime.eager import Fast, is_plain, plain_second, plain_slopes


def contiguous_like(tensor: Tensor) -> Tensor:
    """Memory for a gradient by a tensor, in the order of its axes."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def operator(
    name: str,
    tensors: str,
    options: str,
    *,
    of: Callable[..., Fast],
    fake: Callable[..., Tensor],
    fake_slope: Callable[[Tensor], Tensor] = contiguous_like,
) -> Callable[..., Tensor]:
    """Register a function as an operator, and its slopes as ``name_slopes``.

    Nothing is saved for the backward but the arguments, which exist anyway. A second derivative
    goes the plain way.

    Args:
        name: with its namespace.
        tensors: the first arguments, as a schema has them; the last may be a list.
        options: the other arguments.
        of: the function that the options mean.
        fake: an empty tensor like its value, of all arguments.
        fake_slope: likewise for the gradient by a tensor.
    """
    number = tensors.count("Tensor")
    has_list = "[]" in tensors

    def split(arguments: tuple[Any, ...]) -> tuple[Fast, list[Any]]:
        given = list(arguments[:number])
        return of(*arguments[number:]), [*given[:-1], *given[-1]] if has_list else given

    def value(*arguments: Any) -> Tensor:
        fast, given = split(arguments)
        return fast.value(*given)

    def slopes(gradient: Tensor, *arguments: Any) -> list[Tensor]:
        fast, given = split(arguments)
        return [slope for slope in fast.slopes(gradient, *given) if slope is not None]

    def fake_slopes(gradient: Tensor, *arguments: Any) -> list[Tensor]:
        fast, given = split(arguments)
        return [fake_slope(each) for each in given[: fast.differentiable] if each is not None]

    schema = f"{tensors}, {options}" if options else tensors
    whole = torch.library.custom_op(name, value, mutates_args=(), schema=f"({schema}) -> Tensor")
    of_slopes = torch.library.custom_op(
        f"{name}_slopes", slopes, mutates_args=(), schema=f"(Tensor gradient, {schema}) -> Tensor[]"
    )

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        first = inputs[: len(inputs) - len(options.split(",")) if options else len(inputs)]
        given = [each for each in first if not isinstance(each, list)]
        ctx.lists = [len(each) for each in first if isinstance(each, list)]
        ctx.save_for_backward(
            *given, *(t for each in first if isinstance(each, list) for t in each)
        )
        ctx.options = inputs[len(first) :]

    def arguments(ctx: Any) -> list[Any]:
        saved = list(ctx.saved_tensors)
        if ctx.lists:
            at = len(saved) - ctx.lists[0]
            saved = [*saved[:at], saved[at:]]
        return [*saved, *ctx.options]

    def nothing(ctx: Any) -> list[Any]:
        lists = [[None] * length for length in ctx.lists]
        return [*lists, *[None] * len(ctx.options)]

    def differentiate(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        inputs = arguments(ctx)
        fast, given = split(tuple(inputs))
        own: Sequence[Tensor | None]
        if is_plain(gradient, *given):
            own = plain_slopes(fast, gradient, given)
        else:
            found = iter(of_slopes(gradient, *inputs))
            own = [None if each is None else next(found) for each in given[: fast.differentiable]]
        rest = number - has_list - fast.differentiable
        return (*own, *[None] * rest, *nothing(ctx))

    def differentiate_twice(ctx: Any, by: list[Tensor]) -> tuple[Any, ...]:
        gradient, *inputs = arguments(ctx)
        fast, given = split(tuple(inputs))
        there = iter(by)
        each = [None if t is None else next(there) for t in given[: fast.differentiable]]
        of_value, *own = plain_second(fast, each, gradient, given)
        rest = number - has_list - fast.differentiable
        return (of_value, *own, *[None] * rest, *nothing(ctx))

    whole.register_fake(fake)
    whole.register_autograd(differentiate, setup_context=keep)
    of_slopes.register_fake(fake_slopes)
    of_slopes.register_autograd(differentiate_twice, setup_context=keep)
    return whole
