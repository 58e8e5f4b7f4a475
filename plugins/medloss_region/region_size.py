"""Region size loss: the share of each class, whatever its place."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from medloss.base import RegionLoss, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums
from medloss.sums.numeric import ratio


@options
class RegionSizeLoss(RegionLoss):
    """Difference between the predicted and the true share of each class, whatever its place.

    Formula:
        L = mean over samples and classes of |p̂ − ĝ|, p̂ the mean over the voxels that count of the
        softmax or sigmoid of temperature times the logits, ĝ the share of the class in them;
        ``difference="kl"``: Σ_c ĝ_c log(ĝ_c / p̂_c), of independent classes with that of the rest.

    Never alone: it is 0 for every permutation of the truth. Beside another loss its weight is the
    papers' α, 0.1 by default there and 1 in the published configurations, which have temperature
    10, nearly counting voxels: ``dice_ce+0.1*region_size`` in ``medloss study``. With temperature 1
    it takes class sums that ``dice_ce`` takes anyway; another one costs a pass of its own.

    Range: [0, 1]; with ``"kl"`` [0, ∞).

    Empty target:
        ``"absolute"`` costs p̂ and pushes it down; absent classes are in the mean. ``"kl"`` has no
        term of an absent exclusive class.

    The sign jumps where both shares are equal. ``"kl"`` of exclusive classes is of all together,
    background too, with one value for each sample. The smoothing options have no use here.

    Args:
        temperature: factor of the logits.
        difference: ``"absolute"`` or ``"kl"``.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(RegionSizeLoss()(p, g).item(), 12)
        0.075

    Source:
        Liu 2023, arXiv:2104.08717.
    """

    two_channels_equal_one: ClassVar[bool] = True

    temperature: float = 1.0
    difference: Literal["absolute", "kl"] = "absolute"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0:
            raise ValueError(f"temperature: expected more than 0, got {self.temperature!r}")

    def check(self, prepared: Prepared) -> None:
        """A temperature is one of logits."""
        super().check(prepared)
        if self.temperature != 1 and prepared.activation == "probabilities":
            raise ValueError(
                f"input: expected logits with softmax=True or sigmoid=True for "
                f"temperature={self.temperature!r}, got probabilities"
            )

    def is_additive(self, prepared: Prepared) -> bool:
        """Where the sums are all there is."""
        return self.temperature == 1 and super().is_additive(prepared)

    def terms(self) -> tuple[str, ...]:
        """Voxels, labels and probabilities; those of another temperature have their own pass."""
        return ("p", "t", "v") if self.temperature == 1 else ("t", "v")

    def from_sums(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Compare the shares of the classes that were annotated."""
        if self.temperature != 1:
            sharp = replace(prepared, values=prepared.input * self.temperature).sums(("p",))
            s = ClassSums((sharp.p, s.t, s.v), (*sharp.terms, *s.terms))
        if self.difference == "kl" and prepared.is_exclusive:
            return self._divergence_of_all(s, prepared)
        return super().from_sums(s, prepared)

    def per_class(self, s: ClassSums) -> Tensor:
        """Difference of the shares, (B, C)."""
        predicted, true = ratio(s.p, s.v), ratio(s.t, s.v)
        if self.difference == "absolute":
            return (predicted - true).abs()
        rest = ratio(s.v - s.p, s.v), ratio(s.v - s.t, s.v)
        return divergence(predicted, true) + divergence(*rest)

    def _divergence_of_all(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """That of exclusive classes, where those that were not annotated are one."""
        present = prepared.present
        if present is not None:
            s = s.only(present)
        if self.batch is not False:
            s = s.over_batch(self.batch)
        total = s.v.amax(1, keepdim=True)
        value = divergence(ratio(s.p, total), ratio(s.t, total)).sum(1, keepdim=True)
        if present is not None:
            rest = (ratio(total - x.sum(1, keepdim=True), total) for x in (s.p, s.t))
            value = value + divergence(*(x.clamp_min(0) for x in rest))
        return self.reduce_classes(value, None)


def divergence(predicted: Tensor, true: Tensor) -> Tensor:
    """What a share adds to the divergence, true log(true / predicted); 0 where nothing is true.

    Example:
        >>> divergence(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.0]))
        tensor([0., 0.])
    """
    least = torch.finfo(predicted.dtype).tiny
    entropy: Tensor = torch.xlogy(true, true)
    return entropy - true * predicted.clamp_min(least).log()
