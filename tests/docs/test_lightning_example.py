"""docs/examples/train_with_lightning.py trains, ramps its boundary term and shows it."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    importlib.util.find_spec("lightning") is None, reason="Lightning is not installed"
)
def test_it_trains_and_its_table_shows_the_ramp(tmp_path: Path) -> None:
    script = ROOT / "docs" / "examples" / "train_with_lightning.py"
    options = ["--epochs", "4", "--folder", str(tmp_path / "run"), "--accelerator", "cpu"]
    done = subprocess.run(
        [sys.executable, str(script), *options],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    dice = float(done.stdout.partition("Dice of the last epoch: ")[2].split()[0])
    assert dice > 0.5
    rows = list(csv.DictReader((tmp_path / "run" / "terms.csv").read_text().splitlines()))
    ramp = [float(row["boundary/weight"]) for row in rows]
    assert ramp == pytest.approx([0, 0.025, 0.05, 0.075])
    assert float(rows[-1]["dice/value"]) < float(rows[0]["dice/value"])
    assert float(rows[-1]["boundary/weighted"]) != 0
