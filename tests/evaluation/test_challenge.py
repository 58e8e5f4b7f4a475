"""Rankings as a profile says: worked values, weights, ties, penalties, fifty runs at once."""

from __future__ import annotations

import csv
import itertools
import json
import math

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import rankdata, wilcoxon

import medloss
from medloss.cli.compare import compare_command
from medloss.evaluation.compare import challenge as ranking
from medloss.evaluation.compare.challenge import challenge
from medloss.evaluation.compare.challenge_rules import Rules
from medloss.evaluation.compare.challenge_values import ranked_values
from medloss.evaluation.compare.runs import ComparedRun, ComparedTable
from medloss.evaluation.compare.significance import better_p, significance
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.outputs.statistics import Bootstrap, levels, slack_of
from medloss.evaluation.profiles.reading import read_profile
from medloss.evaluation.records import CaseResult, Measure, Result, ResultTable, ScoredLabel

# cases x models
TABLE = np.array(
    [
        *([0.80, 0.82, 0.79], [0.75, 0.74, 0.77], [0.90, 0.91, 0.88]),
        *([0.60, 0.66, 0.65], [0.85, 0.85, 0.80], [0.70, 0.72, 0.73]),
    ]
)
DICE, HD95 = Measure("dice", "", "higher"), Measure("hausdorff95", "mm", "lower")
LABEL = ScoredLabel("1", "liver")


def compared(tables, measures=(DICE,), statuses=None):
    """Runs with values, metric by metric: cases x runs."""
    runs = []
    for run in range(tables[0].shape[1]):
        cases = []
        for case in range(tables[0].shape[0]):
            status = (statuses or {}).get((case, run), "ok")
            results = tuple(
                Result(1, measure.name, float(table[case, run]), measure.unit, status)
                for measure, table in zip(measures, tables, strict=True)
            )
            failed = status == "failed"
            pair = Pair(f"c{case}", None, None)
            cases.append(CaseResult(pair, results=() if failed else results, error="x" * failed))
        settings = {"preset": "deepmind", "policies": {"meaning": "-"}}
        table = ResultTable(tuple(measures), (LABEL,), tuple(cases), settings=settings)
        runs.append(ComparedRun(f"m{run + 1}", table))
    names = tuple(f"c{case}" for case in range(tables[0].shape[0]))
    return ComparedTable(tuple(runs), names, (LABEL,), tuple(measures))


def ranked(tables, measures=(DICE,), statuses=None, resamples=100, **rules):
    profile = read_profile({"name": "p", "summary": "s", "ranking": rules})
    return challenge(compared(tables, measures, statuses), profile, Bootstrap(resamples=resamples))


EVERY_DRAW = [
    (counts, math.factorial(6) / math.prod(map(math.factorial, counts)) / 6**6)
    for counts in itertools.product(range(7), repeat=6)
    if sum(counts) == 6
]


@pytest.mark.parametrize(
    ("method", "score", "shares", "tau_a", "tau_b"),
    [
        (
            "rank_then_aggregate",
            [2.25, 1.583333, 2.166667],
            [
                [0.034551, 0.473294, 0.492155],
                [0.835541, 0.137646, 0.026813],
                [0.192194, 0.408329, 0.399477],
            ],
            0.551933,
            0.570479,
        ),
        (
            "aggregate_then_rank",
            [3, 1, 2],
            [
                [0.015796, 0.414759, 0.569444],
                [0.902542, 0.093064, 0.004394],
                [0.145898, 0.474901, 0.379201],
            ],
            0.641161,
            0.655787,
        ),
    ],
)
def test_every_bootstrap_of_the_worked_table(method, score, shares, tau_a, tau_b):
    found = ranked([TABLE], method=method)
    assert found.scores == pytest.approx(score, abs=5e-7)
    draws = np.array([counts for counts, _ in EVERY_DRAW], float)
    chance = np.array([p for _, p in EVERY_DRAW])
    rules = Rules(method)
    (table,) = ranked_values(compared([TABLE]), rules)
    _, orders = ranking._scores([table], draws, rules)
    orders = levels(orders, slack_of(orders, axis=1))
    places = rankdata(orders, method="min", axis=1)
    own = [[chance @ (places[:, run] == place) for place in (1, 2, 3)] for run in range(3)]
    assert np.allclose(own, shares, atol=5e-7)
    order = np.array(found.scores)
    taus = np.array([ranking._taus(order, each[None]) for each in orders])
    assert chance @ taus[:, 0] == pytest.approx(tau_a, abs=5e-7)
    known = ~np.isnan(taus[:, 1])
    assert chance[known] @ taus[known, 1] / chance[known].sum() == pytest.approx(tau_b, abs=5e-7)
    # and the drawn ones, within four standard errors of 20000
    drawn = ranked([TABLE], method=method, resamples=20000)
    assert np.allclose(drawn.shares, shares, atol=4 * 0.5 / math.sqrt(20000))


