"""``medloss eval``: the options that say what goes in."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result

from medloss.cli.eval import eval_command


def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(exist_ok=True)
    affine = np.diag([1.0, 2.0, 3.0, 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Path:
    """Three references; a is predicted rightly, b with label 2 as 1, c not at all."""
    monkeypatch.chdir(tmp_path)
    reference = np.zeros((8, 9, 10), np.uint8)
    reference[1:4, 2:6, 2:6] = 1
    reference[4:7, 2:6, 2:6] = 2
    reference[1:4, 6:8, 2:6] = 3
    for name in "abc":
        write(tmp_path / "ref" / f"{name}.nii.gz", reference)
    write(tmp_path / "pred" / "a.nii.gz", reference)
    write(tmp_path / "pred" / "b.nii.gz", np.where(reference == 2, 1, reference))
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(eval_command, [str(argument) for argument in arguments])


def dice(*arguments: str | Path, code: int = 0) -> tuple[dict[tuple[str, str], float], Result]:
    """Value by case and label, and what was said."""
    result = run(*arguments, "-m", "dice", "--csv", "o.csv", "--json", "o.json", "--force")
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    with Path("o.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] != "failed"]
    return {(row["case"], row["label"]): float(row["value"]) for row in rows}, result


def settings() -> dict:
    return json.loads(Path("o.json").read_text())["settings"]


def test_a_manifest_says_what_belongs_together(folders):
    (folders / "study.csv").write_text(
        "case,prediction,reference\nx,pred/b.nii.gz,ref/a.nii.gz\ny,pred/gone.nii,ref/b.nii.gz\n"
    )
    found, result = dice("--manifest", "study.csv", code=1)
    assert {case for case, _ in found} == {"x"}
    assert found["x", "2"] == 0
    assert "y: no prediction: pred/gone.nii does not exist" in result.stdout
    found, result = dice("--manifest", "study.csv", "--only-predicted")
    assert "1 reference without a prediction is left out: y." in result.stdout


def test_references_without_a_prediction(folders):
    _, result = dice("pred", "ref", code=1)
    assert "no prediction: pred holds no image called 'c'" in result.stdout
    found, result = dice("pred", "ref", "--only-predicted")
    assert {case for case, _ in found} == {"a", "b"}
    assert "1 reference without a prediction is left out: c." in result.stdout
    assert settings()["inputs"] == {"left_out": ["c"]}


def test_regions_beside_labels(folders):
    labels = "2=edge,whole=1+2"
    found, result = dice("pred", "ref", "--only-predicted", "--labels", labels)
    assert list(found) == [("a", "2"), ("a", "whole"), ("b", "2"), ("b", "whole")]
    assert found["b", "2"] == 0
    assert found["b", "whole"] == 1
    assert "Region whole: labels 1, 2 edge." in result.stdout
    assert "  whole " in result.stdout
    assert settings()["labels"] == [
        {"label": 2, "name": "edge"},
        {"label": "whole", "name": "", "labels": [1, 2]},
    ]


def test_the_dataset_of_a_region_based_nnunet(folders):
    (folders / "dataset.json").write_text(
        json.dumps(
            {
                "labels": {"background": 0, "whole": [1, 2], "edge": [2], "ignore": 3},
                "regions_class_order": [1, 2],
            }
        )
    )
    (folders / "pred" / "b.nii.gz").unlink()
    channels = np.zeros((2, 10, 9, 8), np.float32)
    reference = np.asanyarray(nibabel.load("ref/b.nii.gz").dataobj).T
    channels[0] = np.isin(reference, (1, 2, 3))
    channels[1] = reference == 2
    np.savez_compressed(folders / "pred" / "b.npz", probabilities=channels * 0.8)
    found, result = dice("pred", "ref", "--only-predicted", "--labels", "dataset.json")
    assert found == {("a", "whole"): 1, ("a", "2"): 1, ("b", "whole"): 1, ("b", "2"): 1}
    said = " ".join(result.stdout.split())
    assert "Voxels with label 3 in the reference do not count." in said
    assert "b: place of b.npz from ref/b.nii.gz." in said
    assert settings()["inputs"]["ignore_label"] == 3


def test_labels_are_changed_and_ignored(folders):
    found, result = dice("pred", "ref", "--only-predicted", "--remap-reference", "2=1")
    assert found["b", "1"] == 1
    assert "Labels changed in references: 2 to 1." in result.stdout
    found, _ = dice("pred", "ref", "--only-predicted", "--remap", "2=0", "--ignore-label", "3")
    assert settings()["inputs"]["remap_prediction"] == {"2": 0}
    assert set(found) == {("a", "1"), ("b", "1")}
    found, _ = dice("pred", "ref", "--only-predicted", "--ignore-label", "2")
    assert found["b", "1"] == 1


def test_resampling_is_asked_for_and_said(folders):
    reference = np.asanyarray(nibabel.load("ref/a.nii.gz").dataobj)
    mirrored = np.diag([-1.0, 2.0, 3.0, 1.0])
    mirrored[0, 3] = 7
    write(folders / "pred" / "a.nii.gz", np.ascontiguousarray(reference[::-1]), mirrored)
    write(folders / "pred" / "b.nii.gz", reference[::2], np.diag([2.0, 2.0, 3.0, 1.0]))
    _, result = dice("pred", "ref", "--only-predicted", code=1)
    assert "--resample turns them without loss" in result.stdout
    assert "differ in shape: 4 x 9 x 10 against 8 x 9 x 10" in result.stdout
    found, result = dice("pred", "ref", "--only-predicted", "--resample")
    assert found["a", "1"] == found["a", "2"] == 1
    said = " ".join(result.stdout.split())
    assert "a: prediction reoriented to the axes of the reference, which loses nothing." in said
    assert "b: prediction resampled to the nearest voxel, from 4 x 9 x 10 of 2 x 2 x 3 mm" in said
    assert settings()["inputs"] == {"resample": True, "left_out": ["c"]}
    cases = json.loads(Path("o.json").read_text())["cases"]
    assert [len(case["notes"]) for case in cases] == [1, 1]


def test_channels_of_their_own(folders):
    reference = np.asanyarray(nibabel.load("ref/a.nii.gz").dataobj)
    stack = np.stack([reference > 0, reference == 2], axis=-1).astype(np.float32) * 0.7
    for side in ("p", "r"):
        write(folders / side / "a.nii.gz", stack)
    _, result = dice("p", "r", code=1)
    assert "say --channels independent" in result.stdout
    found, _ = dice("p", "r", "--channels", "independent")
    assert found == {("a", "1"): 1, ("a", "2"): 1}


def test_probabilities_beside_label_maps(folders):
    reference = np.asanyarray(nibabel.load("ref/b.nii.gz").dataobj)
    soft = np.eye(4, dtype=np.float32)[reference].transpose(3, 2, 1, 0)
    np.savez(folders / "pred" / "b.npz", probabilities=soft)
    found, _ = dice("pred", "ref", "--only-predicted")
    assert found["b", "2"] == 0
    found, _ = dice("pred", "ref", "--only-predicted", "--probabilities")
    assert found["b", "2"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing argument PRED: give PRED and REF, or --manifest"),
        (["pred"], "Missing argument REF"),
        (["pred", "ref", "--manifest", "m.csv"], "--manifest names the files; drop PRED and REF"),
        (["--manifest", "m.csv"], "m.csv cannot be read: No such file"),
        (["pred", "ref", "--remap", "3"], "'3' is not of the form OLD=NEW"),
        (
            ["pred", "ref", "--remap", "3=1", "--remap-reference", "3=2"],
            "label 3 is changed by --remap and by --remap-reference",
        ),
        (
            ["pred", "ref", "--labels", "1,a=2+3", "--ignore-label", "3"],
            "label 3 is to be ignored and cannot be scored as well",
        ),
        (["pred", "ref", "--ignore-label", "-1"], "-1 is not in the range"),
        (["pred", "ref", "--channels", "mine"], "'mine' is not one of"),
        (["pred", "ref", "--labels", "all=1+2"], "'all' cannot be the name of a region"),
    ],
)
def test_wrong_commands_end_with_2_and_one_sentence(folders, arguments, words):
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert result.stdout == ""
