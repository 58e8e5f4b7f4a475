"""Statistics against worked values, and against scipy."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medloss.evaluation.grouping import Grouping, patient_findings
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.outputs.statistics import Bootstrap, intervals, mean_interval
from medloss.evaluation.outputs.statistics import agreement as agree
from medloss.evaluation.outputs.statistics import sample_size as size
from medloss.evaluation.outputs.statistics.clusters import ClusterSums, design_effect, likeness
from medloss.evaluation.outputs.statistics.groups import group_difference
from medloss.evaluation.outputs.statistics.intervals import (
    bca_interval,
    quantile_interval,
    share_interval,
    t_interval,
    t_quantile,
    wilson_interval,
)
from medloss.evaluation.outputs.statistics.means import value_range
from medloss.evaluation.outputs.statistics.paired_tests import (
    hodges_lehmann,
    holm,
    one_sided_p,
    sign_flip,
    sign_test,
    signed_rank,
)

NAN, INF = math.nan, math.inf
VALUES = st.lists(st.floats(-100, 100), min_size=2, max_size=30)

# Ten scans of six patients by two models
A = np.array([0.91, 0.88, 0.84, 0.93, 0.79, 0.86, 0.90, 0.72, 0.95, 0.83])
B = np.array([0.93, 0.88, 0.86, 0.94, 0.84, 0.85, 0.93, 0.80, 0.95, 0.87])
PATIENTS = "1112234456"
D = B - A
ERROR = D.std(ddof=1) / math.sqrt(10)

# Volumes in ml: a reference and a model; a scan and a rescan
REFERENCE = np.array([12.1, 30.4, 7.9, 55.0, 21.3, 40.2, 16.8, 9.5])
MODEL = np.array([12.9, 29.1, 8.4, 58.6, 20.7, 42.8, 16.1, 10.4])
SCANS = np.array([[10.2, 22.5, 15.1, 30.3, 18.0, 26.4], [10.6, 21.7, 15.9, 31.1, 17.6, 27.4]]).T


def ends(interval):
    return interval.low, interval.high


def icc_of(volumes, form):
    return next((x.value, x.low, x.high) for x in agree.icc(volumes) if x.form == form)


def bland(**options):
    return agree.bland_altman(REFERENCE, MODEL, **options)


RIGID = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
FIRST, SECOND = (np.arange(1, 9) / 10, np.array([2, 3, 4, 5, 6, 7, 8, 7]) / 10)
EFFECT = t_interval(D.mean(), ERROR, 9, 0.9)
SHARES = {(47, 50): (0.834518, 0.987451), (0, 20): (0, 0.168433), (20, 20): (0.831567, 1)}

WORKED = {
    "sd of the differences": (D.std(ddof=1), 0.027162065, 1e-9),
    "t interval": (ends(mean_interval(D)), (0.004569, 0.043431), 1e-6),
    "t interval, 90%": (EFFECT, (0.008255, 0.039745), 1e-6),
    "BCa interval": (bca_interval(D), (0.011, 0.043), 5e-4),
    "Wilcoxon, Pratt": (signed_rank(D).p, 0.0234375, 1e-12),
    "Wilcoxon, its statistic": (signed_rank(D).statistic, 3.5, 0),
    "ties made by decimals": (signed_rank(SECOND - FIRST).p, 0.0703125, 1e-12),
    "sign test": (sign_test(D), 0.0703125, 1e-12),
    "sign flips": (sign_flip(D), 0.0234375, 1e-12),
    "sign flips by patient": (sign_flip(D, PATIENTS), 0.125, 1e-12),
    "Hodges-Lehmann": (hodges_lehmann(D), 0.02, 1e-12),
    "robust error": (math.sqrt(ClusterSums.of(D, PATIENTS).variance), 0.009165151, 1e-9),
    "interval by patient": (ends(mean_interval(D, clusters=PATIENTS)), (0.000440, 0.047560), 1e-6),
    "design effect": (design_effect(D, PATIENTS), 1.138554, 1e-6),
    "MSB, MSW": (
        (likeness(D, PATIENTS).between, likeness(D, PATIENTS).within),
        (0.000864667, 0.000579167),
        1e-9,
    ),
    "m0": (likeness(D, PATIENTS).usual_size, 1.6, 1e-9),
    "design effect of the ICC": (
        (likeness(D, PATIENTS).icc, likeness(D, PATIENTS).design_effect),
        (0.235529, 1.235529),
        1e-6,
    ),
    "not inferior by 0.02": (one_sided_p(D.mean(), ERROR, 9, -0.02), 0.000313, 1e-6),
    "equivalent within 0.05": (one_sided_p(-D.mean(), ERROR, 9, -0.05), 0.007158, 1e-6),
    "equivalent within 0.02": (one_sided_p(-D.mean(), ERROR, 9, -0.02), 0.673749, 1e-6),
    "half width": (
        [size.for_half_width(*x).n for x in ((0.08, 0.02), (0.08, 0.01), (0.03, 0.005))],
        [64, 249, 141],
        0,
    ),
    "half width, normal": (size.for_half_width(0.08, 0.02).normal, 61.46, 5e-3),
    "non-inferiority": (
        [
            size.for_non_inferiority(0.05, 0.02).n,
            size.for_non_inferiority(0.05, 0.02, power=0.8).n,
            size.for_non_inferiority(0.05, 0.02, advantage=0.005).n,
        ],
        [68, 52, 44],
        0,
    ),
    "non-inferiority, normal": (size.for_non_inferiority(0.05, 0.02).normal, 65.67, 5e-3),
    "equivalence, normal": (size.for_equivalence(0.05, 0.02).normal, 67.64, 5e-3),
    "equivalence at 95%, normal": (
        math.ceil(size.for_equivalence(0.05, 0.02, alpha=0.025).normal),
        82,
        0,
    ),
    "all good": ([size.all_good(0.9), size.all_good(0.9, two_sided=True)], [29, 36], 0),
    "share": (size.for_share(0.94, 0.05).normal, 1.959964**2 * 0.94 * 0.06 / 0.0025, 1e-3),
    "Holm": (holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], 1e-12),
    "Wilson": (wilson_interval(47, 50), (0.837829, 0.979385), 1e-6),
    **{f"Clopper-Pearson {k}": (share_interval(*k), v, 1e-6) for k, v in SHARES.items()},
    "difference of differences": (
        [
            getattr(group_difference(D[:5], D[5:], least=5), name)
            for name in ("mean", "low", "high", "p")
        ],
        [0.008, -0.036, 0.052, 0.672],
        5e-4,
    ),
    "bias": ((bland().bias, *bland().bias_interval), (0.725, -0.679451, 2.129451), 1e-6),
    "limits of agreement": ((bland().sd, *bland().limits), (1.679923, -2.567650, 4.017650), 1e-6),
    "exact interval of the upper limit": (bland().upper_interval, (2.558, 7.853), 5e-4),
    "exact interval of the lower limit": (bland().lower_interval, (-6.403, -1.108), 5e-4),
    "ratios": (
        (bland(ratios=True).bias, *bland(ratios=True).limits),
        (1.0288, 0.9215, 1.1486),
        5e-5,
    ),
    "spread grows": (
        (agree.spread_grows(REFERENCE, MODEL).rho, agree.spread_grows(REFERENCE, MODEL).p),
        (0.762, 0.028),
        5e-4,
    ),
    "ICC(A,1)": (
        icc_of(np.stack([REFERENCE, MODEL], 1), "ICC(A,1)"),
        (0.994925, 0.976877, 0.998965),
        1e-6,
    ),
    "ICC(C,1)": (icc_of(np.stack([REFERENCE, MODEL], 1), "ICC(C,1)")[0], 0.995216, 1e-6),
    "ICC(1)": (icc_of(np.stack([REFERENCE, MODEL], 1), "ICC(1)")[0], 0.994924, 1e-6),
    "Shrout and Fleiss": (
        [icc_of(np.array(RIGID), form)[0] for form in ("ICC(1)", "ICC(A,1)", "ICC(C,1)")],
        [0.1657, 0.2898, 0.7148],
        5e-5,
    ),
    "wSD": (agree.repeatability(SCANS).sd, 0.519615, 1e-6),
    "RC": (
        (agree.repeatability(SCANS).coefficient, *agree.repeatability(SCANS).interval),
        (1.440300, 0.928, 3.172),
        5e-4,
    ),
    "wCV and %RC": (
        (100 * agree.repeatability(SCANS).cv, 100 * agree.repeatability(SCANS).relative),
        (2.5851, 7.1656),
        5e-5,
    ),
}


@pytest.mark.parametrize("name", WORKED)
def test_worked_values(name):
    found, expected, digits = WORKED[name]
    assert found == pytest.approx(expected, abs=digits, rel=0)


def test_an_upper_bound_of_a_spread_is_as_much_wider():
    for n, factor in ((20, 1.44), (35, 1.30)):
        assert math.sqrt(n / stats.chi2.ppf(0.025, n)) == pytest.approx(factor, abs=0.005)
        rng = np.random.default_rng(n)
        found = agree.repeatability(rng.normal(50, 1, (n, 2)))
        assert found.interval[1] / found.coefficient == pytest.approx(factor, abs=0.005)


def test_t_is_that_of_scipy():
    for df, p in itertools.product((1, 2, 3, 4, 9, 28, 29), (0.6, 0.9, 0.975, 0.995)):
        assert t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-9)


@pytest.mark.parametrize(
    ("n", "q", "ranks", "cover"),
    [
        (5, 0.5, None, None),
        (6, 0.5, (1, 6), 0.969),
        (10, 0.5, (2, 9), 0.979),
        (20, 0.5, (6, 15), 0.959),
        (50, 0.5, (18, 33), 0.967),
        (12, 0.25, None, None),
        (13, 0.25, (1, 7), None),
        (35, 0.1, None, None),
        (36, 0.1, (1, 8), None),
        (71, 0.05, None, None),
        (72, 0.05, (1, 9), None),
    ],
)
def test_intervals_of_quantiles_are_ranks(n, q, ranks, cover):
    values = np.arange(1.0, n + 1)
    found = quantile_interval(np.random.default_rng(0).permutation(values), q)
    mirrored = quantile_interval(values, 1 - q)
    if ranks is None:
        assert all(map(math.isnan, (*found, *mirrored)))
        return
    assert mirrored == (n + 1 - found[1], n + 1 - found[0])
    inside = stats.binom.cdf(found[1] - 1, n, q) - stats.binom.cdf(found[0] - 1, n, q)
    assert inside >= 0.95
    assert found == ranks
    if cover:
        assert inside == pytest.approx(cover, abs=5e-4)


def test_the_rank_of_an_infinite_distance_counts():
    assert quantile_interval(np.array([1.0, 2, 3, 4, 5, INF]), 0.5) == (1.0, INF)


@pytest.mark.parametrize(
    ("values", "clusters", "method"),
    [
        ([], None, ""),
        ([1.0, 2.0], None, ""),
        ([1.0, 2.0, 4.0], None, "t"),
        ([1.0, INF, 3.0], None, ""),
        ([0.1] * 7, None, "equal"),
        (np.arange(29.0), None, "t"),
        (np.arange(30.0), None, "bca"),
        (np.arange(10.0), "0011223344", ""),
        (np.arange(12.0), "001122334455", "cluster_t"),
        (np.arange(60.0), [str(i // 2) for i in range(60)], "cluster_t"),
        (np.arange(62.0), [str(i // 2) for i in range(62)], "cluster_bca"),
        (np.arange(10.0), "0123456789", "t"),
    ],
)
def test_which_interval_a_mean_has(values, clusters, method):
    found = mean_interval(np.array(values), clusters=clusters)
    assert found.method == method
    assert math.isnan(found.low) == (method == "")
    assert found.holds(-1e9) == (method == "")
    counted = 0 if clusters is None or len(set(clusters)) == len(values) else len(set(clusters))
    assert found.clusters == counted


def test_what_has_to_be_said_beside_an_interval():
    few, some = (np.arange(2.0 * k) for k in (8, 15))
    said = [mean_interval(x, clusters=[str(i // 2) for i in range(len(x))]) for x in (few, some)]
    assert said[0].caution == "8 clusters are few"
    assert said[1].caution == "15 clusters are few"
    assert mean_interval(np.arange(9.0)).caution == "9 cases may be too few to show rare failures"
    assert mean_interval(np.arange(40.0)).caution == ""


@pytest.mark.parametrize("seed", range(3))
def test_the_bootstrap_is_that_of_scipy(seed):
    values = np.random.default_rng(seed).lognormal(size=25)
    ours = bca_interval(values, bootstrap=Bootstrap(resamples=50_000))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=50_000, rng=1).confidence_interval
    width = theirs.high - theirs.low
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.02 * width)


def test_clusters_are_drawn_as_a_whole():
    """All 6^6 draws of six patients, of which the mean of each has the size of its cluster."""
    by = ClusterSums.of(D, PATIENTS)
    draws = np.array([*itertools.product(range(6), repeat=6)])
    means = by.sums[draws].sum(axis=1) / by.sizes[draws].sum(axis=1)
    assert np.quantile(means, [0.025, 0.975]) == pytest.approx([0.0075, 0.04125])
    ours = np.concatenate([*intervals._resampled_means(by.sums, by.sizes, Bootstrap(40_000))])
    assert np.quantile(ours, [0.025, 0.975]) == pytest.approx([0.0075, 0.04125], abs=5e-4)
    alike = np.repeat(np.random.default_rng(0).normal(size=40), 3)
    names = [str(i // 3) for i in range(120)]
    assert ends(mean_interval(alike, clusters=names)) == pytest.approx(
        ends(mean_interval(alike[::3]))
    ), "copies of a case are no cases"


@settings(deadline=None, derandomize=True, max_examples=50)
@given(VALUES)
def test_it_turns_round_with_the_values_and_is_the_same_again(values):
    """The draws are the same, so the resampled means are mirrored exactly."""
    values = np.array(values)
    if np.ptp(values) > 1e-6:
        low, high = bca_interval(values)
        assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9
        assert bca_interval(values) == (low, high)
        assert bca_interval(-values) == pytest.approx((-high, -low), abs=1e-6)


def test_blocks_change_nothing(monkeypatch):
    values = np.random.default_rng(0).normal(size=40)
    whole = mean_interval(values)
    monkeypatch.setattr(intervals, "_DRAWS_AT_ONCE", 1000)
    assert mean_interval(values) == whole


def test_groups_with_the_same_patients_are_no_independent_groups():
    rng = np.random.default_rng(2)
    person = rng.normal(0, 5, 12)
    first, second = (person + rng.normal(0, 0.1, 12) + shift for shift in (0, 1))
    names = [str(i) for i in range(12)]
    together = group_difference(first, second, (names, names))
    t = stats.ttest_rel(second, first)
    assert together.p == pytest.approx(t.pvalue)
    assert (together.low, together.high) == pytest.approx(tuple(t.confidence_interval()))
    apart = group_difference(first, second)
    assert apart.p == pytest.approx(stats.ttest_ind(second, first, equal_var=False).pvalue)
    assert apart.high - apart.low > 10 * (together.high - together.low)
    assert math.isnan(group_difference(first[:9], second).low), "below 10 there are points only"


def test_readers_that_agree_and_cases_of_one_size():
    same = np.array([[1.0, 1.0], [2.0, 2.0], [5.0, 5.0]])
    assert [x.value for x in agree.icc(same)] == [1.0, 1.0, 1.0]
    shifted = {x.form: x.value for x in agree.icc(same + np.array([0.0, 1.0]))}
    assert shifted["ICC(C,1)"] == 1.0 > shifted["ICC(A,1)"]
    assert agree.icc(np.ones((5, 2))) == ()
    assert agree.icc(same[:2]) == ()
    assert math.isnan(agree.bland_altman(same[:2, 0], same[:2, 1]).sd)


def test_more_than_sixteen_units_are_drawn_and_near_what_is_exact():
    d = np.random.default_rng(3).normal(0.4, 1, 16)
    exact = sign_flip(d)
    assert 0.01 < exact < 0.9
    monte_carlo = sign_flip(np.concatenate([d, [1e-3]]))
    assert monte_carlo == pytest.approx(exact, abs=0.02)
    assert math.isnan(sign_flip(np.arange(1.0, 6.0))), "five never reach 0.05"
    assert sign_flip(np.arange(1.0, 7.0)) == 2 / 2**6


@pytest.mark.parametrize(
    ("names", "option"),
    [
        (["patient01_scan1", "patient01_scan2", "patient02_scan1"], "'^(patient\\d+)'"),
        (["sub-01_ses-02", "sub-01_ses-03", "sub-02_ses-01"], "'^(sub\\-\\d+)'"),
        (["p01_t1", "p01_t2", "p02_t1"], "'^(p\\d+)'"),
        (["BraTS-GLI-00001-000", "BraTS-GLI-00001-001", "BraTS-GLI-00002-000"], "BraTS"),
        (["kidney_4_followup1", "kidney_4_followup2", "kidney_5_followup1"], "kidney"),
        (["hippocampus_001", "hippocampus_002", "hippocampus_003"], ""),
        (["sub-01", "sub-02", "sub-03"], ""),
        (["scan1", "scan2", "scan3"], ""),
        (["patient01_scan1", "patient02_scan1", "patient03_scan1"], ""),
        (["patient01_scan1", "patient01_scan2"], ""),
        (["liver_10", "liver_11", "liver_100"], ""),
        (["patient01_a", "patient01_b", "x"], ""),
    ],
)
def test_cases_that_seem_to_be_of_one_patient(names, option):
    pairs = [Pair(name, None, None) for name in names]
    found = [finding.sentence for finding in patient_findings(pairs, Grouping())]
    if not option:
        assert found == []
        return
    (sentence,) = found
    assert option in sentence
    said = re.search(r"--cluster '(.*)' counts", sentence)
    groups = Grouping(said[1]).clusters(pairs)
    assert [*Counter(groups.values()).values()] == [2, 1], "the option does what it says"
    assert [*patient_findings(pairs, Grouping(said[1]))] == []


def test_an_interval_ends_where_the_range_does() -> None:
    values = np.array([0.2, 0.9, 0.95])
    free = mean_interval(values)
    assert free.low < 0 < 1 < free.high
    for column, ends in (
        ("dice", (0, 1)),
        ("hausdorff95", (0, free.high)),
        ("mcc", (-1, 1)),
        ("nobody's", (free.low, free.high)),
    ):
        found = mean_interval(values, within=value_range(column))
        assert (found.low, found.high) == (max(free.low, ends[0]), min(free.high, ends[1]))
