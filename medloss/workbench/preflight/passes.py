"""One pass of a loss: value, weight and gradient of each of its terms.

The terms are those of a compound loss here, or the modules that another one calls.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from medloss.base import SegmentationLoss
from medloss.base.targets import Extras, Prepared
from medloss.workbench.preflight.batch import Batch, mapped, mapped_like, plain, tensors

REST = "rest"
"""The part of a loss that no module of its own computes."""

_REST = 1e-3
"""Share of the gradient below which the rest is rounding."""


@dataclass(frozen=True, eq=False)
class TriedTerm:
    """A term in one pass.

    Args:
        name: unlike that of the others.
        value: without its weight, the mean of several numbers.
        weight: what it is multiplied by.
        gradient: of the value by the input at the label's resolution, without the weight; by the
            one of another resolution where the term sees that one alone.
        norm: Euclidean, over all resolutions.
        backward_s: what the gradient took.
        module: that computes it, where one does.
    """

    name: str
    value: float
    weight: float
    gradient: Tensor
    norm: float
    backward_s: float = 0.0
    module: nn.Module | None = None

    @property
    def weighted_norm(self) -> float:
        """Norm of the gradient of the weighted term."""
        return abs(self.weight) * self.norm


@dataclass(frozen=True, eq=False)
class Pass:
    """A forward and backward pass.

    Args:
        total: the loss as a whole.
        terms: in the order in which they are computed; the loss itself where it has no others.
    """

    total: TriedTerm
    terms: Sequence[TriedTerm] = field(default_factory=tuple)

    def __iter__(self) -> Iterator[TriedTerm]:
        return iter(self.terms)

    def find(self, name: str) -> TriedTerm | None:
        """The term of this name."""
        return next((term for term in self.terms if term.name == name), None)


def run(loss: nn.Module, batch: Batch, *, scale: float = 1.0, autocast: Any = None) -> Pass:
    """Call a loss and differentiate each of its terms.

    Args:
        loss: called with input and target.
        batch: to call it with.
        scale: gradients are computed of the value times this, as gradient scaling does.
        autocast: dtype of an autocast region around the forward pass, as a trainer has it.

    Raises:
        TypeError: the loss returns something else than one tensor.
        ValueError: no gradient reaches the input.
    """
    leaves = mapped(batch.input, lambda one: plain(one).detach().clone().requires_grad_())
    device = batch.logits.device
    with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
        value, found = terms_in_graph(loss, leaves, batch.target)
    if not isinstance(value, Tensor):
        raise TypeError(f"the loss returned a {type(value).__name__}, expected one tensor")
    if not value.requires_grad:
        raise ValueError("the value of the loss is cut off from the input: it has no gradient")
    tool = _Differentiator(batch, leaves, scale)
    total = tool.term(GraphTerm(type(loss).__name__, loss, value, 1.0))
    if not found:
        return Pass(total, (total,))
    terms = [tool.term(term) for term in found]
    if scale == 1.0 and autocast is None:
        terms += _rest(total, terms)
    return Pass(total, tuple(terms))


@dataclass(frozen=True)
class _Differentiator:
    batch: Batch
    leaves: Any
    scale: float

    def term(self, term: GraphTerm) -> TriedTerm:
        value = term.value.mean() if term.value.ndim else term.value
        flat = list(tensors(self.leaves))
        slopes: Sequence[Tensor | None] = [None] * len(flat)
        _wait(self.batch.logits)
        start = time.perf_counter()
        if value.requires_grad:
            scaled = value.float() * self.scale
            slopes = torch.autograd.grad(scaled, flat, retain_graph=True, allow_unused=True)
        _wait(self.batch.logits)
        took = time.perf_counter() - start
        wide = [
            torch.zeros_like(leaf, dtype=torch.float32)
            if slope is None
            else slope.float() / self.scale
            for leaf, slope in zip(flat, slopes, strict=True)
        ]
        norm = float(torch.stack([one.double().norm() for one in wide]).norm())
        own = self.batch.of_logits(mapped_like(self.leaves, wide)).detach()
        if not own.any():  # a term of a lower resolution
            own = max(wide, key=lambda one: float(one.norm())).detach()
        weight = term.weight
        return TriedTerm(term.name, float(value.detach()), weight, own, norm, took, term.module)


def _rest(total: TriedTerm, terms: Sequence[TriedTerm]) -> list[TriedTerm]:
    """What the total has beside its terms, if anything."""
    if any(term.gradient.shape != total.gradient.shape for term in terms):
        return []
    gradient = total.gradient - sum(term.weight * term.gradient for term in terms)
    norm = float(gradient.double().norm())
    if not norm > _REST * max([total.norm, *(term.weighted_norm for term in terms)]):
        return []
    value = total.value - sum(term.weight * term.value for term in terms)
    return [TriedTerm(REST, value, 1.0, gradient, norm)]


def _wait(on: Tensor) -> None:
    if on.device.type == "cuda":
        torch.cuda.synchronize(on.device)


@dataclass(frozen=True, eq=False)
class GraphTerm:
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


def terms_in_graph(loss: nn.Module, input: Any, target: Any) -> tuple[Any, list[GraphTerm]]:
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
        return value, list(_compound_terms(loss, input, target))
    if len(calls) == 1 and torch.equal(calls[0].value.detach(), value.detach()):
        if len(calls[0].args) != 2:
            return value, []
        return value, terms_in_graph(calls[0].module, *calls[0].args)[1]
    return value, _called_terms(value, calls)


def _is_compound(loss: nn.Module) -> bool:
    return (
        isinstance(loss, SegmentationLoss)
        and isinstance(getattr(loss, "losses", None), nn.ModuleDict)
        and isinstance(getattr(loss, "term_weights", None), Mapping)
    )


def _compound_terms(loss: Any, input: Tensor, target: Any) -> Iterator[GraphTerm]:
    with torch.autocast(input.device.type, enabled=False):
        prepared = loss.prepare(input, target, Extras())
        yield from _prepared_terms(loss, prepared, "", 1.0)


def _prepared_terms(
    loss: Any, prepared: Prepared, prefix: str, outer: float
) -> Iterator[GraphTerm]:
    for name, term in loss.losses.items():
        weight = outer * float(loss.term_weights[name])
        if _is_compound(term):
            yield from _prepared_terms(term, prepared, f"{prefix}{name}/", weight)
            continue
        own = isinstance(term, SegmentationLoss)
        value = term.compute(prepared) if own else term(prepared.raw, prepared.label)
        yield GraphTerm(prefix + name, term, value, weight)


def _called_terms(value: Tensor, calls: list[_Call]) -> list[GraphTerm]:
    names = [call.name for call in calls]
    found = []
    for number, call in enumerate(calls):
        total = value.mean() if value.ndim else value
        (slope,) = torch.autograd.grad(total, call.value, retain_graph=True, allow_unused=True)
        weight = 0.0 if slope is None else float(slope.double().sum())
        name = call.name
        if names.count(name) > 1:
            name = f"{name}[{names[:number].count(name)}]"
        found.append(GraphTerm(name, call.module, call.value, weight))
    return found


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
