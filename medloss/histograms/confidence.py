"""What the voxels of each bin of probability say: how many, their mean probability and label.

Bins are equally wide. A hard bin m of M has the probabilities in (m/M, (m+1)/M], and 0 is in the
first. Soft bins share: with centres c_m = (m + ½)/M a probability p counts for bin m with the
weight max(0, 1 − M |p − c_m|), and beyond the outermost centres for the outermost bin alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.histograms.engine import flat
from medloss.runtime.eager import evaluate
from medloss.runtime.operators import operator
from medloss.sums import Activation, chosen_backend, voxel_terms
from medloss.sums.request import gradient_like

FUSED = {
    "numba": "medloss.histograms.confidence_cpu",
    "triton": "medloss.histograms.confidence_gpu",
}
"""By backend of the class sums, the module that has this in one pass; else it is plain torch."""


def confidence_sums(
    input: Tensor,
    target: Tensor,
    *,
    activation: Activation,
    mask: Tensor | None = None,
    bins: int = 20,
    soft: bool = False,
) -> Tensor:
    """Sums over the voxels of each bin of probability, for each sample and class.

    They are additive over samples, patches and ranks. The gradient is by ``input``; that of hard
    bins is through the probabilities summed, that of soft ones through the weights as well. A NaN
    in a voxel that counts makes the sum of probabilities of a bin of its sample and class NaN.

    Args:
        input: (B, C, *spatial), logits, or probabilities where ``activation`` says so.
        target: (B, 1, *spatial) class indices or (B, C, *spatial) one-hot, multi-label or soft.
        activation: how ``input`` becomes probabilities.
        mask: (B, 1, *spatial), weight of each voxel; 0 ignores it.
        bins: M.
        soft: whether a voxel counts for the two bins around it.

    Returns:
        (B, C, 3, bins) in float64: weight of the voxels, their probabilities, their labels.

    Raises:
        ValueError: no bins, shapes that do not fit, or ``MEDLOSS_BACKEND`` names a backend that
            cannot serve this input.

    Example:
        >>> p = torch.tensor([[[[0.5, 0.75, 0.875]]]])
        >>> y = torch.tensor([[[[1, 0, 1]]]])
        >>> confidence_sums(p, y, activation="probabilities", bins=2)[0, 0].tolist()
        [[1.0, 2.0], [0.5, 1.625], [1.0, 1.0]]
        >>> confidence_sums(p, y, activation="probabilities", bins=2, soft=True)[0, 0, 0].tolist()
        [0.5, 2.5]
    """
    if bins < 1:
        raise ValueError(f"bins: expected at least 1, got {bins!r}")
    one, whole = [input.shape[0], 1, *input.shape[2:]], list(input.shape)
    if list(target.shape) not in (one, whole):
        raise ValueError(f"target: expected {one} or {whole}, got {list(target.shape)}")
    if mask is not None and list(mask.shape) != one:
        raise ValueError(f"mask: expected {one}, got {list(mask.shape)}")
    module = FUSED.get(chosen_backend(input, (target, mask)).name)
    if module is None:
        return plain_sums(input, target, mask, activation, bins, soft)
    return evaluate(ConfidenceForm(activation, bins, soft, module), input, target, mask)


def plain_sums(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    activation: Activation,
    bins: int,
    soft: bool,
) -> Tensor:
    """As :func:`confidence_sums`, in torch, class by class: any device, second derivatives."""
    weight = torch.ones_like(target[:, :1], dtype=torch.float64)
    if mask is not None:  # so that not even a NaN where the weight is 0 has influence
        input, target = (t.where(mask != 0, 0) for t in (input, target))
        weight = mask.double()
    probabilities = voxel_terms(input, target, ("p",), activation=activation).p
    # of an empty batch there are no others
    rows = [probabilities.double().flatten()[:0, None, None].expand(0, 3, bins)]
    for b, own in enumerate(probabilities):
        for c, p in enumerate(own):
            index = target.shape[1] != input.shape[1]
            y = (target[b, 0] == c if index else target[b, c]).double().flatten()
            rows.append(_row(p.flatten(), y, weight[b, 0].flatten(), bins, soft)[None])
    return torch.cat(rows).view(*probabilities.shape[:2], 3, bins)


def _row(p: Tensor, y: Tensor, w: Tensor, bins: int, soft: bool) -> Tensor:
    """The sums of one class, (3, bins)."""
    scaled = p.detach() * bins
    values = (w, w * p.double(), w * y)
    if not soft:
        cell = (scaled.ceil() - 1).clamp(0, bins - 1).nan_to_num(nan=0).long()
        return torch.stack([v.new_zeros(bins).scatter_add(0, cell, v) for v in values])
    whole = (scaled + 0.5).floor().clamp(0, bins)
    cell = whole.nan_to_num(nan=0).long()
    share = (p * bins + 0.5 - whole).clamp(0, 1).double()
    upper = [v * share for v in values]
    rows = [
        (v - u).new_zeros(bins + 2).scatter_add(0, cell, v - u).scatter_add(0, cell + 1, u)
        for v, u in zip(values, upper, strict=True)
    ]
    return folded(torch.stack(rows))


def folded(sums: Tensor) -> Tensor:
    """Without the two places beyond the outermost centres, whose voxels belong to the outer bins.

    Example:
        >>> folded(torch.tensor([1.0, 2.0, 3.0, 4.0]))
        tensor([3., 7.])
    """
    bins = sums.shape[-1] - 2
    below, above = F.pad(sums[..., :1], (0, bins - 1)), F.pad(sums[..., -1:], (bins - 1, 0))
    return sums[..., 1:-1] + below + above


def table(gradient: Tensor, soft: bool) -> Tensor:
    """Derivative by p as a + b p + d y in each cell, from that by the sums.

    Args:
        gradient: (..., 3, bins), by weight, probabilities and labels of each bin.
        soft: as in :func:`confidence_sums`; its cells lie between the centres, and beyond them.

    Returns:
        (..., 3, cells): a, b and d.
    """
    n, p, y = gradient.unbind(-2)
    if not soft:
        return torch.stack([p, torch.zeros_like(p), torch.zeros_like(p)], -2)
    bins = gradient.shape[-1]
    middle = torch.arange(1, bins, dtype=gradient.dtype, device=gradient.device) - 0.5
    steps = [t.diff() for t in (n, p, y)]
    # With t = bins p − middle the share of the upper bin: the bins' weights change by ± bins, and
    # what is in them by their weights.
    a = bins * steps[0] + p[..., :-1] - middle * steps[1]
    inner = torch.stack([a, 2 * bins * steps[1], bins * steps[2]], -2)
    outer = torch.stack([p, torch.zeros_like(p), torch.zeros_like(p)], -2)
    return torch.cat([outer[..., :1], inner, outer[..., -1:]], -1)


@dataclass(frozen=True)
class ConfidenceForm:
    """The sums, by a module that has them in one pass."""

    differentiable: ClassVar[int] = 1

    activation: Activation
    bins: int
    soft: bool
    module: str

    def value(self, *tensors: Any) -> Tensor:
        """The sums (B, C, 3, bins)."""
        own = import_module(self.module)
        found: Tensor = own.sums(*flat(*tensors), self.activation, self.bins, self.soft)
        return folded(found) if self.soft else found

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by the input."""
        out = gradient_like(tensors[0])
        slopes, own = table(gradient, self.soft), import_module(self.module)
        own.slopes(*flat(*tensors), self.activation, slopes, self.soft, out)
        return (out,)

    def plain(self, *tensors: Any) -> Tensor:
        """In torch."""
        input, target, mask = tensors
        return plain_sums(input, target, mask, self.activation, self.bins, self.soft)

    def recorded(self, *tensors: Any) -> Tensor:
        """As an operator."""
        return _sums(*tensors, self.activation, self.bins, self.soft, self.module)


def _fake(
    input: Tensor, target: Any, mask: Any, activation: str, bins: int, soft: bool, _: Any
) -> Tensor:
    return input.new_empty((*input.shape[:2], 3, bins), dtype=torch.float64)


_sums = operator(
    "medloss::confidence_sums",
    "Tensor input, Tensor target, Tensor? mask",
    "str activation, int bins, bool soft, str module",
    of=ConfidenceForm,
    fake=_fake,
    fake_slope=gradient_like,
)
