from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloss.scoring import Counts, count_classes
from medloss_region.metrics import dice, sensitivity, specificity

FUNCTIONS = (dice, sensitivity, specificity)
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
