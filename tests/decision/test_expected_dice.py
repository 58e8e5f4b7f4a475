"""Expected Dice beside the convolution of the voxels, and what of it must hold."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medloss.decision import best_cut, expected_dice

A = [0.9, 0.4, 0.3, 0.2, 0.05, 0.6]
LOW = [0.45, 0.4, 0.35, 0.3, 0.1, 0.05]
ONE = [0.55, 0.2, 0.1, 0.1]

chances = arrays(np.float64, st.integers(1, 9), elements=st.floats(0, 1))


def by_convolution(probabilities, largest=None):
    """The distribution of how many voxels are of the class, in the set and beside it."""
    p = np.sort(probabilities)[::-1]

    def counts(some):
        found = np.ones(1)
        for each in some:
            found = np.convolve(found, [1 - each, each])
        return found

    expected = [0.0]
    for size in range(1, (largest or len(p)) + 1):
        both = np.outer(counts(p[:size]), counts(p[size:]))
        tp, fn = np.indices(both.shape)
        expected.append(float((both * 2 * tp / (size + tp + fn)).sum()))
    return np.array(expected)


def by_enumeration(probabilities):
    """Every reference there can be, with its chance."""
    p = np.sort(probabilities)[::-1]
    expected = np.zeros(len(p) + 1)
    for reference in itertools.product([0, 1], repeat=len(p)):
        y = np.array(reference)
        chance = np.prod(np.where(y, p, 1 - p))
        for size in range(1, len(p) + 1):
            expected[size] += chance * 2 * y[:size].sum() / (size + y.sum())
    return expected


def test_worked_values():
    found = expected_dice(np.array(A))
    worked = [0, 0.547823143, 0.66935, 0.678776476, 0.659093552, 0.621046996, 0.55982955]
    np.testing.assert_allclose(found, worked, atol=5e-10)
    assert best_cut(np.array(A), method="exact").voxels == 3
    assert best_cut(np.array(A), method="rma").voxels == 4
    assert expected_dice(np.array(LOW))[4] == pytest.approx(0.488830073, abs=5e-10)
    assert best_cut(np.array(LOW)).voxels == best_cut(np.array(LOW), method="rma").voxels == 4
    assert expected_dice(np.array(ONE))[1:3] == pytest.approx([0.48114, 0.441693], abs=5e-7)
    assert best_cut(np.array(ONE)).voxels == 1
    assert best_cut(np.array(ONE), method="rma").voxels == 2


def test_the_large_volume_of_the_paper_of_thresholds():
    """Few passes, no sort: the same set as the best of all sorted scores."""
    p = np.random.default_rng(0).random(200_000, np.float32) ** 2
    found = best_cut(p, method="rma")
    q = np.sort(p.astype(np.float64))[::-1]
    scores = q.cumsum() / (np.arange(1, len(q) + 1) + q.sum() + 1)
    assert found.voxels == scores.argmax() + 1
    assert found.threshold == pytest.approx(scores.max(), rel=1e-9)
    assert (p >= found.threshold).sum() == found.voxels


@settings(max_examples=40, deadline=None)
@given(chances)
def test_the_integral_is_the_convolution_and_the_enumeration(p):
    np.testing.assert_allclose(expected_dice(p), by_convolution(p), atol=1e-12)
    if len(p) < 6:
        np.testing.assert_allclose(expected_dice(p), by_enumeration(p), atol=1e-12)


def test_the_integral_of_many_voxels_is_the_convolution():
    rng = np.random.default_rng(3)
    for power in (0.3, 1, 6):
        p = rng.random(120) ** power
        np.testing.assert_allclose(expected_dice(p), by_convolution(p), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(chances)
def test_the_exact_cut_is_the_best_set(p):
    """Whatever of voxels of a power series and what of candidates was left out."""
    expected, cut = by_convolution(p), best_cut(p, method="exact")
    chosen = int((p >= cut.threshold).sum())
    assert chosen == cut.voxels
    q = np.sort(p)[::-1]
    whole = [0, *(n for n in range(1, len(q) + 1) if n == len(q) or q[n - 1] > q[n])]
    # Equal voxels are decided alike; of a set of the least voxels there is no more to gain.
    assert expected[chosen] >= expected[whole].max() - 1e-9
    assert cut.expected == pytest.approx(expected[chosen], abs=1e-9)


def test_small_objects_beside_much_noise():
    """Those of the head by themselves, and the rest by their power sums."""
    p = np.concatenate([[0.9, 0.8, 0.5, 0.3], np.full(400, 0.02)])
    expected, cut = by_convolution(p, largest=6), best_cut(p)
    assert cut.voxels == expected.argmax()
    assert cut.expected == pytest.approx(expected.max(), abs=1e-12)


def test_random_volumes_gain_what_they_should():
    """The smaller the object, the more; and RMA is nearly exact for larger ones."""
    rng, gains = np.random.default_rng(1), {}
    for volume in (1, 10, 40):
        found = np.zeros(3)
        for _ in range(50):
            p = rng.random(120)
            for _ in range(40):
                p = np.clip(p * volume / p.sum(), 0, 1)
            expected = expected_dice(p)
            rma = best_cut(p, method="rma").voxels
            found += expected.max(), expected[(p > 0.5).sum()], expected[rma]
        gains[volume] = found / 50
    for best, plain, rma in gains.values():
        assert best > plain
        assert best - rma < 1e-4 * 2
    assert gains[1][0] - gains[1][1] < gains[10][0] - gains[10][1]


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, (3, 4), elements=st.sampled_from([0.0, 1.0])))
def test_certain_voxels_are_taken_as_they_are(p):
    for method in ("auto", "exact", "rma"):
        cut = best_cut(p, method=method)
        np.testing.assert_array_equal(p >= cut.threshold, p == 1)
        assert cut.expected <= 1


@settings(max_examples=40, deadline=None)
@given(chances, st.permutations(range(9)))
def test_order_and_voxels_without_a_chance_change_nothing(p, order):
    cut = best_cut(p)
    order = [n for n in order if n < len(p)]
    other = best_cut(np.concatenate([p[order], np.zeros(7)]))
    assert other.voxels == cut.voxels
    assert other.expected == pytest.approx(cut.expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(chances)
def test_a_set_of_rma_is_the_best_by_its_score_and_a_threshold_below_one_half(p):
    cut = best_cut(p, method="rma")
    q = np.sort(p)[::-1]
    scores = 2 * q.cumsum() / (np.arange(1, len(q) + 1) + q.sum() + 1)
    if q[0] == 0:
        assert math.isinf(cut.threshold)
        return
    assert cut.expected == pytest.approx(scores.max(), rel=1e-12)
    assert cut.threshold < 0.5


def test_a_class_that_is_hardly_there_is_left_out_on_request():
    p = np.array(LOW)
    assert best_cut(p, least_chance=0.45).voxels == 4  # as probable as that
    assert best_cut(p, least_chance=0.5) == best_cut(p, least_chance=0.46)
    assert math.isinf(best_cut(p, least_chance=0.5).threshold)
    assert best_cut(np.zeros(3)).voxels == best_cut(np.zeros(0)).voxels == 0
    assert best_cut(p).volume == pytest.approx(1.65)


def test_both_empty_may_count():
    assert expected_dice(np.array([0.5, 0.2]), both_empty=1)[0] == pytest.approx(0.4)
    assert expected_dice(np.array([0.5, 0.2]))[0] == 0
