"""From probabilities to labels: the largest expected Dice, or thresholds that were found.

Axes and voxel sizes do not matter here, nor which class is which: everything is a set of voxels
with probabilities.
"""

from medloss.decision.cuts import Cuts, dice_cuts, fixed_cuts
from medloss.decision.decoding import LEAST_CHANCE, Decoding
from medloss.decision.expected_dice import Cut, best_cut, expected_dice
from medloss.decision.thresholds_file import FoundThresholds, read_thresholds, write_thresholds

__all__ = [
    "LEAST_CHANCE",
    "Cut",
    "Cuts",
    "Decoding",
    "FoundThresholds",
    "best_cut",
    "dice_cuts",
    "expected_dice",
    "fixed_cuts",
    "read_thresholds",
    "write_thresholds",
]
