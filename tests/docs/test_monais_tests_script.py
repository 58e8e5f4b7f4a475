"""docs/examples/monais_tests.py puts medloss's classes where MONAI's tests import their own.

What fails there, and why, is a table of docs/migrate.md word for word.
"""

from __future__ import annotations

import re
import runpy
import sys
import warnings
from pathlib import Path

import monai.losses
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

LOSSES = """
import unittest
import torch
from monai.losses import BoundaryLoss, DiceLoss
from monai.losses.ds_loss import DeepSupervisionLoss

class TestDice(unittest.TestCase):
    def test_shape_0(self):
        y = torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]]])
        found = DiceLoss(sigmoid=True, reduction="none").forward(torch.zeros_like(y), y)
        assert found.shape == (1, 1, 1, 1)
        assert BoundaryLoss()(y, y) < 0
        made = DiceLoss(), DeepSupervisionLoss(DiceLoss())
        assert not any(type(each).__module__.startswith("monai") for each in made)

    def test_shape_12(self):
        DiceLoss(other_act=torch.tanh)(-torch.ones(1, 1, 2), torch.ones(1, 1, 2))

    def test_script(self):
        pass
"""


@pytest.fixture
def as_before(monkeypatch):
    """Leave MONAI and the interpreter as they were."""
    for package in (monai.metrics, monai.losses):
        for module, each in list(sys.modules.items()):
            if module.startswith(package.__name__):
                for name in vars(package).keys() & vars(each).keys():
                    monkeypatch.setattr(each, name, getattr(each, name))
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}
    with warnings.catch_warnings():
        yield
    for name in [name for name in sys.modules.keys() - before if name.startswith("tests")]:
        del sys.modules[name]


@pytest.mark.usefixtures("as_before")
def test_swapped_classes_are_tested(tmp_path, capsys):
    folder = tmp_path / "tests/losses"
    folder.mkdir(parents=True)
    (folder / "test_dice_loss.py").write_text(LOSSES)
    folder = tmp_path / "tests/metrics"
    folder.mkdir()
    (folder / "test_compute_meandice.py").write_text(MEANDICE)
    (folder / "test_compute_meaniou.py").write_text(MEANDICE.replace("0.8", "0.9"))
    assert runpy.run_path(str(SCRIPT))["main"](tmp_path) == 1
    found = capsys.readouterr().out
    assert "\nlosses: 3 tests, 2 passed, 1 failed, 0 not run\n" in found
    assert "\nmetrics: 6 tests, 3 passed, 1 failed, 2 not run\n" in found
    assert "metrics/test_surface_dice.py is not in this MONAI" in found
    assert "not run: medloss does not offer per_component of DiceMetric" in found
    explained, refused = "without an activation values outside [0, 1] are refused", "ValueError: "
    assert f"\nlosses.test_dice_loss.TestDice.test_shape_12\n    {refused}" in found
    assert f"sigmoid=True\n    {explained}\n" in found
    unexplained = found.split("metrics.test_compute_meaniou.TestDice.test_value\n")[1]
    assert unexplained.split("\n")[1] == "    NOT EXPLAINED"
    assert "0.9 within 6 places" in unexplained.split("\n")[0]
    assert "losses.test_dice_loss.*.test_script\n    passes, and was known to fail" in found


def test_what_is_known_to_fail_stands_in_the_page_about_migration():
    page = (SCRIPT.parents[1] / "migrate.md").read_text()
    table = page.split("| why | which |\n| --- | --- |\n")[1].split("\n\n")[0]
    told = {}
    for row in table.splitlines():
        why, which = row.strip("| ").split(" | ")
        told[why] = re.findall(r"`([^`]+)`", which)
    reasons = runpy.run_path(str(SCRIPT))["REASONS"]
    assert told == {why: tests.split() for why, tests in reasons.items()}
