"""Metrics of this plugin: pure functions of facts. They import no torch, as ``medloss eval``."""

from __future__ import annotations

import math

from medloss.scoring import Counts


def specimen_f_score(counts: Counts, *, beta: float = 1.0) -> float:
    """F score of voxels: sensitivity beta times as important as precision.

    Formula:
        (1 + beta²) TP / ((1 + beta²) TP + beta² FN + FP); beta = 1 is Dice.

    Range:
        0 to 1, no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        counts: voxels of the class.
        beta: how much more a missed voxel counts than a false one.

    Example:
        >>> specimen_f_score(Counts(tp=3, fp=5, fn=1, tn=20), beta=2.0)
        0.625

    Source:
        van Rijsbergen 1979, Information Retrieval, 2nd edition, chapter 7.
    """
    if not 0 < beta < math.inf:
        raise ValueError(f"beta: expected a number above 0, got {beta!r}")
    found = (1 + beta**2) * counts.tp
    whole = found + beta**2 * counts.fn + counts.fp
    return found / whole if whole else math.nan
