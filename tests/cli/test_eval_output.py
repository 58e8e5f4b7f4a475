from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result

from medloss.cli.eval import eval_command


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Path:
    """Three cases: a perfect one, one that misses label 2, one that is moved."""
    monkeypatch.chdir(tmp_path)
    reference = np.zeros((12, 12, 12), np.uint8)
    reference[2:6, 2:6, 2:6] = 1
    reference[7:10, 7:10, 7:10] = 2
    predictions = {
        "a": reference,
        "b": np.where(reference == 2, 0, reference),
        "c": np.roll(reference, 1, axis=0),
    }
    for name, prediction in predictions.items():
        for side, array in (("pred", prediction), ("ref", reference)):
            (tmp_path / side).mkdir(exist_ok=True)
            image = nibabel.Nifti1Image(array, np.diag([1, 2, 3, 1]))
            nibabel.save(image, tmp_path / side / f"{name}.nii.gz")
    return tmp_path


@pytest.fixture
def damaged(folders) -> Path:
    for side in ("pred", "ref"):
        (folders / side / "d.nii.gz").write_bytes(b"")
    return folders


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(eval_command, [str(argument) for argument in arguments])


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("cases.csv", "summary.json")}


def test_everything_in_one_folder(damaged):
    result = run("pred", "ref", "--labels", "1=liver,2", "--output", "out", "--no-report")
    assert result.exit_code == 1
    assert (
        "Wrote out/cases.csv, out/summary.json, out/methods.md and out/methods.tex."
        in result.stdout
    )
    lines = read_csv(damaged / "out" / "cases.csv")
    assert len(lines) == 3 * 2 * 6 + 1
    assert (lines[-1]["case"], lines[-1]["status"]) == ("d", "failed")
    assert lines == sorted(lines, key=lambda line: line["case"])
    found = json.loads((damaged / "out" / "summary.json").read_text())
    (dice,) = [s for s in found["summary"] if (s["label"], s["metric"]) == (1, "dice")]
    assert dice["n"] == 3
    assert dice["q1"] <= dice["median"] <= dice["q3"]
    assert dice["ci_low"] <= dice["mean"] <= dice["ci_high"]
    settings = found["settings"]
    assert settings["bootstrap"] == {"resamples": 2000, "seed": 0, "level": 0.95}
    assert settings["command"] == "medloss eval pred ref --labels 1=liver,2"
    assert settings["versions"]["numpy"] == np.__version__


def test_the_report_is_written_unless_told(folders):
    pytest.importorskip("jinja2")
    result = run("pred", "ref", "--output", "out")
    assert result.exit_code == 0, result.output
    assert "out/report.html" in result.stdout
    assert (folders / "out" / "report.html").stat().st_size > 1000


def test_the_keys_of_nnunet(damaged):
    run("pred", "ref", "--output", "out", "--no-report", "--both-empty", "perfect")
    found = json.loads((damaged / "out" / "summary.json").read_text())
    a, b, c = found["metric_per_case"]
    assert Path(a["reference_file"]).name == "a.nii.gz"
    counts = {"FP": 0, "TP": 64, "FN": 0, "TN": 12**3 - 64, "n_pred": 64, "n_ref": 64}
    assert a["metrics"]["1"] == {"Dice": 1.0, "IoU": 1.0, **counts}
    assert b["metrics"]["2"]["Dice"] == 0
    assert c["metrics"]["1"]["Dice"] == 0.75
    mean = found["mean"]
    assert mean["1"]["Dice"] == pytest.approx((1 + 1 + 0.75) / 3)
    assert mean["2"]["FN"] == pytest.approx((0 + 27 + 9) / 3)
    both = (mean["1"]["Dice"] + mean["2"]["Dice"]) / 2
    assert found["foreground_mean"]["Dice"] == pytest.approx(both)


def test_a_label_of_no_file_has_no_dice_as_in_nnunet(folders):
    run("pred", "ref", "--labels", "1,9", "--output", "out", "--no-report")
    found = json.loads((folders / "out" / "summary.json").read_text())
    assert found["metric_per_case"][0]["metrics"]["9"]["Dice"] is None
    assert found["metric_per_case"][0]["metrics"]["9"]["TN"] == 12**3
    assert found["mean"]["9"]["Dice"] is None
    assert found["foreground_mean"]["Dice"] is None


@pytest.mark.parametrize("how", [("--workers", "1"), ("--workers", "2"), ("--workers", "3")])
def test_the_bytes_do_not_depend_on_the_workers(damaged, how):
    run("pred", "ref", "--output", "one", "--no-report")
    result = run("pred", "ref", "--output", "other", "--no-report", *how)
    assert result.exit_code == 1
    assert content(damaged / "one") == content(damaged / "other")


