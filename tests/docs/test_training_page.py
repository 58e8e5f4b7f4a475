"""The examples of docs/training.md run as they stand."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

PAGE = Path(__file__).parents[2] / "docs" / "training.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_python_examples_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    for code in PYTHON:
        if "lightning" not in code:
            exec(code, names)
    assert [row["cross_entropy/weight"] for row in rows(tmp_path / "terms.csv")] == [
        "0",
        "0.5",
        "1",
    ]


@pytest.mark.skipif(
    importlib.util.find_spec("lightning") is None, reason="Lightning is not installed"
)
@pytest.mark.filterwarnings("ignore")
def test_the_example_of_lightning_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = [code for code in PYTHON if "lightning" in code]
    exec("import torch, medloss\n" + code, {"__name__": "__main__"})
    seen = rows(tmp_path / "lightning_terms.csv")
    assert [row["cross_entropy/weight"] for row in seen] == ["0", "0.05"]


def test_the_bundle_config_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (config,) = [json.loads(code) for language, code in BLOCKS if language == "json"]
    parser = ConfigParser(config)
    parser.parse()
    handler = parser.get_parsed_content("handler")
    assert handler.callback.loss is parser.get_parsed_content("loss")
    handler.callback.writer.close()


def test_every_schedule_is_on_the_page() -> None:
    from medloss.compound.schedules import SCHEDULES

    section = PAGE.read_text(encoding="utf-8").partition("## Schedules that run")[2]
    table = section.partition("| `schedule` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(SCHEDULES)
