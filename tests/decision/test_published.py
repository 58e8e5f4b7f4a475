"""What docs/decision.md says of our bundles is what the stored values of the cases give."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "docs" / "examples" / "compare_decisions.py"
    spec = importlib.util.spec_from_file_location("compare_decisions", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stored_cases(script: ModuleType) -> list[str]:
    return gzip.decompress((script.STORED / "cases.csv.gz").read_bytes()).decode().splitlines()


def test_gains_are_those_of_the_cases_and_the_page_has_them(script: ModuleType) -> None:
    head, *cases = csv.reader(stored_cases(script))
    assert tuple(head) == script.CASES
    found = [*script.gains([tuple(row) for row in cases])]
    head, *stored = csv.reader((script.STORED / "gains.csv").read_text().splitlines())
    assert tuple(head) == script.GAINS
    assert [row[:5] for row in stored] == [[*row[:5]] for row in found]
    for mine, theirs in zip(found, stored, strict=True):
        numbers = ([float(each) for each in row[5:]] for row in (mine, theirs))
        assert next(numbers) == pytest.approx(next(numbers), abs=1e-12, nan_ok=True)
    lines = [dict(zip(head, row, strict=True)) for row in stored]
    page = (ROOT / "docs" / "decision.md").read_text(encoding="utf-8")
    assert script.table(lines) in page, "python docs/examples/compare_decisions.py --table"
    lines[0] = {**lines[0], "change": "0.3"}
    assert script.table(lines) not in page


def test_every_case_is_decided_in_each_way(script: ModuleType) -> None:
    rows = [*csv.DictReader(stored_cases(script))]
    many: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        many.setdefault((row["data"], row["decision"]), set()).add(row["case"])
    for (data, way), names in many.items():
        assert names == many[data, "argmax"], way
        assert len(names) == {"small": 24, "hippo": 40, "brain": 1}[data[:5]]
