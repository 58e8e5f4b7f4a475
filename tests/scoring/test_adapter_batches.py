"""Metrics of counts take a whole batch at once; here item by item, from numpy's own counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import medloss
from medloss.offers.host import host
from medloss.runtime import threads
from medloss.scoring import Counts
from medloss.scoring.presets import Status

CLASSES = 4
METRICS = [
    offer.record.name for offer in host().metrics if tuple(offer.record.facts) == ("counts",)
]


def batch(shape=(6, 5, 7), seed=0):
    """Label maps of three items; the last is empty in the prediction, and has no class 3."""
    rng = np.random.default_rng(seed)
    reference, prediction = rng.integers(0, CLASSES, (2, 3, 1, *shape))
    prediction[2] = 0
    reference[2] = np.minimum(reference[2], 2)
    return torch.from_numpy(prediction), torch.from_numpy(reference)


def one_hot(labels, dtype=torch.float32):
    return (labels == torch.arange(CLASSES).view(-1, *(1,) * (labels.ndim - 2))).to(dtype)


def expected(name, y_pred, y, *, keep=None, first=0, voxel_mm3=None, **options):
    """The function on counts of one mask at a time."""
    function = host().metrics.find(name).load()
    values, statuses = [], []
    for item in range(len(y)):
        kept = np.ones(y.shape[2:], bool) if keep is None else keep[item, 0].numpy() != 0
        for label in range(first, CLASSES):
            g, p = ((each[item, 0].numpy() == label)[kept] for each in (y, y_pred))
            found = (g & p).sum(), (~g & p).sum(), (g & ~p).sum(), (~g & ~p).sum()
            values.append(function(Counts(*map(int, found), voxel_mm3), **options))
            names = {(1, 1): "OK", (1, 0): "MISSED", (0, 1): "SPURIOUS", (0, 0): "BOTH_EMPTY"}
            statuses.append(Status[names[int(g.any()), int(p.any())]])
    shape = len(y), CLASSES - first
    return np.reshape(values, shape), [
        statuses[n * shape[1] :][: shape[1]] for n in range(shape[0])
    ]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_of_counts_equals_one_mask_at_a_time(name):
    y_pred, y = batch()
    options = dict(host().metrics.find(name).record.example)
    metric = medloss.metric(name, spacing_mm=(1.0, 2.0, 0.5), missed="inf", **options)
    found = metric(one_hot(y_pred), one_hot(y))
    values, statuses = expected(name, y_pred, y, voxel_mm3=1.0, **options)
    np.testing.assert_array_equal(found.numpy(), values)
    assert metric.statuses() == statuses


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.uint8,
     torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16],
)  # fmt: skip
@pytest.mark.parametrize("background", [True, False])
def test_masks_of_any_type_count_alike(dtype, background):
    y_pred, y = batch()
    metric = medloss.metric("dice", include_background=background)
    found = metric(one_hot(y_pred, dtype), one_hot(y).double())
    values, _ = expected("dice", y_pred, y, first=int(not background))
    np.testing.assert_array_equal(found.numpy(), values)


@pytest.mark.parametrize("maps", ["both", "y", "y_pred"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_label_maps_count_as_channels_do(maps, dtype):
    y_pred, y = batch()
    metric = medloss.metric("jaccard", num_classes=CLASSES, include_background=False)
    found = metric(
        y_pred.to(dtype) if maps != "y" else one_hot(y_pred),
        y.to(dtype) if maps != "y_pred" else one_hot(y),
    )
    values, statuses = expected("jaccard", y_pred, y, first=1)
    np.testing.assert_array_equal(found.numpy(), values)
    assert metric.statuses() == statuses


@pytest.mark.parametrize("labels", [True, False])
def test_voxels_that_are_left_out_do_not_count(labels):
    y_pred, y = batch()
    keep = torch.from_numpy(np.random.default_rng(1).integers(0, 2, y.shape))
    metric = medloss.metric("specificity", num_classes=CLASSES if labels else None)
    given = (y_pred, y) if labels else (one_hot(y_pred), one_hot(y))
    values, statuses = expected("specificity", y_pred, y, keep=keep)
    np.testing.assert_array_equal(metric(*given, mask=keep).numpy(), values)
    assert metric.statuses() == statuses


def test_an_ignored_label_does_not_count():
    y_pred, y = batch()
    marked = y.clone()
    marked[:, :, :2] = 255
    metric = medloss.metric("dice", num_classes=CLASSES, ignore_index=255)
    values, _ = expected("dice", y_pred, y, keep=marked != 255)
    np.testing.assert_array_equal(metric(y_pred, marked).numpy(), values)


@pytest.mark.parametrize("first", [0, 1])
def test_large_batches_are_counted_in_pieces(first, monkeypatch):
    monkeypatch.setattr(threads, "EACH", 64)
    y_pred, y = batch((9, 8), seed=3)
    metric = medloss.metric("precision", include_background=not first)
    values, _ = expected("precision", y_pred, y, first=first)
    np.testing.assert_array_equal(metric(one_hot(y_pred), one_hot(y)).numpy(), values)
    strided = one_hot(y_pred).movedim(1, -1).contiguous().movedim(-1, 1)
    np.testing.assert_array_equal(metric(strided, one_hot(y)).numpy(), values)


def test_policies_have_their_say_in_missing_classes():
    y_pred, y = batch()
    for both_empty, last in (("exclude", math.nan), ("perfect", 1.0)):
        metric = medloss.metric("dice", both_empty=both_empty)
        found = metric(one_hot(y_pred), one_hot(y))[2].tolist()
        assert found[1:3] == [0, 0]  # missed
        np.testing.assert_equal(found[3], last)
    monai = medloss.metric("dice", preset="monai", ignore_empty=False)
    assert monai(one_hot(y_pred), one_hot(y))[2, 3] == 1


@pytest.mark.parametrize("value", [2, -1, 0.5, math.nan, math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64])
def test_what_is_no_mask_is_refused(value, dtype):
    if dtype == torch.int64 and not float(value).is_integer():
        pytest.skip("no whole number")
    y_pred, y = (one_hot(each, dtype) for each in batch())
    y_pred[1, 2, 0, 0, 0] = value
    with pytest.raises(ValueError, match="y_pred: expected only 0 and 1"):
        medloss.metric("dice")(y_pred, y)
