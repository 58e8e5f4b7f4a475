from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, wilcoxon
from study_folders import write_folder

from medloss.evaluation.compare.paired import Decisions, difference, differences
from medloss.evaluation.compare.ranking import case_ranks, rankings
from medloss.evaluation.compare.runs import (
    Allowed,
    ComparedRun,
    ComparedTable,
    CompareError,
    compared_table,
    run_names,
)
from medloss.evaluation.outputs.results import read_folder
from medloss.evaluation.outputs.statistics import Bootstrap, mean_interval
from medloss.evaluation.outputs.statistics.paired_tests import holm, signed_rank
from medloss.evaluation.records import Measure, Result, ScoredLabel

NAN, INF = math.nan, math.inf
DICE, HD = Measure("dice", "", "higher"), Measure("hausdorff95", "mm", "lower")
BOOTSTRAP = Bootstrap(resamples=200)
COMPLETE = Decisions(BOOTSTRAP, missing="leave-out")


def column(*values: float | tuple[float, str] | None) -> list[Result | None]:
    pairs = (v if isinstance(v, tuple) else (v, "ok") for v in values)
    return [None if v is None else Result(1, "any", v, "", status) for v, status in pairs]


def compare(first, second, measure=DICE):
    values = column(*first), column(*second)
    cases = [f"c{i}" for i in range(len(first))]
    return difference((ScoredLabel("1"), measure), ("a", "b"), values, cases, COMPLETE)


def study(path: Path, name: str, values: dict[str, float], **options) -> ComparedRun:
    cases = {case: {("1", "dice"): value} for case, value in values.items()}
    return ComparedRun(name, read_folder(write_folder(path / name, cases, **options)))


# Differences


def test_a_difference_by_hand():
    found = compare([0.5, 0.6, 0.7, 0.8], [0.6, 0.8, 0.7, 0.7])
    assert found.n == 4
    assert found.mean == pytest.approx(0.05)
    assert found.median == pytest.approx(0.05)
    assert (found.mean_first, found.mean_second) == pytest.approx((0.65, 0.7))
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    assert found.favours == "b"
    apart = np.array([0.6, 0.8, 0.7, 0.7]) - np.array([0.5, 0.6, 0.7, 0.8])
    assert found.interval == mean_interval(apart, BOOTSTRAP)


def test_lower_is_better_turns_the_favour_and_not_the_difference():
    found = compare([1.0, 2.0], [3.0, 5.0], HD)
    assert found.mean == 2.5
    assert (found.wins, found.losses, found.favours) == (0, 2, "a")


def test_what_has_no_number_is_in_no_pair_and_is_counted():
    missed, empty = (NAN, "missed"), (NAN, "both_empty")
    found = compare([0.5, missed, 0.5, 0.2, empty, 0.1], [0.6, 0.6, missed, None, empty, None])
    assert (found.n, found.only_first, found.only_second, found.neither) == (1, 3, 1, 1)
    assert found.mean == pytest.approx(0.1)
    assert [math.isnan(d) for d in found.differences] == [False, *[True] * 5]


def test_a_number_of_a_missed_label_takes_part():
    found = compare([2.0, 3.0], [2.0, (90.0, "missed")], HD)
    assert (found.n, found.mean, found.favours) == (2, 43.5, "a")


def test_infinite_distances():
    missed = (INF, "missed")
    found = compare([2.0, missed, 1.0], [missed, missed, 1.0], HD)
    assert found.differences == (INF, 0.0, 0.0)
    assert found.mean == INF
    assert (found.wins, found.ties, found.losses, found.favours) == (0, 2, 1, "a")
    assert math.isnan(found.ci_low)
    both_ways = compare([missed, 1.0], [1.0, missed], HD)
    assert math.isnan(both_ways.mean)
    assert both_ways.favours == ""


def test_no_pair_has_no_statistics():
    found = compare([None], [0.5])
    assert found.n == 0
    assert all(map(math.isnan, (found.mean, found.median, found.p, found.ci_low)))
    assert found.favours == ""


# Tests


