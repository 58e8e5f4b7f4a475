"""Studies of a tiny bundle: trained, broken, stopped and continued."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from bundles.tiny import BUNDLES, hippocampus
from click.testing import CliRunner
from monai.utils import set_determinism

from medloss.cli import main
from medloss.evaluation.outputs.results import read_folder
from medloss.work.jobs import Failed, Share
from medloss.workbench.study.bundle import StudyBundle
from medloss.workbench.study.run import Facts, StudyJob
from medloss.workbench.study.runs import StudyConditions, StudyLoss, StudyRun, parse_losses
from medloss.workbench.study.tuning import read_tuning
from medloss.workbench.study.worker import Worker

ROOT, LESIONS = BUNDLES / "hippocampus_mr", BUNDLES / "small_lesions_synthetic"
DICE, FOCAL = parse_losses("dice_ce,focal")
TINY = {
    "patch_size": [32, 32, 32],
    "network_def#channels": [4, 8],
    "network_def#strides": [2],
    "train#dataloader#batch_size": 2,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "data"
    hippocampus(folder)
    return folder


@pytest.fixture(scope="module")
def conditions(data: Path) -> StudyConditions:
    overrides = {**TINY, "dataset_dir": str(data), "train_cases": "$@cases"}
    return StudyConditions(str(ROOT), overrides=overrides, folds=2, epochs=2, device="cpu")


@pytest.fixture(scope="module")
def worker(conditions: StudyConditions) -> Iterator[Worker]:
    path, threads = sys.path[:], torch.get_num_threads()
    yield Worker(conditions)
    sys.path[:] = path
    torch.set_num_threads(threads)
    set_determinism(seed=None)


def curve(folder: Path) -> list[tuple[int, float]]:
    with (folder / "curve.csv").open() as file:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]


def test_a_run_leaves_all_that_it_was_made_of(worker: Worker, tmp_path: Path) -> None:
    facts = worker.run(StudyRun(DICE, 0, 0), tmp_path / "run", pictures=True)
    assert facts["status"] in ("ok", "no_foreground"), facts
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        *("config.json", "curve.csv", "evaluation", "log.txt", "model.pt", "predictions"),
        "result.json",
    }
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["loss"] == {"_target_": "medloss.loss", "name": "dice_ce", "softmax": True}
    assert config["epochs"] == 2
    assert len(config["train"]["dataset"]["data"]) == 3
    folder = read_folder(tmp_path / "run" / "evaluation")
    held_out = [Path(case["image"]).name for case in config["validate"]["dataset"]["data"]]
    assert [f"{case.name}.nii.gz" for case in folder.cases] == sorted(held_out)
    assert {m.name.partition("[")[0] for m in folder.measures} >= {"dice", "hausdorff95"}
    assert [label.name for label in folder.labels] == [
        "anterior hippocampus",
        "posterior hippocampus",
    ]
    assert len(list((tmp_path / "run" / "predictions").iterdir())) == 3


def test_the_same_run_gives_the_same_numbers(worker: Worker, tmp_path: Path) -> None:
    first, other, again = tmp_path / "first", tmp_path / "other", tmp_path / "again"
    worker.run(StudyRun(DICE, 0, 1), first, pictures=False)
    worker.run(StudyRun(DICE, 0, 2), other, pictures=False)  # another seed in between
    worker.run(StudyRun(DICE, 0, 1), again, pictures=False)
    assert curve(first) == curve(again)
    assert curve(first) != curve(other)
    tables = [(folder / "evaluation" / "cases.csv").read_text() for folder in (first, again)]
    assert tables[0] == tables[1]


def test_losses_begin_with_the_same_weights_and_batches(worker: Worker, tmp_path: Path) -> None:
    """One loss twice under two names, one of them scaled: the first values tell."""
    double = {"_target_": "medloss.loss", "name": "compound", "softmax": True}
    double |= {"terms": ["focal"], "weights": [2.0]}
    worker.run(StudyRun(FOCAL, 0, 0), tmp_path / "a", pictures=False)
    worker.run(StudyRun(StudyLoss("twice", double), 0, 0), tmp_path / "b", pictures=False)
    (_, single), (_, twice) = curve(tmp_path / "a")[0], curve(tmp_path / "b")[0]
    assert twice == pytest.approx(2 * single, rel=1e-6)


def test_a_run_that_diverges_ends_there_and_counts_as_empty(worker: Worker, tmp_path: Path) -> None:
    loss = StudyLoss("nan", {"_target_": "workbench.study.odd_losses.NanAfter", "steps": 2})
    facts = worker.run(StudyRun(loss, 0, 0), tmp_path / "run", pictures=True)
    assert facts["status"] == "diverged"
    assert facts["message"] == "the loss was nan in step 3"
    assert len(curve(tmp_path / "run")) == 3
    for case in read_folder(tmp_path / "run" / "evaluation").cases:
        assert case.values["1", "dice"].value == 0.0
        assert case.values["1", "dice"].status == "missed"
        assert case.values["1", "hausdorff95"].value > 20, "the diagonal"


def test_a_run_that_sees_nothing_says_so(conditions: StudyConditions, tmp_path: Path) -> None:
    fast = {**conditions.overrides, "optimizer#lr": 1.0, "lr_scheduler#max_lr": 1.0}
    worker = Worker(dataclasses.replace(conditions, overrides=fast))
    loss = StudyLoss("nothing", {"_target_": "workbench.study.odd_losses.OnlyBackground"})
    facts = worker.run(StudyRun(loss, 0, 0), tmp_path / "run", pictures=False)
    assert facts["status"] == "no_foreground", facts


def test_a_loss_that_raises_is_a_failed_run(worker: Worker, tmp_path: Path) -> None:
    loss = StudyLoss("raises", {"_target_": "workbench.study.odd_losses.Raises"})
    facts = worker.run(StudyRun(loss, 0, 0), tmp_path / "run", pictures=False)
    assert facts["status"] == "failed"
    assert "this loss cannot be computed" in facts["message"]
    assert "Traceback" in (tmp_path / "run" / "log.txt").read_text()


def test_a_pilot_times_a_loss_and_leaves_nothing(worker: Worker) -> None:
    found = worker.pilot(StudyRun(DICE, 1, 0))
    assert found["cases"] == 3
    assert found["steps"] == 2
    assert all(value >= 0 for value in found.values())


def test_what_a_bundle_lacks_is_said(conditions: StudyConditions, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    config = json.loads((tmp_path / "configs" / "train.json").read_text())
    del config["validate"]["inferer"], config["train"]["trainer"]["loss_function"]
    (tmp_path / "configs" / "train.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"no train#trainer#loss_function, validate#inferer"):
        StudyBundle(StudyConditions(str(tmp_path)))


def test_folds_divide_the_training_list(conditions: StudyConditions) -> None:
    bundle = StudyBundle(conditions)
    parts = [bundle.split(fold) for fold in range(2)]
    held_out = [case["image"] for _, out in parts for case in out]
    assert len(held_out) == len(set(held_out)) == 6
    for train, out in parts:
        assert not {case["image"] for case in train} & {case["image"] for case in out}
    with pytest.raises(ValueError, match="4 folds need at least 8 training cases"):
        StudyBundle(StudyConditions(str(ROOT), overrides=conditions.overrides, folds=4)).split(0)


def in_this_process(
    job: StudyJob, runs: Sequence[StudyRun], *_: object
) -> Generator[tuple[StudyRun, Facts | Failed]]:
    worker = job.start(Share())
    for run in runs:
        yield run, job.attempt(worker, run)


@pytest.fixture
def lesions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Four volumes of the synthetic lesions."""
    monkeypatch.syspath_prepend(LESIONS)
    monkeypatch.setattr("medloss.work.processes.in_processes", in_this_process)
    from scripts import prepare

    prepare.write_dataset(tmp_path / "data", {"Tr": 3, "Ts": 1})
    yield tmp_path / "data"
    for module in [name for name in sys.modules if name.split(".")[0] == "scripts"]:
        del sys.modules[module]
    set_determinism(seed=None)


