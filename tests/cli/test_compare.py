from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result
from html_pages import check_page
from study_folders import write_folder

from medloss.cli import main
from medloss.cli.compare import compare_command
from medloss.cli.report import report_command

HOSTILE = """<script>alert('x')</script>"&'[bold]><img src=x onerror=alert(1)>{{ 7*7 }}"""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs on twelve cases; better ones have larger names."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for index, name in enumerate(("one", "two", "three")):
        values = {
            f"case{i:02}": {
                ("1", "dice"): 0.5 + 0.1 * index + 0.2 * float(rng.random()),
                ("1", "hausdorff95"): 9.0 - index + float(rng.random()),
                ("2", "dice"): (0.0, "missed") if i == index else 0.7 + 0.01 * i,
                ("2", "hausdorff95"): (math.nan, "missed") if i == index else 1.0,
            }
            for i in range(12)
        }
        write_folder(tmp_path / name, values, names={"1": "liver", "2": "tumour"})
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(compare_command, [str(argument) for argument in arguments])


def test_three_runs(folders):
    result = run("one", "two", "three", "--csv", "o.csv", "--json", "o.json", "--html", "o.html")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "3 runs on 12 cases" in result.stdout
    assert "Wrote o.csv and o.json and o.html." in result.stdout
    assert "all tests here (--primary names" in " ".join(result.stdout.split())
    lines = [line.split() for line in result.stdout.splitlines()]
    ranking = [line[1] for line in lines if len(line) == 4 and line[0] in "123"]
    assert ranking == ["three", "two", "one"]
    with (folders / "o.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    first = rows[0]
    assert (first["label"], first["name"], first["metric"]) == ("1", "liver", "dice")
    assert (first["first"], first["second"], first["favours"]) == ("one", "two", "two")
    assert int(first["second_better"]) + int(first["equal"]) + int(first["first_better"]) == 12
    content = json.loads((folders / "o.json").read_text())
    told = content["differences"][0]
    assert told["difference"] == float(first["difference"])
    assert sum(told["by_case"].values()) / 12 == pytest.approx(told["difference"])
    assert content["rankings"][0]["metric"] is None
    assert [r["place"] for r in content["rankings"][0]["runs"]] == [3, 2, 1]
    missing = [d for d in content["differences"] if (d["label"], d["metric"])[0] == "2"]
    distance = next(d for d in missing if d["metric"] == "hausdorff95")
    assert (distance["n"], distance["unpaired_first"], distance["unpaired_second"]) == (12, 1, 1)
    assert distance["by_case"]["case00"] == pytest.approx(1 - math.hypot(8, 8, 16))
    assert distance["complete_cases"]["n"] == 10
    page = check_page(folders / "o.html")
    assert "three" in page.text
    assert page.count("svg", role="img") == 2 * 2 + 3
    assert page.count("tr") == 1 + 3 + 1 + 12 + 1 + 4


def test_the_files_are_the_same_every_time(folders):
    contents = []
    for _ in range(2):
        run("one", "two", "--csv", "o.csv", "--json", "o.json", "--html", "o.html", "--force")
        contents.append([(folders / f"o.{kind}").read_bytes() for kind in ("csv", "json", "html")])
    assert contents[0] == contents[1]


def test_a_lot_of_pairs_and_narrow_terminals(folders, monkeypatch):
    for width in ("40", "80", "200"):
        monkeypatch.setenv("COLUMNS", width)
        result = run("one", "two")
        assert result.exit_code == 0
        assert "p (Holm)" in result.stdout


def test_names_and_metrics(folders):
    result = run("one", "two", "--name", "A", "--name", "B", "-m", "dice", "--json", "o.json")
    assert result.exit_code == 0, result.output
    content = json.loads((folders / "o.json").read_text())
    assert [each["name"] for each in content["runs"]] == ["A", "B"]
    assert {each["metric"] for each in content["differences"]} == {"dice"}


def test_names_from_outside_are_text_and_nothing_else(tmp_path):
    values = {f"case{HOSTILE}": {(HOSTILE, HOSTILE): 0.5}, "x": {(HOSTILE, HOSTILE): 0.25}}
    for name in ("a", "b"):
        write_folder(
            tmp_path / name,
            values,
            metrics={HOSTILE: (f"unit{HOSTILE}", "lower")},
            settings={"command": f"command {HOSTILE}", "preset": f"preset{HOSTILE}"},
        )
    names = ("--name", f"A{HOSTILE}", "--name", f"B{HOSTILE}")
    page = tmp_path / "o.html"
    result = run(tmp_path / "a", tmp_path / "b", *names, "--html", page)
    assert result.exit_code == 0, result.output
    assert "[bold]" in result.stdout
    found = check_page(page)
    for word in ("A", "B", "unit", "command ", "preset"):
        assert " ".join(f"{word}{HOSTILE}".split()) in found.text, word
    assert "<script>alert" not in found.source


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected at least 2 folders, got 0"),
        (["one"], "expected at least 2 folders, got 1"),
        (["one", "one"], "a folder is given twice"),
        (["one", "gone"], "gone is no folder"),
        (["one", "."], "has no summary.json"),
        (["one", "two", "--name", "a"], "expected 2 different names"),
        (["one", "two", "--name", "a", "--name", "a"], "expected 2 different names"),
        (["one", "two", "-m", "nsd"], "one has no metric 'nsd'"),
        (["one", "two", "--csv", "x", "--html", "x"], "two outputs name the same file"),
        (["one", "two", "--csv", "kept"], "kept exists; --force overwrites it"),
        (["one", "two", "--resamples", "3"], "3 is not in the range"),
    ],
)
def test_wrong_commands_end_with_2_and_one_sentence(folders, arguments, words):
    (folders / "kept").write_text("precious")
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert (folders / "kept").read_text() == "precious"


