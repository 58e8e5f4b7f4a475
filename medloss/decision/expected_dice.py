r"""The set of voxels with the largest expected Dice, from the probabilities of one class.

If voxels are independent given the image, the best set of :math:`\tau` voxels holds the most
probable ones, so that a decision is a threshold. Two ways lead to it:

* **RMA** takes the expectation of the denominator for the denominator: the score of a set S is
  2 Σ p / (|S| + μ + 1), with μ the sum of all probabilities. The best set is {p > t} with t half of
  its own score, and t ← Σ_{p>t} p / (n_{p>t} + μ + 1) rises to it (Dinkelbach's iteration for a
  ratio) in a few passes over fewer and fewer voxels: neither a sort nor a histogram, whose bins
  would round t.
* **exact**: E[Dice] = Σ_{s≤τ} p_s E[2 / (τ + 1 + Γ)], Γ how many of the other voxels are of the
  class. As 1 / (τ + 1 + Γ) = ∫₀¹ x^(τ+Γ) dx and E[x^Γ] = Π (1 − p + p x), this is one integral of
  a smooth function of x for all τ, where a convolution would need the square of the voxels.

RMA is poor for the smallest objects, near exact from μ of about 10, and the exact way is cheap for
small ones, so that ``"auto"`` takes each where it is good.

Sources: Dai and Li, RankSEG, JMLR 24 (2023); Wang and Dai, RankSEG-RMA, arXiv 2510.15362; Lipton et
al., arXiv 1402.1892.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Method = Literal["auto", "exact", "rma"]
METHODS: tuple[str, ...] = get_args(Method)

EXACT_BELOW = 20.0
"""Up to this sum of probabilities ``"auto"`` is exact."""

_NODES = 160
_CANDIDATES = 0.25
"""Of RMA's threshold: voxels below this share of it are in no best set."""

_POWERS = 12
"""Of the others, which are small, the logarithm of 1 - p (1 - x) is a series of so many terms."""

_PIECE = 1 << 10


@dataclass(frozen=True)
class Cut:
    """A class is where its probability is at least a threshold.

    Args:
        threshold: infinite where the class is left out.
        expected: Dice of that set; of RMA its score, which is near it.
        voxels: in the set.
        volume: Σp, the expected number of voxels of the class.
    """

    threshold: float
    expected: float
    voxels: int
    volume: float


def expected_dice(probabilities: NDArray[Any], *, both_empty: float = 0.0) -> Floats:
    r"""Expected Dice of the :math:`\tau` most probable voxels for every :math:`\tau` from 0.

    Args:
        probabilities: of independent voxels, in any order.
        both_empty: what Dice counts when neither side has a voxel.

    Returns:
        As many numbers as there are voxels, and one.

    Example:
        >>> expected_dice(np.array([0.55, 0.2, 0.1, 0.1])).round(5).tolist()
        [0.0, 0.48114, 0.44169, 0.38179, 0.34565]
    """
    p = np.sort(np.clip(np.ravel(probabilities).astype(np.float64), 0, 1))[::-1]
    none = both_empty * float(np.prod(1 - p))
    return np.concatenate([[none], _expected(p, np.zeros(_POWERS))])


def best_cut(
    probabilities: NDArray[Any], *, method: Method = "auto", least_chance: float = 0.0
) -> Cut:
    """The threshold whose voxels have the largest expected Dice, of one class.

    Voxels of one probability are decided alike. An empty set, and one beside an empty reference,
    count as 0 here; ``least_chance`` is for those who count otherwise.

    Args:
        probabilities: of the class, in any shape.
        method: ``"rma"``, ``"exact"``, or ``"auto"``: exact up to Σp = 20.
        least_chance: the class is left out where no voxel is as probable as this.

    Example:
        >>> best_cut(np.array([0.45, 0.4, 0.35, 0.3, 0.1, 0.05])).voxels
        4
        >>> best_cut(np.array([0.55, 0.2, 0.1, 0.1])).voxels
        1
        >>> best_cut(np.array([0.55, 0.2, 0.1, 0.1]), method="rma").voxels
        2
        >>> best_cut(np.array([0.45, 0.45]), least_chance=0.5).threshold
        inf
    """
    p = np.ravel(probabilities, order="K")
    largest = float(p.max()) if p.size else 0.0
    volume = float(p.sum(dtype=np.float64))
    if largest <= 0 or largest < least_chance:
        return Cut(math.inf, 0.0, 0, volume)
    found = _rma(p, volume)
    if method == "rma" or (method == "auto" and volume > EXACT_BELOW):
        return found
    return _exact(p, volume, _CANDIDATES * found.threshold)


def _rma(p: NDArray[Any], volume: float) -> Cut:
    """Half the score of any set is at most the best threshold: what lies below is never needed."""
    above = p[p > 0.5]
    above = p[p > _half_score(above, volume)]
    while True:
        threshold = _half_score(above, volume)
        fewer = above[above > threshold]
        if fewer.size == above.size:
            return Cut(threshold, 2 * threshold, int(above.size), volume)
        above = fewer


def _half_score(chosen: NDArray[Any], volume: float) -> float:
    return float(chosen.sum(dtype=np.float64)) / (chosen.size + volume + 1)


def _exact(p: NDArray[Any], volume: float, least: float) -> Cut:
    head = np.sort(np.clip(p[p >= least].astype(np.float64), 0, 1))[::-1]
    found = _expected(head, _power_sums(p[p < least]))
    # Equal voxels stand together, so that a set ends where the next voxel is less probable.
    ends = np.flatnonzero(np.append(head[1:] < head[:-1], True))
    best = int(ends[found[ends].argmax()])
    below = head[best + 1] if best + 1 < len(head) else p[p < least].max(initial=0)
    return Cut((float(head[best]) + float(below)) / 2, float(found[best]), best + 1, volume)


def _power_sums(p: NDArray[Any]) -> Floats:
    """Σ p^k for k = 1, 2, ...: all that the others contribute, if they are small."""
    sums, power = np.zeros(_POWERS), np.clip(p, 0, 1).astype(np.float64)
    power = power[power > 0]
    own = power.copy()
    for k in range(_POWERS):
        sums[k] = power.sum()
        power *= own
    return sums


def _expected(p: Floats, others: Floats) -> Floats:
    """Expected Dice of the first 1, 2, ... voxels of falling probability.

    Args:
        p: those that are asked about.
        others: power sums of the rest, each at most 1/8.
    """
    away, weights = _nodes()
    powers = away[:, None] ** np.arange(1, _POWERS + 1)
    log_all = -(powers * (others / np.arange(1, _POWERS + 1))).sum(axis=1)
    pieces = [p[start : start + _PIECE, None] for start in range(0, len(p), _PIECE)]
    for piece in pieces:
        log_all += np.log1p(-piece * away).sum(axis=0)
    log_x, share = np.log1p(-away), np.zeros(_NODES)
    found = []
    for number, piece in enumerate(pieces):
        shares = share + np.cumsum(piece / (1 - piece * away), axis=0)
        share = shares[-1]
        many = number * _PIECE + np.arange(1, len(piece) + 1)[:, None]
        found.append((np.exp(many * log_x + log_all) * shares) @ (2 * weights))
    return np.concatenate(found) if found else np.zeros(0)


@functools.cache
def _nodes() -> tuple[Floats, Floats]:
    """Where 1 − x is taken, and with which weight: x = 1 − y², as the integrand is steep at 1."""
    places, weights = np.polynomial.legendre.leggauss(_NODES)
    y = (places + 1) / 2
    return y**2, weights * y
