"""Class sums in plain differentiable torch: the truth that every faster backend must equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from medloss.sums.request import SumsRequest
from medloss.sums.results import ClassSums
from medloss.sums.terms import Term, as_terms, summand
from medloss.sums.voxels import Activation, Voxels


def sums(request: SumsRequest) -> Tensor:
    """Sums of shape (B, K, C) of a request, differentiable in every tensor and to any order."""
    maps = {str(number): each for number, each in enumerate(request.maps)}
    voxels = request.input, request.target, request.activation, maps
    each = _each(*voxels, request.mask, request.terms)
    return torch.stack([value.flatten(2).sum(2) for value in each], 1)


def voxel_terms(
    input: Tensor,
    target: Tensor,
    terms: Sequence[str | Term],
    *,
    activation: Activation,
    mask: Tensor | None = None,
    maps: Mapping[str, Tensor] | None = None,
) -> ClassSums:
    """The summands of :func:`class_sums`, of shape (B, C, *spatial) each."""
    whole = as_terms(terms)
    each = _each(input, target, activation, maps or {}, mask, whole)
    return ClassSums(torch.stack(list(each), 1), whole)


def _each(
    input: Tensor,
    target: Tensor,
    activation: Activation,
    maps: Mapping[str, Tensor],
    mask: Tensor | None,
    terms: tuple[Term, ...],
) -> Iterator[Tensor]:
    if mask is not None:  # so that not even a NaN where the weight is 0 has influence
        input = input.where(mask != 0, 0)
    voxels = Voxels(input, target, activation, maps)
    for term in terms:
        value = summand(voxels, term)
        yield value if mask is None else value * mask.to(value)
