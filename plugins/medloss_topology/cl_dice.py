"""clDice loss."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medloss.base import RegionLoss, options
from medloss.base.segmentation import OldNames
from medloss.base.targets import Prepared
from medloss.compound import WeightedSum
from medloss.runtime.eager import evaluate
from medloss.sums import ClassSums
from medloss.sums.numeric import ratio
from medloss_region.dice import DiceLoss
from medloss_topology.skeleton_sums import TERMS, SkeletonSums


@options
class ClDiceLoss(RegionLoss):
    """clDice: overlap of each centre line with the other mask, so that tubes stay connected.

    Formula:
        L = 1 − 2 T_p T_s / (T_p + T_s) for each sample and class, with the precision
        T_p = (Σ S_p g + smooth_nr) / (Σ S_p + smooth_dr) and the sensitivity
        T_s = (Σ S_g p + smooth_nr) / (Σ S_g + smooth_dr); S_p and S_g are soft skeletons:
        what repeated erosion removes and dilation does not bring back.

    Range: [0, 1] for smooth_nr = smooth_dr.

    Empty target:
        an even prediction, however high, has no centre line and the value 0: nothing pushes it
        down. Train it beside a region loss, as ``dice_cl_dice`` does.

    Erosion counts voxels, not mm: resample thick slices first. Ignored voxels are as if beyond the
    image. A ready ``skeleton``, (B, C, *spatial), is taken as S_g, and saves little.

    MONAI differs: it pools all classes of a sample into one ratio, so that a large class hides the
    small ones, and keeps every step of the pooling for the backward pass.

    Cost:
        with 3 iterations about 23 times the CPU time of ``dice_ce``, a sixth of MONAI's; it grows
        with ``iterations``. ``skeleton_recall`` costs next to nothing.
        (docs/examples/measure_topology_losses.py)

    Args:
        iterations: of erosion, at least the radius in voxels of the thickest tube.
        smooth_nr: added to numerators; here 1, as in the paper.
        smooth_dr: added to denominators; here 1, as in the paper.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 7, 9, dtype=torch.float64)
        >>> g[..., 2:5, :] = 1
        >>> p = 0.1 + 0.8 * g
        >>> p[..., 2:5, 4] = 0.2  # a gap
        >>> round(ClDiceLoss()(p, g).item(), 12)
        0.086956521739

    Source:
        Shit 2021, arXiv:2003.07311.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    two_channels_equal_one: ClassVar[bool] = True

    iterations: int = 3
    smooth_nr: float = 1.0
    smooth_dr: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.iterations, int) or self.iterations < 0:
            raise ValueError(
                f"iterations: expected a whole number from 0 on, got {self.iterations!r}"
            )

    def terms(self) -> tuple[str, ...]:
        """The number of voxels; skeletons are no sums of terms of a single voxel."""
        return ("v",)

    def from_sums(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Add the sums over the skeletons."""
        return super().from_sums(ClassSums(self.skeletons(prepared), TERMS), prepared)

    def per_class(self, s: ClassSums) -> Tensor:
        """Of each sample and class, (B, C)."""
        return 1 - self.coefficient(s)

    def coefficient(self, s: ClassSums, smooth: float = 0.0) -> Tensor:
        """Harmonic mean of precision and sensitivity."""
        precision = ratio(s.predicted_inside + self.smooth_nr, s.predicted + self.smooth_dr)
        sensitivity = ratio(s.true_inside + self.smooth_nr, s.true + self.smooth_dr)
        return ratio(2 * precision * sensitivity, precision + sensitivity + smooth)

    def skeletons(self, prepared: Prepared) -> Tensor:
        """Sums over the skeletons, (B, 4, C)."""
        sums = SkeletonSums(0 if self.include_background else 1, self.iterations)
        given = prepared.target, prepared.extras.skeleton, prepared.mask
        return evaluate(sums, prepared.probabilities(), *given)


@options
class DiceClDiceLoss(WeightedSum):
    """Dice loss mixed with clDice, under one activation.

    Formula:
        L = (1 − alpha) L_Dice + alpha L_clDice, for the classes that count.

    Range: [0, 1] for smooth_nr = smooth_dr.

    Empty target:
        Dice keeps a gradient against false positives, as far as ``smooth_dr`` lets it; clDice is 0.

    MONAI differs as in ``cl_dice``.

    Cost:
        that of ``cl_dice``. (docs/examples/measure_topology_losses.py)

    Args:
        alpha: share of clDice, in [0, 1]; the paper takes at most 0.5.
        iterations: of erosion, at least the radius in voxels of the thickest tube.
        squared_pred: squares in Dice's denominator.
        smooth_nr: added to numerators of both; here 1, as in the paper.
        smooth_dr: added to denominators of both; here 1, as in the paper.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 7, 9, dtype=torch.float64)
        >>> g[..., 2:5, :] = 1
        >>> p = 0.1 + 0.8 * g
        >>> p[..., 2:5, 4] = 0.2  # a gap
        >>> loss = DiceClDiceLoss()
        >>> _ = loss(p, g)
        >>> {name: round(term.value, 6) for name, term in loss.breakdown().items()}
        {'dice': 0.156134, 'cl_dice': 0.086957}

    Source:
        Shit 2021, arXiv:2003.07311.
    """

    two_channels_equal_one: ClassVar[bool] = True

    alpha: float = 0.5
    iterations: int = 3
    squared_pred: bool = False
    smooth_nr: float = 1.0
    smooth_dr: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha: expected a number in [0, 1], got {self.alpha!r}")
        shared = self.pass_on("include_background", "weight", "smooth_nr", "smooth_dr")
        dice = DiceLoss(squared_pred=self.squared_pred, **shared)
        cl_dice = ClDiceLoss(iterations=self.iterations, **shared)
        self.set_terms({"dice": (1 - self.alpha, dice), "cl_dice": (self.alpha, cl_dice)})


_ACTIVATION = ("include_background", "to_onehot_y", "sigmoid", "softmax", "other_act", "reduction")


@options
class SoftclDiceLoss(ClDiceLoss, OldNames):
    """clDice with the classes of a sample pooled into one ratio, as MONAI's of this name.

    A large class hides the small ones; ``ClDiceLoss`` has one value for each class.

    Args:
        iter_: MONAI's name of ``iterations``.
        smooth: added to the sum of precision and sensitivity.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "iter_",
        "smooth_nr",
        "smooth_dr",
        "smooth",
        *_ACTIVATION,
    )

    iter_: int = 3
    smooth: float = 1e-4

    def __post_init__(self) -> None:
        self.iterations = self.iter_
        super().__post_init__()

    def per_class(self, s: ClassSums) -> Tensor:
        """Of each sample, (B, 1)."""
        pooled = ClassSums(s.values.sum(-1, keepdim=True), s.terms)
        return 1 - self.coefficient(pooled, self.smooth)


@options
class SoftDiceclDiceLoss(WeightedSum, OldNames):
    """Dice mixed with clDice of pooled classes, as MONAI's of this name.

    ``DiceClDiceLoss`` has one value of clDice for each class.

    Args:
        iter_: MONAI's name of ``iterations``.
        alpha: share of clDice.
        smooth: as in ``SoftclDiceLoss``.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "iter_",
        "alpha",
        "smooth_nr",
        "smooth_dr",
        "smooth",
        *_ACTIVATION,
    )

    iter_: int = 3
    alpha: float = 0.5
    smooth_nr: float = 1.0
    smooth_dr: float = 1.0
    smooth: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha: expected a number in [0, 1], got {self.alpha!r}")
        shared = self.pass_on("include_background", "smooth_nr", "smooth_dr")
        cl_dice = SoftclDiceLoss(iter_=self.iter_, smooth=self.smooth, **shared)
        self.set_terms(
            {"dice": (1 - self.alpha, DiceLoss(**shared)), "cl_dice": (self.alpha, cl_dice)}
        )
