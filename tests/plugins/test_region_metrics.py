from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloss.scoring import Counts, count_classes
from medloss_region.metrics import (
    accuracy,
    dice,
    jaccard,
    mcc,
    precision,
    sensitivity,
    specificity,
    volume_difference,
    volume_similarity,
)

FUNCTIONS = (dice, sensitivity, specificity)
MORE = (jaccard, precision, accuracy, mcc, volume_similarity, volume_difference)
NUMBERS = st.integers(0, 10**12)


def test_values_worked_by_hand():
    # Reference 4 voxels, prediction 6, 3 of them common, image of 20.
    counts = Counts(tp=3, fp=3, fn=1, tn=13)
    assert dice(counts) == 2 * 3 / (4 + 6)
    assert sensitivity(counts) == 3 / 4
    assert specificity(counts) == 13 / 16


def test_two_rows_of_voxels():
    reference = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    prediction = np.array([[0, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    counts = count_classes(reference, prediction, [1])[1]
    assert dice(counts) == pytest.approx(4 / 7)
    assert sensitivity(counts) == pytest.approx(2 / 3)
    assert specificity(counts) == pytest.approx(5 / 7)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(tp=0, fp=0, fn=5, tn=15), (0, 0, 1)),  # missed
        (Counts(tp=0, fp=5, fn=0, tn=15), (0, math.nan, 0.75)),  # spurious
        (Counts(tp=0, fp=0, fn=0, tn=20), (math.nan, math.nan, 1)),  # in neither
        (Counts(tp=20, fp=0, fn=0, tn=0), (1, 1, math.nan)),  # fills both
        (Counts(tp=15, fp=0, fn=5, tn=0), (pytest.approx(30 / 35), 0.75, math.nan)),
    ],
)
def test_empty_and_full_classes(counts, expected):
    for function, value in zip(FUNCTIONS, expected, strict=True):
        assert function(counts) == value or (math.isnan(value) and math.isnan(function(counts)))


@given(tp=NUMBERS, fp=NUMBERS, fn=NUMBERS, tn=NUMBERS)
def test_range_and_symmetries(tp, fp, fn, tn):
    counts = Counts(tp, fp, fn, tn)
    swapped = Counts(tp, fn, fp, tn)
    inverted = Counts(tn, fn, fp, tp)
    for function in FUNCTIONS:
        value = function(counts)
        assert math.isnan(value) or 0 <= value <= 1
    assert dice(counts) == dice(swapped) or tp + fp + fn == 0
    assert sensitivity(counts) == specificity(inverted) or tp + fn == 0


def test_more_values_worked_by_hand():
    # Reference 4 voxels, prediction 6, 3 of them common, image of 20; a voxel has 2 mm³.
    counts = Counts(tp=3, fp=3, fn=1, tn=13, voxel_mm3=2.0)
    assert jaccard(counts) == 3 / 7
    assert precision(counts) == 3 / 6
    assert accuracy(counts) == 16 / 20
    assert mcc(counts) == pytest.approx((3 * 13 - 3 * 1) / math.sqrt(6 * 4 * 16 * 14), rel=1e-15)
    assert volume_similarity(counts) == 1 - 2 / 10
    assert volume_difference(counts) == 2 * 2.0


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(0, 0, 5, 15, 1.0), (0, math.nan, 0.75, math.nan, 0, 5)),  # missed
        (Counts(0, 5, 0, 15, 1.0), (0, 0, 0.75, math.nan, 0, 5)),  # spurious
        (Counts(0, 0, 0, 20, 1.0), (math.nan, math.nan, 1, math.nan, math.nan, 0)),  # in neither
        (Counts(20, 0, 0, 0, 1.0), (1, 1, 1, math.nan, 1, 0)),  # fills both
    ],
)
def test_more_empty_and_full_classes(counts, expected):
    for function, value in zip(MORE, expected, strict=True):
        assert function(counts) == pytest.approx(value, nan_ok=True, abs=0), function.__name__


@given(tp=NUMBERS, fp=NUMBERS, fn=NUMBERS, tn=NUMBERS)
def test_more_ranges_and_identities(tp, fp, fn, tn):
    counts = Counts(tp, fp, fn, tn, voxel_mm3=0.5)
    swapped, inverted = Counts(tp, fn, fp, tn), Counts(tn, fn, fp, tp)
    if tp + fp + fn:
        d = dice(counts)
        assert jaccard(counts) == pytest.approx(d / (2 - d))
        assert volume_similarity(counts) >= d - 1e-12
        assert volume_similarity(counts) == volume_similarity(swapped)
    assert precision(counts) == sensitivity(swapped) or tp + fp == 0
    assert accuracy(counts) == accuracy(inverted) or counts.voxels == 0
    if not math.isnan(mcc(counts)):
        assert -1 - 1e-12 <= mcc(counts) <= 1 + 1e-12
        assert mcc(counts) == mcc(swapped) == pytest.approx(mcc(inverted))
        upside_down = Counts(fp, tp, tn, fn)  # the reference inverted
        assert mcc(upside_down) == pytest.approx(-mcc(counts), abs=1e-12)
    assert volume_difference(counts) == abs(fp - fn) * 0.5


@given(inside=st.integers(1, 10**9), outside=st.integers(1, 10**9))
def test_equal_maps_have_a_correlation_of_exactly_1(inside, outside):
    assert mcc(Counts(inside, 0, 0, outside)) == 1.0
    assert mcc(Counts(0, inside, outside, 0)) == -1.0


def test_mcc_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.9):
        a, b = rng.random((2, 6, 7, 5)) < share
        counts = count_classes(a, b, [1])[1]
        assert mcc(counts) == pytest.approx(sklearn.matthews_corrcoef(a.ravel(), b.ravel()))


def test_a_volume_needs_the_size_of_a_voxel():
    with pytest.raises(ValueError, match="spacing_mm: a volume needs"):
        volume_difference(Counts(1, 0, 0, 1))
