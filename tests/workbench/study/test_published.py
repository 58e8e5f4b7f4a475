"""Published studies: every table of their pages is what the stored results give."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from medloss.workbench.study.results import read_results

ROOT = Path(__file__).parents[3]
STUDIES = sorted(file.parent.name for file in (ROOT / "docs" / "study").glob("*/study.json"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "docs" / "examples" / "study_tables.py"
    spec = importlib.util.spec_from_file_location("study_tables", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_table_is_what_the_results_give(script: ModuleType) -> None:
    found = []
    for path in script.PAGES:
        page = path.read_text(encoding="utf-8")
        blocks = script.BLOCK.findall(page)
        found += [(kind, name) for _, kind, name, _, _ in blocks]
        # Every block is written anew, whatever stands there; a changed number would not stay.
        changed = page
        for _, _, _, text, _ in blocks:
            changed = changed.replace(text, re.sub(r"\.\d", ".x", text), 1)
        assert changed != page or not blocks
        assert script.filled(changed) == page, "run: python docs/examples/study_tables.py"
    assert {name for kind, name in found if kind == "table"} == {*STUDIES}
    assert {name for kind, name in found if kind == "beside"} == {"odyssey", "survey"}
    results = ROOT / "docs" / "study"
    for kind in ("tuning", "calibration"):
        stored = {file.parent.name for file in results.glob(f"*/{kind}.csv")}
        assert {name for own, name in found if own == kind} == stored


@pytest.mark.parametrize("name", STUDIES)
def test_stored_studies_are_equal_in_their_conditions(name: str) -> None:
    folder = ROOT / "docs" / "study" / name
    results = read_results(folder)
    settings = json.loads((folder / "study.json").read_text())
    assert not results.left_out
    assert len(results.runs) == len(results.losses) * len(results.seeds) * len(results.folds)
    assert set(results.losses) == set(settings["losses"])
    steps = {run.number("steps") for run in results.runs if run.status != "diverged"}
    assert len(steps) == 1, "every run trained as long"
    for fold in results.folds:
        cases = {
            frozenset(results.values[run.loss, run.fold, run.seed])
            for run in results.runs
            if run.fold == fold
        }
        assert len(cases) == 1, "every run of a fold was scored on the same cases"
