"""Expected calibration error: worked by hand, by brute force, and MONAI's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics.calibration import CalibrationErrorMetric
from scipy import ndimage

import medloss.metrics
from medloss.scoring import Case, Probabilities
from medloss.scoring import probabilities as pieces
from medloss.scoring.probabilities import Bins
from medloss_distribution.metrics import (
    average_calibration_error,
    brier_score,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
)
from medloss_distribution.metrics_ranking import auroc, average_precision

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


WORKED = [0.05, 0.05, 0.15, 0.15, 0.95, 0.95, 0.95, 0.95], [0, 0, 0, 1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("metric", "options", "expected"),
    [
        (expected_calibration_error, {"bins": 10}, 0.2),
        (average_calibration_error, {"bins": 10}, 0.2),
        (maximum_calibration_error, {"bins": 10}, 0.35),
        (brier_score, {}, 0.2075),
        (negative_log_likelihood, {}, 0.66398),
        (auroc, {}, 0.8125),
        (average_precision, {}, 0.72917),
    ],
)
def test_worked_values(metric, options, expected):
    found = of(*WORKED)
    assert metric(found, **options) == pytest.approx(expected, abs=5e-6)
    # Nothing but the voxels that count decides.
    more = of([*WORKED[0], 0.5, 0.7], [*WORKED[1], 1, 0], [0] * 8 + [1, 1])
    assert metric(more, **options) == metric(found, **options)
    assert math.isnan(metric(of([0.5], [0], [1]), **options))


def test_top_label_of_two_classes():
    """Of each class the voxels that it is the likeliest of; the bins of all are those of torch."""
    p, y = np.array(WORKED[0])[None], np.array(WORKED[1])[None]
    case = Case(y, (p >= 0.5).astype(int), labels=[0, 1], probabilities={0: 1 - p, 1: p})
    parts = [case.probabilities(label).part(top_label=True).bins(10) for label in (0, 1)]
    both = Bins(*(sum(getattr(each, name) for each in parts) for name in vars(parts[0])))
    assert both.expected_gap == pytest.approx(0.175)
    assert both.average_gap == pytest.approx(0.23333, abs=1e-5)
    torchmetrics = pytest.importorskip("torchmetrics.classification", reason="not installed")
    both_classes = torch.from_numpy(np.stack([1 - p[0], p[0]], 1))
    theirs = torchmetrics.MulticlassCalibrationError(2, n_bins=10)(
        both_classes, torch.from_numpy(y[0])
    )
    assert both.expected_gap == pytest.approx(theirs.item(), abs=1e-6)
    assert ECE(case.probabilities(1), bins=10, top_label=True) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="top_label: expected where the prediction has the class"):
        ECE(of(*WORKED), top_label=True)


def test_a_voxel_costs_no_more_than_the_limit():
    assert negative_log_likelihood(of([0.0, 1.0], [0, 1])) == 0
    found = of([0.0, 1.0], [1, 0])
    assert negative_log_likelihood(found) == pytest.approx(7 * math.log(10))
    assert negative_log_likelihood(found, clip=0.01) == pytest.approx(2 * math.log(10))
    for bad in (0, 1, -1, True, "small"):
        with pytest.raises(ValueError, match="clip: expected a probability above 0 and below 1"):
            negative_log_likelihood(found, clip=bad)


@pytest.mark.parametrize("metric", [ECE, brier_score, auroc], ids=lambda metric: metric.__name__)
def test_voxels_near_the_class_in_mm(metric):
    rng = np.random.default_rng(0)
    reference = np.zeros((14, 12, 10), dtype=bool)
    reference[4:7, 5:8, 4:6] = reference[9, 9, 8] = True
    chances = rng.random(reference.shape)
    ignored = rng.random(reference.shape) < 0.1
    spacing = (0.7, 1.0, 2.5)
    whole = Probabilities(chances, reference, ignored, spacing)
    away = ndimage.distance_transform_edt(~reference, sampling=spacing)
    for limit in (0, 2.1, 3.0, 100):
        near = (away <= limit * (1 + 1e-6)) & ~ignored
        expected = metric(of(chances[near], reference[near]))
        assert metric(whole, within_mm=limit) == pytest.approx(expected, nan_ok=True)
    assert metric(whole, within_mm=100) == pytest.approx(metric(whole))
    assert math.isnan(metric(Probabilities(chances, reference & False, None, spacing), within_mm=2))
    for bad in (-1, math.inf, math.nan, True, "3"):
        with pytest.raises(ValueError, match="within_mm: expected a distance of at least 0"):
            metric(whole, within_mm=bad)
    with pytest.raises(ValueError, match="within_mm: expected the size of a voxel too"):
        metric(Probabilities(chances, reference), within_mm=1)


@given(seed=st.integers(0, 10_000), piece=st.sampled_from([7, 1 << 20]))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_ranks_are_those_of_sklearn(seed, piece):
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    p, y = scene(seed, 300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_PIECE", piece)
        found = of(p, y)
        assert auroc(found) == pytest.approx(sklearn.roc_auc_score(y, p), abs=1e-12)
        assert average_precision(found) == pytest.approx(
            sklearn.average_precision_score(y, p), abs=1e-12
        )
    assert brier_score(found) == pytest.approx(sklearn.brier_score_loss(y, p), abs=1e-12)
    inner = p.clip(1e-7, 1 - 1e-7)
    assert negative_log_likelihood(found) == pytest.approx(sklearn.log_loss(y, inner), abs=1e-7)


def test_ranks_of_one_class_and_of_nan():
    assert math.isnan(auroc(of([0.1, 0.9], [1, 1])))
    assert average_precision(of([0.1, 0.9], [1, 1])) == 1
    assert math.isnan(auroc(of([0.1, 0.9], [0, 0])))
    assert math.isnan(average_precision(of([0.1, 0.9], [0, 0])))
    for metric in (auroc, average_precision, brier_score, negative_log_likelihood):
        assert math.isnan(metric(of([0.1, math.nan, 0.3], [1, 0, 1])))


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
