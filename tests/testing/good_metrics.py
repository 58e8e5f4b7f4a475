"""A metric that meets the whole contract; the broken ones differ from it in one way."""

from __future__ import annotations

import math

from medloss.scoring import Counts


def good_metric(counts: Counts, *, power: float = 1.0) -> float:
    """Overlap over union.

    Formula:
        (TP / (TP + FP + FN)) ** power.

    Range:
        0 to 1.

    Empty:
        0 if missed or spurious, NaN if in neither map.

    Args:
        counts: voxels of the class.
        power: exponent.

    Example:
        >>> from testing.good_metrics import Counts, good_metric
        >>> good_metric(Counts(tp=1, fp=1, fn=0, tn=4))
        0.5

    Source:
        Nobody 2024.
    """
    union = counts.tp + counts.fp + counts.fn
    return float((counts.tp / union) ** power) if union else math.nan
