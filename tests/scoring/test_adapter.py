from __future__ import annotations

import math

import pytest
import torch
from monai.metrics import DiceMetric as MonaiDice
from monai.metrics import HausdorffDistanceMetric as MonaiHausdorff
from scoring.adapted import (
    DIAGONAL,
    HD95,
    NAN,
    SPACING,
    Y_PRED,
    Dice,
    Hausdorff95,
    SurfaceDice,
    Y,
    channels,
    close,
    labels,
)

from medloss.scoring import Status, surface_distances
from medloss_boundary import metrics as boundary


@pytest.mark.parametrize("form", ["one-hot", "bool", "label maps", "mixed", "list", "float maps"])
def test_every_form_of_input_gives_the_same(form):
    options = {"spacing_mm": SPACING}
    pair = channels(Y_PRED), channels(Y)
    if form == "bool":
        pair = pair[0].bool(), pair[1].bool()
    elif form == "list":
        pair = list(pair[0]), list(pair[1])
    elif form != "one-hot":
        options["num_classes"] = 3
        pair = Y_PRED, Y
        if form == "mixed":
            pair = Y_PRED, channels(Y)
        elif form == "float maps":
            pair = Y_PRED.float(), Y.to(torch.bfloat16)
    metric = Hausdorff95(**options)
    close(metric(*pair), HD95)
    close(metric.get_buffer(), HD95)
    assert metric.statuses() == [["ok", "ok"], ["missed", "both_empty"], ["spurious", "ok"]]
    counts = metric.status_counts()
    assert {status: count.tolist() for status, count in counts.items()} == {
        Status.OK: [1, 2],
        Status.BOTH_EMPTY: [0, 1],
        Status.MISSED: [1, 0],
        Status.SPURIOUS: [1, 0],
        Status.NOT_ANNOTATED: [0, 0],
    }


def test_a_batch_of_nothing_adds_nothing():
    metric = Hausdorff95(spacing_mm=SPACING)
    pair = channels(Y_PRED), channels(Y)
    metric(*pair)
    assert metric(pair[0][:0], pair[1][:0]).shape == (0, 2)
    close(metric.get_buffer(), HD95)
    metric.reset()
    metric(pair[0][:0], pair[1][:0])
    with pytest.raises(ValueError, match="nothing to aggregate"):
        metric.aggregate()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_results_lie_where_the_prediction_lies():
    values = Hausdorff95(spacing_mm=SPACING)(channels(Y_PRED).cuda(), channels(Y).cuda())
    assert values.is_cuda
    close(values.cpu(), HD95)


def test_values_are_the_function_s_in_2d():
    y, y_pred = (channels(labels(b, shape=(8, 9)), 2) for b in ((1, 1), (1, 3)))
    mask, moved = (tensor[0, 1].numpy() > 0 for tensor in (y, y_pred))
    expected = boundary.normalized_surface_dice(
        surface_distances(mask, moved, (0.5, 2.0)), tolerance_mm=0.6
    )
    metric = SurfaceDice(tolerance_mm=0.6, spacing_mm=(0.5, 2.0))
    assert 0 < expected < 1
    close(metric(y_pred, y), [[expected]])


def test_background_is_scored_as_monai_does_by_default():
    pair = channels(Y_PRED), channels(Y)
    assert Dice()(*pair).shape == (3, 3)
    assert Dice(False)(*pair).shape == (3, 2)
    assert Hausdorff95(spacing_mm=1)(*pair).shape == (3, 2)
    assert Hausdorff95(include_background=True, spacing_mm=1)(*pair).shape == (3, 3)
    # A single channel is not a background.
    assert Hausdorff95(spacing_mm=1)(pair[0][:, 1:2], pair[1][:, 1:2]).shape == (3, 1)


def test_dice_is_monai_s_where_monai_defines_it():
    theirs = MonaiDice()
    theirs(channels(Y_PRED), channels(Y))
    mine = Dice()
    mine(channels(Y_PRED), channels(Y))
    defined = ~theirs.get_buffer().isnan()
    assert defined.sum() == 7
    torch.testing.assert_close(mine.get_buffer()[defined].float(), theirs.get_buffer()[defined])


