"""The pictures of docs/clinicians.md are those of the scores, and the page has their numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def clinic(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(DOCS / "hooks")
    import clinic

    yield clinic
    for name in ("clinic", "drawing", "curves", "scenes"):
        sys.modules.pop(name, None)


def test_pictures_and_text_are_what_is_computed(clinic: Any) -> None:
    page = " ".join((DOCS / "clinicians.md").read_text(encoding="utf-8").split())
    for name, svg in clinic.pictures().items():
        assert (DOCS / "pictures" / name).read_text(encoding="utf-8") == svg, (
            "run: python docs/hooks/clinic.py"
        )
        assert f"](pictures/{name})" in page
    sizes = [scene.numbers() for scene in clinic.size_scenes()]
    assert f"Dice {', '.join(found['Dice'] for found in sizes)}, and HD95 1.1 mm for each" in page
    assert {found["HD95"] for found in sizes} == {"1.1 mm"}
    thick, speck, specks = (scene.numbers() for scene in clinic.distance_scenes())
    assert f"HD95 {thick['HD95']}, HD {thick['HD']}" in page
    assert (speck["HD95"], speck["HD"]) == ("0.0 mm", "17.8 mm")
    assert f"from 0 to {specks['HD95']}" in page
