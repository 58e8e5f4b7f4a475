"""Class sums: one function, computed by the backend that suits the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    maps = maps or {}
    _check(input, target, whole, mask, maps)
    choice = chosen_backend(input, (target, mask, *maps.values()))
    if choice.name == REFERENCE:
        return reference.class_sums(
            input, target, whole, activation=activation, mask=mask, maps=maps
        )
    names = list(maps)
    numbered = tuple(
        Term(term.name, names.index(str(term.parameter))) if term.name in WITH_MAP else term
        for term in whole
    )
    request = Request(input, target, mask, tuple(maps.values()), numbered, activation)
    return ClassSums(operators.class_sums(*operators.arguments(request, choice.name)), whole)


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
