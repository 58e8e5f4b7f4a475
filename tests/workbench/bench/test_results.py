from __future__ import annotations

import json

import pytest

from medloss.workbench.bench.results import Spread, dumps, loads, paired, spread


def test_the_ratio_is_taken_within_each_round():
    assert paired([2.0, 40.0, 6.0], [1.0, 10.0, 2.0]) == Spread(3.0, 2.0, 4.0)
    assert paired([1.0, 3.0], [4.0, 4.0]) == Spread(0.5, 0.25, 0.75)


def test_nothing_measured_has_no_ratio():
    assert spread([]) is None
    assert paired([], [1.0]) is None
    assert paired([1.0], []) is None


def test_numbers_of_a_contest(report):
    (table,) = report.tables
    (contest,) = table.contests
    slow, other = contest.rivals[:2]
    assert contest.slower(slow) == Spread(25.0, 13.0, 40.0)
    assert contest.slower(other) == Spread(2.0, 2.0, 2.0)  # as noisy as ours, yet always twice
    assert table.copy_rate == pytest.approx(40e9)  # 400 MB in 10 ms
    assert table.floor_s(contest) == pytest.approx(0.0125)  # 500 MB
    assert table.floors(contest, contest.ours) == pytest.approx(40.0)
    assert contest.memory(slow) == 11.5
    assert contest.memory(contest.rivals[-1]) is None


def test_wrong_are_disagreements_and_ours_failed(report):
    assert report.wrong == ("generalized_dice, no smoothing, exacta: values differ by 3.0e-01",)


def test_json_and_back(report):
    assert loads(dumps(report)) == report


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "3", '{"format": 1}', '{"format": 1, "suite": 2}']
)
def test_other_json_is_refused(text):
    with pytest.raises(ValueError, match="benchmark"):
        loads(text)


def test_another_layout_is_refused(report):
    data = json.loads(dumps(report))
    data["format"] = 99
    with pytest.raises(ValueError, match="reads 1, the file has 99"):
        loads(json.dumps(data))
