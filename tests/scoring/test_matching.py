"""Matching rules: pairs worked by hand, and the properties that define each rule."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloss.scoring import Components, Lesions, detections, match
from medloss.scoring.matching import parse_rule


def row(text):
    """Components of two lines of text: reference, prediction."""
    reference, prediction = (
        np.array([[letter != "." for letter in line]]) for line in text.split()
    )
    return Components(reference, prediction)


def counts(components, matching, **options):
    found = detections(components, matching=matching, **options)
    return found.tp, found.fp, found.fn


SEVERAL = row("""
    xxxxxx..xx..x...xx.
    .xx.xx.......x.xxxx
""")
# Reference: 6, 2, 1 and 2 voxels. Prediction: 2 and 2 in the first, 1 beside the third, 4 around
# the fourth. Intersections over unions: 2/6, 2/6, none, 2/4.


@pytest.mark.parametrize(
    ("rule", "expected", "total_iou"),
    [
        ("overlap", (2, 1, 2), 2 / 6 + 2 / 6 + 2 / 4),
        ("centroid", (2, 1, 2), 2 / 6 + 2 / 6 + 2 / 4),
        ("iou@0.5", (0, 4, 4), 0),  # above 0.5, not at 0.5
        ("iou@0.4", (1, 3, 3), 2 / 4),
        ("iou@0", (2, 2, 2), 2 / 6 + 2 / 4),
        ("hungarian@0.3", (2, 2, 2), 2 / 6 + 2 / 4),
        ("hungarian@0.4", (1, 3, 3), 2 / 4),
    ],
)
def test_worked_by_hand(rule, expected, total_iou):
    assert counts(SEVERAL, rule) == expected
    assert detections(SEVERAL, matching=rule).total_iou == pytest.approx(total_iou, rel=1e-15)


def test_the_largest_first_or_the_largest_sum():
    # 6/16 and 3/10 of the first bar, 4/18 of the second.
    bars = row("""
        xxxxxxxxxx..xxxxxxxxxx
        xxx.xxxxxxxxxxxx......
    """)
    assert match(bars.lesions(), "iou@0.1").tolist() == [[0, 1]]
    assert match(bars.lesions(), "hungarian@0.1").tolist() == [[0, 0], [1, 1]]
    assert match(bars.lesions(), "hungarian@0.25").tolist() == [[0, 1]]


def test_the_centre_need_not_overlap_most():
    edge = row("""
        xx......
        .xxxxx..
    """)
    assert counts(edge, "overlap") == (1, 0, 0)
    assert counts(edge, "centroid") == (0, 1, 1)


def test_small_lesions_count_for_nothing_and_are_no_error_of_others():
    mask = np.zeros((2, 1, 12), dtype=bool)
    reference, prediction = mask
    reference[0, [0, 1, 2, 4, 6]] = True  # 3 voxels, 1 that is found, 1 that is missed
    prediction[0, [4, 8, 10, 11]] = True  # 1 on the small one, 1 and 2 false
    found = Components(reference, prediction, voxel_mm3=2.0)
    assert counts(found, "overlap") == (1, 2, 2)
    assert counts(found, "overlap", min_reference_mm3=2.0) == (1, 2, 2)
    assert counts(found, "overlap", min_reference_mm3=2.1) == (0, 2, 1)
    assert counts(found, "overlap", min_prediction_mm3=2.1) == (1, 1, 2)
    assert counts(found, "overlap", min_prediction_mm3=5, min_reference_mm3=5) == (0, 0, 1)


def random_lesions(seed):
    """Any table of overlaps that volumes allow."""
    rng = np.random.default_rng(seed)
    g, p = rng.integers(0, 5, 2)
    overlap = rng.integers(0, 4, (g, p)) * (rng.random((g, p)) < 0.6)
    pairs = np.argwhere(overlap).reshape(-1, 2)
    return Lesions(
        overlap.sum(axis=1) + rng.integers(1, 3, g),
        overlap.sum(axis=0) + rng.integers(1, 3, p),
        pairs,
        overlap[tuple(pairs.T)],
    )


@given(seed=st.integers(0, 100_000), threshold=st.sampled_from(["0", "0.1", "0.25", "0.5", "0.7"]))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_what_defines_each_rule(seed, threshold):
    lesions = random_lesions(seed)
    iou = dict(zip(map(tuple, lesions.pairs.tolist()), lesions.iou.tolist(), strict=True))
    allowed = {pair for pair, value in iou.items() if value > float(threshold)}
    found = {
        rule: [*map(tuple, match(lesions, rule).tolist())]
        for rule in ("overlap", f"iou@{threshold}", f"hungarian@{threshold}")
    }
    any_overlap, greedy, best = found.values()
    assert set(any_overlap) == set(iou)
    for one_to_one in (greedy, best):
        assert set(one_to_one) <= allowed
        for side in zip(*one_to_one, strict=True):
            assert len(set(side)) == len(side)
    # Largest first: whatever was left out met a pair at least as good.
    for pair in allowed - set(greedy):
        rivals = [iou[k] for k in greedy if k[0] == pair[0] or k[1] == pair[1]]
        assert rivals
        assert max(rivals) >= iou[pair]
    assert sum(iou[k] for k in best) == pytest.approx(_largest_sum(iou, allowed))
    if float(threshold) >= 0.5:  # no lesion has a choice: Kirillov et al. 2019, appendix
        assert set(greedy) == set(best) == allowed


def _largest_sum(iou, allowed):
    """Every way to pair, one after the other."""
    sums = [0.0]
    for many in range(1, len(allowed) + 1):
        for chosen in itertools.combinations(sorted(allowed), many):
            if all(len(set(side)) == many for side in zip(*chosen, strict=True)):
                sums.append(sum(iou[pair] for pair in chosen))
        if many == 4:  # as many as there are lesions on a side
            break
    return max(sums)


@pytest.mark.parametrize(
    "rule", ["iou", "iou@1", "iou@-0.1", "iou@x", "iou@nan", "overlap@0.1", "union@0.5", "", 0.5]
)
def test_there_is_no_other_rule(rule):
    with pytest.raises(
        ValueError, match=r"matching: expected overlap, centroid, near@N, iou@T.*such as"
    ):
        parse_rule(rule)


@pytest.mark.parametrize("option", ["min_reference_mm3", "min_prediction_mm3"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "50"])
def test_volumes_that_are_none(option, value):
    with pytest.raises(ValueError, match=f"{option}: expected a volume of 0 or more mm³, got"):
        counts(SEVERAL, "overlap", **{option: value})


def test_a_volume_needs_the_size_of_a_voxel():
    with pytest.raises(ValueError, match="spacing_mm: min_reference_mm3 needs the size of a voxel"):
        counts(SEVERAL, "overlap", min_reference_mm3=3)
