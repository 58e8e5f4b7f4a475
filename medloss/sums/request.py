"""What a backend is asked to sum, in one form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from medloss.sums.terms import Term
from medloss.sums.voxels import Activation, work_dtype


@dataclass(frozen=True)
class SumsRequest:
    """Arguments of class sums, checked; maps by number.

    Args:
        input: (B, C, *spatial).
        target: (B, 1, *spatial) class indices or (B, C, *spatial).
        mask: (B, 1, *spatial) or None.
        maps: (B, C, *spatial) each.
        terms: a term with a map names it by its number among ``maps``.
        activation: how ``input`` becomes probabilities.
    """

    input: Tensor
    target: Tensor
    mask: Tensor | None
    maps: tuple[Tensor, ...]
    terms: tuple[Term, ...]
    activation: Activation

    @property
    def is_index(self) -> bool:
        """Whether the target holds class indices."""
        return self.target.shape[1] != self.input.shape[1]

    @property
    def work_dtype(self) -> torch.dtype:
        """What is computed in, and the dtype of the sums."""
        return work_dtype(self.input)

    def flat(self) -> SumsRequest:
        """The same with one axis of voxels; views, unless strides make that impossible."""
        return SumsRequest(
            self.input.detach().flatten(2),
            self.target.detach().flatten(2),
            None if self.mask is None else self.mask.detach().flatten(2),
            tuple(each.detach().flatten(2) for each in self.maps),
            self.terms,
            self.activation,
        )


def gradient_like(input: Tensor) -> Tensor:
    """Memory for a gradient whose voxels can be seen as one axis; channels-last stays so."""
    last = torch.channels_last if input.ndim == 4 else torch.channels_last_3d
    if input.ndim in (4, 5) and input.is_contiguous(memory_format=last):
        return torch.empty_like(input, memory_format=last)
    return torch.empty_like(input, memory_format=torch.contiguous_format)


class Backend(Protocol):
    """A way to compute class sums and their gradient; modules are meant."""

    def sums(self, request: SumsRequest) -> Tensor:
        """Sums of shape (B, K, C) in ``request.work_dtype``."""

    def slopes(self, request: SumsRequest, gradient: Tensor) -> Tensor:
        """Gradient by the input, like it, for a gradient (B, K, C) of the sums."""
