"""The examples of two pages run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("page", ["partial-labels.md", "deep-supervision.md"])
def test_python_examples_run_one_after_the_other(page: str) -> None:
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    for code in blocks(page, "python"):
        exec(code, names)
        assert names["value"].isfinite()


def test_the_bundle_config_builds() -> None:
    (text,) = blocks("deep-supervision.md", "json")
    parser = ConfigParser(json.loads(f"{{{text}}}"))
    parser.parse()
    assert parser.get_parsed_content("loss").skip_lowest
