"""What a user's type checker knows of losses and metrics that are built by name."""

from __future__ import annotations

from pathlib import Path

from mypy import api

ROOT = Path(__file__).parents[2]
PROGRAM = """
from typing import assert_type

from torch import Tensor, nn

import medloss
from medloss.base import SegmentationLoss
from medloss.scoring.adapter import FactMetric


def step(logits: Tensor, labels: Tensor) -> Tensor:
    loss = medloss.loss("dice_ce", softmax=True)
    assert_type(loss, SegmentationLoss)
    nn.ModuleList([loss]).to("cuda")
    assert_type(loss(logits, {"label": labels}, spacing_mm=1.0), Tensor)
    return loss(logits, labels)


def score(prediction: Tensor, labels: Tensor) -> Tensor:
    metric = medloss.metric("hausdorff95", spacing_mm=1.0)
    assert_type(metric, FactMetric)
    return metric(prediction, labels, spacing=(1.0, 1.0, 3.0))


def wrong(logits: Tensor) -> None:
    medloss.loss("dice")(logits)
"""


def test_they_are_known_and_a_call_that_lacks_the_target_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    config, cache = ROOT / "pyproject.toml", ROOT / ".mypy_cache"
    options = ["--config-file", str(config), "--cache-dir", str(cache), "--no-error-summary"]
    told, wrong, _ = api.run([*options, str(program)])
    assert not wrong
    (line,) = [line for line in told.splitlines() if ": error:" in line]
    assert "Too few arguments" in line, told