def test_clusters_are_drawn_whole():
    ground = compared([TABLE])
    one = dict.fromkeys(ground.cases, "a")
    profile = read_profile(
        {"name": "p", "summary": "s", "ranking": {"method": "aggregate_then_rank"}}
    )
    found = challenge(ground, profile, Bootstrap(resamples=100), clusters=one)
    assert (found.tau_a, found.clusters) == (1.0, 1)  # nothing else to draw
    assert found.shares == ((0, 0, 1), (1, 0, 0), (0, 1, 0))
    two = {name: name in ("c0", "c1", "c2") for name in ground.cases}
    halves = challenge(ground, profile, Bootstrap(resamples=4000), clusters=two)
    # means of one half are .8167 .8233 .8133, of the other .7167 .7433 .7267
    assert halves.shares[1][0] == 1.0
    assert halves.shares[0][1] == pytest.approx(0.25, abs=0.03)  # the first half twice


def test_medians_of_values_and_their_ties():
    found = ranked([TABLE], method="aggregate_then_rank", aggregate="median", ties="min")
    assert found.rows[0].values == pytest.approx([0.775, 0.78, 0.78])
    assert found.scores == (3, 1, 1)
    assert found.places == (3, 1, 1)
    assert ranked([TABLE], method="aggregate_then_rank", aggregate="median").scores == (3, 1.5, 1.5)


def test_weights_and_a_tie_break_decide():
    other = TABLE * 10  # as a distance: the order of the means is turned over
    base = {"method": "aggregate_then_rank"}
    even = ranked([TABLE, other], (DICE, HD95), **base)
    assert even.scores == (2.0, 2.0, 2.0)
    assert even.places == (1, 1, 1)
    assert ranked([TABLE, other], (DICE, HD95), **base, tie_break="dice").places == (3, 1, 2)
    heavy = {"metrics": {"hausdorff95": 3}}
    assert ranked([TABLE, other], (DICE, HD95), **base, weights=heavy).scores == (1.5, 2.5, 2.0)
    with pytest.raises(ValueError, match="all that is ranked weighs 0"):
        ranked([TABLE], **base, weights={"labels": {"liver": 0}})
    with pytest.raises(ValueError, match="the runs have no dice of BA"):
        ranked([TABLE], **base, metrics=["dice"], labels=["BA"])
    with pytest.raises(ValueError, match="the runs have no jaccard"):
        ranked([TABLE], **base, metrics=["jaccard"])


