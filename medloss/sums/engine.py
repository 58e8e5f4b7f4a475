"""Class sums: one function, computed by the backend that suits the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from medloss.sums import operators, reference
from medloss.sums.choice import REFERENCE, chosen_backend
from medloss.sums.request import Request
from medloss.sums.terms import (
    WITH_EXPONENT,
    WITH_MAP,
    Activation,
    ClassSums,
    Term,
    as_terms,
    exponent,
)


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
        terms: names, or :class:`Term` where a parameter is needed.
        activation: how ``input`` becomes probabilities.
        mask: (B, 1, *spatial), weight of each voxel; 0 ignores it.
        maps: (B, C, *spatial) each, for the terms ``map``.

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
    whole = as_terms(terms)
    request, backend = request_of(input, target, whole, activation, mask, maps or {})
    if backend == REFERENCE:
        return ClassSums(reference.sums(request), whole)
    return ClassSums(operators.class_sums(*operators.arguments(request, backend)), whole)


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
    request, backend = request_of(input, target, as_terms(terms), activation, mask, maps or {})
    if backend != REFERENCE:
        slopes: Tensor = operators.class_sums_slopes(
            gradient, *operators.arguments(request, backend)
        )
        return slopes
    with torch.enable_grad():
        leaf = input.detach().requires_grad_()
        sums = reference.sums(replace(request, input=leaf))
        if not sums.requires_grad:  # terms without the probability
            return torch.zeros_like(input)
        return torch.autograd.grad(sums, leaf, gradient)[0]


def request_of(
    input: Tensor,
    target: Tensor,
    terms: tuple[Term, ...],
    activation: Activation,
    mask: Tensor | None,
    maps: Mapping[str, Tensor],
) -> tuple[Request, str]:
    """Checked arguments, and the backend that serves them."""
    _check(input, target, terms, mask, maps)
    choice = chosen_backend(input, (target, mask, *maps.values()))
    names = list(maps)
    numbered = tuple(
        Term(term.name, str(names.index(str(term.parameter)))) if term.name in WITH_MAP else term
        for term in terms
    )
    return Request(input, target, mask, tuple(maps.values()), numbered, activation), choice.name


def _check(
    input: Tensor,
    target: Tensor,
    terms: tuple[Term, ...],
    mask: Tensor | None,
    maps: Mapping[str, Tensor],
) -> None:
    """Compiled loops read what they are told to: nothing of another shape may reach them."""
    whole, one = list(input.shape), [input.shape[0], 1, *input.shape[2:]]
    shapes = {"target": (target, [one, whole])}
    if mask is not None:
        shapes["mask"] = (mask, [one])
    shapes.update({f"maps: {name}": (each, [whole]) for name, each in maps.items()})
    for name, (tensor, allowed) in shapes.items():
        if list(tensor.shape) not in allowed:
            expected = " or ".join(map(str, allowed))
            raise ValueError(f"{name}: expected {expected}, got {list(tensor.shape)}")
        if tensor.device != input.device:
            raise ValueError(f"{name}: expected it on {input.device}, got {tensor.device}")
    for term in terms:
        if term.name not in reference.SUMMANDS:
            raise ValueError(f"terms: expected some of {list(reference.SUMMANDS)}, got {term.name}")
        if term.name in WITH_MAP and term.parameter not in maps:
            raise ValueError(
                f"maps: expected {term.parameter!r}, which {term.name} names, got {list(maps)}"
            )
        if term.name in WITH_EXPONENT:
            exponent(term)
