"""Ranking metrics: whether what belongs to a class has larger probabilities than what does not."""

from __future__ import annotations

import math

import numpy as np

from medloss.scoring import LesionCandidates, Probabilities
from medloss.scoring.candidates import RATES, THRESHOLD, froc_scores
from medloss.scoring.lesions import Connectivity


def auroc(probabilities: Probabilities, *, within_mm: float | None = None) -> float:
    """Area under the ROC curve (AUROC) of the voxels of a class against all others.

    Formula:
        P(p₁ > p₀) + P(p₁ = p₀) / 2, with p₁ the probability in a voxel that the reference gives the
        class and p₀ in one that it does not: all pairs of such voxels are compared, exactly. Sure
        background, which is easy to rank, makes the value large; see ``average_precision``.

    Range:
        0 to 1 (best), no unit; 0.5 is chance.

    Empty:
        NaN if the reference has the class nowhere or everywhere.

    Args:
        probabilities: of the class.
        within_mm: only voxels within so many mm of the class in the reference count.

    Example:
        >>> chances = np.array([[0.1, 0.4, 0.4, 0.8]])
        >>> auroc(Probabilities(chances, np.array([[False, False, True, True]])))
        0.875

    Source:
        Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    """
    ranks = probabilities.part(within_mm=within_mm).ranks
    if ranks is None:
        return math.nan
    below = ranks.others - ranks.above - ranks.equal
    pairs = int(ranks.own.sum()) * ranks.others
    return float((ranks.own * (below + ranks.equal / 2)).sum()) / pairs if pairs else math.nan


def average_precision(probabilities: Probabilities, *, within_mm: float | None = None) -> float:
    """Average precision (AP) of voxels: the area under the precision-recall curve, in steps.

    Formula:
        Σ_t (R_t - R_(t-1)) P_t, over the different probabilities t from the largest down, with P_t
        the precision and R_t the sensitivity of the voxels of at least t: a sum of steps, and not
        the area under straight lines between points, which is too large.

    Range:
        0 to 1 (best), no unit; the share of voxels of the class is chance.

    Empty:
        NaN if the reference has the class nowhere.

    Args:
        probabilities: of the class.
        within_mm: only voxels within so many mm of the class in the reference count.

    Example:
        >>> chances = np.array([[0.1, 0.4, 0.35, 0.8]])
        >>> found = Probabilities(chances, np.array([[False, False, True, True]]))
        >>> round(average_precision(found), 4)  # 1/2 · 1 + 1/2 · 2/3
        0.8333

    Source:
        Boyd et al. 2013, doi:10.1007/978-3-642-40994-3_29.
    """
    ranks = probabilities.part(within_mm=within_mm).ranks
    if ranks is None or not len(ranks.own):
        return math.nan
    right = np.cumsum(ranks.own[::-1])[::-1]
    precision = right / (right + ranks.above + ranks.equal)
    return float((ranks.own * precision).sum() / ranks.own.sum())


def lesion_froc(
    candidates: LesionCandidates,
    *,
    threshold: float = THRESHOLD,
    connectivity: Connectivity = "corners",
    rates: tuple[float, ...] = RATES,
) -> float:
    """Lesion FROC score: mean sensitivity for lesions at some numbers of false positives per image.

    Formula:
        1 / n Σ_r S(r), over n numbers r of false positives per image; S is the share of the lesions
        that are found, on the free-response ROC curve: straight between its points, from no
        candidate at all down to the least sure one, and flat after it. Candidates are components of
        the voxels whose probability reaches ``threshold``, as sure as their surest voxel; one hits
        each lesion that it shares a voxel with, and further hits of a lesion cost nothing. Of one
        case it is the score of this image alone; ``medloss eval`` adds the score of all images
        together, which is what challenges report, and not the mean of these.

    Range:
        0 to 1 (best), no unit.

    Empty:
        NaN if the reference has no lesion: its false positives show in the score of all images.

    Args:
        candidates: that the probabilities of the class propose.
        threshold: least probability of a candidate: higher ones end the curve early, lower ones
            join what lies close together.
        connectivity: voxels are joined across "faces" (6 neighbours, in a single slice 4), "edges"
            too (18, 8) or "corners" too (26, 8).
        rates: numbers of false positives per image.

    Example:
        >>> chances = np.array([[0.9, 0.0, 0.2, 0.0, 0.8, 0.0, 0.4]])  # found, found, false, false
        >>> lesions = np.array([[1, 0, 1, 0, 0, 0, 0]], dtype=bool)
        >>> lesion_froc(LesionCandidates(Probabilities(chances, lesions)))
        0.75

    Source:
        Bandos et al. 2009, doi:10.1111/j.1541-0420.2008.01049.x; the rates are those of Setio et
        al. 2017, doi:10.1016/j.media.2017.06.015.
    """
    found = candidates.found(threshold=threshold, connectivity=connectivity)
    return float(froc_scores([found], np.ones((1, 1)), rates)[0])
