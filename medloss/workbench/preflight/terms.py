"""The terms of a loss: those of a compound loss here, or the modules that another one calls."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medloss.base import SegmentationLoss
from medloss.base.targets import Extras, Prepared
from medloss.workbench.preflight.batch import tensors


@dataclass(frozen=True, eq=False)
class Piece:
    """A term in the graph of a forward pass.

    Args:
        name: unlike that of the others.
        module: that computed it.
        value: what it gave.
        weight: derivative of the loss by it.
    """

    name: str
    module: nn.Module
    value: Tensor
    weight: float


@dataclass(frozen=True, eq=False)
class _Call:
    name: str
    module: nn.Module
    args: tuple[Any, ...]
    value: Tensor


def pieces_of(loss: nn.Module, input: Any, target: Any) -> tuple[Any, list[Piece]]:
    """Call a loss; its value, and its terms if there are several.

    A compound loss of medloss has them under ``losses``. Of another loss a term is a module inside
    it that is called with several tensors and gives a differentiable one: what it weighs is the
    derivative of the loss by it. A wrapper around one loss has that one's terms.
    """
    calls: list[_Call] = []
    with _watching(loss, calls):
        value = loss(input, target)
    if not isinstance(value, Tensor) or not value.requires_grad:
        return value, []
    if _is_compound(loss) and isinstance(input, Tensor):
        return value, list(_compound_pieces(loss, input, target))
    if len(calls) == 1 and torch.equal(calls[0].value.detach(), value.detach()):
        if len(calls[0].args) != 2:
            return value, []
        return value, pieces_of(calls[0].module, *calls[0].args)[1]
    return value, _called_pieces(value, calls)


def _is_compound(loss: nn.Module) -> bool:
    return (
        isinstance(loss, SegmentationLoss)
        and isinstance(getattr(loss, "losses", None), nn.ModuleDict)
        and isinstance(getattr(loss, "term_weights", None), Mapping)
    )


def _compound_pieces(loss: Any, input: Tensor, target: Any) -> Iterator[Piece]:
    with torch.autocast(input.device.type, enabled=False):
        prepared = loss.prepare(input, target, Extras())
        yield from _prepared_pieces(loss, prepared, "", 1.0)


def _prepared_pieces(loss: Any, prepared: Prepared, prefix: str, outer: float) -> Iterator[Piece]:
    for name, term in loss.losses.items():
        weight = outer * float(loss.term_weights[name])
        if _is_compound(term):
            yield from _prepared_pieces(term, prepared, f"{prefix}{name}/", weight)
            continue
        own = isinstance(term, SegmentationLoss)
        value = term.compute(prepared) if own else term(prepared.raw, prepared.label)
        yield Piece(prefix + name, term, value, weight)


def _called_pieces(value: Tensor, calls: list[_Call]) -> list[Piece]:
    names = [call.name for call in calls]
    pieces = []
    for number, call in enumerate(calls):
        total = value.mean() if value.ndim else value
        (slope,) = torch.autograd.grad(total, call.value, retain_graph=True, allow_unused=True)
        weight = 0.0 if slope is None else float(slope.double().sum())
        name = call.name
        if names.count(name) > 1:
            name = f"{name}[{names[:number].count(name)}]"
        pieces.append(Piece(name, call.module, call.value, weight))
    return pieces


@contextlib.contextmanager
def _watching(loss: nn.Module, calls: list[_Call]) -> Iterator[None]:
    """Write down the outermost calls of losses inside a loss."""
    inside: list[nn.Module] = []
    names = {module: name for name, module in loss.named_modules() if name}

    def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
        if _is_term_call(args, kwargs):
            inside.append(module)

    def leave(module: nn.Module, args: Any, kwargs: Any, value: Any) -> None:
        if not _is_term_call(args, kwargs):
            return
        inside.pop()
        if not inside and isinstance(value, Tensor) and value.requires_grad:
            given = (*args, *kwargs.values())
            calls.append(_Call(names[module], module, given, value))

    handles = []
    for module in names:
        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(module.register_forward_hook(leave, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_term_call(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a module is given an input and a target, as no activation is."""
    given = [next(tensors(each), None) for each in (*args, *kwargs.values())]
    return sum(each is not None for each in given) > 1
