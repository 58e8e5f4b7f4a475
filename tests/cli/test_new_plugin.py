"""``medloss new-plugin``: what it writes, and what it refuses. What the plugin does: tests/docs."""

from __future__ import annotations

import os
import shlex
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from medloss.cli import main
from medloss.workbench.new_plugin import TEMPLATE


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["new-plugin", *arguments])


def test_everything_is_written_under_the_new_name(tmp_path: Path) -> None:
    done = run("medloss-my-lab", "--out", str(tmp_path / "new"))
    assert done.exit_code == 0, done.output
    assert "medloss check" in done.output
    written = [each for each in (tmp_path / "new").rglob("*") if each.is_file()]
    caches = ("__pycache__", ".pytest_cache", ".ruff_cache")
    here = [e for e in TEMPLATE.rglob("*") if e.is_file() and not {*e.parts} & {*caches}]
    assert len(written) == len(here)
    for path in written:
        assert "specimen" not in (str(path) + path.read_text()).lower()
    told = tomllib.loads((tmp_path / "new" / "medloss-my-lab" / "pyproject.toml").read_text())
    assert told["project"]["name"] == "medloss-my-lab"
    assert told["project"]["entry-points"]["medloss"] == {"my_lab": "medloss_my_lab"}


@pytest.mark.skipif(os.name != "posix", reason="quotes are those of POSIX shells")
def test_the_commands_that_are_told_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "two words"
    lines = run("medloss-mylab", "--out", str(folder)).output.splitlines()
    told = [shlex.split(line) for line in lines]
    assert ["To", "use", "it:", "pip", "install", "-e", str(folder / "medloss-mylab")] in told


REFUSED = {
    "Medloss-Lab": "expected small letters",
    "../up": "expected small letters",
    "medloss": "cannot be the name",
    "medloss-": "expected small letters",
    "medloss-3d": "must begin with a letter",
    "class": "cannot be the name",
    "json": "there is a Python module 'json'",
    "numpy": "there is a Python module 'numpy'",
    "generalized": "'generalized_dice' is offered by plugin 'region' of medloss",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_cannot_be_used_is_refused(tmp_path: Path, name: str) -> None:
    done = run(name, "--out", str(tmp_path / "new"))
    assert done.exit_code == 2
    assert REFUSED[name] in done.output
    assert not (tmp_path / "new").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    kept = tmp_path / "medloss-mylab" / "work.py"
    kept.parent.mkdir()
    kept.write_text("mine")
    done = run("medloss-mylab", "--out", str(tmp_path))
    assert done.exit_code == 2
    assert "exists already; nothing was written" in done.output
    assert [*kept.parent.iterdir()] == [kept]
    assert kept.read_text() == "mine"
