"""Tversky loss."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medloss.base import RegionLoss, SegmentationLoss, options
from medloss.sums import ClassSums
from medloss_region.dice import overlap


def tversky_index(
    tp: Tensor,
    fp: Tensor,
    fn: Tensor,
    *,
    fp_weight: float,
    fn_weight: float,
    smooth_nr: float,
    smooth_dr: float,
) -> Tensor:
    """Tversky index TI = TP / (TP + α FP + β FN).

    Args:
        tp: true positives, Σ p g.
        fp: false positives, Σ p (1 − g).
        fn: false negatives, Σ (1 − p) g.
        fp_weight: α of Salehi, the price of a false positive.
        fn_weight: β of Salehi, the price of a false negative.
        smooth_nr: added to the numerator.
        smooth_dr: added to the denominator.
    """
    return (tp + smooth_nr) / (tp + fp_weight * fp + fn_weight * fn + smooth_dr)


@options
class TverskyBase(RegionLoss):
    """Options and sums that the losses on the Tversky index share."""

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
        return ("l1", "p", "t") if self.soft_label else ("tp", "p", "t")

    def index(self, s: ClassSums) -> Tensor:
        """Tversky index of each sample and class, (B, C)."""
        tp = overlap(s, soft_label=self.soft_label)
        return tversky_index(
            tp,
            s.p - tp,
            s.t - tp,
            fp_weight=self.fp_weight,
            fn_weight=self.fn_weight,
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
        )


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
        soft_label: the formula that is right for labels between 0 and 1.

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
        for theirs, ours in (("alpha", "fp_weight"), ("beta", "fn_weight")):
            given = getattr(self, theirs)
            if given is None:
                continue
            if getattr(self, ours) not in (getattr(type(self), ours), given):
                raise ValueError(f"{theirs}: it is MONAI's name of {ours}; expected one of them")
            setattr(self, ours, given)
        self.alpha, self.beta = self.fp_weight, self.fn_weight
        super().__post_init__()

    def per_class(self, s: ClassSums) -> Tensor:
        """One minus the index, (B, C)."""
        return 1 - self.index(s)
