"""The examples of the pages on profiles, and of docs/notebooks.md, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from medloss.evaluation.compare.challenge_rules import Rules
from medloss.evaluation.planning import Definition, Settings
from medloss.evaluation.profiles.reading import read_profile
from medloss.evaluation.profiles.schema import CHANGEABLE, PROFILE, Keys
from medloss.evaluation.settings import InputSettings
from medloss.profiles import list_profiles

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in blocks("notebooks.md", "python"):
        exec(code, names)
    assert names["found"].mean("dice", "tumour") == pytest.approx(0.8)
    assert (tmp_path / "page.html").exists()
    assert (tmp_path / "results/cases.csv").exists()


def test_the_profile_of_the_page_is_one(tmp_path: Path) -> None:
    (text,) = blocks("write-a-profile.md", "toml")
    path = tmp_path / "liver_trial.toml"
    path.write_text(text)
    for asked in (str(path), f"{path}:small"):
        outputs = {"cluster": None, "by": (), "accept": ()}
        said = Settings.of(InputSettings(), Definition(profile=asked), outputs)
        assert [metric.column for metric in said.plan().metrics][2] == "found"
        assert said.outputs["cluster"] == "patient"
        assert said.outputs["by"] == ("site", "age:40,65")
        assert said.outputs["accept"] == ("liver: dice>=0.9 in 95%",)
    assert Rules.of(read_profile(path)).weights == {"metrics": {"dice": 2}}


def test_every_key_and_every_shipped_profile_is_told() -> None:
    pages = ("profiles.md", "write-a-profile.md", "challenges.md")
    page = "".join((DOCS / name).read_text() for name in pages)
    ranking = PROFILE.keys["ranking"]
    assert isinstance(ranking, Keys)
    keys = {*PROFILE.keys, *ranking.keys, *CHANGEABLE} - {"weights"}
    for name in (*sorted(keys), *(record.name for record in list_profiles())):
        assert f"`{name}`" in page or f"--{name}`" in page, name
