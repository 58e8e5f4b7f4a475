"""Bundles with tiny data: made in each bundle's layout, in seconds, from nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.bundle import ConfigWorkflow

BUNDLES = Path(__file__).parents[2] / "bundles"
LPS_1_2_MM = np.diag([-1.2, -1.0, 1.0, 1.0])
"""Neither the orientation nor the spacing that the networks work in."""
SMALL = {"epochs": 1, "val_interval": 1, "patch_size": [32, 32, 32], "steps_per_epoch": 4}


@dataclass(frozen=True)
class Bundle:
    """One bundle with tiny data and a folder for what it writes."""

    root: Path
    data: Path
    out: Path
    held_out: tuple[str, ...]
    label_folder: str

    def files(self, *names: str) -> list[str]:
        return [str(self.root / "configs" / f"{name}.json") for name in names]

    @property
    def folders(self) -> dict[str, str]:
        return {
            "bundle_root": str(self.root),
            "dataset_dir": str(self.data),
            "ckpt_dir": str(self.out / "models"),
            "output_dir": str(self.out / "eval"),
        }

    def workflow(self, *names: str, kind: str = "train", **overrides: Any) -> ConfigWorkflow:
        """An initialised workflow that leaves this process's logging alone."""
        small = SMALL if "train" in names else {}
        workflow = ConfigWorkflow(
            self.files(*names),
            logging_file=False,
            workflow_type=kind,
            **{**small, **self.folders, **overrides},
        )
        workflow.initialize()
        return workflow


def write_case(folder: Path, part: str, name: str, seed: int, labels: int = 2) -> None:
    """A noisy ball of label 2 in a ball of label 1, or the outer ball alone."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(26, 34, size=3)
    grid = np.indices(shape) - (shape.reshape(3, 1, 1, 1) - 1) / 2
    radius = np.linalg.norm(grid, axis=0)
    label = ((radius < 11).astype(np.uint8) + (radius < 6)).astype(np.uint8).clip(max=labels)
    image = (100 * label + rng.normal(0, 20, size=shape)).astype(np.float32)
    for kind, volume in (("images", image), ("labels", label)):
        target = folder / f"{kind}{part}" / f"{name}.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(volume, LPS_1_2_MM), target)


def hippocampus(folder: Path) -> tuple[tuple[str, ...], str]:
    names = [f"hippocampus_{n:03}" for n in (7, 1, 4, 9, 3, 6)]
    for seed, name in enumerate(names):
        write_case(folder, "Tr", name, seed)
    listed = [
        {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
        for name in names
    ]
    (folder / "dataset.json").write_text(json.dumps({"training": listed}))
    write_case(folder, "Ts", "hippocampus_002", seed=7)
    return ("hippocampus_001.nii.gz", "hippocampus_009.nii.gz"), "labelsTr"


def brain(folder: Path) -> tuple[tuple[str, ...], str]:
    write_case(folder, "Tr", "back", seed=0)
    write_case(folder, "Ts", "front", seed=1)
    return ("front.nii.gz",), "labelsTs"


MAKERS: dict[str, Callable[[Path], tuple[tuple[str, ...], str]]] = {
    "hippocampus_mr": hippocampus,
    "brain_tissue_mr": brain,
}
