"""The folders that a training of nnU-Net leaves are scored as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from medloss.cli import main
from medloss.evaluation.inputs.nnunet_results import find_results

DATASET = "Dataset004_Thing"
TRAINING = f"nnUNet_results/{DATASET}/nnUNetTrainer__nnUNetPlans__3d_fullres"
SPLITS = [{"train": ["c", "d", "e"], "val": ["a", "b"]}, {"train": ["a", "b", "e"], "val": ["c"]}]
REGIONS = {
    "labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
    "regions_class_order": [1, 2],
}
PLANS = {
    "original_median_spacing_after_transp": [5.0, 0.5, 0.8],
    "transpose_backward": [1, 2, 0],
}


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def training(tmp_path, save):
    """Two folds, of which the first misses a case; references of one more."""
    folder = tmp_path / TRAINING
    write(folder / "dataset.json", REGIONS)
    write(folder / "plans.json", PLANS)
    truth = np.zeros((6, 6, 6), np.uint8)
    truth[1:4, 1:4, 1:4] = 1
    truth[1, 1, 1] = 2
    truth[5] = 3
    references = tmp_path / "nnUNet_preprocessed" / DATASET / "gt_segmentations"
    for name in "abcd":
        save(references / f"{name}.nii.gz", truth)
    write(references.parent / "splits_final.json", SPLITS)
    found = np.where(truth == 3, 1, truth)  # wrong only where it does not count
    save(folder / "fold_0/validation/a.nii.gz", found)
    write(folder / "fold_0/validation/summary.json", {"metric_per_case": []})
    save(folder / "fold_1/validation/c.nii.gz", found)
    return folder


def evaluate(*arguments: object) -> tuple[int, str, dict[str, dict[str, float]]]:
    """Exit code, output, and Dice by case and label."""
    options = ("-m", "dice", "--json", "out.json", "--force")
    run = CliRunner().invoke(main, ["eval", *map(str, arguments), *options])
    if run.exit_code > 1:
        return run.exit_code, " ".join(run.output.split()), {}
    cases = json.loads(Path("out.json").read_text())["cases"]
    return (
        run.exit_code,
        " ".join(run.output.split()),
        {case["case"]: {x["label"]: x["value"] for x in case.get("results", ())} for case in cases},
    )


def test_a_fold_needs_no_further_argument(training, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    perfect = {"whole": 1.0, 2: 1.0}
    code, told, scored = evaluate(training / "fold_0")
    # b belongs to the fold and has no prediction: a failed case. c and d are of no concern.
    assert (code, scored) == (1, {"a": perfect, "b": {}})
    assert "c and d" in told or "c, d" in told
    code, _, scored = evaluate(Path(TRAINING) / "fold_1" / "validation")
    assert (code, scored) == (0, {"c": perfect})
    assert evaluate(training)[2] == {"a": perfect, "b": {}, "c": perfect}
    settings = json.loads(Path("out.json").read_text())["settings"]
    assert settings["inputs"]["ignore_label"] == 3
    assert "spacing_mm" not in settings["inputs"]  # every file states its own
    # What the user says of the labels counts.
    assert evaluate(training / "fold_1", "--labels", "1=rim")[2].keys() == {"c"}


def test_what_nnunet_calls_the_voxel_size(training):
    # In nnU-Net's order before its transposition: 0.5, 0.8, 5.0 along z, y, x.
    found = find_results(training / "fold_1")
    assert found is not None
    assert found.spacing_mm == (5.0, 0.8, 0.5)
    flat = {"original_median_spacing_after_transp": [999.0, 0.5, 0.8]}
    write(training / "plans.json", flat)
    found = find_results(training)
    assert found is not None
    assert found.spacing_mm == (0.8, 0.5)


def test_files_without_a_voxel_size_have_that_of_the_plans(training, tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.chdir(tmp_path)
    ball = np.zeros((6, 8, 8), np.uint8)
    ball[1:3, 2:5, 2:5] = 1
    references = tmp_path / "nnUNet_preprocessed" / DATASET / "gt_segmentations"
    for name in "abcd":
        (references / f"{name}.nii.gz").unlink()
    tifffile.imwrite(references / "c.tif", ball)
    (training / "fold_1/validation/c.nii.gz").unlink()
    tifffile.imwrite(training / "fold_1/validation/c.tif", np.roll(ball, 1, axis=0))
    run = CliRunner().invoke(
        main, ["eval", str(training / "fold_1"), "-m", "hausdorff", "--json", "out.json"]
    )
    assert run.exit_code == 0, run.output
    (case,) = json.loads(Path("out.json").read_text())["cases"]
    assert case["spacing_mm"] == [5.0, 0.8, 0.5]
    assert case["results"][0]["value"] == 0.5  # one slice
    assert "voxel size of c.tif from plans.json" in case["notes"][0]


def test_what_cannot_be_scored_says_where_it_looked(training, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (training / "fold_2").mkdir()
    code, told, _ = evaluate(training / "fold_2")
    assert code == 2
    assert "nnUNetv2_train ... --val" in told
    (tmp_path / "nnUNet_preprocessed").rename(tmp_path / "elsewhere")
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    code, told, _ = evaluate(training / "fold_1")
    assert code == 2
    assert "set nnUNet_preprocessed or nnUNet_raw" in told
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "elsewhere"))
    assert evaluate(training / "fold_1")[0] == 0
    # What nnUNetv2_predict writes has the same files and is no training.
    for name in ("fold_0", "fold_1", "fold_2"):
        (training / name).rename(tmp_path / name)
    code, told, _ = evaluate(training)
    assert code == 2
    assert "Missing argument REF" in told