def test_resume_keeps_what_is_done_and_gives_the_same_bytes(damaged):
    arguments = ("pred", "ref", "--no-report", "--output")
    run(*arguments, "whole")
    run(*arguments, "torn")
    journal = damaged / "torn" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    (damaged / "torn" / "cases.csv").unlink()
    result = run(*arguments, "torn", "--resume")
    assert "2 of 4 cases were scored before." in result.stderr
    assert content(damaged / "whole") == content(damaged / "torn")


def test_resume_begins_where_nothing_is(folders):
    result = run("pred", "ref", "--output", "out", "--no-report", "--resume")
    assert result.exit_code == 0
    assert result.stderr == ""


def test_a_changed_file_is_scored_anew(folders):
    arguments = ("pred", "ref", "-m", "dice", "--output", "out", "--no-report")
    run(*arguments)
    (folders / "pred" / "b.nii.gz").write_bytes((folders / "ref" / "b.nii.gz").read_bytes())
    result = run(*arguments, "--resume")
    assert "2 of 3 cases were scored before; files of 1 others have changed" in result.stderr
    lines = read_csv(folders / "out" / "cases.csv")
    assert {line["value"] for line in lines if line["case"] == "b"} == {"1.0"}


def test_a_folder_is_not_overwritten_by_accident(folders):
    arguments = ("pred", "ref", "--output", "out", "--no-report")
    run(*arguments, "--error-maps")
    before = content(folders / "out")
    (folders / "out" / "mine.txt").write_text("keep")
    again = run(*arguments)
    assert again.exit_code == 2
    assert "out is not empty; --resume goes on with it, --force begins anew" in again.stderr
    assert run(*arguments, "--resume", "--force").exit_code == 2
    other = run(*arguments, "--resume", "--preset", "monai")
    assert other.exit_code == 2
    assert "another" in other.stderr
    assert content(folders / "out") == before
    assert run(*arguments, "--force", "--preset", "monai").exit_code == 0
    assert content(folders / "out") != before
    assert (folders / "out" / "mine.txt").read_text() == "keep"
    assert not list((folders / "out" / "error_maps").iterdir())


def test_a_folder_of_something_else_is_not_resumed(folders):
    result = run("pred", "ref", "--output", "ref", "--resume")
    assert result.exit_code == 2
    assert "holds no journal.jsonl" in result.stderr


def test_lost_error_maps_are_made_again(folders):
    arguments = ("pred", "ref", "--output", "out", "--no-report", "--error-maps")
    run(*arguments)
    maps = folders / "out" / "error_maps"
    assert len(list(maps.iterdir())) == 6
    (maps / "b_errors.nii.gz").unlink()
    result = run(*arguments, "--resume")
    assert "2 of 3 cases were scored before" in result.stderr
    assert len(list(maps.iterdir())) == 6


def test_tables_on_request(folders):
    labels = '{"liver_&_<b>|": 1}'
    (folders / "labels.json").write_text(labels)
    result = run(
        *("pred", "ref", "--labels", "labels.json", "-m", "dice", "-m", "hausdorff95"),
        *("--output", "out", "--no-report", "--table", "latex", "--table", "markdown"),
    )
    assert result.exit_code == 0, result.output
    latex = (folders / "out" / "summary.tex").read_text()
    assert r"dice & 1 liver\_\&\_\textless{}b\textgreater{}| & 3 & 0.9167 & " in latex
    assert latex.count(r"\\") == 3
    markdown = (folders / "out" / "summary.md").read_text()
    assert r"| dice | 1 liver\_\&\_\<b\>\| | 3 | 0.9167 | " in markdown
    cells = [line.replace(r"\|", "").count("|") for line in markdown.splitlines()[:4]]
    assert cells == [10] * 4


def test_parquet_has_the_rows_of_the_csv_file(damaged):
    parquet = pytest.importorskip("pyarrow.parquet")
    run("pred", "ref", "--output", "out", "--no-report", "--table", "parquet")
    found = parquet.read_table(damaged / "out" / "cases.parquet").to_pylist()
    lines = read_csv(damaged / "out" / "cases.csv")
    assert [{**line, "value": None} for line in found] == [{**x, "value": None} for x in lines]
    values = ["" if line["value"] is None else repr(line["value"]) for line in found]
    assert values == [line["value"] for line in lines]


