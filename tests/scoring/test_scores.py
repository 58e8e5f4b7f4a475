from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from medloss.offers.records import Metric
from medloss.scoring import Case, EmptyPolicy, Score, Status, score
from medloss_boundary.metrics import average_symmetric_surface_distance, hausdorff95
from medloss_boundary.metrics import normalized_surface_dice as nsd
from medloss_region.metrics import dice, sensitivity, specificity

DIAGONAL = math.hypot(5 * 1.0, 6 * 2.0)


def record(facts: tuple[Any, ...] = ("surfaces",), unit: Any = "mm", better: Any = "lower"):
    return Metric(
        name="one", target="m:f", family="f", summary="-", facts=facts, unit=unit, better=better
    )


LENGTH = record()
SHARE = record(unit="", better="higher")
OVERLAP = record(("counts",), unit="", better="higher")


@pytest.fixture
def case():
    """Label 1 in both maps, 2 missed, 3 spurious, 4 in neither, 5 not annotated."""
    reference = np.zeros((5, 6), dtype=np.uint8)
    prediction = reference.copy()
    reference[0:2, 0:2] = prediction[1:3, 0:2] = 1
    reference[4, 4] = 2
    prediction[4, 1] = 3
    reference[0, 5] = prediction[0, 5] = 5
    return Case(
        reference, prediction, labels=range(1, 6), spacing_mm=(1, 2), annotated=[1, 2, 3, 4]
    )


def value(function, about, case, label, missed="diagonal", both_empty="exclude", **options):
    found = score(function, about, case, label, EmptyPolicy(missed, both_empty), **options)
    assert found.status is case.status(label)
    return found.value


@pytest.mark.parametrize("function", [hausdorff95, average_symmetric_surface_distance])
@pytest.mark.parametrize("label", [2, 3])
def test_an_infinite_distance_counts_what_the_policy_says(case, function, label):
    assert value(function, LENGTH, case, label) == DIAGONAL
    assert value(function, LENGTH, case, label, missed="inf") == math.inf
    assert math.isnan(value(function, LENGTH, case, label, missed="exclude"))


@pytest.mark.parametrize("missed", ["diagonal", "inf", "exclude"])
def test_finite_values_of_missed_and_spurious_classes_stay(case, missed):
    assert value(dice, OVERLAP, case, 2, missed) == 0
    assert value(dice, OVERLAP, case, 3, missed) == 0
    assert value(nsd, SHARE, case, 2, missed) == 0
    assert value(nsd, SHARE, case, 3, missed) == 0
    assert value(sensitivity, OVERLAP, case, 2, missed) == 0
    assert value(specificity, OVERLAP, case, 3, missed) == 29 / 30


@pytest.mark.parametrize("missed", ["diagonal", "inf", "exclude"])
@pytest.mark.parametrize("both_empty", ["exclude", "perfect"])
def test_an_undefined_value_stays_undefined(case, missed, both_empty):
    # There is nothing that a sensitivity of a spurious class could mean.
    assert math.isnan(value(sensitivity, OVERLAP, case, 3, missed, both_empty))


@pytest.mark.parametrize("missed", ["diagonal", "inf", "exclude"])
@pytest.mark.parametrize(
    ("function", "about", "perfect"),
    [(hausdorff95, LENGTH, 0.0), (nsd, SHARE, 1.0), (dice, OVERLAP, 1.0)],
)
def test_a_class_in_neither_map(case, function, about, perfect, missed):
    assert math.isnan(value(function, about, case, 4, missed))
    assert value(function, about, case, 4, missed, "perfect") == perfect


@pytest.mark.parametrize("both_empty", ["exclude", "perfect"])
def test_a_class_that_is_not_annotated_has_no_value(case, both_empty):
    assert math.isnan(value(hausdorff95, LENGTH, case, 5, both_empty=both_empty))
    assert math.isnan(value(dice, OVERLAP, case, 5, both_empty=both_empty))


def test_values_of_classes_in_both_maps_are_the_function_s(case):
    assert value(dice, OVERLAP, case, 1) == 0.5
    assert value(hausdorff95, LENGTH, case, 1) == 1.0
    assert score(dice, OVERLAP, case, 1) == Score(0.5, Status.OK)


def test_options_reach_the_function(case):
    assert value(nsd, SHARE, case, 1, tolerance_mm=1.0) == 1.0
    assert value(nsd, SHARE, case, 1, tolerance_mm=0.5) < 1.0


def test_the_function_takes_the_facts_in_the_record_s_order(case):
    both = score(
        lambda s, c: s.reference_mm[-1] + 1000 * c.tp, record(("surfaces", "counts")), case, 1
    )
    assert both.value == 1 + 1000 * 2


def test_only_a_length_is_replaced_by_the_diagonal(case):
    assert value(lambda c: math.inf, record(("counts",), unit=""), case, 2) == math.inf


def test_a_perfect_volume_of_nothing_is_unknown(case):
    about = record(("counts",), unit="mm3", better="higher")
    assert math.isnan(value(dice, about, case, 4, both_empty="perfect"))


@pytest.mark.parametrize("both_empty", ["exclude", "perfect"])
def test_a_policy_replaces_only_what_is_undefined(case, both_empty):
    """A healthy case left alone has a specificity, whatever the policy for empty classes."""
    assert value(specificity, OVERLAP, case, 4, both_empty=both_empty) == 1
    assert math.isnan(value(dice, OVERLAP, case, 4))


def test_a_class_in_neither_map_has_no_surface_elements(case):
    found = case.surfaces(4)
    assert len(found.reference_mm) == len(found.prediction_mm) == 0


@pytest.mark.parametrize(
    ("missed", "both_empty", "line"),
    [
        (
            "diagonal",
            "exclude",
            "missed or spurious: distance counts as the image diagonal; in neither: excluded",
        ),
        ("inf", "perfect", "missed or spurious: infinite distance; in neither: counts as perfect"),
        (
            "exclude",
            "exclude",
            "missed or spurious: infinite distance excluded; in neither: excluded",
        ),
    ],
)
def test_a_policy_says_what_it_does_in_one_line(missed, both_empty, line):
    assert EmptyPolicy(missed, both_empty).describe() == line


@pytest.mark.parametrize("name", ["missed", "both_empty"])
def test_an_unknown_policy_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}: expected 'diag.* or|{name}: expected 'excl"):
        EmptyPolicy(**{name: "zero"})
