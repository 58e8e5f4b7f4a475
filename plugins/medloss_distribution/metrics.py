"""Calibration metrics: whether predicted probabilities are as often right as they say."""

from __future__ import annotations

import math

import numpy as np

from medloss.scoring import Bins, Probabilities
from medloss.scoring.probabilities import BINS, Binning


def expected_calibration_error(
    probabilities: Probabilities,
    *,
    bins: int = BINS,
    binning: Binning = "equal_width",
    within_mm: float | None = None,
    top_label: bool = False,
) -> float:
    """Expected calibration error (ECE) of a class: how far its probability is from its frequency.

    Formula:
        Σ_b n_b / N |mean_b p - mean_b y|, over bins b of the N voxels by the probability p of the
        class, n_b voxels each; y is 1 where the reference has the class and else 0. Each class is
        judged by itself (class-wise, one against the rest). All voxels of the image count unless
        ``within_mm`` says otherwise, so that sure background far from the class makes the value
        small.

    Range:
        0 (calibrated) to 1, no unit.

    Empty:
        the mean probability if the reference is empty, NaN where no voxel counts.

    Args:
        probabilities: of the class.
        bins: how many.
        binning: "equal_width": bin b = 1, 2, … holds what is above (b-1)/bins and up to b/bins, the
            first one 0 too. "equal_mass": limits between bins are quantiles of the probabilities,
            so that each has about as many voxels; equal probabilities stay together.
        within_mm: only voxels within so many mm of the class in the reference count; without it
            all do.
        top_label: only voxels that the prediction gives the class count, for which p is how sure
            it was.

    Example:
        >>> chances = np.array([[0.9, 0.9, 0.9, 0.2]])
        >>> found = Probabilities(chances, np.array([[True, True, False, False]]))
        >>> round(expected_calibration_error(found, bins=10), 4)  # 3/4 |0.9 - 2/3| + 1/4 |0.2 - 0|
        0.225

    Source:
        Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602; class-wise: Kull et al. 2019,
        arXiv:1910.12656; bins of equal mass: Nixon et al. 2019, arXiv:1904.01685; top-label of each
        class: Gupta and Ramdas 2022, arXiv:2107.08353.
    """
    return _binned(probabilities, bins, binning, within_mm, top_label).expected_gap


def average_calibration_error(
    probabilities: Probabilities,
    *,
    bins: int = BINS,
    binning: Binning = "equal_width",
    within_mm: float | None = None,
    top_label: bool = False,
) -> float:
    """Average calibration error (ACE) of a class: every bin of probabilities counts alike.

    Formula:
        1 / B Σ_b |mean_b p - mean_b y|, over the B bins that hold voxels; p is the probability of
        the class, y is 1 where the reference has it and else 0. Sure background is one bin of many.

    Range:
        0 (calibrated) to 1, no unit.

    Empty:
        the mean over the bins of their mean probability if the reference is empty, NaN where no
        voxel counts.

    Args:
        probabilities: of the class.
        bins: how many.
        binning: "equal_width": bin b = 1, 2, … holds what is above (b-1)/bins and up to b/bins, the
            first one 0 too. "equal_mass": limits are quantiles of the probabilities.
        within_mm: only voxels within so many mm of the class in the reference count.
        top_label: only voxels that the prediction gives the class count.

    Example:
        >>> chances = np.array([[0.9, 0.9, 0.9, 0.2]])
        >>> found = Probabilities(chances, np.array([[True, True, False, False]]))
        >>> round(average_calibration_error(found, bins=10), 4)  # (|0.9 - 2/3| + |0.2 - 0|) / 2
        0.2167

    Source:
        Neumann et al. 2018, openreview.net/forum?id=S1jc9iA5tQ; of segmentation: Barfoot et al.
        2024, arXiv:2403.06759.
    """
    return _binned(probabilities, bins, binning, within_mm, top_label).average_gap


