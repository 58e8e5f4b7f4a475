"""A bundle of a few lines on volumes of a few voxels, and MONAI's own answer to it."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import Dataset
from torch import Tensor, nn

OBLIQUE_ORDER = np.array([[0, 0, 1.5, -3], [-1.2, 0, 0, 5], [0, 0.8, 0, 7], [0, 0, 0, 1.0]])
"""Neither the order of axes nor the spacing that the network works in."""

CONFIG: dict[str, Any] = {
    "bundle_root": ".",
    "dataset_dir": "$@bundle_root + '/data'",
    "device": "cpu",
    "cases": "$[{'image': @dataset_dir + '/images/' + name, "
    "'label': @dataset_dir + '/labels/' + name} for name in ('b.nii.gz', 'a.nii.gz')]",
    "network_def": {
        "_target_": "torch.nn.Conv3d",
        "in_channels": 1,
        "out_channels": 3,
        "kernel_size": 3,
        "padding": 1,
    },
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1.0, 1.0, 1.0]},
            {"_target_": "NormalizeIntensityd", "keys": "image"},
        ],
    },
    "dataset": {"_target_": "Dataset", "data": "@cases", "transform": "@preprocessing"},
    "inferer": {
        "_target_": "SlidingWindowInferer",
        "roi_size": [6, 7, 8],
        "sw_batch_size": 2,
        "overlap": 0.5,
        "mode": "gaussian",
    },
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {
                "_target_": "Invertd",
                "keys": "pred",
                "transform": "@preprocessing",
                "orig_keys": "image",
                "nearest_interp": False,
            },
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        ],
    },
    "initialize": ["$1 / 0"],
    "run": ["$1 / 0"],
}


@dataclass(frozen=True)
class Folder:
    """A bundle on disk."""

    root: Path

    def configure(self, name: str = "inference", **changes: Any) -> None:
        """Write the configuration with some entries changed."""
        config = {**copy.deepcopy(CONFIG), **changes}
        path = self.root / "configs" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(config))

    def postprocess(self, *steps: dict[str, Any], **changes: Any) -> None:
        """Write the configuration with other postprocessing of the key pred."""
        steps = tuple({"keys": "pred", **step} for step in steps)
        self.configure(postprocessing={"_target_": "Compose", "transforms": list(steps)}, **changes)

    def train(self, classes: int = 3) -> None:
        """Random weights that give every class a share of the image."""
        torch.manual_seed(classes)
        network = nn.Conv3d(1, classes, 3, padding=1)
        nn.init.normal_(network.weight, std=0.3)
        (self.root / "models").mkdir(exist_ok=True)
        torch.save({"model": network.state_dict()}, self.root / "models" / "model.pt")

    def monai(self, until: int | None = None) -> dict[str, Tensor]:
        """What MONAI predicts for each case, after so many steps of postprocessing."""
        parser = ConfigParser()
        parser.read_config(str(self.root / "configs" / "inference.json"))
        parser["bundle_root"] = str(self.root)
        network = parser.get_parsed_content("network_def").eval()
        network.load_state_dict(torch.load(self.root / "models" / "model.pt")["model"])
        inferer = parser.get_parsed_content("inferer")
        steps = parser.get_parsed_content("postprocessing").transforms[:until]
        dataset: Dataset = parser.get_parsed_content("dataset")
        made = {}
        for item in dataset:
            with torch.no_grad():
                pred = inferer(item["image"][None], network)[0]
            item["pred"] = pred
            for step in steps:
                item = step(item)
            made[Path(item["image"].meta["filename_or_obj"]).name[0]] = item["pred"].as_tensor()
        return made


def write_bundle(root: Path) -> Folder:
    """A bundle with two cases, whose files are turned against the network's grid."""
    rng = np.random.default_rng(0)
    for name, shape in (("a", (13, 11, 9)), ("b", (10, 14, 8))):
        grid = np.indices(shape) - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2
        radius = np.linalg.norm(grid, axis=0)
        label = ((radius < 4.5).astype(np.uint8) + (radius < 2.5)).astype(np.uint8)
        image = (label + rng.normal(0, 0.7, size=shape)).astype(np.float32)
        for kind, volume in (("images", image), ("labels", label)):
            path = root / "data" / kind / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(volume, OBLIQUE_ORDER), path)
    folder = Folder(root)
    folder.configure()
    folder.train()
    return folder
