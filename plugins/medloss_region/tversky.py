"""Losses on the Tversky index."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medloss.base import RegionLoss, SegmentationLoss, options
from medloss.base.options import under_another_name
from medloss.base.targets import Prepared
from medloss.sums import ClassSums
from medloss.sums.numeric import power
from medloss.sums.ratios import Linear
from medloss_region.dice import overlap, sums_of_overlap


def tversky_index(
    s: ClassSums, loss: RegionLoss, *, fp_weight: float, fn_weight: float, soft_label: bool
) -> Tensor:
    """Tversky index TI = TP / (TP + α FP + β FN) of each sample and class, (B, C).

    Args:
        s: the sums of :func:`medloss_region.dice.sums_of_overlap`.
        loss: smooths it.
        fp_weight: α of Salehi, the price of a false positive, Σ p (1 − g).
        fn_weight: β of Salehi, the price of a false negative, Σ (1 − p) g.
        soft_label: whether the overlap is right for soft labels too.
    """
    tp = overlap(s, soft_label=soft_label)
    fp, fn = s.p - tp, s.t - tp
    return (tp + loss.smooth_nr) / (tp + fp_weight * fp + fn_weight * fn + loss.smooth_dr)


@options
class TverskyBase(RegionLoss):
    """Options and sums that the losses on the Tversky index share.

    Args:
        soft_label: the formula that is right for labels between 0 and 1.
    """

    fp_weight: float = 0.5
    fn_weight: float = 0.5
    soft_label: bool = False

    two_channels_equal_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("fp_weight", "fn_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)!r}")

    def terms(self) -> tuple[str, ...]:
        """Sums that the options need."""
        return sums_of_overlap(soft_label=self.soft_label)

    def index(self, s: ClassSums) -> Tensor:
        """Tversky index of each sample and class, (B, C)."""
        prices = {"fp_weight": self.fp_weight, "fn_weight": self.fn_weight}
        return tversky_index(s, self, **prices, soft_label=self.soft_label)


@options
class TverskyLoss(TverskyBase):
    """Tversky loss: Dice with separate weights for false positives and negatives.

    Formula:
        L = 1 − (TP + smooth_nr) / (TP + fp_weight FP + fn_weight FN + smooth_dr) for each sample
        and class, TP = Σ p g, FP = Σ p (1 − g), FN = Σ (1 − p) g.
        (0.5, 0.5) is Dice, (1, 1) is Jaccard; the paper takes (0.3, 0.7).

    Range: [0, 1].

    Empty target:
        value 1 and almost no gradient with the default smoothing, as Dice.

    Args:
        fp_weight: price of a false positive (α of Salehi and MONAI; other papers swap the letters).
        fn_weight: price of a false negative (β); larger finds more.
        alpha: MONAI's name of ``fp_weight``.
        beta: MONAI's name of ``fn_weight``.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> loss = TverskyLoss(fp_weight=0.3, fn_weight=0.7, smooth_nr=0, smooth_dr=0)
        >>> round(loss(p, g).item(), 12)
        0.391100702576

    Source:
        Salehi 2017, arXiv:1706.05721.
    """

    positional: ClassVar[tuple[str, ...]] = (
        *SegmentationLoss.positional,
        "alpha",
        "beta",
        "reduction",
        "smooth_nr",
        "smooth_dr",
        "batch",
        "soft_label",
        "ignore_index",
    )

    alpha: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        under_another_name(self, "alpha", "fp_weight")
        under_another_name(self, "beta", "fn_weight")
        super().__post_init__()

    def per_class(self, s: ClassSums) -> Tensor:
        """One minus the index, (B, C)."""
        return 1 - self.index(s)

    def as_ratio(self, prepared: Prepared) -> tuple[Linear, Linear]:
        """The index."""
        fp, fn = self.fp_weight, self.fn_weight
        tp: Linear = (("p", 0.5), ("t", 0.5), ("l1", -0.5)) if self.soft_label else (("tp", 1),)
        below = tuple((key, factor * (1 - fp - fn)) for key, factor in tp)
        return tp, (*below, ("p", fp), ("t", fn))


@options
class FocalTverskyLoss(TverskyBase):
    """Tversky loss raised to a power, so that badly segmented classes weigh more.

    Formula:
        L = (1 − TI)^exponent for each sample and class, then the mean;
        TI = (TP + smooth_nr) / (TP + fp_weight FP + fn_weight FN + smooth_dr).
        The paper writes the exponent 1/γ and recommends γ = 4/3, so 0.75; an exponent above 1
        turns the focus the other way.

    Range: [0, 1].

    Empty target:
        value 1 and almost no gradient with the default smoothing, as Dice. The slope of a power
        below 1 is infinite at a perfect prediction; below 10⁻⁶ a straight line takes its place.

    Args:
        fp_weight: price of a false positive (β of the paper).
        fn_weight: price of a false negative (α of the paper).
        exponent: 1/γ of the paper.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(FocalTverskyLoss(smooth_nr=0, smooth_dr=0)(p, g).item(), 12)
        0.494557106827

    Source:
        Abraham and Khan 2018, arXiv:1810.07842.
    """

    fp_weight: float = 0.3
    fn_weight: float = 0.7
    exponent: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.exponent > 0:
            raise ValueError(f"exponent: expected more than 0, got {self.exponent!r}")

    def per_class(self, s: ClassSums) -> Tensor:
        """The powered loss, (B, C)."""
        return power(1 - self.index(s), self.exponent)


@options
class AsymmetricSimilarityLoss(RegionLoss):
    """One minus the F_β score: Dice where a missed voxel costs β² false ones.

    Formula:
        L = 1 − ((1 + β²) TP) / ((1 + β²) TP + β² FN + FP) for each sample and class, which is the
        Tversky loss with fp_weight 1 / (1 + β²) and fn_weight β² / (1 + β²) and is smoothed as
        that one; TP = Σ p g, FP = Σ p (1 − g), FN = Σ (1 − p) g.

    Range: [0, 1].

    Empty target:
        value 1 and almost no gradient with the default smoothing, as Dice.

    Args:
        beta: β; 1 is Dice, more finds more. The paper takes 1.5.
        soft_label: the formula that is right for labels between 0 and 1.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(AsymmetricSimilarityLoss(smooth_nr=0, smooth_dr=0)(p, g).item(), 12)
        0.392086330935

    Source:
        Hashemi 2018, arXiv:1803.11078.
    """

    beta: float = 1.5
    soft_label: bool = False

    two_channels_equal_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.beta >= 0:
            raise ValueError(f"beta: expected at least 0, got {self.beta!r}")

    def terms(self) -> tuple[str, ...]:
        """Sums that the options need."""
        return sums_of_overlap(soft_label=self.soft_label)

    def per_class(self, s: ClassSums) -> Tensor:
        """One minus the score, (B, C)."""
        fp_weight = 1 / (1 + self.beta**2)
        return 1 - tversky_index(
            s, self, fp_weight=fp_weight, fn_weight=1 - fp_weight, soft_label=self.soft_label
        )
