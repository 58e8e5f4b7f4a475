"""clDice under the names that MONAI has for it, with MONAI's arguments and pooling."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from medloss.base import options
from medloss.compound.weighted_sum import WeightedSum
from medloss.sums import ClassSums
from medloss.sums.numeric import ratio
from medloss_region.dice import DiceLoss
from medloss_topology.cl_dice import ClDiceLoss

_ACTIVATION = ("include_background", "to_onehot_y", "sigmoid", "softmax", "other_act", "reduction")


class _OldNames:
    """Takes ``y_pred`` and ``y_true`` as well as ``input`` and ``target``."""

    def forward(self, *both: Any, **named: Any) -> Tensor:
        """Value of the loss."""
        for old, new in (("y_pred", "input"), ("y_true", "target")):
            if old in named:
                if new in named:
                    raise TypeError(f"{old}: it is {new}; expected one of them")
                named[new] = named.pop(old)
        value: Tensor = super().forward(*both, **named)  # type: ignore[misc]
        return value


@options
class SoftclDiceLoss(_OldNames, ClDiceLoss):
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
        s = ClassSums(s.values.sum(-1, keepdim=True), s.terms)
        precision = ratio(s.predicted_inside + self.smooth_nr, s.predicted + self.smooth_dr)
        sensitivity = ratio(s.true_inside + self.smooth_nr, s.true + self.smooth_dr)
        return 1 - ratio(2 * precision * sensitivity, precision + sensitivity + self.smooth)


@options
class SoftDiceclDiceLoss(_OldNames, WeightedSum):
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
