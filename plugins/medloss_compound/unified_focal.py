"""Unified focal loss."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from medloss.base import RegionLoss, SumsLoss, VoxelLoss, options
from medloss.base.segmentation import OldNames
from medloss.base.targets import Prepared
from medloss.compound import WeightedSum
from medloss.sums import ClassSums, Term
from medloss.sums.numeric import power
from medloss_distribution.cross_entropy import along_classes


@options
class UnifiedCrossEntropy(VoxelLoss):
    """Focal cross entropy, δ on the foreground and 1 − δ on the background."""

    delta: float = 0.6
    gamma: float = 0.5
    asymmetric: bool = False

    def terms(self) -> tuple[str | Term, ...]:
        """Focal halves; the foreground's is plain where asymmetric."""
        gamma = float(self.gamma)
        plain = ("ce",) if self.asymmetric else ()
        negative = () if self.softmax else (Term("focal_neg", gamma),)
        return (Term("focal", gamma), *negative, *plain, "t", "v")

    def per_class(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Weighted loss, (B, C, ...); softmax voxels (B, 1, ...)."""
        value = self.delta * (s.ce if self.asymmetric else s.focal)
        exclusive = prepared.is_exclusive
        if exclusive and self.include_background:
            value = torch.cat([(1 - self.delta) * s.focal[:, :1], value[:, 1:]], 1)
        elif not exclusive:
            value = value + (1 - self.delta) * s.focal_neg
        weight = self.class_weights(value.shape[1], value)
        if weight is not None:
            value = value * along_classes(weight, value)
        return value.sum(1, keepdim=True) if exclusive else value

    def normalizer(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Number of voxels (and independent classes)."""
        return self.labelled(s, prepared) if prepared.is_exclusive else s.v


@options
class PowerTversky(RegionLoss):
    """(1 − TI)^exponent, with another exponent for class 0 where it counts."""

    delta: float = 0.6
    exponent: float = 0.5
    first_exponent: float = 0.5

    def per_class(self, s: ClassSums) -> Tensor:
        """Of each sample and class, (B, C)."""
        missed = self.delta * s.fn + (1 - self.delta) * s.fp
        # 1 − TI from what is wrong: subtracted from 1, a few voxels of millions would round away
        missed = missed + self.smooth_dr - self.smooth_nr
        loss = missed / (s.tp + missed + self.smooth_nr)
        value = power(loss, self.exponent)
        if not self.include_background or self.first_exponent == self.exponent:
            return value
        return torch.cat([power(loss[:, :1], self.first_exponent), value[:, 1:]], 1)


@options
class UnifiedTversky(SumsLoss):
    """Powers of the Tversky losses of foreground and background."""

    delta: float = 0.6
    exponent: float = 0.5
    background_exponent: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ("include_background", "reduction", "batch", "weight", "smooth_nr", "smooth_dr")
        shared = {name: getattr(self, name) for name in (*names, "delta")}
        exponents = (self.exponent, self.exponent, self.background_exponent)
        first = (self.background_exponent, self.exponent, self.background_exponent)
        self.exclusive, self.positive, self.negative = (
            PowerTversky(exponent=e, first_exponent=f, **shared)
            for e, f in zip(exponents, first, strict=True)
        )

    def terms(self) -> tuple[str, ...]:
        """Sums of both sides."""
        return ("tp", "p", "t", "v")

    def from_sums(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Each independent class has a background of its own, which is half of its loss."""
        fp, fn = s.p - s.tp, s.t - s.tp
        confusion = self.confusion(s.tp, fp, fn)
        if prepared.is_exclusive:
            return self.exclusive.from_sums(confusion, prepared)
        positive = self.positive.from_sums(confusion, prepared)
        rest = self.confusion(s.v - s.p - fn, fn, fp)
        return (positive + self.negative.from_sums(rest, prepared)) / 2

    @staticmethod
    def confusion(tp: Tensor, fp: Tensor, fn: Tensor) -> ClassSums:
        """Soft counts, (B, C) each."""
        return ClassSums(torch.stack([tp, fp, fn], 1), (Term("tp"), Term("fp"), Term("fn")))


@options
class UnifiedFocalLoss(WeightedSum):
    """Unified focal loss: focal cross entropy and focal Tversky with shared parameters.

    Formula:
        L = lambda_tversky L_T + (1 − lambda_tversky) L_F over exclusive classes;
        L_F = mean over voxels of δ_y (1 − p_y)^γ (−log p_y), δ_y = δ, for the background 1 − δ;
        L_T = mean over classes of (1 − TI_c)^(1 − γ), TI = TP / (TP + δ FN + (1 − δ) FP);
        asymmetric: no (1 − p)^γ for the foreground in L_F, power 1 for the background in L_T.
        sigmoid: each class is two exclusive ones, itself and its background.

    These are the powers of the authors' code. The paper prints the symmetric form with γ and 1 − γ
    exchanged; at γ = 0.5 they are the same.

    Range: [0, ∞).

    Empty target:
        finite value, and a gradient that pushes false positives down. Slopes of powers below 1 are
        infinite at a perfect prediction; below 10⁻⁶ a straight line takes their place.

    MONAI differs: its ``AsymmetricUnifiedFocalLoss`` applies no activation and clamps the logits to
    [0, 1], which leaves no gradient beyond; and it halves the focal term.

    Args:
        delta: δ in [0, 1]: weight of the foreground, and price of a false negative.
        gamma: γ in [0, 1): 0 is Tversky and weighted cross entropy.
        lambda_tversky: share of the Tversky term, in [0, 1].
        asymmetric: keep the losses of rare classes, suppress those of easy background.
        weight: one number, or one for each class that counts, for both terms.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> g = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> for asymmetric in (False, True):
        ...     loss = UnifiedFocalLoss(asymmetric=asymmetric, smooth_nr=0, smooth_dr=0)
        ...     print(round(loss(p, g).item(), 12))
        0.355848288241
        0.307280991912

    Source:
        Yeung 2022, arXiv:2102.04525.
    """

    delta: float = 0.6
    gamma: float = 0.5
    lambda_tversky: float = 0.5
    asymmetric: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("delta", "lambda_tversky"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"{name}: expected a number in [0, 1], got {getattr(self, name)!r}"
                )
        if not 0 <= self.gamma < 1:
            raise ValueError(f"gamma: expected a number in [0, 1), got {self.gamma!r}")
        shared = self.pass_on("include_background", "weight")
        tversky = UnifiedTversky(
            delta=self.delta,
            exponent=1 - self.gamma,
            background_exponent=1.0 if self.asymmetric else 1 - self.gamma,
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
            **shared,
        )
        focal = UnifiedCrossEntropy(
            delta=self.delta, gamma=self.gamma, asymmetric=self.asymmetric, **shared
        )
        share = self.lambda_tversky
        self.set_terms({"tversky": (share, tversky), "focal": (1 - share, focal)})


@options
class AsymmetricUnifiedFocalLoss(WeightedSum, OldNames):
    """Asymmetric unified focal loss with the weights of MONAI's, which halves the focal term.

    ``unified_focal`` with ``asymmetric=True`` is the published one, for any number of classes and
    with an activation. This one takes probabilities, of two channels or of one.

    Args:
        num_classes: 2.
        weight: share of the focal term.
        gamma: as in ``unified_focal``.
        delta: as in ``unified_focal``.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "to_onehot_y",
        "num_classes",
        "weight",
        "gamma",
        "delta",
        "reduction",
        "ignore_index",
    )

    num_classes: int = 2
    weight: float = 0.5
    gamma: float = 0.5
    delta: float = 0.7

    def __post_init__(self) -> None:
        if self.num_classes != 2:
            raise ValueError(
                f"num_classes: expected 2, got {self.num_classes}; UnifiedFocalLoss takes any"
            )
        super().__post_init__()
        share = self.weight
        self._buffers["class_weight"] = None
        tversky = UnifiedTversky(
            delta=self.delta,
            exponent=1 - self.gamma,
            background_exponent=1.0,
            smooth_nr=0.0,
            smooth_dr=1e-7,
            **self.pass_on(),
        )
        focal = UnifiedCrossEntropy(
            delta=self.delta, gamma=self.gamma, asymmetric=True, **self.pass_on()
        )
        self.set_terms({"tversky": (1 - share, tversky), "focal": (share / 2, focal)})