def test_wilcoxon_against_a_published_example():
    """Wilcoxon's data of cross- and self-fertilised maize (Darwin), as in R's and scipy's docs."""
    d = np.array([6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75], dtype=float)
    assert signed_rank(d).p == pytest.approx(0.04126, abs=5e-5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_wilcoxon_is_exact_for_few_pairs_with_ties_and_zeros(values):
    d = np.array(values, dtype=float)
    sizes = np.abs(d)
    ranks = np.array([(sizes < s).sum() + ((sizes == s).sum() + 1) / 2 for s in sizes])
    ranks = ranks[d != 0]
    if not len(ranks):
        assert signed_rank(d).p == 1.0
        return
    seen = (ranks * np.sign(d[d != 0])).sum()
    signs = np.array(list(itertools.product([-1, 1], repeat=len(ranks))))
    at_least = (np.abs(signs @ ranks) >= abs(seen) - 1e-9).mean()
    assert signed_rank(d).p == pytest.approx(at_least)


def test_many_pairs_are_those_of_scipy():
    d = np.random.default_rng(0).normal(0.3, size=80)
    assert signed_rank(d).p == pytest.approx(wilcoxon(d).pvalue)
    assert signed_rank(d[:50]).p == pytest.approx(wilcoxon(d[:50], method="exact").pvalue)
    tied = np.concatenate([d.round(1), np.zeros(9)])
    theirs = wilcoxon(tied, zero_method="pratt", method="asymptotic").pvalue
    assert signed_rank(tied).p == pytest.approx(theirs)


def test_infinite_differences_have_the_largest_ranks():
    for large in (INF, -INF):
        d = np.array([large, 1.0, 2.0])
        assert signed_rank(d) == signed_rank(np.array([math.copysign(9.0, large), 1.0, 2.0]))
    assert signed_rank(np.array([INF, INF])).p == 0.5


def test_holm_against_a_worked_example():
    """Four hypotheses: the second smallest is capped from below by the smallest times four."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.02, 0.02]) == [0.04, 0.04]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    adjusted = holm([0.01, NAN, 0.02])
    assert adjusted[::2] == [0.02, 0.02]
    assert math.isnan(adjusted[1])
    assert holm([]) == []


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_rule_rejects(p):
    level = 0.05
    order = sorted(range(len(p)), key=lambda i: p[i])
    rejected = set()
    for position, index in enumerate(order):
        if p[index] * (len(p) - position) > level:
            break
        rejected.add(index)
    assert {i for i, value in enumerate(holm(p)) if value <= level} == rejected


def test_all_tests_are_adjusted_together(tmp_path):
    cases = [f"c{i}" for i in range(6)]
    runs = [
        study(tmp_path, name, {case: base + 0.01 * i for i, case in enumerate(cases)})
        for name, base in (("a", 0.1), ("b", 0.3), ("c", 0.7))
    ]
    found = differences(compared_table(runs), COMPLETE)
    assert [(d.first, d.second) for d in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [d.p for d in found] == [pytest.approx(2 / 2**6)] * 3
    assert [d.p_holm for d in found] == [pytest.approx(6 / 2**6)] * 3


# Ranking


def test_ranks_of_values_and_of_cases_without():
    missed, spurious, empty = (NAN, "missed"), (NAN, "spurious"), (NAN, "both_empty")
    values = [
        column(0.9, 0.5, missed, empty, empty, None, missed),
        column(0.8, 0.5, 0.1, (0.0, "spurious"), empty, 0.4, missed),
        column(0.7, 0.6, None, spurious, empty, 0.5, missed),
    ]
    ranks = case_ranks(values, "higher")
    assert ranks[0].tolist() == [1, 2, 3]
    assert ranks[1].tolist() == [2.5, 2.5, 1]
    assert ranks[2].tolist() == [2.5, 1, 2.5]
    assert ranks[3].tolist() == [1, 2, 3]
    assert np.isnan(ranks[4]).all()
    assert ranks[5].tolist() == [3, 2, 1]
    assert np.isnan(ranks[6]).all()


def test_infinite_is_as_bad_as_none_and_lower_can_be_better():
    values = [column((INF, "missed")), column((NAN, "missed")), column(2.0)]
    assert case_ranks(values, "lower").tolist() == [[2.5, 2.5, 1]]


def make_ground(tmp_path, tables) -> ComparedTable:
    runs = [
        study(tmp_path, name, {f"c{i}": float(value) for i, value in enumerate(values)})
        for name, values in tables.items()
    ]
    return compared_table(runs)


def test_a_ranking_by_hand(tmp_path):
    """a wins twice by little and loses once by much: the two ways of ranking disagree."""
    ground = make_ground(tmp_path, {"a": [0.8, 0.8, 0.1], "b": [0.7, 0.7, 0.9]})
    whole, dice = rankings(ground, BOOTSTRAP)
    assert dice.mean_ranks == pytest.approx((4 / 3, 5 / 3))
    assert dice.places == (1, 2)
    assert dice.means == pytest.approx((17 / 30, 23 / 30))
    assert dice.places_of_means == (2, 1)
    assert whole.mean_ranks == dice.mean_ranks
    assert whole.shares == dice.shares
    assert (whole.n, dice.n) == (3, 3)
    # a stays first where fewer than two of the three draws are c2: 8/27 + 12/27
    (many, _) = rankings(ground, Bootstrap(resamples=20_000))
    assert many.shares[0][0] == pytest.approx(20 / 27, abs=0.015)
    assert many.shares[0][0] + many.shares[0][1] == pytest.approx(1)
    assert many.tau == pytest.approx(20 / 27 - 7 / 27, abs=0.03)


def test_every_metric_and_label_weighs_the_same(tmp_path):
    values = {
        "a": {("1", "dice"): 0.9, ("1", "hausdorff95"): 5.0, ("2", "dice"): 0.9},
        "b": {("1", "dice"): 0.8, ("1", "hausdorff95"): 1.0, ("2", "dice"): 0.9},
    }
    runs = [
        ComparedRun(name, read_folder(write_folder(tmp_path / name, {"c": own})))
        for name, own in values.items()
    ]
    whole, *each = rankings(compared_table(runs), BOOTSTRAP)
    assert [r.mean_ranks for r in each] == [(1.0, 2.0), (1.5, 1.5), (2.0, 1.0)]
    assert whole.mean_ranks == (1.5, 1.5)
    assert whole.places == (1, 1)


def test_a_clear_order_is_stable_and_tau_is_kendalls(tmp_path):
    rng = np.random.default_rng(0)
    base = rng.random(12)
    clear = make_ground(tmp_path, {"a": base, "b": base + 1, "c": base + 2})
    whole, _ = rankings(clear, BOOTSTRAP)
    assert whole.places == (3, 2, 1)
    assert whole.shares == ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    assert whole.tau == 1.0
    order, other = (3.0, 2.0, 1.0), (1.0, 3.0, 2.0)
    from medloss.evaluation.compare.ranking import _tau

    assert _tau(np.array(order), np.array([other])) == pytest.approx(
        kendalltau(order, other).statistic
    )


def test_the_same_seed_gives_the_same_numbers(tmp_path):
    rng = np.random.default_rng(1)
    ground = make_ground(tmp_path, {name: rng.random(9) for name in "abc"})
    one, two = (rankings(ground, Bootstrap(300, seed=5)) for _ in range(2))
    assert one == two
    other = rankings(ground, Bootstrap(300, seed=6))
    assert one[0].mean_ranks == other[0].mean_ranks
    assert one[0].shares != other[0].shares


# What may be compared


def test_equal_runs_have_no_notes(tmp_path):
    ground = make_ground(tmp_path, {"a": [0.5, 0.6], "b": [0.7, 0.8]})
    assert ground.notes == ()
    assert ground.cases == ("c0", "c1")
    ((label, measure, values),) = ground.grid()
    assert (label.key, measure.name) == ("1", "dice")
    assert [[v.value for v in own] for own in values] == [[0.5, 0.6], [0.7, 0.8]]


BOTH = {"x": {("1", "dice"): 0.5, ("1", "hausdorff95"): 1.0}}


@pytest.mark.parametrize(
    ("other", "words", "allowed"),
    [
        (
            {"values": {"y": BOTH["x"], **BOTH}},
            "1 cases are only in b: y (--common-cases",
            {"cases": True},
        ),
        (
            {"values": {"x": {**BOTH["x"], ("2", "dice"): 0.1}}},
            "1 labels are only in b: 2 (--common-labels",
            {"labels": True},
        ),
        (
            {
                "metrics": {
                    "dice": ("", "higher"),
                    "hausdorff95": ("mm", "lower"),
                    "z": ("", "lower"),
                }
            },
            "1 metrics are only in b: z (--common-metrics",
            {"metrics": True},
        ),
        (
            {"settings": {"preset": "monai"}},
            "preset differs: deepmind in a, monai in b (--allow-different-definitions",
            {"definitions": True},
        ),
        (
            {"settings": {"policies": {"missed": "inf", "both_empty": "exclude", "meaning": ""}}},
            "the policy missed differs: diagonal in a, inf in b",
            {"definitions": True},
        ),
        (
            {"settings": {"inputs": {"ignore_label": 7}}},
            "ignore_label of the inputs differs: None in a, 7 in b",
            {"definitions": True},
        ),
        (
            {"metrics": {"dice": ("", "lower"), "hausdorff95": ("mm", "lower")}},
            "dice: better differs: higher in a, lower in b",
            {"definitions": True},
        ),
        (
            {"names": {"1": "kidney"}},
            "the name of label 1 differs: liver in a, kidney in b",
            {"definitions": True},
        ),
        ({"shape": (9, 8, 8)}, "the references of a and b differ in 1 cases, such as x", None),
        ({"affine_mm": (1.0, 1.0, 3.0)}, "voxels of (1.0, 1.0, 2.0) mm", None),
        (
            {"voxels": {"x": {"1": (11, 5)}}},
            "label 1 has 10 voxels and 11",
            None,
        ),
    ],
)
def test_runs_that_differ_are_refused_and_can_be_allowed(tmp_path, other, words, allowed):
    plain = {"names": {"1": "liver"}, "voxels": {"x": {"1": (10, 9)}}}
    runs = []
    for name, options in (("a", {}), ("b", dict(other))):
        values = options.pop("values", BOTH)
        merged = {**plain, **options}
        if len(values) > 1:
            merged["voxels"] = {case: {"1": (10, 9)} for case in values}
        runs.append(ComparedRun(name, read_folder(write_folder(tmp_path / name, values, **merged))))
    with pytest.raises(CompareError, match="the runs cannot be compared") as caught:
        compared_table(runs)
    assert words in str(caught.value)
    everything_else = Allowed(
        **{key: key not in (allowed or {}) for key in ("cases", "labels", "metrics", "definitions")}
    )
    with pytest.raises(CompareError):
        compared_table(runs, allowed=everything_else)
    if allowed:
        ground = compared_table(runs, allowed=Allowed(**allowed))
        assert words.split(" (")[0] in "\n".join(ground.notes)
        assert ground.cases == ("x",)
        assert [label.key for label in ground.labels] == ["1"]
        assert [measure.name for measure in ground.measures] == ["dice", "hausdorff95"]


def test_all_differences_are_told_at_once(tmp_path):
    first = study(tmp_path, "a", {"x": 0.5, "y": 0.6})
    second = study(tmp_path, "b", {"x": 0.5}, settings={"preset": "exact"})
    with pytest.raises(CompareError) as caught:
        compared_table([first, second])
    assert str(caught.value).count("\n  - ") == 2


def test_references_that_were_left_out_are_no_definition(tmp_path):
    inputs = {"inputs": {"left_out": ["z"]}}
    first, second = (
        study(tmp_path, "a", {"x": 0.5}),
        study(tmp_path, "b", {"x": 0.5}, settings=inputs),
    )
    assert compared_table([first, second]).notes == ()


def test_another_version_is_a_note(tmp_path):
    runs = [study(tmp_path, name, {"x": 0.5}, version=name) for name in ("1", "2")]
    assert compared_table(runs).notes == ("made by different versions of medloss: 1 by 1, 2 by 2",)


def test_failed_cases_are_no_difference(tmp_path):
    first = ComparedRun(
        "a", read_folder(write_folder(tmp_path / "a", {"x": "empty", "y": BOTH["x"]}))
    )
    second = ComparedRun(
        "b", read_folder(write_folder(tmp_path / "b", {"x": BOTH["x"], "y": BOTH["x"]}))
    )
    ground = compared_table([first, second])
    assert ground.cases == ("x", "y")
    dice, _ = differences(ground, COMPLETE)
    assert (dice.n, dice.only_second, dice.complete) == (1, 1, None)
    dice, distance = differences(ground, Decisions(BOOTSTRAP))
    assert (dice.n, dice.worst_first, dice.differences) == (2, 1, (0.5, 0.0))
    assert dice.complete is not None
    assert (dice.complete.n, dice.complete.mean) == (1, 0.0)
    diagonal = math.hypot(8, 8, 16)
    assert distance.differences[0] == pytest.approx(1.0 - diagonal)
    longer = {"x": {**BOTH["x"], ("1", "hausdorff95"): 99.0}, "y": BOTH["x"]}
    write_folder(tmp_path / "b", longer)
    ground = compared_table([first, ComparedRun("b", read_folder(tmp_path / "b"))])
    distance = differences(ground, Decisions(BOOTSTRAP))[1]
    assert distance.differences[0] == 0.0, "nothing is better for having failed"
    assert rankings(ground, BOOTSTRAP)[1].mean_ranks == ((2 + 1.5) / 2, (1 + 1.5) / 2)


def test_metrics_are_chosen_by_name(tmp_path):
    runs = [ComparedRun(n, read_folder(write_folder(tmp_path / n, BOTH))) for n in ("a", "b")]
    ground = compared_table(runs, metrics=["hausdorff95"])
    assert [measure.name for measure in ground.measures] == ["hausdorff95"]
    with pytest.raises(CompareError, match="a has no metric 'nsd'; it has dice, hausdorff95"):
        compared_table(runs, metrics=["nsd"])
    with pytest.raises(
        CompareError, match=r"dsc\[1\]: runs are compared by a metric on all labels"
    ):
        compared_table(runs, metrics=["dsc[1]"])


def test_runs_with_nothing_in_common(tmp_path):
    first, second = study(tmp_path, "a", {"x": 0.5}), study(tmp_path, "b", {"y": 0.5})
    with pytest.raises(CompareError, match="have no case in common"):
        compared_table([first, second], allowed=Allowed(cases=True))


def test_names_of_folders(tmp_path):
    paths = [tmp_path / "unet" / "fold0", tmp_path / "swin" / "fold0"]
    assert run_names(paths) == ["unet/fold0", "swin/fold0"]
    with pytest.raises(CompareError, match="given twice"):
        run_names([tmp_path, tmp_path / "."])
