"""What a trainer of nnU-Net reports beside Dice; the trainer it derives from is a stand-in."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from medloss.cli import main
from medloss.integrations.nnunet_file import write_trainer
from medloss.integrations.nnunet_validation import MetricsTrainer

METRICS = ("hausdorff95", "normalized_surface_dice:tolerance_mm=1", "false_lesions")
HD, NSD, FALSE = "hausdorff95", "normalized_surface_dice[tolerance_mm=1]", "false_lesions"


class Logger:
    def __init__(self) -> None:
        self.told: dict[str, float] = {}

    def log_summary(self, key: str, value: float) -> None:
        self.told[key] = value


class Stand:
    """What nnU-Net's trainer does in its validation, of two cases and two classes."""

    keys = ("1", "2")
    labels: dict[str, Any] = {"background": 0, "organ": 1, "tumour": 2}  # noqa: RUF012

    def __init__(self, folder: Path) -> None:
        self.output_folder_base, self.output_folder = str(folder), str(folder / "fold_0")
        self.preprocessed_dataset_folder_base = str(folder / "pre")
        self.local_rank, self.logger, self.lines = 0, Logger(), list[str]()
        self.initialized = False

    def initialize(self) -> None:
        self.initialized = True

    def print_to_log_file(self, *args: Any) -> None:
        self.lines += map(str, args)

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        base, out = Path(self.output_folder_base), Path(self.output_folder, "validation")
        truth = np.zeros((8, 8, 8), np.uint8)
        truth[1:5, 1:5, 1:5], truth[6, 6, 6] = 1, 2
        found = np.roll(truth, 1, axis=0)  # label 2 leaves for the last plane
        nothing = np.where(truth == 2, 0, truth)
        for folder, maps in (
            (base / "pre" / "gt_segmentations", {"a": truth, "b": nothing, "of_fold_1": truth}),
            (out, {"a": found, "b": nothing}),
        ):
            folder.mkdir(parents=True)
            for name, labels in maps.items():
                image = nibabel.Nifti1Image(labels, np.diag([2.0, 1, 1, 1]))
                nibabel.save(image, folder / f"{name}.nii.gz")
        content = {"channel_names": {"0": "CT"}, "labels": self.labels}
        if any(isinstance(each, list) for each in self.labels.values()):
            content["regions_class_order"] = [1, 2]
        (base / "dataset.json").write_text(json.dumps(content))
        entries = [
            {
                "prediction_file": str(out / f"{name}.nii.gz"),
                "metrics": {k: {"Dice": 0.5} for k in self.keys},
            }
            for name in "ab"
        ]
        whole = {"foreground_mean": {"Dice": 0.5}, "mean": {k: {"Dice": 0.5} for k in self.keys}}
        (out / "summary.json").write_text(json.dumps({**whole, "metric_per_case": entries}))


class Trainer(MetricsTrainer, Stand):
    validation_metrics = METRICS


def test_values_stand_beside_dice_in_summary_logger_and_log(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path)
    trainer.initialize()
    assert trainer.initialized
    trainer.perform_actual_validation()
    found = json.loads((tmp_path / "fold_0/validation/summary.json").read_text())
    a, b = (entry["metrics"] for entry in found["metric_per_case"])
    # A cube shifted by a voxel of 2 mm, and a voxel likewise; in b nobody has the tumour.
    assert a["1"] == {"Dice": 0.5, HD: 2.0, NSD: pytest.approx(a["1"][NSD]), FALSE: 0.0}
    assert 0 < a["1"][NSD] < 1
    assert (a["2"][HD], a["2"][NSD]) == (2.0, 0.5)  # the two voxels share a face
    assert (b["1"][HD], b["1"][NSD]) == (0.0, 1.0)
    assert math.isnan(b["2"][HD])
    assert found["mean"]["1"][HD] == 1.0
    assert found["mean"]["2"] == {"Dice": 0.5, HD: 2.0, NSD: 0.5, FALSE: 0.5}
    assert found["foreground_mean"][HD] == 1.5
    assert found["medloss"]["preset"] == "deepmind"
    assert [metric["metric"] for metric in found["medloss"]["metrics"]] == [HD, NSD, FALSE]
    assert trainer.logger.told["final_val/class_1_hausdorff95"] == 1.0
    assert "Mean Validation hausdorff95 (mm): 1: 1.0000, 2: 2.0000" in trainer.lines


def test_regions_have_the_keys_of_nnunet(tmp_path: Path) -> None:
    class Regions(Trainer):
        keys = ("(1, 2)", "2")
        labels: dict[str, Any] = {"background": 0, "whole": [1, 2], "tumour": 2}  # noqa: RUF012

    trainer = Regions(tmp_path)
    trainer.perform_actual_validation()
    found = json.loads((tmp_path / "fold_0/validation/summary.json").read_text())
    assert found["mean"]["(1, 2)"][HD] == 1.0
    assert found["mean"]["2"][HD] == 2.0


def test_other_ranks_report_nothing(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path)
    trainer.local_rank = 1
    trainer.perform_actual_validation()
    assert not trainer.lines


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (("hausdorf95",), "did you mean"),
        (("dice", "dice"), "dice is asked for twice"),
        (("expected_calibration_error",), "needs probabilities"),
        (("normalized_surface_dice:tolerance_mm=-1",), "tolerance_mm"),
        ("dice", "expected names of metrics"),
    ],
)
def test_metrics_that_cannot_be_meant_are_refused_before_the_training(
    tmp_path: Path, metrics: Any, message: str
) -> None:
    trainer = Trainer(tmp_path)
    trainer.validation_metrics = metrics  # type: ignore[misc]
    with pytest.raises(Exception, match=message):
        trainer.initialize()
    assert not trainer.initialized
    with pytest.raises(Exception, match=message):
        write_trainer(None, tmp_path / "out", metrics=metrics)
    assert not (tmp_path / "out").exists()


def test_the_file_of_a_trainer_with_metrics(tmp_path: Path) -> None:
    words = ["nnunet-trainer", "--out", str(tmp_path), "-m", "lesion_f1", "-m", METRICS[1]]
    assert CliRunner().invoke(main, words).exit_code == 0
    text = (tmp_path / "nnUNetTrainerMedlossMetrics.py").read_text()
    assert "class nnUNetTrainerMedlossMetrics(MetricsTrainer, nnUNetTrainer):" in text
    assert f'validation_metrics = ["lesion_f1", "{METRICS[1]}"]' in text
    assert CliRunner().invoke(main, [*words, "--loss", "dice"]).exit_code == 0
    text = (tmp_path / "nnUNetTrainerMedlossDice.py").read_text()
    assert "class nnUNetTrainerMedlossDice(MetricsTrainer, LossTrainer, nnUNetTrainer):" in text
    neither = CliRunner().invoke(main, words[:3])
    assert neither.exit_code == 2
    assert "expected at least one" in neither.output