def test_what_a_missing_case_costs_is_said():
    failed = {(3, 1): "failed"}
    base = {"method": "aggregate_then_rank", "aggregate": "mean"}
    value = ranked([TABLE], statuses=failed, **base, missing="drop").rows[0].values[1]
    assert value == pytest.approx(TABLE[[0, 1, 2, 4, 5], 1].mean())
    worst = ranked([TABLE], statuses=failed, **base)
    assert worst.rows[0].values[1] == pytest.approx((TABLE[:, 1].sum() - 0.66 + 0.60) / 6)
    zero = ranked([TABLE], statuses=failed, **base, penalties={"dice": 0})
    assert zero.rows[0].values[1] == pytest.approx((TABLE[:, 1].sum() - 0.66) / 6)
    assert zero.missing == (0, 1, 0)
    assert "counts as dice 0" in zero.rules.describe()
    by_case = ranked([TABLE], statuses=failed, method="rank_then_aggregate")
    assert by_case.scores[1] == pytest.approx((1 + 3 + 1 + 3 + 1.5 + 2) / 6 - 0.5 / 6)  # ties worst


def test_significance_is_one_sided_holm_adjusted_and_agrees_with_scipy():
    pairs = {(1, 0): 0.09375, (1, 2): 0.203125, (2, 0): 0.421875}
    for (one, other), p in pairs.items():
        assert better_p(TABLE[:, one] - TABLE[:, other])[0] == pytest.approx(p)
    d = np.random.default_rng(3).normal(0.3, 1, 40).round(3)
    expected = wilcoxon(d, alternative="greater", method="approx", correction=True).pvalue
    assert better_p(d)[0] == pytest.approx(expected, rel=1e-9)
    few = d[:12]
    expected = wilcoxon(few, alternative="greater", method="exact").pvalue
    assert better_p(few)[0] == pytest.approx(expected)
    found = significance(-TABLE)
    assert found[1, 0] == pytest.approx(min(1, 6 * 0.09375))
    assert np.isnan(np.diag(found)).all()
    clear = np.arange(30)[:, None] + np.array([0.0, 5.0, 10.0]) + 0.0
    first = ranked([-clear], method="test_then_rank", ties="min")
    assert first.scores == (1, 2, 3)
    assert first.beats(0) == 2


def test_a_challenge_from_folders_to_its_page(tmp_path):
    generator = np.random.default_rng(0)
    reference = np.zeros((6, 6, 6), np.uint8)
    reference[1:5, 1:5, 1:5] = 1
    names = [f"case{number}" for number in range(8)]
    for team in range(12):
        maps = [np.where(generator.random((6, 6, 6)) < 0.02 * team, 0, reference) for _ in names]
        found = medloss.evaluate(
            maps, [reference] * 8, names=names, profile="autopet", spacing_mm=1
        )
        found.save(tmp_path / f"team{team:02d}", report=False)
    folders = [str(tmp_path / f"team{team:02d}") for team in range(12)]
    outputs = [tmp_path / name for name in ("r.csv", "r.json", "r.html")]
    words = ["--ranking", outputs[0], "--json", outputs[1], "--html", outputs[2]]
    done = CliRunner().invoke(
        compare_command, [*folders, "--profile", "autopet", *map(str, words), "--resamples", "100"]
    )
    assert done.exit_code == 0, done.output
    assert f"Ranking by {read_profile('autopet')}" in done.output
    assert len(done.output.splitlines()) < 60
    with outputs[0].open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["run"] == "team00"
    assert len(rows) == 12
    content = json.loads(outputs[1].read_text())
    assert content["challenge"]["runs"][0]["place"] == 1
    assert len(content["challenge"]["rows"][0]["p_better"]) == 12
    assert {each["first"] for each in content["differences"]} == {"team00"}
    assert "Significance map of dice" in outputs[2].read_text()
    alone = CliRunner().invoke(
        compare_command, [*folders[:2], "--ranking", str(tmp_path / "x.csv")]
    )
    assert "--ranking needs --profile" in alone.output
    mine = tmp_path / "mine.json"
    mine.write_text(
        json.dumps({"name": "autopet", "summary": "s", "ranking": {"method": "test_then_rank"}})
    )
    other = CliRunner().invoke(compare_command, [*folders[:2], "--profile", str(mine)])
    assert other.exit_code == 2
    assert "made by another version of the profile" in other.output
