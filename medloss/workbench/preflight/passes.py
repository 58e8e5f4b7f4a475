"""One pass of a loss: value, weight and gradient of each of its terms."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from medloss.workbench.preflight.batch import Batch, mapped, mapped_like, plain, tensors
from medloss.workbench.preflight.terms import Piece, pieces_of

REST = "rest"
"""The part of a loss that no module of its own computes."""

_REST = 1e-3
"""Share of the gradient below which the rest is rounding."""


@dataclass(frozen=True, eq=False)
class Term:
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

    total: Term
    terms: Sequence[Term] = field(default_factory=tuple)

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def find(self, name: str) -> Term | None:
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
        value, pieces = pieces_of(loss, leaves, batch.target)
    if not isinstance(value, Tensor):
        raise TypeError(f"the loss returned a {type(value).__name__}, expected one tensor")
    if not value.requires_grad:
        raise ValueError("the value of the loss is cut off from the input: it has no gradient")
    tool = _Differentiator(batch, leaves, scale)
    total = tool.term(Piece(type(loss).__name__, loss, value, 1.0))
    if not pieces:
        return Pass(total, (total,))
    terms = [tool.term(piece) for piece in pieces]
    if scale == 1.0 and autocast is None:
        terms += _rest(total, terms)
    return Pass(total, tuple(terms))


@dataclass(frozen=True)
class _Differentiator:
    batch: Batch
    leaves: Any
    scale: float

    def term(self, piece: Piece) -> Term:
        value = piece.value.mean() if piece.value.ndim else piece.value
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
        weight = piece.weight
        return Term(piece.name, float(value.detach()), weight, own, norm, took, piece.module)


def _rest(total: Term, terms: Sequence[Term]) -> list[Term]:
    """What the total has beside its terms, if anything."""
    if any(term.gradient.shape != total.gradient.shape for term in terms):
        return []
    gradient = total.gradient - sum(term.weight * term.gradient for term in terms)
    norm = float(gradient.double().norm())
    if not norm > _REST * max([total.norm, *(term.weighted_norm for term in terms)]):
        return []
    value = total.value - sum(term.weight * term.value for term in terms)
    return [Term(REST, value, 1.0, gradient, norm)]


def _wait(on: Tensor) -> None:
    if on.device.type == "cuda":
        torch.cuda.synchronize(on.device)
