"""Metrics of lesions and centre lines: values worked by hand, empty classes, MONAI forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ignite.engine import Engine
from monai.handlers import IgniteMetricHandler
from scoring.lesion_scenes import balls, lesion_scenes
from scoring.shapes import blobs

import medloss.metrics
from medloss.offers.host import host
from medloss.scoring import Case, Components, EmptyPolicy, Skeletons, Status, score
from medloss_topology.metrics_detection import (
    false_lesions,
    found_lesions,
    lesion_f1,
    lesion_precision,
    lesion_sensitivity,
    missed_lesions,
)
from medloss_topology.metrics_lesions import lesion_dice
from medloss_topology.metrics_overlap import (
    cl_dice,
    panoptic_quality,
    recognition_quality,
    segmentation_quality,
)

RATIOS = (lesion_f1, lesion_sensitivity, lesion_precision, lesion_dice)
PANOPTIC = (panoptic_quality, recognition_quality, segmentation_quality)
LESIONS = (*RATIOS, *PANOPTIC, found_lesions, missed_lesions, false_lesions)
NAN = math.nan


def row(reference, prediction, **options):
    lines = [np.array([[letter != "." for letter in line]]) for line in (reference, prediction)]
    return Components(*lines, **options)


def values(functions, components, **options):
    return [function(components, **options) for function in functions]


# Volumes 4, 2, 2 of the reference and 3, 1, 3 of the prediction: the first overlaps by 3, the last
# of the prediction meets the second and the third of the reference by 1 each.
WORKED = row("xxxx...xx.xx", ".xxx.x..xxx.")


def test_worked_by_hand():
    assert lesion_f1(WORKED) == 2 * 3 / (2 * 3 + 1)
    assert lesion_sensitivity(WORKED) == 1
    assert lesion_precision(WORKED) == 3 / 4
    assert found_lesions(WORKED) == 3
    assert missed_lesions(WORKED) == 0
    assert false_lesions(WORKED) == 1
    assert lesion_dice(WORKED) == pytest.approx((6 / 7 + 2 / 5 + 2 / 5) / (3 + 1), rel=1e-15)
    assert panoptic_quality(WORKED) == pytest.approx(3 / 4 / (1 + 2 / 2 + 2 / 2), rel=1e-15)
    assert recognition_quality(WORKED) == pytest.approx(1 / 3, rel=1e-15)
    assert segmentation_quality(WORKED) == 3 / 4
    assert missed_lesions(WORKED, matching="iou@0.5") == 2
    assert false_lesions(WORKED, matching="iou@0.5") == 2
    assert lesion_f1(WORKED, matching="iou@0.2") == 2 * 2 / (2 * 2 + 1 + 1)  # 1/4: one of two


def test_dilation_joins_lesions_and_reaches_what_lies_beside():
    far = row("xx...xx....x", "..x........x")
    assert lesion_dice(far) == pytest.approx(1 / 4)
    # By 1 voxel the first lesion meets what lies beside it; by 2 all three grow together.
    assert lesion_dice(far, dilation_voxels=1) == pytest.approx((0 + 0 + 1) / 3)
    assert lesion_dice(far, dilation_voxels=2) == pytest.approx(2 * 1 / (5 + 2))


def test_small_lesions():
    mixed = row("xxxx.x.x....", "xxxx...x.x..", voxel_mm3=0.5)
    assert lesion_f1(mixed) == 2 * 2 / (2 * 2 + 1 + 1)
    assert lesion_f1(mixed, min_reference_mm3=1) == 2 / (2 + 1)
    assert lesion_f1(mixed, min_reference_mm3=1, min_prediction_mm3=1) == 1
    assert lesion_dice(mixed) == 2 / 4
    assert lesion_dice(mixed, min_reference_mm3=1) == 1 / 2
    assert lesion_dice(mixed, min_reference_mm3=1, min_prediction_mm3=1) == 1
    assert panoptic_quality(mixed, min_reference_mm3=1) == 1 / (1 + 1 / 2)
    assert missed_lesions(mixed, min_reference_mm3=1) == 0
    assert false_lesions(mixed, min_prediction_mm3=1) == 0
    for function in (lesion_f1, lesion_dice, panoptic_quality):
        assert math.isnan(function(mixed, min_reference_mm3=9, min_prediction_mm3=9))


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        (("xx.x", "...."), [0, 0, NAN, 0, 0, 0, 0, 0, 2, 0]),  # missed
        (("....", "xx.x"), [0, NAN, 0, 0, 0, 0, 0, 0, 0, 2]),  # spurious
        (("....", "...."), [NAN] * 7 + [0, 0, 0]),  # in neither
        (("xx.x", "xx.x"), [1] * 7 + [2, 0, 0]),  # identical
    ],
)
def test_empty_classes(maps, expected):
    assert values(LESIONS, row(*maps)) == pytest.approx(expected, nan_ok=True, abs=0)


def test_statuses_and_policies():
    reference, nothing = np.ones((3, 3), dtype=int), np.zeros((3, 3), dtype=int)
    record = host().metrics.find("lesion_f1").record
    case = Case(nothing, nothing, labels=[1])
    assert math.isnan(score(lesion_f1, record, case, 1).value)
    perfect = score(lesion_f1, record, case, 1, EmptyPolicy(both_empty="perfect"))
    assert (perfect.value, perfect.status) == (1.0, Status.BOTH_EMPTY)
    assert score(lesion_f1, record, Case(reference, nothing, labels=[1]), 1).value == 0
    counted = score(false_lesions, host().metrics.find("false_lesions").record, case, 1)
    assert (counted.value, counted.status) == (0.0, Status.BOTH_EMPTY)  # a scan without any counts


@given(seed=st.integers(0, 10_000), shape=st.sampled_from([(7, 6, 5), (12, 11)]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_ranges_and_identities(seed, shape):
    reference, prediction = blobs(seed, shape)
    found, swapped = Components(reference, prediction), Components(prediction, reference)
    for function in (*RATIOS, *PANOPTIC):
        assert math.isnan(function(found)) or 0 <= function(found) <= 1
    for rule in ("iou@0.5", "hungarian@0.1"):
        pq, rq, sq = values(PANOPTIC, found, matching=rule)
        assert pq == pytest.approx(rq * sq)
        assert rq == pytest.approx(lesion_f1(found, matching=rule))
        assert values(PANOPTIC, swapped, matching=rule) == pytest.approx([pq, rq, sq])
        sensitivity, precision = (f(found, matching=rule) for f in RATIOS[1:3])
        assert lesion_sensitivity(swapped, matching=rule) == pytest.approx(precision)
        if sensitivity + precision:
            both = 2 * sensitivity * precision / (sensitivity + precision)
            assert lesion_f1(found, matching=rule) == pytest.approx(both)
    assert missed_lesions(found) == false_lesions(swapped)


def test_one_lesion_on_each_side_has_its_dice_and_jaccard():
    one, other = balls((8, 8, 8, 5.0)), balls((9, 8, 8, 5.0))
    shared, both = (one & other).sum(), one.sum() + other.sum()
    found = Components(one, other)
    assert lesion_dice(found) == pytest.approx(2 * shared / both)
    assert panoptic_quality(found) == pytest.approx(shared / (both - shared))


@pytest.mark.parametrize("function", PANOPTIC)
@pytest.mark.parametrize("rule", ["overlap", "centroid"])
def test_panoptic_quality_needs_one_partner_for_each(function, rule):
    with pytest.raises(ValueError, match=f"no lesion has two partners, got '{rule}'"):
        function(WORKED, matching=rule)


def test_centre_lines_worked_by_hand():
    assert cl_dice(Skeletons(10, 5, 8, 8)) == pytest.approx(2 / 3)
    assert cl_dice(Skeletons(10, 0, 8, 0)) == 0
    assert cl_dice(Skeletons(10, 0, 0, 0)) == cl_dice(Skeletons(0, 0, 8, 0)) == 0
    assert math.isnan(cl_dice(Skeletons(0, 0, 0, 0)))


@pytest.mark.parametrize("axes", [2, 3])
def test_a_tube_that_is_too_thick_has_1_and_an_interrupted_one_less(axes):
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    tube, thick, ignored = np.zeros((3, *(21, 11, 11)[:axes]), dtype=np.uint8)
    tube[(slice(3, 18), *(slice(4, 7),) * (axes - 1))] = 1
    thick[(slice(2, 19), *(slice(3, 8),) * (axes - 1))] = 1
    cut = tube.copy()
    cut[8:12] = 0
    ignored[7:13] = 1

    def value(reference, prediction, ignored=None):
        case = Case(reference, prediction, labels=[1], ignored=ignored)
        return cl_dice(case.skeletons(1))

    assert value(tube, tube) == value(tube, thick) == 1
    found = Case(tube, cut, labels=[1]).skeletons(1)
    assert found.prediction_right == found.prediction
    assert found.reference_found == found.reference - 4  # the gap
    assert 0.5 < value(tube, cut) < 1
    assert value(tube, cut, ignored) == 1


def test_monai_forms():
    scenes = lesion_scenes()
    names = ("two of three moved", "a false one", "missed")
    y, y_pred = (
        torch.from_numpy(np.stack([scenes[name][side] for name in names]))[:, None].float()
        for side in (0, 1)
    )
    metric = medloss.metrics.LesionF1Metric()
    assert metric(y_pred, y)[:, 0].tolist() == pytest.approx([0.8, 2 * 2 / 6, 0])
    assert metric.aggregate().item() == pytest.approx((0.8 + 4 / 6) / 3)
    assert [row[0] for row in metric.statuses()] == [Status.OK, Status.OK, Status.MISSED]
    false = medloss.metrics.FalseLesionsMetric(reduction="sum")
    false(y_pred, y)
    assert false.aggregate().item() == 1
    labels = medloss.metrics.LesionF1Metric(num_classes=2)
    assert not labels.include_background
    assert labels(y_pred, y).tolist() == metric.get_buffer().tolist()


def test_a_volume_asks_for_the_spacing_in_monai():
    y = torch.ones(1, 1, 4, 4, 4)
    metric = medloss.metrics.LesionF1Metric(min_reference_mm3=100)
    with pytest.raises(ValueError, match="spacing: distances need the size of a voxel"):
        metric(y, y)
    assert metric(y, y, spacing=2.0).item() == 1
    assert math.isnan(metric(y, y, spacing=(1.0, 1.0, 1.0)).item())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LesionF1Metric", {"matching": "iou"}),
        ("LesionDiceMetric", {"dilation_voxels": -1}),
        ("PanopticQualityMetric", {"matching": "overlap"}),
        ("PanopticQualityMetric", {"connectivity": "all"}),
    ],
)
def test_options_are_refused_before_the_first_batch(name, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        getattr(medloss.metrics, name)(**options)


def test_an_engine_reports_lesions():
    y = torch.zeros(2, 1, 8, 8, 8)
    y[:, :, 1:3, 1:3, 1:3] = y[0, :, 5:7, 5:7, 5:7] = 1
    found = y.clone()
    found[0, :, 5:7, 5:7, 5:7] = 0
    found[1, :, 7, 7, 7] = 1
    handler = IgniteMetricHandler(
        metric_fn=medloss.metrics.LesionF1Metric(),
        output_transform=lambda output: (output["pred"], output["label"]),
    )
    engine = Engine(lambda _, batch: batch)
    handler.attach(engine, "lesion_f1")
    engine.run([{"pred": found[n : n + 1], "label": y[n : n + 1]} for n in range(2)])
    assert engine.state.metrics["lesion_f1"] == pytest.approx(2 / 3)