def test_overlapping_channels_are_cases_of_their_own():
    y = torch.zeros(1, 2, 6, 6)
    y[0, 0, 1:5, 1:5] = 1
    y[0, 1, 2:4, 2:4] = 1
    close(Dice()(y, y), [[1.0, 1.0]])
    close(Dice()(y.flip(1), y), [[2 * 4 / (4 + 16)] * 2])


TABLE = [[1.0, NAN], [3.0, 5.0], [NAN, NAN]]


@pytest.mark.parametrize(
    ("reduction", "value", "count"),
    [
        ("none", TABLE, [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]),
        ("mean", (1 + 4) / 2, 2.0),
        ("sum", 9.0, 3.0),
        ("mean_batch", [2.0, 5.0], [2.0, 1.0]),
        ("sum_batch", [4.0, 5.0], [2.0, 1.0]),
        ("mean_channel", [1.0, 4.0, NAN], [1.0, 2.0, 0.0]),
        ("sum_channel", [1.0, 8.0, NAN], [1.0, 2.0, 0.0]),
    ],
)
def test_reductions_leave_out_nan_and_never_turn_it_to_zero(reduction, value, count):
    metric = Dice(reduction=reduction, get_not_nans=True)
    codes = torch.zeros(3, 2, dtype=torch.float64)
    metric.extend(torch.stack([torch.tensor(TABLE, dtype=torch.float64), codes], dim=-1))
    for result in (metric.aggregate(), Dice.aggregate(metric, reduction)):
        close(result[0], value)
        close(result[1], count)
    close(metric.get_buffer(), TABLE)


@pytest.mark.parametrize("reduction", ["mean", "sum", "mean_batch", "sum_channel"])
def test_nothing_but_nan_reduces_to_nan(reduction):
    metric = Dice(include_background=False, reduction=reduction)
    empty = channels(labels())
    metric(empty, empty)
    assert metric.aggregate().isnan().all()


def monai_warns(test):
    """MONAI warns of empty classes, and of an argument of its own that it uses itself."""
    for message in (
        "ignore:.*always_return_as_numpy:FutureWarning",
        "ignore:the (ground truth|prediction) of class .* is all 0:UserWarning",
    ):
        test = pytest.mark.filterwarnings(message)(test)
    return test


@monai_warns
def test_a_model_that_misses_everything_does_not_get_monai_s_perfect_score():
    y, nothing = channels(Y[:1]), channels(labels())
    theirs = MonaiHausdorff(percentile=95)
    theirs(nothing, y)
    assert theirs.aggregate().item() == 0.0  # the defect: NaN dropped, then 0 mm
    mine = Hausdorff95(spacing_mm=SPACING)
    mine(nothing, y)
    assert mine.aggregate().item() == pytest.approx(DIAGONAL)


@monai_warns
def test_missing_more_does_not_improve_the_mean_as_it_does_in_monai():
    y, shifted, nothing = (channels(t) for t in (labels((1, 1)), labels((1, 3)), labels()))
    theirs, mine = [], []
    for missed in (0, 5, 9):
        y_pred = torch.cat([nothing] * missed + [shifted] * (10 - missed))
        for metric, means in (
            (MonaiHausdorff(percentile=95), theirs),
            (Hausdorff95(spacing_mm="voxel"), mine),
        ):
            metric(y_pred, torch.cat([y] * 10))
            means.append(metric.aggregate().item())
    assert theirs == [2.0, 2.0, 2.0]
    assert mine == sorted(mine)
    assert mine[0] == 2.0 < mine[1] < mine[2]


@pytest.mark.parametrize(
    ("missed", "expected"), [("diagonal", DIAGONAL), ("inf", math.inf), ("exclude", NAN)]
)
def test_policies(missed, expected):
    metric = Hausdorff95(missed=missed, both_empty="perfect", spacing_mm=SPACING)
    close(metric(channels(Y_PRED), channels(Y))[1], [expected, 0.0])
