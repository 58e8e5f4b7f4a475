"""Volume metrics: how large a class is, not where it lies."""

from __future__ import annotations

import math

from medloss.scoring import Counts


def volume_difference(counts: Counts) -> float:
    """Absolute volume difference: how much larger or smaller the prediction is, in mm³.

    Formula:
        | |P| - |G| | v, with the voxels of the reference G and the prediction P and the volume v of
        a voxel; in 2D it is an area, in mm². Where the volumes lie does not matter.

    Range:
        0 (equal volumes) upwards, in mm³.

    Empty:
        the volume of the other one if the class is missed or spurious, 0 if it is in neither map.

    Args:
        counts: voxels of the class, with the size of a voxel.

    Example:
        >>> volume_difference(Counts(tp=3, fp=5, fn=1, tn=9, voxel_mm3=0.5))
        2.0

    Source:
        Heimann et al. 2009, doi:10.1109/TMI.2009.2013851.
    """
    if counts.voxel_mm3 is None:
        raise ValueError("spacing_mm: a volume needs the size of a voxel")
    return abs(counts.prediction - counts.reference) * counts.voxel_mm3


def volume_similarity(counts: Counts) -> float:
    """Volume similarity: one minus the difference of the volumes over their sum.

    Formula:
        1 - | |P| - |G| | / (|P| + |G|), with reference G, prediction P. Where the volumes lie does
        not matter: two organs that do not touch have 1 if they are equally large.

    Range:
        0 to 1 (equal volumes), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        counts: voxels of the class.

    Example:
        >>> volume_similarity(Counts(tp=3, fp=3, fn=1, tn=9))
        0.8

    Source:
        Taha and Hanbury 2015, doi:10.1186/s12880-015-0068-x.
    """
    whole = counts.prediction + counts.reference
    return 1 - abs(counts.prediction - counts.reference) / whole if whole else math.nan
