"""How far readers, models, scans and rescans agree on a volume.

Bland JM, Altman DG. Statistical methods for assessing agreement between two methods of clinical
measurement. Lancet 1986, doi:10.1016/S0140-6736(86)90837-8.
McGraw KO, Wong SP. Forming inferences about some intraclass correlation coefficients. Psychological
Methods 1996, doi:10.1037/1082-989X.1.1.30.
Raunig DL et al. Quantitative imaging biomarkers: a review of statistical methods for technical
performance assessment. Stat Methods Med Res 2015, doi:10.1177/0962280214537344.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from medloss.evaluation.outputs.statistics.equal import Floats, levels, slack_of
from medloss.evaluation.outputs.statistics.paired_tests import mean_ranks

REACH = 1.96
"""Limits of agreement are so many standard deviations from the bias."""

Ends = tuple[float, float]
NO_ENDS: Ends = (math.nan, math.nan)


@dataclass(frozen=True)
class BlandAltman:
    """Mean difference and limits of agreement; ratios where the logarithms were taken.

    Args:
        n: pairs.
        bias: mean difference, or the geometric mean of the ratios.
        bias_interval: of the mean, by t.
        sd: of the differences, or of the logarithms of the ratios.
        limits: lower and upper one.
        lower_interval: exact interval of the lower limit, by the noncentral t distribution.
        upper_interval: of the upper one.
        ratios: whether these are ratios.
    """

    n: int
    bias: float
    bias_interval: Ends
    sd: float
    limits: Ends
    lower_interval: Ends
    upper_interval: Ends
    ratios: bool = False


def bland_altman(first: Floats, second: Floats, *, ratios: bool = False) -> BlandAltman:
    """Second minus first, or second over first.

    Args:
        first: volumes; above 0 for ratios.
        second: volumes of the same cases.
        ratios: take logarithms, where the spread grows with the size.

    Returns:
        Limits from 3 cases on, else NaN: the spread of two is no spread.

    Example:
        >>> model = np.array([12.9, 29.1, 8.4, 58.6, 20.7, 42.8, 16.1, 10.4])
        >>> reference = np.array([12.1, 30.4, 7.9, 55.0, 21.3, 40.2, 16.8, 9.5])
        >>> found = bland_altman(reference, model)
        >>> [round(x, 3) for x in (found.bias, *found.limits, *found.upper_interval)]
        [0.725, -2.568, 4.018, 2.558, 7.853]
    """
    apart = np.log(second / first) if ratios else np.asarray(second - first, dtype=np.float64)
    n, mean = len(apart), float(np.mean(apart)) if len(apart) else math.nan

    def back(ends: Ends) -> Ends:
        return (math.exp(ends[0]), math.exp(ends[1])) if ratios else ends

    bias = math.exp(mean) if ratios else mean
    if n < 3:
        return BlandAltman(n, bias, NO_ENDS, math.nan, NO_ENDS, NO_ENDS, NO_ENDS, ratios)
    sd = float(np.std(apart, ddof=1))
    from scipy.special import nctdtrit, stdtrit

    root = math.sqrt(n)
    reach = float(stdtrit(n - 1, 0.975)) * sd / root
    # Exact for a normal spread: sqrt(n) (bias - limit) / sd is noncentral t.
    ends = [float(nctdtrit(n - 1, REACH * root, p)) * sd / root for p in (0.025, 0.975)]
    return BlandAltman(
        n,
        bias,
        back((mean - reach, mean + reach)),
        sd,
        back((mean - REACH * sd, mean + REACH * sd)),
        back((mean - ends[1], mean - ends[0])),
        back((mean + ends[0], mean + ends[1])),
        ratios,
    )


_BY_T_FROM = 8


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation.

    Args:
        rho: NaN where one side does not vary.
        p: two-sided, by t; of fewer than 8 cases by all their orders.
    """

    rho: float
    p: float


def spread_grows(first: Floats, second: Floats) -> Correlation:
    """Of the size of the difference with the mean: whether large volumes differ by more.

    Example:
        >>> model = np.array([12.9, 29.1, 8.4, 58.6, 20.7, 42.8, 16.1, 10.4])
        >>> reference = np.array([12.1, 30.4, 7.9, 55.0, 21.3, 40.2, 16.8, 9.5])
        >>> found = spread_grows(reference, model)
        >>> round(found.rho, 3), round(found.p, 3)
        (0.762, 0.028)
        >>> three = np.array([1.0, 2.0, 3.0])
        >>> round(spread_grows(three, 1.5 * three).p, 3)  # two of six orders
        0.333
    """
    size = np.abs(second - first)
    mean = (first + second) / 2
    slack = float(slack_of([first, second]))
    ranks = [mean_ranks(levels(values, slack)) for values in (size, mean)]
    n = len(size)
    a, b = (own - own.mean() for own in ranks)
    scale = math.sqrt(float((a * a).sum() * (b * b).sum()))
    if n < 3 or not scale:
        return Correlation(math.nan, math.nan)
    rho = max(-1.0, min(1.0, float((a * b).sum()) / scale))
    if n < _BY_T_FROM:
        orders = b[np.array([*itertools.permutations(range(n))])] @ a
        return Correlation(rho, float((np.abs(orders) >= (abs(rho) - 1e-9) * scale).mean()))
    from scipy.special import stdtr

    if 1 - abs(rho) < 1e-12:
        return Correlation(rho, 0.0)
    t = rho * math.sqrt((n - 2) / (1 - rho * rho))
    return Correlation(rho, 2 * float(stdtr(n - 2, -abs(t))))


