"""Rounding decides no rank, no win, no limit, no end of an interval and no worst case."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_folders import write_folder

from medloss.evaluation.compare.outputs import notes, write_json
from medloss.evaluation.compare.paired import Decisions, difference, differences
from medloss.evaluation.compare.ranking import case_ranks, rankings
from medloss.evaluation.compare.runs import ComparedRun, compared_table
from medloss.evaluation.outputs.results import read_folder
from medloss.evaluation.outputs.statistics import (
    Bootstrap,
    levels,
    mean_interval,
    slack_of,
)
from medloss.evaluation.outputs.statistics.paired_tests import signed_rank
from medloss.evaluation.records import Measure, Result, ScoredLabel

DICE, HD = Measure("dice", "", "higher"), Measure("hausdorff95", "mm", "lower")
TENTHS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
FIRST, SECOND = TENTHS, [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.7]
"""Eight differences of a tenth, one of them negative; in floating point they are of five sizes."""


def column(*values: float) -> list[Result | None]:
    return [Result(1, "any", value, "", "ok") for value in values]


def compare(first, second, measure=DICE):
    values = column(*first), column(*second)
    return difference((ScoredLabel("1"), measure), ("a", "b"), values, [""] * len(first))


def test_equal_numbers_are_made_the_same():
    values = [0.3, 0.1 + 0.2, math.nan, math.inf, math.inf, -math.inf, 0.3 - 1e-15]
    found = levels(values, 1e-9)
    assert len({found[i] for i in (0, 1, 6)}) == 1
    assert math.isnan(found[2])
    assert found[3:6].tolist() == [math.inf, math.inf, -math.inf]
    assert levels([1.0, 1.0 + 2e-9], 1e-9).tolist() == [1.0, 1.0 + 2e-9]
    assert levels([], 1e-9).tolist() == []


def test_each_line_has_a_slack_of_its_own():
    lines = np.array([[1.0, 1.0 + 1e-10], [1e-10, 2e-10]])
    assert (levels(lines, slack_of(lines, axis=1))[0] == 1.0).all()
    assert levels(lines, slack_of(lines, axis=1))[1].tolist() == [1e-10, 2e-10]


def test_the_signed_rank_test_of_equal_differences():
    """All 2^8 patterns of signs: one negative or fewer, or seven or more, in 18 of 256."""
    d = np.array(SECOND) - np.array(FIRST)
    assert len(set(np.abs(d))) > 1, "floating point tells them apart"
    assert signed_rank(d).p == pytest.approx(18 / 256) == signed_rank(d.round(10)).p
    assert compare(FIRST, SECOND).p == pytest.approx(0.0703125)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=9),
    st.sampled_from([1.0, 1e-3, 1e6]),
)
def test_hundredths_are_compared_as_whole_numbers(pairs, unit):
    """Whatever the unit: values that were measured in steps have differences in steps."""
    steps = np.array(pairs, dtype=float)
    measured = np.array([[a / 100 * unit, b / 100 * unit] for a, b in pairs])
    found = compare(measured[:, 0], measured[:, 1], HD)
    exact = compare(steps[:, 0], steps[:, 1], HD)
    assert (found.wins, found.ties, found.losses) == (exact.wins, exact.ties, exact.losses)
    assert found.p == pytest.approx(exact.p)
    assert found.favours == exact.favours


def test_pairs_that_differ_by_rounding_are_equal():
    found = compare([0.3, 0.5], [0.1 + 0.2, 0.6])
    assert (found.wins, found.ties, found.losses) == (1, 1, 0)
    assert found.differences[0] == 0.0
    even = compare([0.1 + 0.2, 0.3], [0.3, 0.1 + 0.2])
    assert (even.ties, even.favours, even.p) == (2, "", 1.0)


def test_the_pairs_that_are_counted_as_equal_are_the_zeros_of_the_test():
    found = compare([1e-12, 0.5, 0.7], [2e-12, 0.6, 0.9])
    assert (found.wins, found.ties, found.losses) == (2, 1, 0)
    assert found.differences[0] == 0.0
    assert found.p == signed_rank(np.array([0.0, 0.1, 0.2])).p


def test_means_that_are_equal_favour_nobody():
    found = compare([0.1, 0.4], [0.3, 0.2])
    assert (np.array([0.3, 0.2]) - np.array([0.1, 0.4])).mean() != 0
    assert found.mean == 0.0
    assert found.favours == ""


def test_ranks_of_a_case():
    values = [column(0.1 + 0.2), column(0.3), column(0.2)]
    assert case_ranks(values, "higher").tolist() == [[1.5, 1.5, 3.0]]
    assert case_ranks(values, "lower").tolist() == [[2.5, 2.5, 1.0]]


@pytest.mark.parametrize("unit", [1.0, 1e-12, 1e9])
def test_places_by_the_mean(tmp_path, unit):
    """Equal means share a place in any unit, and unequal ones do not."""
    tables = {"a": [0.1, 0.2], "b": [0.3, 0.0], "c": [0.2, 0.2]}
    runs = [
        ComparedRun(
            name, read_folder(write_folder(tmp_path / name, _cases([x * unit for x in own])))
        )
        for name, own in tables.items()
    ]
    (_, dice) = rankings(compared_table(runs), Bootstrap(resamples=50))
    assert dice.places_of_means == (2, 2, 1)


def _cases(values: list[float]) -> dict[str, dict[tuple[str, str], float]]:
    return {f"c{i}": {("1", "dice"): value} for i, value in enumerate(values)}


def test_the_interval_of_numbers_in_steps():
    """The same in tenths and in whole numbers: no resampled mean is below the mean by rounding."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        steps = rng.integers(0, 4, size=7).astype(float)
        for wide in (steps, np.tile(steps, 6)):
            whole, tenths = mean_interval(wide), mean_interval(wide / 10)
            ends = whole.low / 10, whole.high / 10
            assert (tenths.low, tenths.high) == pytest.approx(ends, abs=1e-12)
    noise = np.array([0.1 + 0.2, 0.3, 0.3])
    found = mean_interval(noise)
    assert (found.low, found.high, found.method) == (noise[0], noise[0], "equal")