def test_the_command_trains_continues_and_refuses(
    lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last call in worker processes, as a user has it."""
    out = tmp_path / "out"

    def command(*more: str) -> tuple[int, str]:
        overrides = {**TINY, "dataset_dir": str(lesions)}
        arguments = ["study", str(LESIONS), "-o", str(out), "--workers", "1", "--device", "cpu"]
        arguments += ["-m", "dice", *more]
        for name, value in overrides.items():
            arguments += ["--override", f"{name}={value}"]
        done = CliRunner().invoke(main, arguments)
        return done.exit_code, done.output

    code, text = command("--losses", "dice_ce", "--seeds", "0", "--epochs", "1")
    assert code == 0, text
    assert "[1/1] dice_ce/fold0_seed0" in text
    code, text = command("--losses", "dice_ce", "--seeds", "0", "--epochs", "2")
    assert code == 2
    assert "epochs is 1 there, 2 now" in text
    monkeypatch.undo()
    code, text = command("--losses", "dice_ce,focal", "--seeds", "0")
    assert code == 0, text
    assert "2 runs: 2 losses x 1 seeds x the bundle's own split, 1 epochs each" in text
    assert "1 are left" in text
    assert (out / "report.html").is_file()
    assert len((out / "study.csv").read_text().splitlines()) == 3
    events = [
        json.loads(line)["event"] for line in (out / "journal.jsonl").read_text().splitlines()
    ]
    assert events.count("begin") == events.count("end") == 2


def test_the_command_chooses_trains_and_goes_on(
    lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def command(*more: str) -> tuple[int, str]:
        overrides = {**TINY, "dataset_dir": str(lesions)}
        arguments = ["study", str(LESIONS), "-o", str(out), "--workers", "1", "--device", "cpu"]
        arguments += ["-m", "dice", "-m", "sensitivity", "--epochs", "1", "--seeds", "3", *more]
        for name, value in overrides.items():
            arguments += ["--override", f"{name}={value}"]
        done = CliRunner().invoke(main, arguments)
        return done.exit_code, " ".join(done.output.split())

    tuned = "focal:gamma=1|3"
    with monkeypatch.context() as timed:
        timed.setattr("medloss.workbench.study.command.pilot", lambda *_: {})
        timed.setattr("medloss.workbench.study.plan.seconds", lambda *_: 60.0)
        code, text = command("--losses", f"dice_ce,{tuned}", "--dry-run")
    assert code == 0, text
    assert "2 runs: 2 losses x 1 seeds x the bundle's own split and 2 of candidates on" in text
    assert "4 are left" in text
    assert "'candidates': {'focal[gamma=1]': {" in text
    assert not out.exists()

    code, text = command("--losses", f"dice_ce,{tuned}", "--tune-by", "sensitivity")
    assert code == 0, text
    (first, second) = lines = read_tuning(out)
    assert (first.metric, first.cases, first.seed) == ("sensitivity", 1, 3)
    assert second.chosen is (second.value > first.value)
    (chosen,) = [line.candidate for line in lines if line.chosen]
    configs = {
        place: json.loads((out / "runs" / place / "fold0_seed3" / "config.json").read_text())
        for place in ("_tuning/focal_gamma_1", "_tuning/focal_gamma_3", "focal_gamma_1_3")
    }
    assert configs["focal_gamma_1_3"]["loss"]["gamma"] == int(chosen[-2])
    names = {
        (place, part): {Path(case["image"]).name for case in config[part]["dataset"]["data"]}
        for place, config in configs.items()
        if place.startswith("_")
        for part in ("train", "validate")
    }
    for place in ("_tuning/focal_gamma_1", "_tuning/focal_gamma_3"):
        assert names[place, "validate"] == {"lesions_Tr_000.nii.gz"}
        assert names[place, "train"] == {f"lesions_Tr_00{n}.nii.gz" for n in (1, 2)}
    table = (out / "study.csv").read_text()
    assert f",{chosen}," in table
    assert len(table.splitlines()) == 3
    assert tuned in (out / "report.html").read_text()
    assert "Options that were chosen" in (out / "report.html").read_text()
    assert f"**`{chosen}`**" in (out / "tables.md").read_text()
    settings = json.loads((out / "study.json").read_text())
    assert settings["tuning"] == {"metric": "sensitivity", "seed": 3}

    code, text = command("--losses", f"dice_ce,{tuned}")
    assert code == 2
    assert "--tune-by is sensitivity there, dice now" in text
    code, text = command("--losses", "focal:gamma=1|3,dice_ce", "--tune-by", "sensitivity")
    assert code == 0, text
    assert "0 are left" in text


def test_wrong_commands_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for arguments, sentence in (
        (["--epochs", "1", "--budget", "2"], "give one of them"),
        (["--losses", "dice", "--baseline", "focal"], "--baseline: focal is none of dice"),
        (["--seeds", "0,0"], "expected different numbers"),
        (["--losses", "nosuch"], "nosuch"),
        (["-m", "hausdorff96"], "hausdorff95"),
    ):
        done = CliRunner().invoke(main, ["study", str(LESIONS), "-o", str(out), *arguments])
        assert done.exit_code == 2, done.output
        assert sentence in " ".join(done.output.split())
        assert not out.exists()
