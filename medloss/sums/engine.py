"""Class sums: one function, computed by the backend that suits the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from medloss.runtime.eager import evaluate, plain_slopes, without_autocast
from medloss.runtime.operators import operator
from medloss.sums import reference
from medloss.sums.choice import REFERENCE, chosen_backend, load
from medloss.sums.request import SumsRequest, gradient_like
from medloss.sums.results import ClassSums
from medloss.sums.terms import TERMS, Term, checked
from medloss.sums.voxels import Activation, work_dtype


def class_sums(
    input: Tensor,
    target: Tensor,
    terms: Sequence[str | Term],
    *,
    activation: Activation,
    mask: Tensor | None = None,
    maps: Mapping[str, Tensor] | None = None,
) -> ClassSums:
    """Sum terms of probability and target over the voxels of each sample and class.

    The gradient is by ``input``; it is recomputed, so that forward and backward together take
    little more memory than the gradient itself.

    Args:
        input: (B, C, *spatial), logits, or probabilities where ``activation`` says so.
        target: (B, 1, *spatial) class indices or (B, C, *spatial) one-hot, multi-label or soft.
        terms: names, or :class:`Term` where an exponent or a map is needed.
        activation: how ``input`` becomes probabilities.
        mask: (B, 1, *spatial), weight of each voxel; 0 ignores it.
        maps: (B, C, *spatial) each, for the terms that name one.

    Returns:
        Sums of shape (B, C) each, float64 for float64 input, else float32.

    Raises:
        ValueError: ``MEDLOSS_BACKEND`` names a backend that does not exist or cannot do this.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4], [0.2, 0.1]]]])
        >>> y = torch.tensor([[[[1, 1], [0, 0]]]])
        >>> s = class_sums(p, y, ("tp", "p", "t"), activation="probabilities")
        >>> round(s.tp.item(), 6), s.t.item()
        (1.3, 2.0)
    """
    form, named = form_of(input, target, terms, activation, mask, maps or {})
    tensors = (input, target, mask, *(maps or {}).values())
    values = form.plain(*tensors) if form.backend == REFERENCE else evaluate(form, *tensors)
    return ClassSums(values.unbind(1), named)


def class_sums_slopes(
    gradient: Tensor,
    input: Tensor,
    target: Tensor,
    terms: Sequence[str | Term],
    *,
    activation: Activation,
    mask: Tensor | None = None,
    maps: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Gradient by the input of class sums, for those who save less than autograd does.

    Args:
        gradient: (B, K, C), by the sums.
        input: as for :func:`class_sums`, like all that follows.
        target: likewise.
        terms: likewise.
        activation: likewise.
        mask: likewise.
        maps: likewise.

    Returns:
        A tensor like ``input``.

    Example:
        >>> import torch
        >>> z, y = torch.zeros(1, 2, 3, 3), torch.ones(1, 1, 3, 3, dtype=torch.long)
        >>> slopes = class_sums_slopes(torch.ones(1, 1, 2), z, y, ("ce",), activation="softmax")
        >>> slopes[0, :, 0, 0]
        tensor([ 0.5000, -0.5000])
    """
    form, _ = form_of(input, target, terms, activation, mask, maps or {})
    tensors = (input, target, mask, *(maps or {}).values())
    if form.backend != REFERENCE:
        return form.slopes(gradient, *tensors)[0]
    (slopes,) = plain_slopes(form, gradient, (input.detach().requires_grad_(), *tensors[1:]))
    return torch.zeros_like(input) if slopes is None else slopes


