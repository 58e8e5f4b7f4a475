"""The script for a machine with a GPU, on one without: it refuses, or interprets, and never stops.

What only a device can show is in ``tests/test_on_a_gpu.py``.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "docs/examples/on_a_gpu.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("on_a_gpu", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["on_a_gpu"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_it_refuses_where_there_is_no_device(script: Any, capsys: Any) -> None:
    assert script.main([]) == 2
    assert "no CUDA device: torch" in capsys.readouterr().err


@pytest.mark.skipif(not importlib.util.find_spec("triton"), reason="triton is not installed")
def test_kernels_are_checked_in_the_interpreter(
    script: Any, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = tmp_path / "found.json"
    words = ["--device", "cpu", "--only", "log p,bfloat16", "--seconds", "300"]
    assert script.main([*words, "--json", str(found), "--seed", "3"]) == 0
    parts = json.loads(found.read_text())["parts"]
    assert [part["name"] for part in parts] == ["class sums bfloat16", "log p"]
    printed = capsys.readouterr().out
    for part in parts:
        assert f"| {part['name']} | right |" in printed
        assert {row["state"] for row in part["found"]} == {"right"}
        assert all(len(row["errors"]) == 2 for row in part["found"])


def test_a_part_that_fails_or_hangs_is_told(script: Any, tmp_path: Path) -> None:
    for state, code, limit_s in (
        ("wrong", "print('why'); raise SystemExit(3)", 60),
        ("late", "import time; print('why', flush=True); time.sleep(60)", 3),
        ("right", "print('why')", 60),
    ):
        part = script.Part(state, [sys.executable, "-c", code])
        script.run(part, limit_s, "cpu", 0, tmp_path)
        assert (part.state, part.output) == (state, "why\n")
    part = script.Part("other", [sys.executable], needs="no_such_package")
    script.run(part, 60, "cpu", 0, tmp_path)
    assert (part.state, part.output) == ("missing", "no_such_package is not installed")


def test_a_check_that_fails_leaves_the_others(script: Any) -> None:
    def checks() -> Any:
        yield "one", lambda: script.below(1e-3, float("nan"))
        yield "two", lambda: importlib.import_module("monai.no_such_module")
        yield "three", lambda: script.below(1e-3, 1e-4)

    one, two, three = script.run_checks(checks(), "cpu")
    assert [each["state"] for each in (one, two, three)] == ["wrong", "missing", "right"]
    assert "Traceback" in one["error"]
    assert "off by nan" in one["error"]
    assert three["errors"] == 1e-4


def test_plugins_are_found_without_an_installation(
    script: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(script.metadata, "entry_points", lambda group: [])
    script.offer_plugins(tmp_path)
    (found,) = metadata.distributions(path=[str(tmp_path)])
    assert "medloss_compound" in {each.value for each in found.entry_points}


def test_times_are_one_row_for_each_loss(script: Any) -> None:
    row = script.times("1,2,4,4 float32", "cpu")
    part = script.Part("times 1,2,4,4 float32", state=row["state"], found=[row])
    assert row["state"] == "right"
    first, second = script.lines_of(part)
    assert first.startswith("| times 1,2,4,4 float32 | right |")
    assert "dice_ce: medloss" in second
    assert "x floor; monai" in second
