"""Tables and ranks of made-up results."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import friedmanchisquare, wilcoxon

from medloss.workbench.study.folder import StudyFolder
from medloss.workbench.study.output import markdown, summary
from medloss.workbench.study.report import write_report
from medloss.workbench.study.results import (
    CASE_COLUMNS,
    RUN_COLUMNS,
    ground_of,
    mean_value,
    read_results,
)
from medloss.workbench.study.tables import critical_difference, friedman, make_tables, rank_plots

LOSSES, SEEDS, CASES = ("dice_ce", "focal", "broken"), (0, 1), 12
SETTINGS = {
    "conditions": {"bundle": "/x/toy", "epochs": 3, "folds": 0, "overrides": {}},
    "losses": {name: {"name": name} for name in LOSSES},
}


def value(loss: str, seed: int, case: int, label: int) -> float:
    """Dice: focal is 0.1 worse than dice_ce, more or less; broken is 0."""
    if loss == "broken":
        return 0.0
    noise = np.random.default_rng([seed, case, label]).normal(0, 0.01)
    return round(0.7 + 0.01 * case + 0.02 * label + noise - 0.1 * (loss == "focal"), 6)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    with (tmp_path / "study.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, RUN_COLUMNS)
        table.writeheader()
        for seed in SEEDS:
            for loss in LOSSES:
                status = "diverged" if loss == "broken" else "ok"
                own = {"loss": loss, "fold": 0, "seed": seed, "status": status, "steps": 30}
                table.writerow({**own, "step_seconds": 0.1 + seed, "step_bytes": 2**20})
        table.writerow({"loss": "focal", "fold": 0, "seed": 7, "status": "ok"})
    with (tmp_path / "cases.csv").open("w", newline="") as file:
        cases = csv.DictWriter(file, CASE_COLUMNS)
        cases.writeheader()
        for loss in LOSSES:
            for seed in (*SEEDS, *((7,) if loss == "focal" else ())):
                for case in range(CASES):
                    for label in (1, 2):
                        row = {"loss": loss, "fold": 0, "seed": seed, "case": f"c{case:02}"}
                        status = "missed" if loss == "broken" else "ok"
                        dice = value(loss, seed, case, label)
                        row |= {"label": label, "name": f"l{label}", "status": status}
                        cases.writerow({**row, "metric": "dice", "value": dice})
                        far = 9.0 if loss == "broken" else 1 / dice
                        row |= {"metric": "hausdorff95", "unit": "mm"}
                        cases.writerow({**row, "value": far})
    return tmp_path


def test_only_pairs_that_every_loss_has_ended_count(study: Path) -> None:
    results = read_results(study)
    assert results.seeds == SEEDS
    assert [(run.loss, run.seed) for run in results.left_out] == [("focal", 7)]


def test_a_case_is_the_mean_over_seeds_and_labels(study: Path) -> None:
    ground = ground_of(read_results(study))
    (label,) = ground.labels
    found = ground.runs[1].table.cases[3].values[label.key, "dice"].value
    expected = np.mean([value("focal", seed, 3, label) for seed in SEEDS for label in (1, 2)])
    assert found == pytest.approx(expected)


def test_scores_and_tests_are_those_of_the_cases(study: Path) -> None:
    tables = make_tables(read_results(study), "dice_ce")
    rows = {row.loss: row for row in tables.rows}
    cases = {
        loss: np.array(
            [
                np.mean([value(loss, seed, case, label) for seed in SEEDS for label in (1, 2)])
                for case in range(CASES)
            ]
        )
        for loss in LOSSES
    }
    score = rows["dice_ce"].scores["dice"]
    assert score.mean == pytest.approx(cases["dice_ce"].mean())
    assert score.ci_low < score.mean < score.ci_high
    by_seed = [
        np.mean([value("dice_ce", seed, c, n) for c in range(CASES) for n in (1, 2)])
        for seed in SEEDS
    ]
    assert score.seed_sd == pytest.approx(np.std(by_seed, ddof=1))
    against = rows["focal"].against["dice"]
    assert against.mean == pytest.approx((cases["focal"] - cases["dice_ce"]).mean())
    expected = wilcoxon(cases["focal"] - cases["dice_ce"]).pvalue
    assert against.p == pytest.approx(expected)
    assert against.p_holm == pytest.approx(4 * expected), "four tests, all with the smallest p"
    assert rows["broken"].broken == {"diverged": 2}
    assert rows["broken"].scores["dice"].missed == 1.0
    assert rows["broken"].scores["dice"].mean == 0.0
    assert [row.loss for row in tables.rows] == ["dice_ce", "focal", "broken"]
    assert rows["dice_ce"].step_seconds == pytest.approx(0.6)


def test_ranks_are_friedmans(study: Path) -> None:
    plot = rank_plots(ground_of(read_results(study)))[0]
    assert plot.names == ("dice_ce", "focal", "broken")
    assert plot.ranks == (1.0, 2.0, 3.0)
    ranks = np.tile([1.0, 2.0, 3.0], (CASES, 1))
    assert plot.p == pytest.approx(friedmanchisquare(*ranks.T).pvalue)
    assert plot.n == CASES


@pytest.mark.parametrize(
    ("losses", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)], ids=str
)
def test_the_critical_difference_is_demsars(losses: int, q: float) -> None:
    """Table 5(a) of Demsar 2006."""
    found = critical_difference(losses, 14)
    assert found == pytest.approx(q * math.sqrt(losses * (losses + 1) / (6 * 14)), rel=1e-3)


def test_friedman_needs_something_to_rank() -> None:
    assert math.isnan(friedman(np.ones((5, 3))))
    assert math.isnan(friedman(np.array([[1.0, 2.0]])))


def test_a_mean_of_values_keeps_the_worst_status() -> None:
    from medloss.evaluation.records import Result

    def scored(value: float, status: str) -> Result:
        return Result(1, "dice", value, "", status)

    found = mean_value([scored(1.0, "ok"), scored(0.0, "missed")])
    assert (found.value, found.status) == (0.5, "missed")
    assert math.isnan(mean_value([scored(math.nan, "both_empty")]).value)


def test_the_page_names_what_broke_and_stands_alone(study: Path) -> None:
    tables = make_tables(read_results(study), "dice_ce")
    page = write_report(StudyFolder(study), tables, SETTINGS).read_text()
    assert "2 of 6 runs did not end well" in page
    assert "1 runs are in no table" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    content = json.loads(summary(tables, SETTINGS))
    assert content["losses"][2]["broken"] == {"diverged": 2}


def test_the_table_of_a_document(study: Path) -> None:
    lines = markdown(make_tables(read_results(study), "dice_ce")).splitlines()
    assert lines[0].startswith("| place | loss | mean rank | Dice | HD95 (mm) | Δ Dice")
    assert lines[2].startswith("| 1 | **dice_ce** | 1.00 | ")
    assert lines[4].endswith("| 2 diverged |")


def test_a_study_without_any_whole_pair_is_refused(study: Path) -> None:
    head = (study / "study.csv").read_text().splitlines()[0]
    (study / "study.csv").write_text(f"{head}\ndice_ce,0,0,ok\nfocal,0,1,ok\n")
    with pytest.raises(ValueError, match="no fold and seed has been ended by all 2 losses"):
        read_results(study)


def test_a_study_whose_runs_all_failed_says_why(study: Path) -> None:
    head = (study / "study.csv").read_text().splitlines()[0]
    row = {"loss": "dice", "fold": "0", "seed": "0", "status": "failed", "message": "no memory"}
    line = ",".join(row.get(name, "") for name in head.split(","))
    (study / "study.csv").write_text(f"{head}\n{line}\n")
    (study / "cases.csv").write_text((study / "cases.csv").read_text().splitlines()[0] + "\n")
    with pytest.raises(ValueError, match="no run has any value: no memory"):
        read_results(study)
