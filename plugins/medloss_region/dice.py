"""Losses on the soft Dice and Jaccard coefficients."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from medloss.base import RegionLoss, SegmentationLoss, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums
from medloss.sums.numeric import ratio
from medloss.sums.ratios import Linear


def sums_of_overlap(*, soft_label: bool) -> tuple[str, ...]:
    """The sums that :func:`overlap` and both volumes are made of."""
    return ("l1", "p", "t") if soft_label else ("tp", "p", "t")


def overlap(s: ClassSums, *, soft_label: bool) -> Tensor:
    """Σ p g, or (Σp + Σg − Σ|p − g|) / 2, which reaches Σ g at p = g for soft labels too."""
    return (s.p + s.t - s.l1) / 2 if soft_label else s.tp


@options
class DiceBase(RegionLoss):
    """Options and sums that the losses on the soft Dice coefficient share.

    Args:
        squared_pred: squares in the denominator.
        soft_label: the formula that is right for labels between 0 and 1.
    """

    squared_pred: bool = False
    soft_label: bool = False

    two_channels_equal_one: ClassVar[bool] = True

    def terms(self) -> tuple[str, ...]:
        """Sums that the options need."""
        if self.squared_pred:
            return ("tp", "pp", "tt")
        return sums_of_overlap(soft_label=self.soft_label)

    def coefficient_as_ratio(self, *, jaccard: bool = False) -> tuple[Linear, Linear]:
        """:meth:`coefficient` as two linear forms."""
        whole: Linear = (("pp", 1), ("tt", 1)) if self.squared_pred else (("p", 1), ("t", 1))
        common: Linear = (("tp", 2),)
        if self.soft_label and not self.squared_pred:
            common = (("p", 1), ("t", 1), ("l1", -1))
        if jaccard:
            whole = tuple((k, 2 * f) for k, f in whole) + tuple((k, -f) for k, f in common)
        return common, whole

    def coefficient(self, s: ClassSums, *, jaccard: bool = False) -> Tensor:
        """Soft Dice coefficient 2 Σpg / (Σp + Σg) of each sample and class, (B, C).

        The Jaccard coefficient Σpg / (Σp + Σg − Σpg) is written 2 Σpg / 2 (Σp + Σg − Σpg), so that
        smoothing is alike.
        """
        if self.squared_pred:  # Σpg is right for soft labels here: (p − g)² is in the denominator
            common, whole = s.tp, s.pp + s.tt
        else:
            common, whole = overlap(s, soft_label=self.soft_label), s.p + s.t
        if jaccard:
            whole = 2 * (whole - common)
        return (2 * common + self.smooth_nr) / (whole + self.smooth_dr)


@options
class DiceLoss(DiceBase):
    """Soft Dice loss, linear or squared, or its Jaccard form.

    Formula:
        L = 1 − (2 Σ p g + smooth_nr) / (Σ p + Σ g + smooth_dr) for each sample and class;
        squared_pred: Σ p² and Σ g² below; jaccard: (Σ p g) / (Σ p + Σ g − Σ p g);
        soft_label: Σ p g is (Σ p + Σ g − Σ |p − g|) / 2, whose minimum is p = g for soft labels.

    Range: [0, 1].

    Empty target:
        value 1 and almost no gradient with the default smoothing: Dice alone does not teach a model
        to leave an empty image empty; add cross entropy, ``batch=True``, or smoothing near 1.

    Args:
        squared_pred: squares in the denominator (V-Net).
        jaccard: the Jaccard (IoU) form.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(DiceLoss(smooth_nr=0, smooth_dr=0)(p, g).item(), 12)
        0.415730337079

    Source:
        Milletari 2016, arXiv:1606.04797 (squared); Drozdzal 2016, arXiv:1608.04117 (linear);
        Wang 2023, arXiv:2303.16296 (soft labels).
    """

    positional: ClassVar[tuple[str, ...]] = (
        *SegmentationLoss.positional,
        "squared_pred",
        "jaccard",
        "reduction",
        "smooth_nr",
        "smooth_dr",
        "batch",
        "weight",
        "soft_label",
        "ignore_index",
    )

    jaccard: bool = False

    def per_class(self, s: ClassSums) -> Tensor:
        """One minus the coefficient, (B, C)."""
        return 1 - self.coefficient(s, jaccard=self.jaccard)

    def as_ratio(self, prepared: Prepared) -> tuple[Linear, Linear]:
        """The coefficient."""
        return self.coefficient_as_ratio(jaccard=self.jaccard)


@options
class MaskedDiceLoss(DiceLoss):
    """Dice loss that takes its mask by place, one for all samples too, as MONAI's of this name.

    MONAI differs: with ``to_onehot_y`` a masked voxel is one of the background in its target.
    """

    positional: ClassVar[tuple[str, ...]] = DiceLoss.positional[:-1]

    def forward(
        self, input: Tensor, target: Any, mask: Tensor | None = None, **extras: Any
    ) -> Tensor:
        """Value of the loss; arguments as those of every loss."""
        if isinstance(mask, Tensor) and isinstance(input, Tensor) and mask.shape[:1] == (1,):
            mask = mask.expand(input.shape[0], *mask.shape[1:])
        return super().forward(input, target, mask=mask, **extras)


@options
class JaccardLoss(DiceBase):
    """Soft Jaccard (IoU) loss, linear or squared.

    Formula:
        L = 1 − (2 Σ p g + smooth_nr) / (2 (Σ p + Σ g − Σ p g) + smooth_dr) for each sample and
        class; squared_pred: Σ p² and Σ g² below; soft_label: Σ p g is
        (Σ p + Σ g − Σ |p − g|) / 2, whose minimum is p = g for soft labels.
        Without smoothing L = 2 D / (1 + D), D the Dice loss: both rank predictions alike, and the
        Jaccard loss has the steeper slope near a perfect one.

    Range: [0, 1].

    Empty target:
        value 1 and almost no gradient with the default smoothing, as Dice.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(JaccardLoss(smooth_nr=0, smooth_dr=0)(p, g).item(), 12)
        0.587301587302

    Source:
        Rahman and Wang 2016, doi:10.1007/978-3-319-50835-1_22; Wang 2023, arXiv:2302.05666 (soft
        labels).
    """

    def per_class(self, s: ClassSums) -> Tensor:
        """One minus the coefficient, (B, C)."""
        return 1 - self.coefficient(s, jaccard=True)

    def as_ratio(self, prepared: Prepared) -> tuple[Linear, Linear]:
        """The coefficient."""
        return self.coefficient_as_ratio(jaccard=True)


@options
class LogCoshDiceLoss(DiceBase):
    """Logarithm of the hyperbolic cosine of the Dice loss: Dice with a flat minimum.

    Formula:
        L = log cosh D for each sample, D the mean over the classes that count of
        1 − (2 Σ p g + smooth_nr) / (Σ p + Σ g + smooth_dr).

    Range: [0, log cosh 1 ≈ 0.434].

    Empty target:
        as Dice: the largest value and almost no gradient with the default smoothing.

    The gradient is tanh(D) times that of Dice: the better the prediction, the less push is left.

    Args:
        weight: none; the logarithm is taken of all classes together.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> round(LogCoshDiceLoss(smooth_nr=0, smooth_dr=0)(p, g).item(), 12)
        0.084035647523

    Source:
        Jadon 2020, arXiv:2006.14822, equation 32.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight is not None:
            raise ValueError("weight: expected None, all classes together have one value")

    def terms(self) -> tuple[str, ...]:
        """Sums that the options need."""
        return (*super().terms(), "v")

    def per_class(self, s: ClassSums) -> Tensor:
        """One value for each sample, (B, 1)."""
        annotated = (s.v > 0).to(s.v)
        dice = (1 - self.coefficient(s)) * annotated
        mean = ratio(dice.sum(1, keepdim=True), annotated.sum(1, keepdim=True))
        return torch.log1p(2 * torch.sinh(mean / 2).square())  # log cosh, exact near 0


Dice = DiceLoss
"""MONAI's short name."""
