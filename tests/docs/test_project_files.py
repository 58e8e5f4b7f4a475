"""What the project says of itself: citation, notices, formulas."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from medloss import __version__
from medloss.offers.host import OURS, host

ROOT = Path(__file__).parents[2]


def test_the_citation_is_that_of_this_version() -> None:
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert told["version"] == __version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert told["license"] == project["license"]
    assert {"cff-version", "message", "title", "authors"} <= {*told}


def test_what_the_notices_name_is_there() -> None:
    text = (ROOT / "docs" / "notices.md").read_text()
    paths = {path for path in re.findall(r"`([a-z_]+/[\w/.]+)`", text) if path.endswith("LICENSE")}
    for path in {*paths, "tests/evaluation/brats_samples", "LICENSE"}:
        assert (ROOT / path).exists(), path


def test_every_formula_is_typeset_and_of_something() -> None:
    formulas = tomllib.loads((ROOT / "docs" / "formulas.toml").read_text())
    for kind in ("losses", "metrics", "detection"):
        offered = {o.record.name for o in getattr(host(), kind) if o.plugin.distribution == OURS}
        # a detector as a whole has no formula
        assert offered - {"simota_retinanet"} == {*formulas[kind]}, kind
    for text in (text for group in formulas.values() for text in group.values()):
        assert text.count("{") == text.count("}")
        assert text.count(r"\left") == text.count(r"\right"), text
        assert text.count(r"\begin") == text.count(r"\end"), text
