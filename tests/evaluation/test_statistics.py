from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medloss.evaluation.outputs import statistics
from medloss.evaluation.outputs.statistics import Bootstrap, mean_interval

VALUES = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_is_that_of_scipy(seed):
    values = np.random.default_rng(seed).lognormal(size=25)
    ours = mean_interval(values, Bootstrap(resamples=50_000))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=50_000, rng=1).confidence_interval
    width = theirs.high - theirs.low
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.02 * width)


def test_a_skewed_sample_has_a_skewed_interval():
    values = np.array([1.0] * 20 + [50.0])
    low, high = mean_interval(values)
    assert high - values.mean() > 1.5 * (values.mean() - low)


@settings(deadline=None)
@given(VALUES)
def test_it_lies_within_the_values_and_is_the_same_again(values):
    values = np.array(values)
    low, high = mean_interval(values)
    assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9
    assert mean_interval(values) == (low, high)


@settings(deadline=None)
@given(VALUES)
def test_it_turns_round_with_the_values(values):
    """The draws are the same, so the resampled means are mirrored exactly."""
    low, high = mean_interval(np.array(values))
    assert mean_interval(-np.array(values)) == pytest.approx((-high, -low), abs=1e-6)


def test_blocks_change_nothing(monkeypatch):
    values = np.random.default_rng(0).normal(size=40)
    whole = mean_interval(values)
    monkeypatch.setattr(statistics, "_DRAWS_AT_ONCE", 1000)
    assert mean_interval(values) == whole


def test_cover_of_the_true_mean():
    rng = np.random.default_rng(5)
    found = [mean_interval(rng.normal(size=30), Bootstrap(500)) for _ in range(200)]
    assert 0.88 <= np.mean([low <= 0 <= high for low, high in found]) <= 0.99


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.inf]])
def test_nothing_to_say(values):
    assert all(map(math.isnan, mean_interval(np.array(values))))


def test_equal_values_are_certain():
    assert mean_interval(np.full(7, 0.1)) == (0.1, 0.1)
