"""The loss of a bundle is tried on its own data, without training and without a trace."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from bundles.tiny import BUNDLES, MAKERS
from click.testing import CliRunner, Result

from medloss.cli import main

CONFIG: dict[str, Any] = {
    "bundle_root": ".",
    "dataset_dir": "$@bundle_root + '/data'",
    "device": "cpu",
    "network": {
        "_target_": "torch.nn.Conv3d",
        "in_channels": 1,
        "out_channels": 3,
        "kernel_size": 3,
        "padding": 1,
    },
    "loss": {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True},
    "train": {
        "dataset": {
            "_target_": "CacheDataset",
            "data": "$[{'image': @dataset_dir + f'/image{n}.nii', "
            "'label': @dataset_dir + f'/label{n}.nii'} for n in (0, 1, 7)]",
            "transform": {
                "_target_": "LoadImaged",
                "keys": ["image", "label"],
                "ensure_channel_first": True,
            },
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@train#dataset", "batch_size": 2},
        "handlers": "$1 / 0",
        "trainer": {
            "_target_": "SupervisedTrainer",
            "device": "@device",
            "train_data_loader": "@train#dataloader",
            "network": "@network",
            "loss_function": "@loss",
            "train_handlers": "@train#handlers",
        },
    },
    "initialize": ["$1 / 0"],
    "run": ["$1 / 0"],
}

MULTI_LABEL = {
    "_target_": "Compose",
    "transforms": [
        CONFIG["train"]["dataset"]["transform"],
        {"_target_": "ConvertToMultiChannelBasedOnBratsClassesd", "keys": "label"},
    ],
}


def write(root: Path, **changes: Any) -> Path:
    """A bundle of two volumes; a third case does not exist, so that caching all would fail."""
    config = copy.deepcopy(CONFIG)
    transform = changes.pop("transform", None)
    if transform:
        config["train"]["dataset"]["transform"] = transform
    config.update(changes)
    (root / "configs").mkdir(parents=True)
    (root / "configs" / "train.json").write_text(json.dumps(config))
    (root / "data").mkdir()
    grid = np.indices((10, 12, 8)) - np.array([4.5, 5.5, 3.5]).reshape(3, 1, 1, 1)
    label = (np.linalg.norm(grid, axis=0) < 4).astype(np.uint8)
    label += np.linalg.norm(grid, axis=0) < 2.5
    if transform:  # BraTS calls them 2 and 4
        label *= 2
    for number in range(2):
        for kind, volume in (("image", label * 1.0), ("label", label)):
            file = root / "data" / f"{kind}{number}.nii"
            nib.save(nib.Nifti1Image(np.roll(volume, number, 0), np.diag([1.0, 1, 2, 1])), file)
    return root


def check(folder: Path, *arguments: str) -> tuple[Result, dict[str, Any]]:
    done = CliRunner().invoke(main, ["check", "--bundle", str(folder), "--json", *arguments])
    told = json.loads(done.stdout) if done.exit_code in (0, 1) else {}
    return done, told


def alarms(told: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    return [
        (one["severity"], one["check"], one["terms"])
        for one in told["findings"]
        if one["severity"] != "note"
    ]


def test_a_right_bundle_has_no_defect(tmp_path: Path) -> None:
    path = [*sys.path]
    done, told = check(write(tmp_path / "right"))
    assert (done.exit_code, alarms(told)) == (0, []), done.output
    assert told["input"]["shape"] == [2, 3, 10, 12, 8]
    assert told["input"]["kind"] == "logits"
    assert told["cost"]["network_seconds"] > 0
    assert told["source"]["configuration"] == "train.json"
    assert sys.path == path


def test_a_seed_gives_the_same_batch_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "right")
    state = torch.get_rng_state()
    first, again, other = (check(folder, "--seed", seed)[1]["value"] for seed in "113")
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), state)


def test_a_softmax_after_the_network_is_found(tmp_path: Path) -> None:
    network = {"_target_": "workbench.preflight.networks.Activated", "activation": "softmax"}
    done, told = check(write(tmp_path / "twice", network=network))
    assert done.exit_code == 1, done.output
    assert alarms(told) == [("defect", "double_activation", ["dice", "cross_entropy"])]
    (finding,) = [one for one in told["findings"] if one["check"] == "double_activation"]
    assert "the network ends in a softmax" in finding["message"]


def test_a_sigmoid_after_the_network_is_found(tmp_path: Path) -> None:
    network = {"_target_": "workbench.preflight.networks.Activated", "activation": "sigmoid"}
    loss = {"_target_": "medloss.losses.DiceCELoss", "sigmoid": True}
    folder = write(tmp_path / "twice", network=network, loss=loss, transform=MULTI_LABEL)
    done, told = check(folder)
    assert done.exit_code == 1, done.output
    assert alarms(told) == [("defect", "double_activation", ["dice", "cross_entropy"])]


def test_dice_ce_of_monai_on_labels_that_overlap_is_found(tmp_path: Path) -> None:
    loss = {"_target_": "DiceCELoss", "sigmoid": True}
    folder = write(tmp_path / "brats", loss=loss, transform=MULTI_LABEL)
    done, told = check(folder)
    assert done.exit_code == 1, done.output
    assert ("defect", "activation", ["cross_entropy"]) in alarms(told)
    done, told = check(
        folder, "--override", 'loss={"_target_": "medloss.losses.DiceCELoss", "sigmoid": true}'
    )
    assert done.exit_code == 0, done.output
    assert all(severity != "defect" for severity, _, _ in alarms(told))


def test_the_target_is_what_prepare_batch_gives(tmp_path: Path) -> None:
    loss = {"_target_": "medloss.losses.CompoundLoss", "terms": ["dice", "boundary"]}
    folder = write(tmp_path / "mapping", loss={**loss, "softmax": True})
    config = json.loads((folder / "configs" / "train.json").read_text())
    prepare = (
        "$lambda batch, *_, **__: (batch['image'], {'label': batch['label'], 'spacing_mm': 2})"
    )
    config["train"]["trainer"]["prepare_batch"] = prepare
    (folder / "configs" / "train.json").write_text(json.dumps(config))
    done, told = check(folder)
    assert done.exit_code == 0, done.output
    assert [row["name"] for row in told["terms"]] == ["dice", "boundary"]


def test_fractions_are_explained_by_the_bundles_own_transform(tmp_path: Path) -> None:
    zoom = {"_target_": "RandZoomd", "keys": ["image", "label"], "min_zoom": 0.7, "prob": 1.0}
    steps = [CONFIG["train"]["dataset"]["transform"], {**zoom, "max_zoom": 0.8}]
    folder = write(tmp_path / "zoomed", transform={"_target_": "Compose", "transforms": steps})
    done, told = check(folder)
    assert done.exit_code == 1, done.output
    (finding,) = [one for one in told["findings"] if "fractions" in one["message"]]
    assert finding["severity"] == "defect"
    assert "RandZoomd interpolates the key 'label' (mode 'area')" in finding["message"]


@pytest.mark.parametrize(
    ("changes", "arguments", "words"),
    [
        ({}, ["--bundle-config", "other"], "holds no configuration called 'other'"),
        ({"loss": {"_target_": "NoSuchLoss"}}, [], "loss cannot be used: ModuleNotFoundError"),
        ({"loss": "$3"}, [], "loss_function (loss) is no torch module but a int"),
        ({"train": {}}, [], "nothing is the train_data_loader in train.json: it has no trainer"),
        ({"dataset_dir": "/nowhere"}, [], "no batch comes through"),
        ({}, ["--override", "nonsense"], "'nonsense' is not of the form ID=VALUE"),
        ({}, ["--checkpoint", "no.pt"], "no.pt does not exist"),
        ({}, ["--batch", "batch.pt"], "--bundle brings its own loss and batch"),
    ],
)
def test_what_cannot_be_used_is_2(
    tmp_path: Path, changes: dict[str, Any], arguments: list[str], words: str
) -> None:
    done, _ = check(write(tmp_path / "bad", **changes), *arguments)
    assert done.exit_code == 2, done.output
    assert words in " ".join(done.stderr.split())


@pytest.fixture(params=MAKERS)
def ours(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """One of our bundles, and a folder of tiny data for it."""
    MAKERS[request.param](tmp_path / "data")
    yield BUNDLES / request.param, tmp_path / "data"
    for module in [name for name in sys.modules if name.split(".")[0] == "scripts"]:
        del sys.modules[module]


def test_our_bundles_give_no_alarm(ours: tuple[Path, Path]) -> None:
    folder, data = ours
    done, told = check(
        folder,
        *("--override", f"dataset_dir={data}"),
        *("--override", "patch_size=[32, 32, 32]"),
        *("--override", "device=$torch.device('cpu')"),
    )
    assert (done.exit_code, alarms(told)) == (0, []), done.output
    assert [row["applied"] for row in told["terms"]] == ["softmax", "softmax"]
