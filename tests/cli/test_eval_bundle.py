"""``medloss eval --bundle``: predicted, scored and written in one command."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from integrations.bundle_folder import Folder, write_bundle

from medloss.cli.eval import eval_command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return write_bundle(tmp_path / "tiny")


def run(*words: str) -> Result:
    result = CliRunner().invoke(eval_command, ["--bundle", "tiny", "-m", "dice", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open() as file:
        return [
            {key: row[key] for key in ("case", "label", "metric", "value")}
            for row in csv.DictReader(file)
        ]


def test_the_tables_are_those_of_the_written_predictions(folder: Folder) -> None:
    found = run("--loss", "dice_ce", "--output", "out", "--no-report")
    assert found.exit_code == 0, found.output
    assert "2 of 2 cases scored" in found.stdout
    words = ["out/predictions", "tiny/data/labels", "-m", "dice", "--csv", "from_files.csv"]
    assert CliRunner().invoke(eval_command, words).exit_code == 0
    ours = rows("out/cases.csv")
    assert [row for row in ours if row["metric"] == "dice"] == rows("from_files.csv")
    assert [row["case"] for row in ours if row["metric"] == "dice_ce_loss"] == ["a", "b"]
    settings = json.loads(Path("out/summary.json").read_text())["settings"]
    assert settings["source"]["bundle"] == "tiny"
    assert len(settings["source"]["checkpoint_sha256"]) == 64


def test_an_interrupted_study_goes_on_with_the_same_weights_only(folder: Folder) -> None:
    label = folder.root / "data" / "labels" / "b.nii.gz"
    label.rename(folder.root / "b.nii.gz")
    assert run("--output", "out", "--no-report").exit_code == 1
    made = Path("out/predictions/a.nii.gz").stat().st_mtime_ns
    (folder.root / "b.nii.gz").rename(label)
    again = run("--output", "out", "--no-report", "--resume")
    assert again.exit_code == 0, again.output
    assert "1 of 2 cases were scored before" in again.stderr
    assert Path("out/predictions/a.nii.gz").stat().st_mtime_ns == made
    image = folder.root / "data" / "images" / "a.nii.gz"
    image.write_bytes(image.read_bytes())
    changed = run("--output", "out", "--no-report", "--resume")
    assert "files of 1 others have changed" in changed.stderr, changed.stderr
    config = folder.root / "configs" / "inference.json"
    before = config.read_text()
    config.write_text(before.replace("[1.0, 1.0, 1.0]", "[2.0, 1.0, 1.0]"))
    assert config.read_text() != before
    edited = run("--output", "out", "--no-report", "--resume")
    assert edited.exit_code == 2
    assert "holds a study with another source" in edited.stderr
    config.write_text(before)
    folder.train()
    content = (folder.root / "models" / "model.pt").read_bytes()
    (folder.root / "models" / "model.pt").write_bytes(content + b"\0")
    other = run("--output", "out", "--no-report", "--resume")
    assert other.exit_code == 2
    assert "holds a study with another source" in other.stderr


@pytest.mark.usefixtures("folder")
def test_references_and_overrides_are_taken_from_the_command(tmp_path: Path) -> None:
    (tmp_path / "tiny" / "data" / "labels").rename(tmp_path / "truth")
    (tmp_path / "tiny" / "data").rename(tmp_path / "scans")
    found = run("truth", "--override", "dataset_dir=scans", "--override", "inferer#overlap=0.25")
    assert found.exit_code == 0, found.output
    assert "2 of 2 cases scored" in found.stdout


REFUSED: dict[str, tuple[list[str], str]] = {
    "two folders": (["a", "b"], "--bundle predicts: give REF alone"),
    "no folder of references": (["nowhere"], "nowhere is no folder of references"),
    "manifest": (["--manifest", "m.csv"], "--manifest names predictions"),
    "workers": (["--workers", "2"], "--bundle predicts in this process"),
    "override": (["--override", "dataset_dir"], "'dataset_dir' is not of the form ID=VALUE"),
    "weights": (["--checkpoint", "no.pt"], "no.pt does not exist"),
    "loss": (["--loss", "lovasz_softmax"], "lovasz_softmax_loss: LovaszSoftmaxLoss"),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_command_is_refused_in_a_sentence(words: list[str], message: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize("words", [["--checkpoint", "x.pt"], ["--override", "a=1"]])
def test_its_options_mean_nothing_without_it(words: list[str], tmp_path: Any) -> None:
    result = CliRunner().invoke(eval_command, [str(tmp_path), str(tmp_path), *words])
    assert result.exit_code == 2
    assert f"{words[0]} belongs to --bundle" in result.stderr
