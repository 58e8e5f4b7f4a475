"""The lesion metrics give the numbers of panoptica and of the code of BraTS 2023.

``docs/examples/reference_lesion_scores.py`` printed the tables; both packages bring half a gigabyte
of others, so they are no part of the tests.
"""

from __future__ import annotations

import itertools
import math

import pytest
from scoring.lesion_scenes import SPACING, lesion_scenes

from medloss.scoring import Case, detections
from medloss_topology.metrics_lesions import lesion_dice
from medloss_topology.metrics_overlap import (
    panoptic_quality,
    recognition_quality,
    segmentation_quality,
)

SCENES = lesion_scenes()

# panoptica 2.1.7 (connected components by cc3d, 26 neighbours): TP, FP, FN, PQ, SQ, RQ. At 0.5 and
# at 0.1; its NaiveThresholdMatching and its MaxBipartiteMatching where they differ.
PANOPTICA = {
    ("two of three moved", "iou@0.5 hungarian@0.5"): (
        2.0,
        0.0,
        1.0,
        0.5104557517018578,
        0.6380696896273221,
        0.8,
    ),
    ("two of three moved", "iou@0.1 hungarian@0.1"): (
        2.0,
        0.0,
        1.0,
        0.5104557517018578,
        0.6380696896273221,
        0.8,
    ),
    ("a false one", "iou@0.5 hungarian@0.5"): (
        2.0,
        1.0,
        1.0,
        0.6666666666666666,
        1.0,
        0.6666666666666666,
    ),
    ("a false one", "iou@0.1 hungarian@0.1"): (
        2.0,
        1.0,
        1.0,
        0.6666666666666666,
        1.0,
        0.6666666666666666,
    ),
    ("split in two", "iou@0.5 hungarian@0.5"): (
        2.0,
        2.0,
        1.0,
        0.5714285714285714,
        1.0,
        0.5714285714285714,
    ),
    ("split in two", "iou@0.1 hungarian@0.1"): (
        3.0,
        1.0,
        0.0,
        0.6918169209431345,
        0.8071197411003236,
        0.8571428571428571,
    ),
    ("merged", "iou@0.5 hungarian@0.5"): (
        2.0,
        0.0,
        1.0,
        0.6461170848267623,
        0.8076463560334528,
        0.8,
    ),
    ("merged", "iou@0.1 hungarian@0.1"): (
        2.0,
        0.0,
        1.0,
        0.6461170848267623,
        0.8076463560334528,
        0.8,
    ),
    ("bars", "iou@0.5 hungarian@0.5"): (0.0, 2.0, 2.0, 0.0, 0.0, 0.0),
    ("bars", "iou@0.1"): (1.0, 1.0, 1.0, 0.1875, 0.375, 0.5),
    ("bars", "hungarian@0.1"): (2.0, 0.0, 0.0, 0.26111111111111107, 0.26111111111111107, 1.0),
    ("corner", "iou@0.5 hungarian@0.5"): (
        1.0,
        0.0,
        0.0,
        0.5409836065573771,
        0.5409836065573771,
        1.0,
    ),
    ("corner", "iou@0.1 hungarian@0.1"): (
        1.0,
        0.0,
        0.0,
        0.5409836065573771,
        0.5409836065573771,
        1.0,
    ),
    ("near each other", "iou@0.5 hungarian@0.5"): (0.0, 2.0, 3.0, 0.0, 0.0, 0.0),
    ("near each other", "iou@0.1 hungarian@0.1"): (
        1.0,
        1.0,
        2.0,
        0.05490196078431373,
        0.13725490196078433,
        0.4,
    ),
    ("scattered", "iou@0.5 hungarian@0.5"): (
        11.0,
        3.0,
        2.0,
        0.6883033769063182,
        0.844735962566845,
        0.8148148148148148,
    ),
    ("scattered", "iou@0.1 hungarian@0.1"): (
        11.0,
        3.0,
        2.0,
        0.6883033769063182,
        0.844735962566845,
        0.8148148148148148,
    ),
    ("missed", "iou@0.5 hungarian@0.5"): (0.0, 0.0, 3.0, 0.0, 0.0, 0.0),
    ("missed", "iou@0.1 hungarian@0.1"): (0.0, 0.0, 3.0, 0.0, 0.0, 0.0),
    ("spurious", "iou@0.5 hungarian@0.5"): (0.0, 3.0, 0.0, 0.0, 0.0, 0.0),
    ("spurious", "iou@0.1 hungarian@0.1"): (0.0, 3.0, 0.0, 0.0, 0.0, 0.0),
}