@dataclass(frozen=True)
class Form:
    """Class sums as :func:`medloss.runtime.eager.evaluate` takes them, apart from the tensors.

    These are input, target, mask or None, and the maps.

    Args:
        terms: a term with a map names it by its number among the maps.
        activation: how the input becomes probabilities.
        backend: by name.
    """

    differentiable: ClassVar[int] = 1

    terms: tuple[Term, ...]
    activation: Activation
    backend: str

    @property
    def told(self) -> str:
        """The form in words, as operators take it: one argument, under which it is kept."""
        terms = (f"{term.name}:{term.map or term.exponent or 0}" for term in self.terms)
        return " ".join((self.activation, self.backend, *terms))

    def value(self, *tensors: Any) -> Tensor:
        """Sums (B, K, C)."""
        with without_autocast(tensors[0].device.type):
            return load(self.backend).sums(self.request(*tensors))

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by the input."""
        with without_autocast(tensors[0].device.type):
            return (load(self.backend).slopes(self.request(*tensors), gradient),)

    def plain(self, *tensors: Any) -> Tensor:
        """Sums (B, K, C) of the reference."""
        with without_autocast(tensors[0].device.type):
            return reference.sums(self.request(*tensors))

    def recorded(self, *tensors: Any) -> Tensor:
        """Sums (B, K, C) as an operator: one node in a graph, a backward that recomputes."""
        return _operator(*tensors[:3], list(tensors[3:]), self.told)

    def request(
        self, input: Tensor, target: Tensor, mask: Tensor | None, *maps: Tensor
    ) -> SumsRequest:
        """With its tensors, as a backend takes it."""
        return SumsRequest(input, target, mask, maps, self.terms, self.activation)


@lru_cache(maxsize=256)
def form_in_words(told: str) -> Form:
    """The form that :attr:`Form.told` is of."""
    activation, backend, *rows = told.split()
    terms = []
    for row in rows:
        name, _, parameter = row.partition(":")
        exponent = float(parameter) if TERMS[name].exponent else None
        terms.append(Term(name, exponent, parameter if TERMS[name].map else None))
    return Form(tuple(terms), cast("Activation", activation), backend)


def _fake(input: Tensor, target: Any, mask: Any, maps: Any, told: str) -> Tensor:
    shape = (input.shape[0], len(form_in_words(told).terms), input.shape[1])
    return input.new_empty(shape, dtype=work_dtype(input))


_operator = operator(
    "medloss::class_sums",
    "Tensor input, Tensor target, Tensor? mask, Tensor[] maps",
    "str form",
    of=form_in_words,
    fake=_fake,
    fake_slope=gradient_like,
)


def form_of(
    input: Tensor,
    target: Tensor,
    terms: Sequence[str | Term],
    activation: Activation,
    mask: Tensor | None,
    maps: Mapping[str, Tensor],
) -> tuple[Form, tuple[Term, ...]]:
    """The form of class sums whose arguments are checked here, and their terms by name."""
    _check_shapes(input, target, mask, maps)
    # a compiler looks through a cache, and says so
    by_number = _numbered.__wrapped__ if torch.compiler.is_compiling() else _numbered
    named, numbered = by_number(tuple(terms), tuple(maps))
    backend = chosen_backend(input, (target, mask, *maps.values())).name
    return Form(numbered, activation, backend), named


@lru_cache(maxsize=256)
def _numbered(
    terms: tuple[str | Term, ...], maps: tuple[str, ...]
) -> tuple[tuple[Term, ...], tuple[Term, ...]]:
    """Each term once, with its map by name and by number."""
    named = checked(terms, maps)
    return named, tuple(
        Term(t.name, None, str(maps.index(str(t.map)))) if TERMS[t.name].map else t for t in named
    )


def _check_shapes(
    input: Tensor, target: Tensor, mask: Tensor | None, maps: Mapping[str, Tensor]
) -> None:
    """Compiled loops read what they are told to: nothing of another shape may reach them."""
    whole = input.shape
    one = (whole[0], 1, *whole[2:])
    _check("target", target, input, (one, whole))
    if mask is not None:
        _check("mask", mask, input, (one,))
    for name, each in maps.items():
        _check(f"maps: {name}", each, input, (whole,))


def _check(name: str, tensor: Tensor, input: Tensor, allowed: Sequence[tuple[int, ...]]) -> None:
    if tuple(tensor.shape) not in allowed:
        expected = " or ".join(str(list(shape)) for shape in allowed)
        raise ValueError(f"{name}: expected {expected}, got {list(tensor.shape)}")
    if tensor.device != input.device:
        raise ValueError(f"{name}: expected it on {input.device}, got {tensor.device}")
