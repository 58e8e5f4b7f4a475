"""The code of the tutorials is that of the files beside them, and prints what the pages say."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from medloss.cli import main

DOCS = Path(__file__).parents[2] / "docs"
SCRIPTS = DOCS / "examples"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def lines(code: str) -> list[str]:
    return [line for line in code.splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("page", "script"),
    [
        ("tutorial-training.md", "tutorial_training.py"),
        ("tutorial-compare.md", "tutorial_compare.py"),
    ],
)
def test_the_page_has_the_code_of_the_file(page: str, script: str) -> None:
    docstring, *code = lines((SCRIPTS / script).read_text(encoding="utf-8"))
    assert page in docstring
    assert lines("\n".join(blocks(page, "python"))) == code


def run(script: str, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_training_learns_and_ramps(tmp_path: Path) -> None:
    printed = run("tutorial_training.py", "out", "5", cwd=tmp_path)
    found = re.fullmatch(r"Dice ([\d.]+), HD95 ([\d.]+) mm\n", printed)
    assert found, printed
    assert float(found[1]) > 0.7
    with (tmp_path / "out" / "terms.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["boundary/weight"]) for row in rows] == pytest.approx(
        [0, 0.02, 0.04, 0.06, 0.08]
    )
    assert float(rows[-1]["dice/organ"]) < float(rows[0]["dice/organ"])
    assert list((tmp_path / "out" / "tensorboard").glob("events*"))
    assert (tmp_path / "out" / "checkpoint.pt").exists()


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_the_comparison_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    run("tutorial_compare.py", cwd=tmp_path)
    printed = ""
    for command in "".join(blocks("tutorial-compare.md", "bash")).splitlines():
        result = CliRunner().invoke(main, shlex.split(command.removeprefix("medloss ")))
        assert result.exit_code == 0, result.output
        printed += result.stdout
    printed = squeezed(printed + (tmp_path / "methods.md").read_text(encoding="utf-8"))
    said = [
        part for text in blocks("tutorial-compare.md", "text") for part in text.split("\n...\n")
    ]
    assert len(said) == 6
    for part in said[:1] + said[2:]:
        assert squeezed(part).strip() in printed, part
    for row in lines(said[1]):  # two rows of one table, with others between
        assert squeezed(row).strip() in printed, row
    assert (tmp_path / "a" / "report.html").exists()
    assert (tmp_path / "compare.html").exists()
