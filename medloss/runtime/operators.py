"""Operators of torch: one node in a recorded graph, where autograd sees the fast way alone.

They are defined in a library of their own, not by ``torch.library.custom_op``, whose look at every
argument and result in each call takes as long as the sums of a small volume.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from medloss.runtime.eager import Fast, is_plain, plain_second, plain_slopes


def contiguous_like(tensor: Tensor) -> Tensor:
    """Memory for a gradient by a tensor, in the order of its axes."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


_Library: Any = torch.library.Library  # torch has no types for it
_LIBRARIES: list[Any] = []  # an operator lives as long as its library


def without_gradient(
    name: str, schema: str, value: Callable[..., Any], fake: Callable[..., Any]
) -> Callable[..., Any]:
    """Register a function as an operator.

    Args:
        name: with its namespace.
        schema: of its arguments and what it returns.
        value: the function; it writes to none of its arguments, and returns none of them.
        fake: an empty tensor like its value, or several.
    """
    namespace, _, short = name.partition("::")
    library = _Library(namespace, "FRAGMENT")
    library.define(f"{short}{schema}", tags=(torch.Tag.pt2_compliant_tag,))
    library.impl(short, value, "CompositeExplicitAutograd")
    torch.library.register_fake(name, fake, lib=library)
    _LIBRARIES.append(library)
    found: Callable[..., Any] = getattr(getattr(torch.ops, namespace), short).default
    return found


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
    alone = number - ("[]" in tensors)  # those that are in no list

    def split(arguments: Sequence[Any]) -> tuple[Fast, list[Any]]:
        """The function, and all tensors in a row."""
        listed = [each for tensors in arguments[alone:number] for each in tensors]
        return of(*arguments[number:]), [*arguments[:alone], *listed]

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
    twice = f"{name}_slopes"
    whole = without_gradient(name, f"({schema}) -> Tensor", value, fake)
    of_slopes = without_gradient(
        twice, f"(Tensor gradient, {schema}) -> Tensor[]", slopes, fake_slopes
    )

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.options = inputs[len(inputs) - len(options.split(",")) :] if options else ()
        first = inputs[: len(inputs) - len(ctx.options)]
        lists = [each for each in first if isinstance(each, list)]
        given = [each for each in first if not isinstance(each, list)]
        ctx.save_for_backward(*given, *(each for tensors in lists for each in tensors))

    def gradients(ctx: Any, own: Sequence[Any], fast: Fast, given: list[Any]) -> tuple[Any, ...]:
        """With nothing for the tensors without a gradient, their list and the options."""
        lists = [[None] * len(given[alone:])] * (number - alone)
        return (*own, *[None] * (alone - fast.differentiable), *lists, *[None] * len(ctx.options))

    def differentiate(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        given = list(ctx.saved_tensors)
        fast = of(*ctx.options)
        own: Sequence[Tensor | None]
        if is_plain(gradient, *given):
            own = plain_slopes(fast, gradient, given)
        else:
            listed = [given[alone:]] * (number - alone)
            found = iter(of_slopes(gradient, *given[:alone], *listed, *ctx.options))
            own = [None if each is None else next(found) for each in given[: fast.differentiable]]
        return gradients(ctx, own, fast, given)

    def differentiate_twice(ctx: Any, by: list[Tensor]) -> tuple[Any, ...]:
        gradient, *given = ctx.saved_tensors
        fast = of(*ctx.options)
        there = iter(by)
        each = [None if t is None else next(there) for t in given[: fast.differentiable]]
        return gradients(ctx, plain_second(fast, each, gradient, given), fast, given)

    torch.library.register_autograd(name, differentiate, setup_context=keep)
    torch.library.register_autograd(twice, differentiate_twice, setup_context=keep)
    return whole
