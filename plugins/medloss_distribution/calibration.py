"""Average calibration error as a loss: bins of probability, and what came true in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from medloss.base import SegmentationLoss, options
from medloss.base.targets import Prepared
from medloss.histograms import confidence_sums
from medloss.sums import ClassSums, any_over_batch, work_dtype
from medloss.sums.numeric import ratio


@options
class L1ACELoss(SegmentationLoss):
    """Average calibration error: how far the mean probability of a bin is from what came true.

    Formula:
        ACE = 1/M⁺ Σ_m |e_m − o_m| for each sample and class, over the bins of probability that are
        not empty: e_m the mean of p in bin m, o_m the mean of g; L is the mean over samples and
        classes. ``binning="hard"``: a voxel is in one of num_bins equal bins, an edge in the lower
        one; the gradient by p is sign(e_m − o_m) / (n_m M⁺). ``"soft"``: it counts for bin m by
        max(0, 1 − num_bins |p − c_m|), c_m the centre, and beyond the outermost centres for the
        outermost bin alone; the gradient goes through these weights, too.

    Never alone: a constant prediction of the right share has 0, and no voxel's place matters. The
    tutorial of its authors has Dice : CE : this as 1 : 1 : 0.3. Every bin that is not empty weighs
    the same, so that one stray voxel can weigh as much as the whole background.

    Range: [0, 1]; 0, with no gradient, at a perfect prediction and at any calibrated one.

    Empty target:
        a class without foreground is left out of the mean (``ignore_empty_classes``), of value 0
        where no class has any; otherwise it costs the mean over its bins of the mean probability.

    MONAI differs, as the released code does: a class that is left out still counts in what the mean
    divides by (``HardL1ACELoss`` and ``SoftL1ACELoss`` here are with that mean), and the soft form
    has a NaN for gradient where a probability is exactly a centre beside an empty bin.

    Hard bins jump where a voxel changes its bin, soft ones bend at each centre. Ignored voxels
    leave the bins. Bins are additive: ``batch=True`` pools the batch. The smoothing options have no
    use here.

    Args:
        num_bins: bins of [0, 1].
        binning: ``"hard"`` or ``"soft"``.
        empty_weight: soft bins of less weight than so many voxels are empty.
        ignore_empty_classes: whether a class without foreground is left out.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(L1ACELoss(num_bins=4)(p, g).item(), 12)
        0.24375
        >>> round(L1ACELoss(num_bins=4, binning="soft")(p, g).item(), 12)
        0.20625

    Source:
        Barfoot 2025, arXiv:2506.03942; hard bins: Barfoot 2024, arXiv:2403.06759.
    """

    two_channels_equal_one: ClassVar[bool] = True

    mean_of_all: ClassVar[bool] = False
    """Whether the mean also divides by the classes that are left out."""

    num_bins: int = 20
    binning: Literal["hard", "soft"] = "hard"
    empty_weight: float = 0.01
    ignore_empty_classes: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_bins < 1:
            raise ValueError(f"num_bins: expected at least 1, got {self.num_bins!r}")
        if not self.empty_weight >= 0:
            raise ValueError(f"empty_weight: expected at least 0, got {self.empty_weight!r}")

    def compute(self, prepared: Prepared) -> Tensor:
        """Fill the bins and compare them."""
        soft, present = self.binning == "soft", prepared.present
        counts = confidence_sums(
            prepared.input,
            prepared.target,
            activation=prepared.activation,
            mask=prepared.mask,
            bins=self.num_bins,
            soft=soft,
        )
        if present is not None:
            counts = counts * present[..., None, None]
            present = any_over_batch(present, self.batch) if self.batch is not False else present
        if not self.include_background:
            counts, present = counts[:, 1:], None if present is None else present[:, 1:]
        sums = ClassSums(counts, ()).over_batch(self.batch).values
        least = self.empty_weight if soft else 0.0
        value = calibration_error(sums, least).to(work_dtype(prepared.input))
        if not self.ignore_empty_classes:
            return self.reduce_classes(value, present)
        there = ~(sums.detach()[:, :, 2].sum(-1) <= 0)  # so that a NaN stays
        if self.mean_of_all:
            return self.reduce_classes(torch.where(there, value, 0), present)
        return self.reduce_classes(value, there if present is None else there & present)


def calibration_error(sums: Tensor, least: float = 0.0) -> Tensor:
    """Mean over the bins of the difference of mean probability and mean label, (...).

    Args:
        sums: (..., 3, bins), of :func:`medloss.histograms.confidence_sums`.
        least: bins of less weight are empty; those without any are.
    """
    weight, probabilities, labels = sums.unbind(-2)
    empty = (weight.detach() <= 0) | (weight.detach() < least)  # of a NaN neither
    gaps = torch.where(empty, 0, (probabilities - labels).abs()) / torch.where(empty, 1, weight)
    return ratio(gaps.sum(-1), (~empty).sum(-1).to(gaps))


class _MonaisACE(L1ACELoss):
    """What both of MONAI's names share."""

    mean_of_all: ClassVar[bool] = True
    named_for: ClassVar[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.binning != self.named_for:
            raise ValueError(f"binning: expected {self.named_for!r}, got {self.binning!r}")


_EDGES = "an edge belongs to the lower bin, in the released code whatever it says; leave it out"
_SHARED = (
    *("num_bins", "include_background", "to_onehot_y", "sigmoid", "softmax", "other_act"),
    *("reduction", "weight"),
)


@options
class HardL1ACELoss(_MonaisACE):
    """The average calibration error in hard bins, under MONAI's name and with its mean.

    A class without foreground has 0, and the mean divides by all classes.
    """

    named_for: ClassVar[str] = "hard"
    positional: ClassVar[tuple[str, ...]] = _SHARED
    renamed: ClassVar[Mapping[str, str]] = {"right": _EDGES}


@options
class SoftL1ACELoss(_MonaisACE):
    """The average calibration error in soft bins, under MONAI's name and with its mean.

    A class without foreground has 0, and the mean divides by all classes.
    """

    named_for: ClassVar[str] = "soft"
    positional: ClassVar[tuple[str, ...]] = (*_SHARED, "empty_weight")
    renamed: ClassVar[Mapping[str, str]] = {"right": _EDGES}

    binning: Literal["hard", "soft"] = "soft"
