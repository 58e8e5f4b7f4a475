"""Error histograms, computed by what suits the input."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor

from medloss.histograms import plain
from medloss.runtime.eager import evaluate
from medloss.runtime.operators import operator
from medloss.sums import Activation, chosen_backend
from medloss.sums.request import gradient_like

FUSED = {"numba": "medloss.histograms.cpu", "triton": "medloss.histograms.gpu"}
"""By backend of the class sums, the module that has this in one pass; else it is plain torch."""


def error_histograms(
    input: Tensor,
    target: Tensor,
    *,
    activation: Activation,
    mask: Tensor | None = None,
    bins: int = 1024,
) -> Tensor:
    """Soft histograms of e = |p − y|, for each sample and class, foreground apart from background.

    Each voxel counts for both edges of the cell of its error, by its distance from them, and with
    its weight: as foreground by y, as background by 1 − y. Histograms are additive over samples,
    patches and ranks. The gradient is by ``input``. A NaN in a voxel that counts makes both
    histograms of its sample and class NaN.

    Args:
        input: (B, C, *spatial), logits, or probabilities where ``activation`` says so.
        target: (B, 1, *spatial) class indices or (B, C, *spatial) one-hot, multi-label or soft.
        activation: how ``input`` becomes probabilities.
        mask: (B, 1, *spatial), weight of each voxel; 0 ignores it.
        bins: number of cells, even.

    Returns:
        (B, C, 2, bins + 1) in float64, foreground first.

    Raises:
        ValueError: ``bins`` is not even, shapes that do not fit, or ``MEDLOSS_BACKEND`` names a
            backend that cannot serve this input.

    Example:
        >>> p = torch.tensor([[[[0.5, 0.125]]]])
        >>> y = torch.tensor([[[[1, 0]]]])
        >>> error_histograms(p, y, activation="probabilities", bins=4)[0, 0].tolist()
        [[0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]]
    """
    plain.check_bins(bins)
    one, whole = [input.shape[0], 1, *input.shape[2:]], list(input.shape)
    if list(target.shape) not in (one, whole):
        raise ValueError(f"target: expected {one} or {whole}, got {list(target.shape)}")
    if mask is not None and list(mask.shape) != one:
        raise ValueError(f"mask: expected {one}, got {list(mask.shape)}")
    module = FUSED.get(chosen_backend(input, (target, mask)).name)
    if module is None:
        return plain.histograms(input, target, mask, activation, bins)
    return evaluate(HistogramForm(activation, bins, module), input, target, mask)


@dataclass(frozen=True)
class HistogramForm:
    """The histograms, by a module that has them in one pass."""

    differentiable: ClassVar[int] = 1

    activation: Activation
    bins: int
    module: str

    def value(self, *tensors: Any) -> Tensor:
        """HistogramForm (B, C, 2, bins + 1)."""
        own = import_module(self.module)
        return plain.spread_nan(own.histograms(*flat(*tensors), self.activation, self.bins))

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by the input."""
        out = gradient_like(tensors[0])
        slopes, own = plain.table(gradient), import_module(self.module)
        own.slopes(*flat(*tensors), self.activation, slopes, out)
        return (out,)

    def plain(self, *tensors: Any) -> Tensor:
        """In torch."""
        input, target, mask = tensors
        return plain.histograms(input, target, mask, self.activation, self.bins)

    def recorded(self, *tensors: Any) -> Tensor:
        """As an operator."""
        return _histograms(*tensors, self.activation, self.bins, self.module)


def flat(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """With one axis of voxels."""
    return tuple(None if t is None else t.detach().flatten(2) for t in tensors)


def _fake(input: Tensor, target: Any, mask: Any, activation: str, bins: int, _: Any) -> Tensor:
    return input.new_empty((*input.shape[:2], 2, bins + 1), dtype=torch.float64)


_histograms = operator(
    "medloss::error_histograms",
    "Tensor input, Tensor target, Tensor? mask",
    "str activation, int bins, str module",
    of=HistogramForm,
    fake=_fake,
    fake_slope=gradient_like,
)
