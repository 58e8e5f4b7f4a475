"""The code of the tutorials is that of the files beside them, and prints what the pages say."""

from __future__ import annotations

import csv
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from monai.bundle import ConfigParser

from medloss.cli import main
from medloss.offers.folders import as_if_installed
from medloss.offers.host import Offer, host
from medloss.testing import contract_checks
from medloss.testing.running import Outcome

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
    printed = run("tutorial_training.py", "out", "4", cwd=tmp_path)
    found = re.fullmatch(r"Dice ([\d.]+), HD95 ([\d.]+) mm\n", printed)
    assert found, printed
    assert float(found[1]) > 0.7
    with (tmp_path / "out" / "terms.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["boundary/weight"]) for row in rows] == pytest.approx([0, 0.025, 0.05, 0.075])
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


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    """The package of the page, as if installed."""
    result = CliRunner().invoke(main, ["new-plugin", "medloss-mylab", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    folder = tmp_path / "medloss-mylab"
    text = (DOCS / "tutorial-plugin.md").read_text(encoding="utf-8")
    for name, code in re.findall(r"```python\n# (\S+)\n(.*?)```", text, re.DOTALL):
        assert (tmp_path / name).exists(), name
        (tmp_path / name).write_text(code, encoding="utf-8")
    with as_if_installed(folder):
        yield folder
    for module in [name for name in sys.modules if name.startswith("medloss_mylab")]:
        del sys.modules[module]


CHECKS = ("card_example_is_true", "value_and_gradient_are_finite", "nothing_left_gives_zero")


def test_the_plugin_meets_its_values_its_checks_and_a_bundle(plugin: Path) -> None:
    tests = runpy.run_path(str(plugin / "tests" / "test_values.py"))
    tests["test_the_loss_is_the_logarithm_of_dice"]()
    tests["test_the_metric_weighs_misses"]()

    page = (DOCS / "tutorial-plugin.md").read_text(encoding="utf-8")
    assert "`-(2 * s.tp / (s.p + s.t)).log()`" in page
    naive = plugin / "medloss_mylab" / "naive.py"
    mended = naive.with_name("losses.py").read_text(encoding="utf-8")
    as_printed = "return -(2 * s.tp / (s.p + s.t)).log()"
    naive.write_text(re.sub(r"return -\(.*", as_printed, mended), encoding="utf-8")
    (made,) = host().find("log_dice", "loss")
    other = Offer(replace(made.record, target="medloss_mylab.naive:LogDiceLoss"), made.plugin)

    def outcomes(offer: Offer[Any]) -> list[Outcome]:
        checks = contract_checks(offer, seconds=0)
        return [check.outcome() for check in checks if check.check.name in CHECKS]

    assert [found.verdict for found in outcomes(made)] == ["passed"] * 3
    failed = [found for found in outcomes(other) if found.verdict == "failed"]
    assert len(failed) == 2
    for found in failed:
        assert f"{found.check}: {found.message}" in page

    (block,) = blocks("tutorial-plugin.md", "json")
    parser = ConfigParser(json.loads("{" + block + "}"))
    assert type(parser.get_parsed_content("loss")) is made.load()
