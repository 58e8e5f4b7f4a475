"""docs/write-a-metric.md names every field of every fact, and its metric meets the contract."""

from __future__ import annotations

import dataclasses
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from medloss.offers.host import Offer, Plugin
from medloss.offers.records import FACTS, Metric
from medloss.scoring import Case, Lesions
from medloss.testing import contract_checks

PAGE = (Path(__file__).parents[2] / "docs" / "write-a-metric.md").read_text(encoding="utf-8")


def names_of(kind: type) -> set[str]:
    """What is public of a class: its fields, properties and methods."""
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    own = (*(field.name for field in fields), *vars(kind))
    return {name for name in own if not name.startswith("_")}


def table(heading: str) -> set[str]:
    """The names in the first column of the first table after a heading."""
    rows = PAGE.partition(heading)[2].partition("\n|")[2].partition("\n\n")[0]
    cells = [row.lstrip("| ").split(" | ")[0] for row in rows.splitlines()]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("fact", FACTS)
def test_every_field_of_every_fact_is_told(fact: str) -> None:
    kind = typing.get_type_hints(getattr(Case, fact))["return"]
    heading = f"\n### `{fact}`: `{kind.__name__}`\n"
    assert heading in PAGE
    assert table(heading) == names_of(kind)


def test_the_lesions_the_case_and_the_record_are_told() -> None:
    told = table("match_lesions` gives the `Matches` themselves.\n")
    assert told - {"Lesions"} == names_of(Lesions)
    case = Case([[1]], [[1]], labels=[1], spacing_mm=1)  # type: ignore[arg-type]
    own = {name for name in vars(case) if not name.startswith("_")}
    assert table("\n## The case\n") == names_of(Case) | own
    fields = {field.name for field in dataclasses.fields(Metric)}
    assert table("_within(tolerance_mm)\n```\n") == fields


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Metric]:
    """The record of the page, whose package can be imported."""
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
    assert [name for name, _ in blocks] == [
        "medloss_margin/__init__.py",
        "medloss_margin/surfaces.py",
    ]
    for name, source in blocks:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    import medloss_margin

    (record,) = medloss_margin.medloss_metrics()
    yield record
    for module in [name for name in sys.modules if name.startswith("medloss_margin")]:
        del sys.modules[module]


def test_the_metric_of_the_page_meets_the_contract(written: Metric) -> None:
    made = Offer(written, Plugin("margin", "medloss_margin", "medloss-margin", "1.0"))
    verdicts = {}
    for check in contract_checks(made, seconds=0):
        outcome = check.outcome()
        verdicts[check.check.name] = outcome.verdict
        assert outcome.verdict != "failed", outcome.message
    assert verdicts["scoring_imports_no_torch"] == "passed"