def test_runs_that_differ_are_refused_unless_told(folders):
    path = folders / "two" / "summary.json"
    content = json.loads(path.read_text())
    content["settings"]["preset"] = "exact"
    path.write_text(json.dumps(content))
    result = run("one", "two")
    assert result.exit_code == 2
    assert "preset differs: deepmind in one, exact in two" in result.stderr
    result = run("one", "two", "--allow-different-definitions", "--html", "o.html")
    assert result.exit_code == 0
    assert "Note: preset differs: deepmind in one, exact in two." in result.stdout
    assert "preset differs: deepmind in one" in check_page(folders / "o.html").text


def test_the_help_needs_no_numpy():
    code = (
        "import sys, medloss.cli.compare, medloss.cli.report\n"
        "print({'numpy', 'jinja2', 'torch'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_report_writes_the_page_again(folders):
    runner = CliRunner()
    result = runner.invoke(main, ["report", "one"])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Wrote {Path('one/report.html')}.\n"
    assert "12" in check_page(folders / "one" / "report.html").text
    result = runner.invoke(report_command, ["one", "--no-pictures"])
    assert "#pictures" not in (folders / "one" / "report.html").read_text()
    result = runner.invoke(report_command, ["gone"])
    assert result.exit_code == 2
    assert "gone is no folder" in result.stderr


def test_neither_torch_nor_monai_is_imported(folders):
    code = (
        "import sys\n"
        "from medloss.cli.compare import compare_command\n"
        "from medloss.cli.report import report_command\n"
        "compare_command(['one', 'two', '--html', 'o.html'], standalone_mode=False)\n"
        "report_command(['one'], standalone_mode=False)\n"
        "print(sorted({'torch', 'monai', 'matplotlib', 'pandas'} & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folders
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_from_images_to_a_comparison(tmp_path, monkeypatch):
    """What 'medloss eval --output' writes, with regions and an ignored label, is what is read."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    reference = np.zeros((12, 12, 8), dtype=np.uint8)
    reference[2:9, 2:9, 2:6], reference[4:6, 4:6, 3:5], reference[0] = 1, 2, 9
    for side in ("ref", "one", "two"):
        (tmp_path / side).mkdir()
    for case in ("a", "b", "c"):
        save(tmp_path / "ref" / f"{case}.nii.gz", reference)
        for side, shift in (("one", 2), ("two", 1)):
            found = np.roll(np.where(reference == 9, 0, reference), shift, axis=1)
            found[0] = rng.integers(0, 3, found[0].shape)  # where nothing counts
            save(tmp_path / side / f"{case}.nii.gz", found.astype(np.uint8))
    for side in ("one", "two"):
        result = CliRunner().invoke(
            main,
            [
                *("eval", side, "ref", "--output", f"out_{side}", "--ignore-label", "9"),
                *("--labels", "whole=1+2,2", "-m", "dice", "-m", "hausdorff95"),
            ],
        )
        assert result.exit_code == 0, result.output
        page = check_page(tmp_path / f"out_{side}" / "report.html")
        assert "No picture" not in page.text
        assert page.count("g") == 3 * 6  # planes of all cases of both labels
        assert "whole: labels 1, 2." in page.text
        assert "Voxels with label 9 in the reference do not count" in page.text
    result = run("out_one", "out_two", "--json", "o.json")
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "o.json").read_text())
    whole = content["differences"][0]
    assert (whole["label"], whole["metric"], whole["n"]) == ("whole", "dice", 3)
    assert whole["difference"] == pytest.approx(6 / 7 - 5 / 7)
    assert [each["place"] for each in content["rankings"][0]["runs"]] == [2, 1]


def save(path: Path, array: np.ndarray) -> None:
    image = nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0]), dtype=np.uint8)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
