from __future__ import annotations

import math

import pytest

from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.outputs.tables import make_table
from medloss.evaluation.outputs.thresholds import failures, parse_threshold
from medloss.evaluation.records import CaseResult, Result
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.score import EvalPlan

NSD = "normalized_surface_dice[tolerance_mm=2]"
STUDY = EvalPlan(
    tuple(
        choose_metric(parse_request(text))
        for text in ("dice", "hausdorff95", "normalized_surface_dice:tolerance_mm=2")
    ),
    labels={1: "liver", 2: "", "whole": "whole"},
)


def cases(values: dict[int | str, list[float]], column: str = "dice") -> list[CaseResult]:
    count = max(map(len, values.values()))
    return [
        CaseResult(
            Pair(f"c{n}", None, None),
            results=tuple(
                Result(label, column, given[n], "", "ok") for label, given in values.items()
            ),
        )
        for n in range(count)
    ]


def judge(text: str, found: list[CaseResult], side: str = "under") -> list[str]:
    return failures([parse_threshold(text, side, STUDY)], make_table(found, STUDY))


def test_the_mean_of_all_values_that_count():
    found = cases({1: [0.9, math.nan], 2: [0.8, 0.4]})
    assert judge("dice=0.7", found) == []  # equal is enough
    assert judge("dice=0.71", found) == ["dice: the mean 0.7000 is under 0.71"]


def test_one_label_by_number_name_or_region():
    found = cases({1: [0.9, 0.7], 2: [0.2, 0.2], "whole": [0.5, 0.5]})
    for text in ("dice[1]=0.8", "dice[liver]=0.8", "dice[2]=0.2", "dice[whole]=0.5"):
        assert judge(text, found) == []
    assert judge("dice[liver]=0.81", found) == ["dice of liver: the mean 0.8000 is under 0.81"]


def test_options_of_a_metric_are_no_label():
    found = cases({1: [0.9], 2: [0.5]}, NSD)
    assert judge(f"{NSD}=0.7", found) == []
    assert judge(f"{NSD}[2]=0.7", found) == [f"{NSD} of 2: the mean 0.5000 is under 0.7"]


def test_lower_is_better():
    found = cases({1: [4.0, 6.0]}, "hausdorff95")
    assert judge("hausdorff95=5", found, "over") == []
    assert judge("hausdorff95=4.5", found, "over") == ["hausdorff95: the mean 5.000 is over 4.5 mm"]
    assert judge("hausdorff95=5", cases({1: [math.inf, 1]}, "hausdorff95"), "over")


def test_nothing_counted_is_nothing_reached():
    assert "no value counts" in judge("dice=0", cases({1: [math.nan]}))[0]
    assert "no value counts" in judge("dice[kidney]=0", cases({1: [1.0]}))[0]
    assert judge("dice=0", [CaseResult(Pair("a", None, None), error="damaged")])


def test_a_difference_that_rounding_hides_is_shown():
    assert judge("dice=0.8", cases({1: [0.79999999]})) == ["dice: the mean 0.79999999 is under 0.8"]


@pytest.mark.parametrize(
    ("text", "side", "message"),
    [
        ("dice", "under", "form METRIC=number"),
        ("dice=high", "under", "expected a number, got .high"),
        ("dice=nan", "under", "expected a number, got .nan"),
        ("jaccard=0.5", "under", "'jaccard' is not computed; there are dice, hausdorff95"),
        ("hausdorff95=5", "under", "lower is better; use --fail-over"),
        ("dice=0.5", "over", "higher is better; use --fail-under"),
    ],
)
def test_what_is_no_threshold(text, side, message):
    with pytest.raises(ValueError, match=message):
        parse_threshold(text, side, STUDY)
