"""``medloss check`` on a batch from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from workbench.preflight.scenes import labels, logits

from medloss.cli import main


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, arguments)])


@pytest.fixture(autouse=True)
def reference_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels for every type that is tried would have to be compiled first."""
    monkeypatch.setenv("MEDLOSS_BACKEND", "reference")


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    path = tmp_path / "batch.pt"
    torch.save({"input": logits(), "label": labels()}, path)
    return path


def config(tmp_path: Path, **content: Any) -> Path:
    path = tmp_path / "loss.json"
    path.write_text(json.dumps(content))
    return path


def test_a_name_is_tried_with_the_options_of_its_example(batch: Path) -> None:
    done = run("dice_ce", "--batch", batch)
    assert done.exit_code == 0, done.output
    assert "cross_entropy" in done.stdout
    assert "0 defects, 0 warnings" in done.stdout


def test_a_defect_is_1_and_the_file_says_the_same_as_the_screen(
    batch: Path, tmp_path: Path
) -> None:
    torch.save((logits().softmax(1), labels()), batch)
    content = {"_target_": "monai.losses.DiceCELoss", "softmax": True, "to_onehot_y": True}
    file = tmp_path / "out" / "report.json"
    done = run("--config", config(tmp_path, **content), "--batch", batch, "--json-file", file)
    assert done.exit_code == 1, done.output
    assert "defect double_activation dice, cross_entropy" in " ".join(done.stdout.split())
    told = json.loads(file.read_text())
    assert told["counts"]["defect"] == 1
    again = run("--config", tmp_path / "loss.json", "--batch", batch, "--json")
    assert json.loads(again.stdout)["findings"] == told["findings"]


def test_an_entry_may_refer_to_others(batch: Path, tmp_path: Path) -> None:
    loss = {"_target_": "medloss.losses.DiceCELoss", "softmax": "@exclusive"}
    done = run("--config", config(tmp_path, exclusive=True, loss=loss), "--batch", batch)
    assert done.exit_code == 0, done.output


def test_extras_make_the_target_a_mapping(batch: Path) -> None:
    content = {"logits": logits(), "target": labels(), "spacing_mm": [1.0, 1.0, 3.0]}
    torch.save(content, batch)
    done = run("boundary", "--batch", batch, "--json")
    assert done.exit_code == 0, done.output


def test_volumes_are_a_batch_of_one(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 2.5, 1.0])
    values = logits(batch=1)[0].movedim(0, -1).numpy()
    label = labels(batch=1)[0, 0].numpy().astype(np.uint8)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "p.nii.gz")
    nib.save(nib.Nifti1Image(label, affine), tmp_path / "l.nii.gz")
    files = ("--prediction", tmp_path / "p.nii.gz", "--label", tmp_path / "l.nii.gz")
    done = run("dice_ce", *files, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["input"]["shape"] == [1, 3, 12, 12, 12]
    torch.save((logits(batch=1), labels(batch=1)), tmp_path / "b.pt")
    same = json.loads(run("dice_ce", "--batch", tmp_path / "b.pt", "--json").stdout)
    assert told["value"] == pytest.approx(same["value"], rel=1e-6)
    # the voxel size comes along: a boundary loss needs it
    assert run("boundary", *files).exit_code == 0


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (Path("harm"), "done"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"label": 1}, "expected one of input, logits, pred, probabilities, got none"),
        ({"input": 1, "logits": 2, "label": 3}, "got ['input', 'logits']"),
        ({"input": 1, "label": 3, "foo": 1}, "got ['foo']"),
        ([1], "expected a mapping with input and label, got list"),
        ({"input": 1, "label": 3}, "label: expected a tensor, got int"),
        (Harmful(), "cannot be loaded as tensors alone"),
    ],
)
def test_a_file_that_holds_something_else_is_2(
    batch: Path, content: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(batch.parent)
    torch.save(content, batch)
    done = run("dice_ce", "--batch", batch)
    assert done.exit_code == 2, done.output
    assert words in " ".join(done.stderr.split())
    assert not Path("harm").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch", "b.pt"], "expected one loss to try: a NAME or --config FILE"),
        (["dice", "dice_ce", "--batch", "b.pt"], "expected one loss to try"),
        (["dice", "--config", "c.json"], "expected one loss to try"),
        (["dice", "--label", "l.nii"], "expected --batch FILE, or --prediction FILE and --label"),
        (["dice", "--batch", "no.pt"], "no.pt does not exist"),
        (["--config", "no.json", "--batch", "no.pt"], "no.json does not exist"),
        (
            ["--plugin", "region", "--batch", "b.pt"],
            "--plugin, --kind and --seconds belong to the contract",
        ),
        (["dice", "--checkpoint", "m.pt"], "--checkpoint belongs to --bundle"),
        (["dice", "--batch", "b.pt", "--seed", "1"], "--seed belongs to --bundle"),
    ],
)
def test_options_that_do_not_go_together_are_2(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())
