from __future__ import annotations

import pytest
import torch
from scoring.adapted import Dice, SurfaceDice, Y, channels


def test_probabilities_and_labels_in_place_of_masks_are_refused():
    y = channels(Y)
    with pytest.raises(ValueError, match=r"y_pred: expected only 0 and 1, got .* 0 to 0\.5"):
        Dice()(y / 2, y)
    with pytest.raises(ValueError, match=r"y: expected only 0 and 1, .* give num_classes"):
        Dice()(Y.clamp(max=1), Y)
    with pytest.raises(ValueError, match="y_pred: expected only 0 and 1"):
        Dice()(y * torch.nan, y)
    with pytest.raises(ValueError, match="whole numbers from 0 to 1, got 2"):
        Dice(num_classes=2)(Y, Y)
    with pytest.raises(ValueError, match=r"whole numbers from 0 to 2, got 0\.5"):
        Dice(num_classes=3)(Y / 2, Y)


@pytest.mark.parametrize(
    ("y_pred", "y", "num_classes"),
    [
        ((1, 2, 4, 4), (1, 3, 4, 4), None),
        ((1, 2, 4, 4), (1, 2, 4, 5), None),
        ((2, 2, 4, 4), (1, 2, 4, 4), None),
        ((1, 2), (1, 2), None),
        ((1, 2, 4, 4, 4), (1, 2, 4, 4), None),
        ((1, 2, 4, 4), (1, 1, 4, 4), 3),
    ],
)
def test_shapes_that_do_not_fit_are_refused(y_pred, y, num_classes):
    with pytest.raises(ValueError, match="y_pred: expected"):
        Dice(num_classes=num_classes)(torch.zeros(y_pred), torch.zeros(y))


def test_lists_of_unequal_length_and_a_lacking_reference_are_refused():
    y = channels(Y)
    with pytest.raises(ValueError, match="y: expected as many items"):
        Dice()(list(y), list(y)[:2])
    with pytest.raises(ValueError, match="y: expected a reference"):
        Dice()(y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tolerance": 1.0}, TypeError, "no option 'tolerance'; did you mean tolerance_mm"),
        ({"include_backgrund": True}, TypeError, "did you mean include_background"),
        ({"zzz": 1}, TypeError, "'zzz'; it has include_background, .*, tolerance_mm"),
        ({"tolerance_mm": -1.0}, ValueError, "tolerance_mm: expected"),
        ({"reduction": "median"}, ValueError, "reduction: expected one of none, mean, .*'median'"),
        ({"missed": "zero"}, ValueError, "missed: expected"),
        ({"both_empty": 1}, ValueError, "both_empty: expected"),
        ({"preset": "monay"}, ValueError, "preset: expected one of deepmind, exact"),
        ({"num_classes": 1}, ValueError, "num_classes: expected at least 2, got 1"),
    ],
)
def test_wrong_options_are_refused_at_once(options, error, message):
    with pytest.raises(error, match=message):
        SurfaceDice(**options)


def test_nothing_to_aggregate_is_said():
    metric = Dice()
    assert metric.get_buffer() is None
    assert metric.statuses() == []
    with pytest.raises(ValueError, match="nothing to aggregate"):
        metric.aggregate()
    metric(channels(Y), channels(Y))
    metric.reset()
    with pytest.raises(ValueError, match="nothing to aggregate"):
        metric.aggregate()
