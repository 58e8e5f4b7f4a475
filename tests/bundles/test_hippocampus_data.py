"""The Decathlon list becomes a fixed split, and the real volumes load."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from bundles.tiny import BUNDLES
from monai.bundle import ConfigParser

TRAIN = BUNDLES / "hippocampus_mr" / "configs" / "train.json"


def parsed(dataset_dir: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(TRAIN)
    parser["dataset_dir"] = str(dataset_dir)
    return parser


def test_every_fifth_case_by_name_is_held_out(tmp_path: Path) -> None:
    names = [f"case_{n:02}.nii.gz" for n in range(12)]
    shuffled = np.random.default_rng(0).permutation(names)
    listed = [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in shuffled]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": listed}))
    parser = parsed(tmp_path)
    held_out, train = (
        [Path(case["image"]).name for case in parser.get_parsed_content(f"{part}_cases")]
        for part in ("val", "train")
    )
    assert held_out == [names[0], names[5], names[10]]
    assert train == [name for name in names if name not in held_out]


def test_missing_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="load_decathlon_datalist") as raised:
        parsed(tmp_path / "nowhere").get_parsed_content("train_cases")
    assert "nowhere" in str(raised.value.__cause__)


def test_real_cases_load_with_three_labels(data_dir: Path) -> None:
    task = data_dir / "Task04_Hippocampus"
    if not task.is_dir():
        pytest.skip(f"{task.name} is not among the real volumes")
    parser = parsed(task)
    parser["val_cases"] = "$@cases[::50]"
    for case in parser.get_parsed_content("validate#dataset"):
        assert case["image"].shape == case["label"].shape
        assert np.unique(case["label"]).tolist() == [0, 1, 2]
        assert abs(float(case["image"].mean())) < 1e-3
