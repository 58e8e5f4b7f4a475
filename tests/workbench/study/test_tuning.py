"""Options chosen on cases that no table reports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bundles.tiny import BUNDLES
from click.testing import CliRunner
from study_folders import write_folder

from medloss.cli import main
from medloss.work.jobs import Crew
from medloss.workbench.study.bundle import StudyBundle
from medloss.workbench.study.folder import StudyFolder
from medloss.workbench.study.run import pilot
from medloss.workbench.study.runs import (
    StudyConditions,
    StudyRun,
    all_runs,
    parse_losses,
    read_losses,
)
from medloss.workbench.study.tuning import Tuning, read_tuning, settled, write_tuning

LESIONS = BUNDLES / "small_lesions_synthetic"


def test_values_between_bars_make_candidates(tmp_path: Path) -> None:
    (loss,) = parse_losses("tversky:fn_weight=0.5|0.7,fp_weight=0.5|0.3")
    assert loss.name == "tversky:fn_weight=0.5|0.7,fp_weight=0.5|0.3"
    assert loss.folder == "tversky_fn_weight_0.5_0.7_fp_weight_0.5_0.3"
    pairs = [(one.block["fn_weight"], one.block["fp_weight"]) for one in loss.candidates]
    assert pairs == [(0.5, 0.5), (0.5, 0.3), (0.7, 0.5), (0.7, 0.3)]
    (loss,) = parse_losses("dice_ce+1e+0|0.1*focal:gamma=1")
    assert [one.block["weights"] for one in loss.candidates] == [[1.0, 1.0], [1.0, 0.1]]
    (loss,) = parse_losses("boundary|hausdorff_dt")
    assert loss.name == "dice_ce+0.1*boundary|hausdorff_dt"
    assert [one.name for one in loss.candidates] == [
        "dice_ce+0.1*boundary",
        "dice_ce+0.1*hausdorff_dt",
    ]
    file = tmp_path / "losses.json"
    file.write_text('{"mine": "focal:gamma=1|2"}')
    (named,) = read_losses(file)
    assert named.name == "mine"
    assert [one.name for one in named.candidates] == ["focal[gamma=1]", "focal[gamma=2]"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("focal:gamma=1|", "both sides"),
        ("focal:gamma=|1", "both sides"),
        ("focal:gamma=1||2", "both sides"),
        ("focal:gamma=1|1", "one value twice"),
    ],
)
def test_bars_with_nothing_to_choose_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_losses(text)


def candidates_scored(folder: StudyFolder, values: dict[str, Any], metric: str) -> Tuning:
    """A study of focal whose candidates have ended with these values of two cases."""
    (loss,) = parse_losses(f"focal:gamma={'|'.join(values)}")
    tuning = Tuning([loss], metric, 0, 0)
    for run, own in zip(tuning.runs, values.values(), strict=True):
        place = folder.run(run)
        place.mkdir(parents=True)
        status = own if isinstance(own, str) else "ok"
        facts = {"status": status, "message": "it broke" if status == "failed" else "", "cases": 2}
        (place / "result.json").write_text(json.dumps(facts))
        if status == "ok":
            cases = {f"c{n}": {("1", metric): value} for n, value in enumerate(own)}
            write_folder(place / "evaluation", cases)
    return tuning


def test_the_best_mean_is_chosen_by_the_direction_of_the_metric(tmp_path: Path) -> None:
    values = {"1": (0.2, 0.4), "2": (0.5, 0.3), "3": (0.4, 0.4)}
    for metric, best in (("dice", "focal[gamma=2]"), ("hausdorff95", "focal[gamma=1]")):
        folder = StudyFolder(tmp_path / metric)
        tuning = candidates_scored(folder, values, metric)
        lines = tuning.lines(folder)
        assert [line.value for line in lines] == pytest.approx([0.3, 0.4, 0.4])
        assert [line.candidate for line in lines if line.chosen] == [best]
        write_tuning(folder.path, lines)
        assert [line.candidate for line in read_tuning(folder.path) if line.chosen] == [best]
        run = settled(StudyRun(tuning.losses[0], 0, 7), lines)
        assert isinstance(run, StudyRun)
        assert (run.loss.chosen, run.name) == (best, "focal_gamma_1_2_3/fold0_seed7")
        assert run.loss.block["gamma"] == int(best[-2])


def test_nothing_is_chosen_where_a_candidate_has_no_value(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    tuning = candidates_scored(folder, {"1": (0.2, 0.4), "2": "failed"}, "dice")
    lines = tuning.lines(folder)
    assert not any(line.chosen for line in lines)
    said = settled(StudyRun(tuning.losses[0], 0, 0), lines)
    assert said == (
        "nothing was chosen, because the candidate focal[gamma=2] has no dice on the tuning cases: "
        "it broke"
    )


def test_a_tuned_loss_is_timed_by_its_slowest_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def timed(_: object, runs: Sequence[StudyRun], crew: object) -> Iterator[tuple[StudyRun, Any]]:
        for number, run in enumerate(runs):
            asked.append(run.loss.name)
            step = 1.0 + number
            yield run, {"first": 0, "build": 0, "step": step, "case": 0, "steps": 1, "cases": 1}

    monkeypatch.setattr("medloss.workbench.study.run.give_away", timed)
    losses = parse_losses("dice_ce,focal:gamma=1|3")
    found = pilot(all_runs(losses, [0, 1], 0), StudyConditions("x"), Crew(1))
    assert asked == ["dice_ce", "focal[gamma=1]", "focal[gamma=3]"]
    assert (found["dice_ce"].step, found["focal:gamma=1|3"].step) == (1.0, 3.0)


def test_a_fold_tunes_on_its_training_cases_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [{"image": f"{n}"} for n in range(20)]
    held = [{"image": "a"}, {"image": "b"}]
    lists = {"train#dataset#data": cases, "validate#dataset#data": held}
    bundle = StudyBundle.__new__(StudyBundle)
    monkeypatch.setattr(bundle, "parser", lambda: None, raising=False)
    monkeypatch.setattr(bundle, "build", lambda _, entry: lists[entry], raising=False)
    bundle.folder = Path("toy")
    for part, roles in (("train", "roles"), ("validate", "held_out")):
        where = SimpleNamespace(of_dataset=lambda name, part=part: f"{part}#dataset#{name}")
        setattr(bundle, roles, where)
    for folds in (0, 2):
        bundle.conditions = SimpleNamespace(folds=folds)  # type: ignore[assignment]
        for fold in range(max(folds, 1)):
            reported = bundle.split(fold)[1] if folds else held  # type: ignore[index]
            train, chosen_by = bundle.split(fold, tuning=True)  # type: ignore[misc]
            parts = [{case["image"] for case in part} for part in (train, chosen_by, reported)]
            assert len(set.union(*parts)) == sum(map(len, parts)), "no case is in two of them"
            assert len(train) + len(chosen_by) == (10 if folds else 20)
            assert len(chosen_by) == (3 if folds else 5)
    bundle.conditions = SimpleNamespace(folds=0)  # type: ignore[assignment]
    lists["validate#dataset#data"] = [{**case, "label": "l"} for case in cases[3:5]]
    with pytest.raises(ValueError, match="2 cases are in train#dataset#data and in validate"):
        bundle.split(0, tuning=True)


def test_contradictions_are_refused(tmp_path: Path) -> None:
    for arguments, sentence in (
        (["--losses", "dice", "--tune-by", "dice"], "no loss has any"),
        (["--losses", "focal:gamma=1|2", "--tune-by", "accuracy"], "--tune-by"),
    ):
        out = tmp_path / "out"
        done = CliRunner().invoke(main, ["study", str(LESIONS), "-o", str(out), *arguments])
        assert done.exit_code == 2, done.output
        assert sentence in " ".join(done.output.split())
        assert not out.exists()
