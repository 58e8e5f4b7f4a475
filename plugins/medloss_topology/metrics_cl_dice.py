"""Centre-line Dice: whether the centre lines of thin structures were found."""

from __future__ import annotations

import math

from medloss.scoring import Skeletons


def cl_dice(skeletons: Skeletons) -> float:
    """Centre-line Dice (clDice): harmonic mean of the shares of both centre lines that were hit.

    Formula:
        2 T_prec T_sens / (T_prec + T_sens), with T_prec = |S_P ∩ G| / |S_P|,
        T_sens = |S_G ∩ P| / |S_G|, reference G, prediction P and their centre lines S_G and S_P by
        scikit-image (Zhang and Suen in 2D, Lee in 3D; every object has one). A vessel that is too
        thick or too thin has 1, an interrupted one less.

    Range:
        0 (neither centre line hit) to 1 (both inside the other mask), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        skeletons: centre lines of the class.

    Example:
        >>> cl_dice(Skeletons(10, 5, 8, 8))  # half of one, all of the other
        0.6666666666666666

    Raises:
        ImportError: scikit-image is not installed (the extra ``skeleton``).

    Source:
        Shit et al. 2021, arXiv:2003.07311.
    """
    if not skeletons.reference or not skeletons.prediction:
        return math.nan if skeletons.reference == skeletons.prediction else 0.0
    sensitivity = skeletons.reference_found / skeletons.reference
    precision = skeletons.prediction_right / skeletons.prediction
    both = precision + sensitivity
    return 2 * precision * sensitivity / both if both else 0.0
