"""Exponential-logarithmic loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medloss.base import options, weights
from medloss.base.targets import Prepared
from medloss.compound import WeightedSum
from medloss.sums import ClassSums, voxel_terms
from medloss.sums.numeric import power, ratio
from medloss_distribution.voxelwise_cross_entropy import EachVoxelLoss
from medloss_region.dice import DiceLoss


@options
class LogDice(DiceLoss):
    """(−log D)^gamma of the Dice coefficient D."""

    gamma: float = 0.3

    def per_class(self, s: ClassSums) -> Tensor:
        """Of each sample and class, (B, C)."""
        dice = 1 - super().per_class(s)
        return power(-dice.clamp_min(torch.finfo(dice.dtype).tiny).log(), self.gamma)


@options
class PowerCrossEntropy(EachVoxelLoss):
    """w_y (−log p_y)^gamma of each voxel, w_c = (frequency of c)^(−1/2)."""

    gamma: float = 0.3
    frequencies: Sequence[float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given = weights(self.frequencies, "frequencies")
        if given is not None and (given.ndim != 1 or not bool((given > 0).all())):
            raise ValueError(
                f"frequencies: expected a number above 0 for each class, got {self.frequencies!r}"
            )
        self.below_1 = given is None or bool((given < 1).all())
        self.register_buffer("frequency", given)

    def each(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Value of each voxel, and 1 for each that counts."""
        g, exclusive = prepared.one_hot(), prepared.is_exclusive
        # for a target of 0, ce_neg is −log(1 − p) whatever the true one is
        logs = voxel_terms(
            prepared.input,
            torch.zeros_like(g),
            ("nlog", "ce_neg")[: 1 if exclusive else 2],
            activation=prepared.activation,
        )
        positive, negative = self.factors(prepared, exclusive)
        # infinite where a class is ruled out, which costs nothing where it is not the true one
        value = positive * g * power(logs.nlog.where(g > 0, 0), self.gamma)
        if exclusive:
            return self.counted(value, g, prepared)
        value = value + negative * (1 - g) * power(logs.ce_neg.where(g < 1, 0), self.gamma)
        return self.counted(value, torch.ones_like(g), prepared)

    def factors(self, prepared: Prepared, exclusive: bool) -> tuple[Tensor, Tensor]:
        """Weights of positives and of negatives, (B, C, 1, ...).

        Raises:
            ValueError: given frequencies that do not fit the classes.
        """
        share, classes = self._buffers["frequency"], prepared.input.shape[1]
        if share is None:
            s = prepared.sums(("t", "v"))
            if prepared.present is not None:
                s = s.only(prepared.present)
            s = s.over_batch(self.batch)
            positive, negative = ratio(s.v, s.t), ratio(s.v, s.v - s.t)
        else:
            if len(share) != classes:
                raise ValueError(f"frequencies: expected {classes} values, got {len(share)}")
            if not exclusive and not self.below_1:
                raise ValueError("frequencies: expected shares below 1 of independent classes")
            share = (share / share.sum() if exclusive else share).to(prepared.input)[None]
            positive, negative = 1 / share, 1 / (1 - share)
        shape = (-1, classes, *[1] * (prepared.input.ndim - 2))
        return positive.sqrt().view(shape), negative.sqrt().view(shape)


@options
class ExponentialLogarithmicLoss(WeightedSum):
    """Powers of the logarithms of Dice and of each probability, rare classes first.

    Formula:
        L = lambda_dice · mean_c (−log D_c)^gamma_dice + lambda_ce · mean over voxels of
        w_y (−log p_y)^gamma_ce, y the true class, w_c = (Σ_k f_k / f_c)^½ with f_c the number of
        voxels of class c; D_c the smoothed Dice coefficient.
        sigmoid: each class is one of two, with the shares of its positives and negatives.

    Range: [0, ∞).

    Empty target:
        finite value and full gradient of the cross-entropy term. The slope of a power below 1 is
        infinite at a perfect prediction; below 10⁻⁶ a straight line takes its place.

    Frequencies are those of each image; with ``batch=True`` those of the batch. The paper takes
    those of the training set: give them.

    Args:
        gamma_dice: power of −log D.
        gamma_ce: power of −log p.
        frequencies: f_c of every class, background included; for sigmoid each class's share of the
            voxels. By default counted in the target.
        lambda_dice: weight of the Dice term.
        lambda_ce: weight of the cross-entropy term.
        smooth_nr: added to Dice's numerator; the paper has 1.
        smooth_dr: added to Dice's denominator; the paper has 1.
        weight: one number, or one for each class that counts, for both terms.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> round(ExponentialLogarithmicLoss(softmax=True)(z, y).item(), 12)
        0.84350876216

    Source:
        Wong 2018, arXiv:1809.00076.
    """

    gamma_dice: float = 0.3
    gamma_ce: float = 0.3
    frequencies: Sequence[float] | None = None
    lambda_dice: float = 0.8
    lambda_ce: float = 0.2
    smooth_nr: float = 1.0
    smooth_dr: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gamma_dice", "gamma_ce"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)!r}")
        shared = self.pass_on("include_background", "weight")
        dice = LogDice(
            gamma=self.gamma_dice, smooth_nr=self.smooth_nr, smooth_dr=self.smooth_dr, **shared
        )
        ce = PowerCrossEntropy(gamma=self.gamma_ce, frequencies=self.frequencies, **shared)
        self.set_terms(
            {
                "logarithmic_dice": (self.lambda_dice, dice),
                "power_cross_entropy": (self.lambda_ce, ce),
            }
        )