def test_definitions_side_by_side(damaged):
    arguments = ("pred", "ref", "--labels", "1,2", "-m", "dice", "-m", "hausdorff95")
    result = run(*arguments, "--compare-definitions", "--output", "out", "--no-report")
    assert "Means by each definition:" in result.stdout
    lines = read_csv(damaged / "out" / "definitions.csv")
    for preset in (
        "deepmind",
        "exact",
        "monai",
        "medpy",
        "metricsreloaded",
        "brats2023",
        "brats2026",
    ):
        assert run(*arguments, "--preset", preset, "--csv", f"{preset}.csv").exit_code == 1
        alone = read_csv(damaged / f"{preset}.csv")
        assert [line for line in lines if line["preset"] == preset] == alone
    assert "brats2023: missed or spurious: distance counts as 374 mm" in result.stdout
    assert "374" in (damaged / "out" / "definitions.md").read_text()


def test_a_label_that_one_case_lacks_is_in_every_definition(folders):
    for side in ("pred", "ref"):
        image = nibabel.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4))
        nibabel.save(image, folders / side / "e.nii.gz")
    run("pred", "ref", "-m", "hausdorff95", "--output", "o", "--no-report", "--compare-definitions")
    lines = read_csv(folders / "o" / "definitions.csv")
    assert len(lines) == 8 * 4 * 2  # neither BraTS with its errors nor other ways to the exact one
    last = {x["preset"]: x["value"] for x in lines if (x["case"], x["label"]) == ("e", "2")}
    assert last["monai"] == "nan"
    assert last["brats2023"] == "0.0"
    mean = json.loads((folders / "o" / "summary.json").read_text())["mean"]["2"]
    assert mean["Dice"] == pytest.approx((1 + 0 + 36 / 54) / 3)  # as numpy's nanmean
    assert mean["n_ref"] == 27 * 3 / 4


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--fail-under", "dice=0.7"), 0),
        (("--fail-under", "dice=0.99"), 3),
        (("--fail-under", "dice[1]=0.9"), 0),
        (("--fail-under", "dice[1]=0.9", "--fail-under", "dice[2]=0.9"), 3),
        (("--fail-over", "hausdorff95[1]=1"), 0),
        (("--fail-over", "hausdorff95=1"), 3),
        (("--fail-over", "dice=1"), 2),
    ],
)
def test_pipelines_can_fail(folders, options, code):
    result = run("pred", "ref", "-m", "dice", "-m", "hausdorff95", *options)
    assert result.exit_code == code, result.output
    assert ("Not good enough: " in result.stderr) == (code == 3)


def test_a_failed_case_is_said_before_a_bad_mean(damaged):
    result = run("pred", "ref", "-m", "dice", "--fail-under", "dice=0.99")
    assert result.exit_code == 1
    assert "Not good enough: dice" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--resume",), "--resume needs --output DIR"),
        (("--table", "latex"), "--table needs --output DIR"),
        (("--error-maps",), "--error-maps needs --output DIR"),
        (("--no-report",), "--no-report needs --output DIR"),
        (("--workers", "0"), "--workers"),
        (("--workers", "2", "--scheduler", "tcp://a:1"), "drop --workers"),
        (("--output", "pred/a.nii.gz"), "is a file"),
        (("--output", "no/where"), "no is no folder to make where in"),
    ],
)
def test_wrong_commands_do_nothing(folders, options, message):
    result = run("pred", "ref", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert sorted(path.name for path in folders.iterdir()) == ["pred", "ref"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_keeps_what_is_done(tmp_path, monkeypatch, workers):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for side in ("pred", "ref"):
        (tmp_path / side).mkdir()
        noise = nibabel.Nifti1Image(rng.integers(0, 5, (32, 32, 32), dtype=np.uint8), np.eye(4))
        for n in range(40):
            nibabel.save(noise, tmp_path / side / f"c{n:02}.nii")
    arguments = ["pred", "ref", "-m", "hausdorff95", "--no-report", "--output"]
    process = subprocess.Popen(
        [sys.executable, "-m", "medloss", "eval", *arguments, "out", "--workers", workers],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    journal = tmp_path / "out" / "journal.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 4:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not (tmp_path / "out" / "cases.csv").exists()
    done = journal.read_bytes().count(b"\n") - 1
    assert 3 <= done < 40
    assert f"{done} of 40 cases are scored and kept" in said
    assert "The same command with --resume goes on with out." in said
    resumed = run(*arguments, "out", "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert f"{done} of 40 cases were scored before." in resumed.stderr
    run(*arguments, "whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
