"""How many cases it takes, from the spread of a pilot study.

Numbers of cases are counted up until Student's t, which the analysis will use, keeps what was
asked; the textbook number by the normal distribution is given beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

_MOST = 10_000_000
_NORMAL = NormalDist()


@dataclass(frozen=True)
class SampleSize:
    """Independent cases.

    Args:
        n: by t.
        normal: by the normal distribution, before it is rounded up.
    """

    n: int
    normal: float

    def cases(self, design_effect: float = 1.0, dropout: float = 0.0) -> int:
        """With clusters and with cases that will be lost.

        Example:
            >>> SampleSize(68, 65.67).cases(design_effect=1.235529, dropout=0.1)
            94
        """
        # A product that is whole but for its last digit is not rounded up.
        return math.ceil(self.n * design_effect / (1 - dropout) - 1e-9)


def for_half_width(sd: float, half_width: float, level: float = 0.95) -> SampleSize:
    """Cases for an interval of the mean that reaches so far to either side.

    Example:
        >>> [for_half_width(sd, h).n for sd, h in ((0.08, 0.02), (0.08, 0.01), (0.03, 0.005))]
        [64, 249, 141]
    """
    p = (1 + level) / 2
    normal = (_NORMAL.inv_cdf(p) * sd / half_width) ** 2
    from scipy.special import stdtrit

    n = max(2, _started(normal))
    while float(stdtrit(n - 1, p)) * sd / math.sqrt(n) > half_width:
        n += 1
    return SampleSize(n, normal)


def for_non_inferiority(
    sd: float, margin: float, *, advantage: float = 0.0, alpha: float = 0.025, power: float = 0.9
) -> SampleSize:
    """Pairs for "the mean difference is above -margin", one-sided.

    Args:
        sd: of the paired differences.
        margin: above 0.
        advantage: the true mean difference, above -margin.
        alpha: one-sided level.
        power: wanted.

    Example:
        >>> for_non_inferiority(0.05, 0.02).n, for_non_inferiority(0.05, 0.02, power=0.8).n
        (68, 52)
        >>> for_non_inferiority(0.05, 0.02, advantage=0.005).n
        44
    """
    effect = (margin + advantage) / sd
    normal = ((_NORMAL.inv_cdf(1 - alpha) + _NORMAL.inv_cdf(power)) / effect) ** 2
    n = max(2, _started(normal))
    while _power(n, effect, alpha) < power:
        n += 1
    return SampleSize(n, normal)


def for_equivalence(
    sd: float, margin: float, *, alpha: float = 0.05, power: float = 0.9
) -> SampleSize:
    """Pairs for "the mean difference lies within -+ margin" (two one-sided tests), where it is 0.

    Example:
        >>> found = for_equivalence(0.05, 0.02)
        >>> round(found.normal, 2), found.n
        (67.64, 70)
    """
    effect = margin / sd
    normal = ((_NORMAL.inv_cdf(1 - alpha) + _NORMAL.inv_cdf((1 + power) / 2)) / effect) ** 2
    n = max(2, _started(normal))
    # Each of the two tests fails in one tail; both tails together are what is lost.
    while 2 * _power(n, effect, alpha) - 1 < power:
        n += 1
    return SampleSize(n, normal)


def for_share(share: float, half_width: float, level: float = 0.95) -> SampleSize:
    """Cases for an interval of a share, by the normal distribution: z^2 p (1 - p) / h^2.

    A share of 0 or 1 has no normal distribution; the exact interval then reaches to one side.

    Example:
        >>> for_share(0.9, 0.05).n, for_share(1.0, 0.1).n
        (139, 36)
    """
    if share in (0, 1) and half_width < 1:
        exact = all_good(1 - half_width, level, two_sided=True)
        return SampleSize(exact, exact)
    normal = _NORMAL.inv_cdf((1 + level) / 2) ** 2 * share * (1 - share) / half_width**2
    return SampleSize(max(1, math.ceil(normal - 1e-9)), normal)


def all_good(limit: float, level: float = 0.95, *, two_sided: bool = False) -> int:
    """Cases that must all be good, for a lower bound of the share that is at least the limit.

    Example:
        >>> all_good(0.9), all_good(0.9, two_sided=True)
        (29, 36)
    """
    tail = (1 - level) / (2 if two_sided else 1)
    return math.ceil(math.log(tail) / math.log(limit) - 1e-9)


def _power(n: int, effect: float, alpha: float) -> float:
    from scipy.special import nctdtr, stdtrit

    return 1 - float(nctdtr(n - 1, effect * math.sqrt(n), stdtrit(n - 1, 1 - alpha)))


def _started(normal: float) -> int:
    """The number of cases to count up from.

    Raises:
        ValueError: no study has so many.
    """
    if not normal < _MOST:
        raise ValueError(f"more than {_MOST} cases would be needed")
    return math.ceil(normal - 1e-9)