def maximum_calibration_error(
    probabilities: Probabilities,
    *,
    bins: int = BINS,
    binning: Binning = "equal_width",
    within_mm: float | None = None,
    top_label: bool = False,
) -> float:
    """Maximum calibration error (MCE) of a class: that of the worst bin of probabilities.

    Formula:
        max_b |mean_b p - mean_b y|, over the bins that hold voxels; p is the probability of the
        class, y is 1 where the reference has it and else 0. A bin of a single voxel may decide.

    Range:
        0 (calibrated) to 1, no unit.

    Empty:
        the largest mean probability of a bin if the reference is empty, NaN where no voxel counts.

    Args:
        probabilities: of the class.
        bins: how many.
        binning: "equal_width": bin b = 1, 2, … holds what is above (b-1)/bins and up to b/bins, the
            first one 0 too. "equal_mass": limits are quantiles of the probabilities.
        within_mm: only voxels within so many mm of the class in the reference count.
        top_label: only voxels that the prediction gives the class count.

    Example:
        >>> chances = np.array([[0.9, 0.9, 0.9, 0.2]])
        >>> found = Probabilities(chances, np.array([[True, True, False, False]]))
        >>> round(maximum_calibration_error(found, bins=10), 4)  # |0.9 - 2/3|, |0.2 - 0|
        0.2333

    Source:
        Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602.
    """
    return _binned(probabilities, bins, binning, within_mm, top_label).largest_gap


def brier_score(probabilities: Probabilities, *, within_mm: float | None = None) -> float:
    """Brier score of a class: the mean squared error of its probability.

    Formula:
        1 / N Σ (p - y)², over the N voxels; p is the probability of the class, y is 1 where the
        reference has it and else 0. The sum over all classes is the other Brier score there is:
        with two classes it is twice this one.

    Range:
        0 (best) to 1, no unit.

    Empty:
        the mean of p² if the reference is empty, NaN where no voxel counts.

    Args:
        probabilities: of the class.
        within_mm: only voxels within so many mm of the class in the reference count.

    Example:
        >>> found = Probabilities(np.array([[0.9, 0.5]]), np.array([[True, False]]))
        >>> round(brier_score(found), 4)  # (0.1² + 0.5²) / 2
        0.13

    Source:
        Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    total, voxels = 0.0, 0
    for p, y in probabilities.part(within_mm=within_mm).pieces():
        total += float(((p - y) ** 2).sum())
        voxels += len(p)
    return total / voxels if voxels else math.nan


def negative_log_likelihood(
    probabilities: Probabilities, *, clip: float = 1e-7, within_mm: float | None = None
) -> float:
    """Negative log-likelihood (NLL) of a class: its binary cross entropy.

    Formula:
        -1 / N Σ ln max(q, ε), over the N voxels; q is the probability of what the reference says: p
        of the class where it has it, and else 1 - p. A voxel costs at most -ln ε, 16.1 by default;
        without that limit one voxel of probability 0 would make the mean infinite.

    Range:
        0 (best) to -ln ε, in nats, no unit.

    Empty:
        that of the rest if the reference is empty, NaN where no voxel counts.

    Args:
        probabilities: of the class.
        clip: ε, above 0 and below 1; 1e-7 is about what float32 can tell from 1.
        within_mm: only voxels within so many mm of the class in the reference count.

    Example:
        >>> found = Probabilities(np.array([[0.5, 0.0]]), np.array([[True, False]]))
        >>> round(negative_log_likelihood(found), 4)  # (ln 2 + ln 1) / 2
        0.3466

    Source:
        Good 1952, doi:10.1111/j.2517-6161.1952.tb00104.x.
    """
    if isinstance(clip, bool) or not isinstance(clip, int | float) or not 0 < clip < 1:
        raise ValueError(f"clip: expected a probability above 0 and below 1, got {clip!r}")
    total, voxels = 0.0, 0
    for p, y in probabilities.part(within_mm=within_mm).pieces():
        total -= float(np.log(np.maximum(np.where(y, p, 1 - p), clip)).sum())
        voxels += len(p)
    return total / voxels if voxels else math.nan


def _binned(
    probabilities: Probabilities,
    bins: int,
    binning: Binning,
    within_mm: float | None,
    top_label: bool,
) -> Bins:
    return probabilities.part(within_mm=within_mm, top_label=top_label).bins(bins, binning)
