"""docs/examples/monais_tests.py puts medloss's classes where MONAI's tests import their own."""

from __future__ import annotations

import runpy
import sys
import warnings
from pathlib import Path

import monai.metrics
import pytest

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

    def test_components(self):
        DiceMetric(per_component=True)
"""


@pytest.fixture
def as_before(monkeypatch):
    """Leave MONAI and the interpreter as they were."""
    names = vars(monai.metrics).keys()
    for module, each in list(sys.modules.items()):
        if module.startswith("monai.metrics"):
            for name in names & vars(each).keys():
                monkeypatch.setattr(each, name, getattr(each, name))
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}
    with warnings.catch_warnings():
        yield
    for name in [name for name in sys.modules.keys() - before if name.startswith("tests")]:
        del sys.modules[name]


@pytest.mark.usefixtures("as_before")
def test_swapped_classes_are_tested(tmp_path, capsys):
    folder = tmp_path / "tests/metrics"
    folder.mkdir(parents=True)
    for name in (
        "compute_confusion_matrix",
        "hausdorff_distance",
        "surface_distance",
        "surface_dice",
    ):
        (folder / f"test_{name}.py").write_text("")
    (folder / "test_compute_meandice.py").write_text(MEANDICE)
    (folder / "test_compute_meaniou.py").write_text(MEANDICE.replace("0.8", "0.9"))
    assert runpy.run_path(str(SCRIPT))["main"](tmp_path) == 1
    found = capsys.readouterr().out
    assert "\n6 tests: 1 failed, " in f"\n{found}"
    unexplained = found.split("    NOT EXPLAINED")[0].splitlines()
    assert unexplained[0] == "metrics.test_compute_meaniou.TestDice.test_value"
    assert "0.9 within 6 places" in unexplained[1]
    assert "medloss does not offer per_component of DiceMetric" in found