@dataclass(frozen=True)
class Icc:
    """An intraclass correlation in a named form.

    Args:
        form: of McGraw and Wong: ``ICC(1)``, ``ICC(A,1)`` (agreement) or ``ICC(C,1)``.
        value: share of the variance that lies between the cases.
        low: lower end of the 95% interval.
        high: upper end.
    """

    form: str
    value: float
    low: float
    high: float


def icc(volumes: Floats) -> tuple[Icc, ...]:
    """The forms for one measurement, of cases x readers; none for fewer than 3 cases.

    ``ICC(A,1)`` counts a reader who always measures more as a disagreement, ``ICC(C,1)`` does not,
    ``ICC(1)`` takes readers to be drawn anew for each case.

    Example:
        >>> ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9]]
        >>> for each in icc(np.array([*ratings, [6, 2, 4, 7]])):
        ...     print(each.form, round(each.value, 4))
        ICC(1) 0.1657
        ICC(A,1) 0.2898
        ICC(C,1) 0.7148
    """
    volumes = np.asarray(volumes, dtype=np.float64)
    n, k = volumes.shape
    if n < 3 or k < 2:
        return ()
    whole, by_case, by_reader = volumes.mean(), volumes.mean(axis=1), volumes.mean(axis=0)
    rows = k * float(((by_case - whole) ** 2).sum()) / (n - 1)
    columns = n * float(((by_reader - whole) ** 2).sum()) / (k - 1)
    inside = float(((volumes - by_case[:, None]) ** 2).sum()) / (n * (k - 1))
    rest = volumes - by_case[:, None] - by_reader + whole
    error = float((rest**2).sum()) / ((n - 1) * (k - 1))
    slack = float(slack_of(volumes)) ** 2
    if rows <= slack:
        return ()  # all cases are of one size
    from scipy.special import fdtri

    def ends(f: float, df: int) -> Ends:
        low = f / float(fdtri(n - 1, df, 0.975))
        high = f * float(fdtri(df, n - 1, 0.975))
        return (low - 1) / (low + k - 1), (high - 1) / (high + k - 1)

    if inside <= slack:
        return tuple(Icc(form, 1.0, 1.0, 1.0) for form in ("ICC(1)", "ICC(A,1)", "ICC(C,1)"))
    single = (rows - inside) / (rows + (k - 1) * inside)
    agreement = (rows - error) / (rows + (k - 1) * error + k / n * (columns - error))
    consistency, within = 1.0, (1.0, 1.0)  # readers differ by a constant
    if error > slack:
        consistency = (rows - error) / (rows + (k - 1) * error)
        within = ends(rows / error, (n - 1) * (k - 1))
    return (
        Icc("ICC(1)", single, *ends(rows / inside, n * (k - 1))),
        Icc("ICC(A,1)", agreement, *_agreement_ends(agreement, rows, columns, error, n, k)),
        Icc("ICC(C,1)", consistency, *within),
    )


def _agreement_ends(
    value: float, rows: float, columns: float, error: float, n: int, k: int
) -> Ends:
    """Of ``ICC(A,1)``, by Satterthwaite's degrees of freedom."""
    from scipy.special import fdtri

    if value >= 1:
        return 1.0, 1.0
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    above = (a * columns + b * error) ** 2
    below = (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    df = above / below
    f = float(fdtri(n - 1, df, 0.975))
    low = n * (rows - f * error)
    low /= f * (k * columns + (k * n - k - n) * error) + n * rows
    f = float(fdtri(df, n - 1, 0.975))
    high = n * (f * rows - error)
    high /= k * columns + (k * n - k - n) * error + n * f * rows
    return low, high


@dataclass(frozen=True)
class Repeatability:
    """Two or more measurements of the same under the same conditions.

    Args:
        n: cases.
        sd: within a case (wSD).
        coefficient: two measurements differ by less in 95% of the cases (RC).
        interval: of the coefficient.
        cv: within a case, of the mean (wCV), a fraction; NaN where a mean is 0.
        relative: the coefficient in percent of the mean (%RC), a fraction.
    """

    n: int
    sd: float
    coefficient: float
    interval: Ends
    cv: float
    relative: float


def repeatability(volumes: Floats) -> Repeatability:
    """wSD, RC and wCV of cases x measurements; an interval from 3 cases on.

    wSD is the root of the mean variance within a case, RC = 1.96 sqrt(2) wSD, its interval that of
    chi-squared with n (k - 1) degrees of freedom.

    Example:
        >>> scan = np.array([10.2, 22.5, 15.1, 30.3, 18.0, 26.4])
        >>> rescan = np.array([10.6, 21.7, 15.9, 31.1, 17.6, 27.4])
        >>> found = repeatability(np.stack([scan, rescan], axis=1))
        >>> [round(x, 3) for x in (found.sd, found.coefficient, *found.interval)]
        [0.52, 1.44, 0.928, 3.172]
        >>> round(100 * found.cv, 4), round(100 * found.relative, 4)
        (2.5851, 7.1656)
    """
    volumes = np.asarray(volumes, dtype=np.float64)
    n, k = volumes.shape
    if not n:
        return Repeatability(0, math.nan, math.nan, NO_ENDS, math.nan, math.nan)
    within = volumes.var(axis=1, ddof=1)
    means = volumes.mean(axis=1)
    sd = math.sqrt(float(within.mean()))
    cv = math.sqrt(float((within / means**2).mean())) if (means > 0).all() else math.nan
    factor = 1.96 * math.sqrt(2)
    interval = NO_ENDS
    if n >= 3:
        from scipy.special import chdtri  # of the upper tail

        df = n * (k - 1)
        low, high = (math.sqrt(df / float(chdtri(df, p))) for p in (0.025, 0.975))
        interval = factor * sd * low, factor * sd * high
    return Repeatability(n, sd, factor * sd, interval, cv, factor * cv)