# metrics.py of BraTS 2023, commit 43c9052: lesion-wise Dice (None: no lesion is left), and lesions
# that were found, false and missed; with a dilation of 1 and of 3 voxels, lesions of more than 0
# and of more than 50 mm³.
BRATS = {
    "two of three moved": [
        (0.518557097436957, 2, 0, 1),
        (0.518557097436957, 2, 0, 1),
        (0.518557097436957, 2, 0, 1),
        (0.518557097436957, 2, 0, 1),
    ],
    "a false one": [(0.5, 2, 1, 1), (0.5, 2, 1, 1), (0.5, 2, 1, 1), (0.5, 2, 1, 1)],
    "split in two": [
        (0.9715489989462592, 3, 0, 0),
        (0.9715489989462592, 3, 0, 0),
        (0.9715489989462592, 3, 0, 0),
        (0.9715489989462592, 3, 0, 0),
    ],
    "merged": [
        (0.7438899285685955, 3, 0, 0),
        (0.7438899285685955, 3, 0, 0),
        (0.7438899285685955, 3, 0, 0),
        (0.7438899285685955, 3, 0, 0),
    ],
    "bars": [
        (0.7428571428571429, 1, 0, 0),
        (0.7428571428571429, 1, 0, 0),
        (0.7428571428571429, 1, 0, 0),
        (0.7428571428571429, 1, 0, 0),
    ],
    "corner": [
        (0.7021276595744681, 1, 0, 0),
        (None, 0, 0, 0),
        (0.7021276595744681, 1, 0, 0),
        (None, 0, 0, 0),
    ],
    "near each other": [
        (0.13491020586947, 1, 1, 1),
        (0.202365308804205, 1, 1, 0),
        (0.202365308804205, 2, 0, 0),
        (0.40473061760841, 1, 0, 0),
    ],
    "scattered": [
        (0.5652031979373512, 8, 3, 2),
        (0.47823451045508086, 4, 3, 0),
        (0.4217023241496075, 2, 1, 1),
        (0.56226976553281, 2, 1, 0),
    ],
    "missed": [(0.0, 0, 0, 3), (0.0, 0, 0, 3), (0.0, 0, 0, 3), (0.0, 0, 0, 3)],
    "spurious": [(0.0, 0, 3, 0), (0.0, 0, 3, 0), (0.0, 0, 3, 0), (0.0, 0, 3, 0)],
}


def components(name):
    reference, prediction = SCENES[name]
    case = Case(reference, prediction, labels=[1], spacing_mm=SPACING)
    return case.components(1)


@pytest.mark.parametrize(
    ("name", "rule", "expected"),
    [(name, rule, v) for (name, rules), v in PANOPTICA.items() for rule in rules.split()],
)
def test_panoptica(name, rule, expected):
    found = components(name)
    # A pair of exactly the threshold matches there; here it is above, as in the paper.
    kind, _, threshold = rule.partition("@")
    rule = f"{kind}@{math.nextafter(float(threshold), 0)!r}"
    counts = detections(found, matching=rule)
    assert (counts.tp, counts.fp, counts.fn) == expected[:3]
    for function, value in zip(
        (panoptic_quality, segmentation_quality, recognition_quality), expected[3:], strict=True
    ):
        assert function(found, matching=rule) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", BRATS)
def test_brats_2023(name):
    found = components(name)
    for (dilation, least), row in zip(
        itertools.product((1, 3), (0, 50.5)), BRATS[name], strict=True
    ):
        expected, *_ = row
        value = lesion_dice(found, dilation_voxels=dilation, min_reference_mm3=least)
        if expected is None:
            assert math.isnan(value)
        else:
            assert value == pytest.approx(expected, rel=1e-12)
