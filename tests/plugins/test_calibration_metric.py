"""Expected calibration error: worked by hand, by brute force, and MONAI's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics.calibration import CalibrationErrorMetric

import medloss.metrics
from medloss.scoring import Case, Probabilities
from medloss.scoring import probabilities as pieces
from medloss_distribution.metrics import expected_calibration_error

ECE = expected_calibration_error


def of(predicted, reference, ignored=None):
    one, other = (np.array([line], dtype=t) for line, t in ((predicted, float), (reference, bool)))
    return Probabilities(one, other, None if ignored is None else np.array([ignored], dtype=bool))


def test_worked_by_hand():
    # Of two bins: 0.1, 0.3 with one of two voxels in the class; 0.6, 0.8, 1 with two of three.
    found = of([0.1, 0.3, 0.6, 0.8, 1.0], [0, 1, 1, 0, 1])
    expected = 2 / 5 * abs(0.2 - 1 / 2) + 3 / 5 * abs(0.8 - 2 / 3)
    assert ECE(found, bins=2) == pytest.approx(expected, rel=1e-14)
    assert ECE(found, bins=1) == pytest.approx(abs(2.8 / 5 - 3 / 5), rel=1e-14)
    # Halves by rank: 0.1, 0.3 and the others, as the limit is the value 0.6.
    assert ECE(found, bins=2, binning="equal_mass") == pytest.approx(expected, rel=1e-14)
    # A limit belongs to the bin below it, however float64 rounds it; 0 to the first.
    for many in (10, 15, 49):
        edges = of(np.arange(many + 1) / many, np.zeros(many + 1))
        assert edges.bins(many).voxels.tolist() == [2, *[1] * (many - 1)]
    assert np.flatnonzero(of(np.float32([0.3]), [0]).bins(10).voxels) == 3, "it is more than 0.3"


def test_ignored_voxels_do_not_count():
    found = of([0.1, 0.3, 0.7], [0, 1, 1], [0, 0, 1])
    assert ECE(found, bins=10) == ECE(of([0.1, 0.3], [0, 1]), bins=10)
    assert math.isnan(ECE(of([0.1], [0], [1])))


@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
def test_best_and_worst(binning):
    sure = [0.0, 1.0, 1.0, 0.0]
    assert ECE(of(sure, sure), binning=binning) == 0
    assert ECE(of(sure, [1, 0, 0, 1]), binning=binning) == 1
    assert ECE(of(sure, [0, 1, 0, 0]), binning=binning) == 1 / 4  # the share of wrong voxels
    assert ECE(of([0.25] * 8, [1, 1, 0, 0, 0, 0, 0, 0]), binning=binning) == 0


def scene(seed, voxels=500):
    rng = np.random.default_rng(seed)
    predicted = rng.beta(0.5, 0.8, voxels).round(3)
    return predicted, rng.random(voxels) < predicted**1.5


@given(seed=st.integers(0, 10_000), bins=st.integers(1, 40), piece=st.sampled_from([7, 1 << 20]))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_brute_force_and_any_order(seed, bins, piece):
    p, y = scene(seed)
    total = 0.0
    for b in range(bins):
        # In thousandths, which p are.
        k = np.rint(1000 * p).astype(int) * bins
        here = ((k > 1000 * b) | (b == 0)) & (k <= 1000 * (b + 1))
        if here.any():
            total += here.mean() * abs(p[here].mean() - y[here].mean())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_PIECE", piece)
        value = ECE(of(p, y), bins=bins)
    assert value == pytest.approx(total, rel=1e-9)
    order = np.random.default_rng(seed + 1).permutation(len(p))
    for binning in ("equal_width", "equal_mass"):
        whole = ECE(of(p, y), bins=bins, binning=binning)
        assert ECE(of(p[order], y[order]), bins=bins, binning=binning) == pytest.approx(whole)


def test_equal_mass_spreads_what_equal_width_puts_into_one_bin():
    p = np.linspace(0.001, 0.06, 600)
    y = np.zeros(600, dtype=bool)
    y[::30] = True
    assert ECE(of(p, y)) == pytest.approx(abs(p.mean() - y.mean()))  # one bin of the 15
    halves = sum(abs((p - y)[half].sum()) for half in (slice(0, 300), slice(300, None))) / 600
    assert ECE(of(p, y), bins=2, binning="equal_mass") == pytest.approx(halves)
    assert halves > 5 * ECE(of(p, y))


@pytest.mark.parametrize("bins", [10, 15])
@pytest.mark.parametrize("seed", range(3))
def test_monai_has_the_same(seed, bins):
    generator = torch.Generator().manual_seed(seed)
    y_pred = torch.randn(2, 3, 6, 5, 4, generator=generator).softmax(1)
    y = torch.randint(0, 3, (2, 1, 6, 5, 4), generator=generator)
    hot = torch.cat([y == c for c in range(3)], 1).float()
    theirs = CalibrationErrorMetric(num_bins=bins, metric_reduction="none")
    theirs(y_pred, hot)
    mine = medloss.metrics.ExpectedCalibrationErrorMetric(bins=bins, reduction="none")
    torch.testing.assert_close(mine(y_pred, hot).float(), theirs.aggregate(), rtol=1e-5, atol=1e-6)
    labels = medloss.metrics.ExpectedCalibrationErrorMetric(bins=bins, num_classes=3)
    torch.testing.assert_close(labels(y_pred, y), mine.get_buffer())


def test_monai_form_takes_masks_and_refuses_what_are_no_probabilities():
    y_pred, y = torch.full((1, 1, 2, 4), 0.25), torch.zeros(1, 1, 2, 4)
    y[..., 0], y_pred[..., 0] = 1, 1.0
    metric = medloss.metrics.ExpectedCalibrationErrorMetric()
    assert metric(y_pred, y).item() == pytest.approx(3 / 4 * 0.25)
    mask = torch.ones(1, 1, 2, 4)
    mask[..., 1:] = 0
    assert metric(y_pred, y, mask=mask).item() == 0
    with pytest.raises(ValueError, match=r"y_pred: expected probabilities from 0 to 1, got .*to 4"):
        metric(4 * y_pred, y)
    classes = medloss.metrics.ExpectedCalibrationErrorMetric(num_classes=3)
    with pytest.raises(ValueError, match="y_pred: expected 3 channels, got 1"):
        classes(y_pred, y)


def test_a_case_of_label_maps_has_no_probabilities():
    mask = np.ones((2, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="probabilities: expected those of each class, got label"):
        Case(mask, mask, labels=[1]).probabilities(1)
    with pytest.raises(
        ValueError, match=r"probabilities: expected the shape .*\(2, 3\), got \(6,\)"
    ):
        Case(mask, mask, labels=[1], probabilities={1: np.ones(6)})
    unknown = Case(mask, mask, labels=[1, 2], probabilities={1: mask * 0.5})
    assert ECE(unknown.probabilities(1)) == 0.5
    assert ECE(unknown.probabilities(2)) == 0  # nobody said that it is there, nor is it


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, "bins: expected a whole number of at least 1, got 0"),
        ({"bins": 2.0}, "bins: expected a whole number of at least 1, got 2.0"),
        ({"binning": "adaptive"}, "binning: expected equal_width or equal_mass, got 'adaptive'"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ECE(of([0.5], [1]), **options)
    with pytest.raises(ValueError, match=message):
        medloss.metrics.ExpectedCalibrationErrorMetric(**options)
