"""Calibration metrics: whether predicted probabilities are as often right as they say."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medloss.scoring import Probabilities

Binning = Literal["equal_width", "equal_mass"]


def expected_calibration_error(
    probabilities: Probabilities, *, bins: int = 15, binning: Binning = "equal_width"
) -> float:
    """Expected calibration error (ECE) of a class: how far its probability is from its frequency.

    Formula:
        Σ_b n_b / N |mean_b p - mean_b y|, over bins b of the N voxels by the probability p of the
        class, n_b voxels each; y is 1 where the reference has the class and else 0. Each class is
        judged by itself (class-wise), not the likeliest one alone (top-label). All voxels of the
        image count, so that sure background far from the class makes the value small.

    Range:
        0 (calibrated) to 1, no unit.

    Empty:
        the mean probability if the reference is empty, NaN in an image without voxels.

    Args:
        probabilities: of the class.
        bins: how many.
        binning: "equal_width": bin b from b/bins up to, without it, (b+1)/bins, the last one with
            it. "equal_mass": limits between bins are quantiles of the probabilities, so that each
            has about as many voxels; equal probabilities stay together.

    Example:
        >>> chances = np.array([[0.9, 0.9, 0.9, 0.2]])
        >>> found = Probabilities(chances, np.array([[True, True, False, False]]))
        >>> round(expected_calibration_error(found, bins=10), 4)  # 3/4 |0.9 - 2/3| + 1/4 |0.2 - 0|
        0.225

    Source:
        Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602; class-wise: Kull et al. 2019,
        arXiv:1910.12656; bins of equal mass: Nixon et al. 2019, arXiv:1904.01685.
    """
    if not isinstance(bins, int) or isinstance(bins, bool) or bins < 1:
        raise ValueError(f"bins: expected a whole number of at least 1, got {bins!r}")
    if binning not in ("equal_width", "equal_mass"):
        raise ValueError(f"binning: expected equal_width or equal_mass, got {binning!r}")
    limits = np.arange(1, bins) / bins if binning == "equal_width" else _limits(probabilities, bins)
    gaps, voxels = np.zeros(len(limits) + 1), 0
    for p, y in probabilities.pieces():
        # The sums of a bin, not their means: n_b cancels.
        place = np.searchsorted(limits, p, side="right")
        gaps += np.bincount(place, weights=p - y, minlength=len(gaps))
        voxels += len(p)
    return float(np.abs(gaps).sum()) / voxels if voxels else math.nan


def _limits(probabilities: Probabilities, bins: int) -> NDArray[np.float64]:
    """Different quantiles between the least and the greatest probability."""
    every = np.concatenate([p for p, _ in probabilities.pieces()] or [np.zeros(0)])
    if not len(every):
        return every
    inner = np.quantile(every, np.arange(1, bins) / bins, method="higher")
    limits: NDArray[np.float64] = np.unique(inner[inner > every.min()])
    return limits
