"""Dice plus clDice."""

from __future__ import annotations

from typing import ClassVar

from medloss.base import options
from medloss.compound.weighted_sum import WeightedSum
from medloss_region.dice import DiceLoss
from medloss_topology.cl_dice import ClDiceLoss


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
