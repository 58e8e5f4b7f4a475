"""Lesion FROC: worked curves, MONAI's where it is right, and candidates of a small map."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics.froc import compute_froc_curve_data, compute_froc_score

import medloss.metrics
from medloss.scoring import FoundLesions, LesionCandidates, Probabilities, froc_curve
from medloss.scoring.candidates import froc_scores
from medloss_distribution.metrics_ranking import lesion_froc

ONCE = np.ones((1, 1))


@pytest.mark.parametrize(
    ("lesions", "false", "expected"),
    [
        ((0.3,), (0.9,), 4 / 6),  # MONAI leaves out the lowest threshold: 0
        ((0.9, 0.2), (0.8, 0.4), 0.75),  # and here has 0.5
        ((0.9, 0.0), (0.8, 0.4), 0.5),
        ((0.5,), (0.5,), (0.25 + 0.5 + 4) / 6),  # equal ones come together
        ((0.0,), (), 0.0),
        ((0.2,), (), 1.0),
        ((), (0.2,), math.nan),
    ],
)
def test_worked_curves(lesions, false, expected):
    found = froc_scores([FoundLesions(lesions, false)], ONCE)
    assert found == pytest.approx([expected], nan_ok=True)


def test_monai_has_the_same_where_a_lesion_is_missed():
    rng = np.random.default_rng(0)
    for images in (1, 3, 7):
        hits, false = rng.random(9).round(1) + 0.1, rng.random(20).round(1) + 0.1
        # What it leaves out is the lowest threshold, which the missed lesion is.
        theirs = compute_froc_score(*compute_froc_curve_data(false, np.append(hits, 0), 10, images))
        cases = [FoundLesions((), ()) for _ in range(images)]
        cases[0] = FoundLesions((*hits, 0.0), tuple(false))
        assert froc_scores(cases, np.ones((1, images)))[0] == pytest.approx(theirs)
        curve = froc_curve(cases)
        for p, fp, s in zip(*vars(curve).values(), strict=True):
            assert fp == np.count_nonzero(false >= p) / images
            assert s == np.count_nonzero(hits >= p) / 10


def test_candidates_of_a_map():
    chances = np.zeros((9, 8, 6), dtype=np.float32)
    reference = np.zeros(chances.shape, dtype=bool)
    reference[0:2, 0:2, 0], reference[0:2, 4:6, 0], reference[7, 7, 5] = True, True, True
    chances[1, 1:5, 0] = 0.3, 0.2, 0.6, 0.2  # one candidate, that hits two lesions
    chances[0, 0, 0] = 0.15  # another one of the first, if edges do not join it
    chances[4:6, 4, 3] = 0.7, 0.8  # beside all of them
    chances[8, 0, 0] = 0.05  # none
    found = LesionCandidates(Probabilities(chances, reference)).found()
    assert found.lesions == pytest.approx((0.6, 0.6, 0.0))
    assert found.false == pytest.approx((0.8,))
    # The order of axes in memory is that of nobody.
    turned = Probabilities(np.asfortranarray(chances), np.asfortranarray(reference))
    assert sorted(LesionCandidates(turned).found().lesions) == sorted(found.lesions)
    high = LesionCandidates(Probabilities(chances, reference)).found(threshold=0.25)
    assert high.lesions == pytest.approx((0.3, 0.0, 0.0)), "0.6 is beside the lesion"
    assert high.false == pytest.approx((0.6, 0.8))
    # What is ignored is no part of a probability, a lesion or a candidate.
    ignored = reference & False
    ignored[7:], ignored[5, 4, 3], ignored[1, 3, 0] = True, True, True
    rest = LesionCandidates(Probabilities(chances, reference, ignored)).found()
    assert rest.lesions == pytest.approx((0.3, 0.3))
    assert rest.false == pytest.approx((0.7,))
    flat = LesionCandidates(Probabilities(chances[..., 0], reference[..., 0])).found()
    assert flat == FoundLesions(found.lesions[:2], ())
    empty = LesionCandidates(Probabilities(chances * 0, reference & False)).found()
    assert empty == FoundLesions((), ())


def test_monai_form_and_refusals():
    y = torch.zeros(2, 1, 6, 6, 6)
    y[:, :, 1:3, 1:3, 1:3] = 1
    metric = medloss.metrics.LesionFrocMetric(threshold=0.4)
    assert metric(torch.cat([y[:1] * 0.5, y[1:] * 0.3]), y).tolist() == [[1.0], [0.0]]
    assert metric.aggregate().item() == 0.5
    chances = LesionCandidates(Probabilities(np.zeros((3, 3)), np.zeros((3, 3), dtype=bool)))
    for options, message in (
        ({"threshold": 0}, "threshold: expected above 0 and up to 1, got 0"),
        ({"threshold": "low"}, "threshold: expected above 0 and up to 1, got 'low'"),
        ({"connectivity": 26}, "connectivity: expected faces, edges or corners, got 26"),
        ({"rates": ()}, "rates: expected numbers of at least 0"),
        ({"rates": (1, -1)}, "rates: expected numbers of at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            lesion_froc(chances, **options)
