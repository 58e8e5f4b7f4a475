"""The examples of docs/integrations.md run as they stand."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medloss.integrations.nnunet_file import read_config, write_trainer

os.environ.setdefault("KERAS_BACKEND", "torch")  # before another test imports Keras

PAGE = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL)
SHELL = [code for language, code in BLOCKS if language == "sh"]


def example(word: str) -> str:
    (code,) = [code for language, code in BLOCKS if language == "python" and word in code]
    return code


@pytest.mark.filterwarnings("ignore")
def test_keras() -> None:
    pytest.importorskip("keras", reason="Keras is not installed")
    names: dict[str, Any] = {}
    exec(example("keras"), names)
    assert np.isfinite(names["history"].history["loss"]).all()


def test_skeletons() -> None:
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    exec(example("SkeletonMapd"), {})


def test_the_config_of_nnunet_makes_a_trainer(tmp_path: Path) -> None:
    (config,) = [code for language, code in BLOCKS if language == "json"]
    path = write_trainer(read_config(config), tmp_path)
    assert repr(json.loads(config)["weights"][2]["end"]) in path.read_text()


def test_commands_are_those_that_there_are(tmp_path: Path) -> None:
    nnunet, metrics, _, _, lightning = SHELL
    name = re.findall(r"-tr (\w+)", nnunet)
    loss = re.findall(r"--loss (\w+)", nnunet)
    assert [write_trainer({"name": loss[0]}, tmp_path).stem] == name
    asked = re.findall(r"-m (\S+)", metrics)
    (trained,) = {*re.findall(r"-tr (\w+)", metrics)}
    assert write_trainer(None, tmp_path, metrics=asked).stem == trained
    script = lightning.split()[1]
    assert (Path(__file__).parents[2] / script).is_file()