def test_the_worst_case_is_the_first_of_equals():
    from medloss.evaluation.outputs.tables import _summary
    from medloss.evaluation.records import Measure, Result

    results = [(n, Result(1, "dice", x, "", "ok")) for n, x in (("a", 0.1 + 0.2), ("b", 0.3))]
    assert _summary(1, Measure("dice", "", "higher"), results, 0, None).worst_case == "a"


def test_a_mean_may_be_equal_to_its_limit(tmp_path):
    from medloss.evaluation.inputs.pairing import Pair
    from medloss.evaluation.outputs.tables import make_table
    from medloss.evaluation.outputs.thresholds import failures, parse_threshold
    from medloss.evaluation.records import CaseResult, Result
    from medloss.evaluation.requests import choose_metric, parse_request
    from medloss.evaluation.score import EvalPlan

    study = EvalPlan(
        (choose_metric(parse_request("dice")), choose_metric(parse_request("hausdorff")))
    )
    values = [0.1, 0.2, 0.3]
    assert math.fsum(values) / 3 < 0.2 < sum(values) / 3
    cases = [
        CaseResult(
            Pair(f"c{n}", None, None),
            results=tuple(Result(1, name, x, "", "ok") for name in ("dice", "hausdorff")),
        )
        for n, x in enumerate(values)
    ]

    def failed(*texts: str) -> int:
        limits = [
            parse_threshold(text, "under" if "dice" in text else "over", study) for text in texts
        ]
        return len(failures(limits, make_table(cases, study)))

    assert failed("dice=0.2", "hausdorff=0.19999999999999998", "dice=0.19999999999") == 0
    assert failed("dice=0.2000001", "hausdorff=0.199999") == 2
    assert failed("hausdorff=0.1999999") == 0, (
        "sizes in mm keep to a limit up to the noise of float32"
    )


def test_the_result_states_the_rule(tmp_path):
    runs = [
        ComparedRun(name, read_folder(write_folder(tmp_path / name, _cases(values))))
        for name, values in (("a", FIRST), ("b", SECOND))
    ]
    ground = compared_table(runs)
    decisions = Decisions()
    found = differences(ground, decisions)
    write_json(tmp_path / "c.json", ground, found, rankings(ground, decisions.bootstrap), decisions)
    told = json.loads(Path(tmp_path / "c.json").read_text())
    assert told["test"] == {
        "name": "Wilcoxon signed-rank, two-sided; with clusters sign flips of whole clusters",
        "zeros": "ranked, and their ranks left out (Pratt)",
        "ties": "share the mean of their ranks",
        "equal_within_share_of_largest": 1e-9,
    }
    assert told["differences"][0]["p"] == pytest.approx(0.0703125)
    assert "zeros are ranked and their ranks left out (Pratt)" in " ".join(
        notes(ground, found, decisions)
    )
