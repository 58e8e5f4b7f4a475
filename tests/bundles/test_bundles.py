"""Both bundles do what MONAI's tools and their own documentation say, on tiny data."""

from __future__ import annotations

import csv
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from bundles.tiny import SMALL, Bundle
from click.testing import CliRunner
from monai.bundle import (
    ConfigParser,
    ConfigWorkflow,
    ckpt_export,
    verify_metadata,
    verify_net_in_out,
)

from medloss.cli import main
from medloss.losses import FocalTverskyLoss

METRICS = ("val_mean_dice", "val_hd95_mm", "val_nsd_1mm")
SCHEMA_SHA256 = "4c81ca6ca2e660c9cce716bbc7e61188bf8c9c8cc0fe4be1c8c6cac8b752e9a3"
LOSS_OVERRIDES = [
    {"_target_": "medloss.losses.FocalTverskyLoss", "softmax": True},
    {"_target_": "medloss.loss", "name": "focal_tversky", "softmax": True},
]


def test_metadata_follows_monais_schema(bundle: Bundle, data_dir: Path, tmp_path: Path) -> None:
    schema = data_dir / "monai_schema" / "meta_schema_20240725.json"
    if not schema.is_file():
        pytest.skip("MONAI's metadata schema is not among the real volumes")
    # MONAI downloads the schema unless the file is there.
    copy = shutil.copy(schema, tmp_path / "schema.json")
    verify_metadata(
        meta_file=bundle.files("metadata"),
        filepath=copy,
        hash_val=SCHEMA_SHA256,
        hash_type="sha256",
    )


def test_metadata_names_the_required_packages_by_version(bundle: Bundle) -> None:
    metadata = ConfigParser.load_config_file(bundle.files("metadata")[0])
    required = metadata["required_packages_version"]
    assert {"medloss", "nibabel", "pytorch-ignite"} <= required.keys()
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in required.values())
    assert metadata["version"] in metadata["changelog"]


@pytest.mark.parametrize("config", ["train", "inference"])
def test_network_is_as_its_metadata_says(bundle: Bundle, config: str) -> None:
    [meta_file] = bundle.files("metadata")
    verify_net_in_out("network_def", meta_file=meta_file, config_file=bundle.files(config))


def test_inference_sees_what_validation_saw(bundle: Bundle) -> None:
    train, inference = (
        ConfigParser.load_config_file(f) for f in bundle.files("train", "inference")
    )
    assert inference["network_def"] == train["network_def"]
    assert inference["inferer"]["roi_size"] == train["patch_size"]
    only_image = {**train["validate"]["preprocessing"]["transforms"][0], "keys": "image"}
    others = train["validate"]["preprocessing"]["transforms"][1:]
    assert inference["preprocessing"]["transforms"] == [only_image, *others]


@pytest.mark.parametrize(("config", "kind"), [("train", "train"), ("inference", "infer")])
def test_required_properties_are_there(bundle: Bundle, config: str, kind: str) -> None:
    assert bundle.workflow(config, kind=kind).check_properties() == []


def test_training_validates_and_keeps_the_best_weights(
    bundle: Bundle, trained: ConfigWorkflow
) -> None:
    assert trained.trainer.state.epoch == 1
    assert all(math.isfinite(trained.evaluator.state.metrics[name]) for name in METRICS)
    assert (bundle.out / "models" / "model.pt").is_file()


def test_learning_rate_makes_one_cycle_over_all_iterations(trained: ConfigWorkflow) -> None:
    schedule = trained.parser.get_parsed_content("lr_scheduler")
    assert schedule.last_epoch == schedule.total_steps == trained.trainer.state.iteration


