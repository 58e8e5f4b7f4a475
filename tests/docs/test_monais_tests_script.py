"""docs/examples/monais_tests.py puts medloss's classes where MONAI's tests import their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs/examples/monais_tests.py"

MEANDICE = """
import unittest
import torch
from monai.metrics import DiceMetric, HausdorffDistanceMetric
from monai.metrics.meaniou import MeanIoU

class TestDice(unittest.TestCase):
    def test_value(self):
        y = torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]]])
        y_pred = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
        metric = DiceMetric(get_not_nans=True)
        metric(y_pred, y)
        assert type(metric).__module__ == type(MeanIoU()).__module__ == "medloss.metrics"
        self.assertAlmostEqual(metric.aggregate()[0].item(), 0.8, places=6)

    def test_steps(self):
        HausdorffDistanceMetric(distance_metric="taxicab")
"""


def test_swapped_classes_are_tested(tmp_path):
    folder = tmp_path / "tests/metrics"
    folder.mkdir(parents=True)
    for name in ("hausdorff_distance", "surface_distance", "surface_dice"):
        (folder / f"test_{name}.py").write_text("")
    (folder / "test_compute_meandice.py").write_text(MEANDICE)
    (folder / "test_compute_meaniou.py").write_text(MEANDICE.replace("0.8", "0.9"))
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert found.returncode == 1, found
    assert "\n4 tests: 1 failed, " in f"\n{found.stdout}"
    unexplained = found.stdout.split("    NOT EXPLAINED")[0].splitlines()
    assert unexplained[0] == "metrics.test_compute_meaniou.TestDice.test_value"
    assert "0.9 within 6 places" in unexplained[1]
    assert "medloss does not offer distance_metric='taxicab'" in found.stdout
