"""Every Python block of the pages runs: here, or in a test of its page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

HERE: dict[str, dict[str, Any]] = {
    "bundles.md": {},
    "engine.md": {},
    "eval-bundle.md": {
        "image": torch.zeros(1, 1, 8, 8, 8),
        "label": torch.zeros(1, 1, 8, 8, 8, dtype=torch.long),
        "network": torch.nn.Conv3d(1, 2, 1),
    },
    "fused-head.md": {},
    "losses.md": {
        "logits": torch.zeros(1, 3, 4, 4, 4),
        "label": torch.ones(1, 1, 4, 4, 4, dtype=torch.long),
        "annotated": torch.ones(1, 1, 4, 4, 4),
    },
    "suggest.md": {},
    "write-a-profile.md": {},
}
"""Pages whose blocks run here, with the names that they take for granted."""

ELSEWHERE = {
    "deep-supervision.md": "tests/docs/test_partial_and_deep_pages.py",
    "detection.md": "tests/docs/test_detection_page.py",
    "evaluate.md": "tests/evaluation/test_documentation.py",
    "integrations.md": "tests/docs/test_integrations_page.py",
    "notebooks.md": "tests/docs/test_profiles_pages.py",
    "partial-labels.md": "tests/docs/test_partial_and_deep_pages.py",
    "preflight.md": "tests/workbench/preflight/test_preflight_page.py",
    "same-class-neighbours.md": "tests/docs/test_topology_page.py",
    "start.md": "tests/docs/test_site.py",
    "topology.md": "tests/docs/test_topology_page.py",
    "torch-compile.md": "tests/base/test_under_compile.py",
    "training.md": "tests/docs/test_training_page.py",
    "tutorial-compare.md": "tests/docs/test_tutorials.py",
    "tutorial-plugin.md": "tests/docs/test_tutorials.py",
    "tutorial-training.md": "tests/docs/test_tutorials.py",
    "write-a-metric.md": "tests/docs/test_metric_page.py",
    "write-a-plugin.md": "tests/docs/test_plugin_page.py",
    "write-a-reader.md": "tests/docs/test_reader_page.py",
}


def blocks(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_no_block_is_forgotten() -> None:
    with_blocks = {page.name for page in DOCS.glob("*.md") if "```python" in page.read_text()}
    assert with_blocks == HERE.keys() | ELSEWHERE.keys()
    for page, test in ELSEWHERE.items():
        assert page in (ROOT / test).read_text(encoding="utf-8"), (page, test)


@pytest.mark.parametrize("page", HERE)
def test_the_blocks_of_a_page_run(page: str) -> None:
    names = dict(HERE[page])
    found = blocks(DOCS / page)
    assert found
    for code in found:
        quick = code.replace("(96, 96, 96)", "(8, 8, 8)")  # of a sliding window
        exec(compile(quick, page, "exec"), names)