@pytest.mark.usefixtures("trained")
def test_evaluation_writes_every_case_of_every_metric(bundle: Bundle) -> None:
    bundle.workflow("train", "evaluate").run()
    for metric in METRICS:
        with (bundle.out / "eval" / f"{metric}_raw.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert tuple(Path(row["filename"]).name for row in rows) == bundle.held_out
        assert all(math.isfinite(float(row["class1"])) for row in rows)
    assert (bundle.out / "eval" / "metrics.csv").is_file()


@pytest.mark.usefixtures("trained")
def test_a_folder_of_images_is_predicted_without_labels(bundle: Bundle, tmp_path: Path) -> None:
    images, predictions = tmp_path / "images", tmp_path / "predictions"
    shutil.copytree(bundle.data / "imagesTs", images)
    (images / "._hidden.nii.gz").write_bytes(b"as macOS leaves them")
    names = sorted(path.name for path in (bundle.data / "imagesTs").iterdir())
    folders = {"images_dir": str(images), "output_dir": str(predictions)}
    bundle.workflow("inference", kind="infer", dataset_dir="/nowhere", **folders).run()
    assert sorted(path.name for path in predictions.iterdir()) == names
    scores = ["eval", str(predictions), str(bundle.data / "labelsTs"), "-m", "dice"]
    done = CliRunner().invoke(main, scores)
    assert "1 of 1 cases scored" in done.output, done.output


@pytest.mark.usefixtures("trained")
def test_a_folder_without_images_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as refused:
        bundle.workflow("inference", kind="infer", images_dir=str(tmp_path)).run()
    assert f"{tmp_path} holds no image" in str(refused.value.__cause__)


@pytest.mark.usefixtures("trained")
def test_predictions_pair_with_the_labels_by_name_and_grid(bundle: Bundle) -> None:
    predictions = bundle.out / "predictions"
    cases = {"cases": "@held_out"} if bundle.label_folder == "labelsTr" else {}
    bundle.workflow("inference", kind="infer", output_dir=str(predictions), **cases).run()
    assert sorted(path.name for path in predictions.iterdir()) == sorted(bundle.held_out)
    for name in bundle.held_out:
        prediction = nib.load(predictions / name)
        label = nib.load(bundle.data / bundle.label_folder / name)
        assert prediction.shape == label.shape
        assert prediction.get_data_dtype() == np.uint8
        assert set(np.unique(prediction.dataobj)) <= {0, 1, 2}
        np.testing.assert_allclose(prediction.affine, label.affine, atol=1e-5)


@pytest.mark.parametrize("loss", LOSS_OVERRIDES, ids=["class", "name"])
def test_one_override_swaps_the_loss(bundle: Bundle, tmp_path: Path, loss: dict[str, Any]) -> None:
    workflow = bundle.workflow("train", loss=loss, val_interval=2, ckpt_dir=str(tmp_path))
    workflow.run()
    assert isinstance(workflow.trainer.loss_function, FocalTverskyLoss)
    assert math.isfinite(workflow.trainer.state.output[0]["loss"])


@pytest.mark.usefixtures("trained")
def test_weights_export_to_torchscript(bundle: Bundle) -> None:
    models = bundle.out / "models"
    ckpt_export(
        "network_def",
        filepath=str(models / "model.ts"),
        ckpt_file=str(models / "model.pt"),
        meta_file=bundle.files("metadata")[0],
        config_file=bundle.files("inference"),
    )
    network = bundle.workflow("inference", kind="infer").network_def.cpu().eval()
    network.load_state_dict(torch.load(models / "model.pt", map_location="cpu"))
    image = torch.rand(1, 1, 32, 32, 32)
    exported = torch.jit.load(models / "model.ts", map_location="cpu").eval()
    torch.testing.assert_close(exported(image), network(image))


def test_two_ranks_train_together(bundle: Bundle, tmp_path: Path) -> None:
    train, overlay = bundle.files("train", "multi_gpu_train")
    folders = {**bundle.folders, "ckpt_dir": str(tmp_path)}
    overrides = {**SMALL, **folders, "val_interval": 5}  # longer than the training
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
            *("-m", "monai.bundle", "run", "--config_file", str([train, overlay])),
            *(f"--{key}={value}" for key, value in overrides.items()),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Key metric: val_mean_dice") == 1, "one rank alone reports"
    assert (tmp_path / "model.pt").is_file()
    assert (tmp_path / "model_last.pt").is_file()
