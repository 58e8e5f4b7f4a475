"""``medloss demo``: what it runs, and what it refuses. Trainings of its bundle: tests/bundles."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from medloss.cli import main
from medloss.workbench import demo


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Path]]:
    """The commands that would run, each with its folder."""
    commands = []

    def run(command: list[str], cwd: Path, **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append((command, cwd))
        code = 3 if "configs/fails.json" in command else 0
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(demo.subprocess, "run", run)
    return commands


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["demo", *arguments])


def test_it_trains_infers_and_scores_in_one_folder(ran: Any, tmp_path: Path) -> None:
    done = run("--output", str(tmp_path / "new"), "--epochs", "2")
    assert done.exit_code == 0, done.output
    train, infer, score = (command for command, _ in ran)
    assert {folder for _, folder in ran} == {demo.demo_bundle()}
    assert (demo.demo_bundle() / "configs" / "train.json").is_file()
    assert train[-2:] == ["--epochs", "2"]
    assert f"{tmp_path / 'new' / 'models'}" in train
    assert f"{tmp_path / 'new' / 'predictions'}" in infer
    assert f"{tmp_path / 'new' / 'predictions'}" in score
    assert "report.html" in done.output


def test_a_step_that_fails_ends_it(
    ran: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = {"first": ["a"], "second": ["configs/fails.json"], "third": ["c"]}
    monkeypatch.setattr(demo, "demo_steps", lambda output, epochs: steps)
    done = run("--output", str(tmp_path / "new"))
    assert done.exit_code == 1
    assert "exit code 3: configs/fails.json" in done.output
    assert [command for command, _ in ran] == [["a"], ["configs/fails.json"]]


def test_nothing_of_others_is_touched(ran: Any, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    done = run("--output", str(tmp_path))
    assert done.exit_code == 2
    assert "--force to run the demo again" in done.output
    assert run("--output", str(tmp_path), "--force").exit_code == 0
    (tmp_path / "thesis.tex").touch()
    done = run("--output", str(tmp_path), "--force")
    assert done.exit_code == 2
    assert "holds models, thesis.tex; name a new folder" in done.output
    assert run("--output", str(tmp_path / "thesis.tex")).exit_code == 2


def test_what_is_missing_is_named_with_its_extra(
    ran: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "nilearn" else object())
    done = run("--output", str(tmp_path / "new"))
    assert done.exit_code == 2
    assert "needs nilearn: pip install 'medloss[demo]'" in done.output
    assert not ran
