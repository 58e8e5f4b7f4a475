"""docs/examples/train_with_pytorch.py trains, and goes on to an unbroken training's numbers."""

from __future__ import annotations

import csv
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "train_with_pytorch.py"


def train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--epochs", "4", "--device", "cpu", *words])
    with torch.random.fork_rng():
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return capsys.readouterr().out


def test_a_training_that_goes_on_ends_as_one_that_was_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # loops for bfloat16 would have to be compiled first
    monkeypatch.setenv("MEDLOSS_BACKEND", "reference")
    board = ["--tensorboard"] if find_spec("tensorboard") else []
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    unbroken = train(monkeypatch, capsys, "--folder", str(whole), *board)
    first = train(monkeypatch, capsys, "--folder", str(parts), "--stop-after", "2")
    rest = train(monkeypatch, capsys, "--folder", str(parts))
    lines = unbroken.splitlines()
    assert lines[:2] == first.splitlines()[:2]
    assert lines[2:] == rest.splitlines()
    assert float(lines[-1].rpartition(" ")[2]) > 0.7
    tables = [(folder / "terms.csv").read_text() for folder in (whole, parts)]
    assert tables[0] == tables[1]
    rows = list(csv.DictReader(tables[0].splitlines()))
    ramp = [float(row["boundary/weight"]) for row in rows]
    assert ramp == pytest.approx([0, 0.025, 0.05, 0.075])
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    ends = [torch.load(folder / "last.pt", weights_only=True) for folder in (whole, parts)]
    for name, value in ends[0]["network"].items():
        assert torch.equal(value, ends[1]["network"][name])
    assert bool(board) == any(whole.glob("events.out.*"))
