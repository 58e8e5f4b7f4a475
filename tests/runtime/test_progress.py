"""How far work has come: who tells it, and when it is shown."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from medloss.cli import main, terminal
from medloss.evaluation.compare.ranking import drawn_weights
from medloss.evaluation.outputs.statistics import Bootstrap
from medloss.runtime import progress
from medloss.runtime.progress import heard_by, tracked, work


class Heard:
    """Notes everything."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def begin(self, what: str, total: int | None) -> int:
        self.notes.append((what, total))
        return len(self.notes)

    def update(
        self, number: int, *, steps: int = 0, what: str | None = None, total: int | None = None
    ) -> None:
        self.notes.append(steps or what or total)

    def end(self, number: int) -> None:
        self.notes.append("end")


def test_work_is_told_to_who_listens_and_to_nobody_else() -> None:
    heard = Heard()
    with heard_by(heard):
        assert list(tracked("ab", "letters")) == ["a", "b"]
        with work("cases") as cases:
            cases.expects(7)
            cases.says("one")
            cases.step()
        with pytest.raises(ZeroDivisionError), work("wrong", 1):
            1 / 0  # noqa: B018
    assert list(tracked("ab", "letters")) == ["a", "b"]
    letters = [("letters", 2), 1, 1, "end"]
    assert heard.notes == [*letters, ("cases", None), 7, "one", 1, "end", ("wrong", 1), "end"]


def test_resamples_of_a_comparison_are_told() -> None:
    heard = Heard()
    with heard_by(heard):
        blocks = list(drawn_weights(np.arange(3000), Bootstrap(2000, 0)))
    assert heard.notes == [("resamples", len(blocks)), *[1] * len(blocks), "end"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in ("CI", terminal.QUIET, "TERM"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def shown() -> bool:
    with terminal.progress_shown():
        return progress._listener.get() is not None


def test_bars_are_on_terminals_alone(
    on_a_terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", on_a_terminal)  # pytest has its own until here
    with terminal.progress_shown():
        for _ in tracked([1, 2, 3], "numbers"):
            time.sleep(0.15)  # longer than bars are drawn again
    assert "numbers" in on_a_terminal.getvalue()
    assert "2/3" in on_a_terminal.getvalue()
    assert shown()
    for name, value in (("CI", "true"), (terminal.QUIET, "1"), ("TERM", "dumb")):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            assert not shown()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not shown()
    monkeypatch.setattr(sys, "stderr", None)
    assert not shown()


def test_quiet_is_an_option_and_reaches_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(terminal.QUIET, "")  # so that it is put back
    asked = []
    monkeypatch.setattr(terminal, "heard_by", lambda _: asked.append(1))
    done = CliRunner().invoke(main, ["--quiet", "info", "nsd"])
    assert done.exit_code == 0
    assert terminal.os.environ[terminal.QUIET] == "1"
    assert not asked


def test_a_pipe_gets_the_output_alone(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["doctor"])
    assert done.stderr == ""
    assert "checks" not in done.stdout
