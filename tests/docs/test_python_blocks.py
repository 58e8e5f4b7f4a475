"""Every Python block of the pages runs: in a test of its page, or here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

NAMES: dict[str, dict[str, Any]] = {
    "eval-bundle.md": {
        "image": torch.zeros(1, 1, 8, 8, 8),
        "label": torch.zeros(1, 1, 8, 8, 8, dtype=torch.long),
        "network": torch.nn.Conv3d(1, 2, 1),
    },
    "losses.md": {
        "logits": torch.zeros(1, 3, 4, 4, 4),
        "label": torch.ones(1, 1, 4, 4, 4, dtype=torch.long),
        "annotated": torch.ones(1, 1, 4, 4, 4),
    },
}
"""What the blocks of a page take for granted."""

FILES = {"decision.md": {"models/thresholds.json": '{"thresholds": [0, 0.4]}'}}
"""And what they read."""

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
    return re.findall(r"^ *```python\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ELSEWHERE)
def test_a_page_has_the_test_that_runs_it(page: str) -> None:
    assert blocks(DOCS / page)
    assert page in (ROOT / ELSEWHERE[page]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "page",
    [page for page in sorted(DOCS.glob("*.md")) if page.name not in ELSEWHERE and blocks(page)],
    ids=lambda page: page.name,
)
def test_the_blocks_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.get(page.name, {}).items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    names = dict(NAMES.get(page.name, {}))
    for code in blocks(page):
        quick = code.replace("(96, 96, 96)", "(8, 8, 8)")  # of a sliding window
        exec(compile(quick, page.name, "exec"), names)
