"""``medloss.evaluate``: the numbers of the command, for arrays and paths, refusing in words."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner

import medloss
from medloss.cli.compare import compare_command
from medloss.cli.eval import eval_command
from medloss.evaluation.settings import InputSettings

SPACING = (1.0, 1.0, 2.5)
LABELS = {"a": 1, "b": 2, "whole": [1, 2]}


def scene():
    """Two cases; of the first one class is missed."""
    reference = np.zeros((2, 20, 20, 10), np.uint8)
    reference[:, 4:12, 4:12, 2:6] = 1
    reference[:, 14:18, 14:18, 2:6] = 2
    prediction = np.roll(reference, 1, axis=1)
    prediction[0][prediction[0] == 2] = 0
    return prediction, reference


def lines(found):
    return [(line.label, line.column.name, line.n, line.mean) for line in found.table.lines]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    for side, maps in zip(("pred", "ref"), scene(), strict=True):
        (folder / side).mkdir()
        for number, each in enumerate(maps, 1):
            image = nib.Nifti1Image(each, np.diag([*SPACING, 1]))
            nib.save(image, folder / side / f"case_{number}.nii.gz")
    return folder


def test_the_command_paths_arrays_and_tensors_give_one_table(folders):
    torch = pytest.importorskip("torch")
    meta = pytest.importorskip("monai.data").MetaTensor
    words = [str(folders / side) for side in ("pred", "ref")]
    words += ["--labels", "1=a,2=b,whole=1+2", "--json", str(folders / "out.json")]
    assert CliRunner().invoke(eval_command, words).exit_code == 0
    summary = json.loads((folders / "out.json").read_text())["summary"]
    told = [(each["label"], each["metric"], each["n"], each["mean"]) for each in summary]
    prediction, reference = scene()
    affine = torch.diag(torch.tensor([*SPACING, 1.0]))
    paths = {
        side: {f"case_{n}": folders / side / f"case_{n}.nii.gz" for n in (1, 2)}
        for side in ("pred", "ref")
    }

    def placed(maps):
        return [meta(torch.from_numpy(each[None].copy()), affine=affine) for each in maps]

    for sides, more in (
        ((folders / "pred", str(folders / "ref")), {}),
        ((paths["pred"], paths["ref"]), {}),
        ((list(prediction), list(reference)), {"spacing_mm": SPACING}),
        (({"case_1": prediction[0], "case_2": paths["pred"]["case_2"]}, paths["ref"]), {}),
        ((placed(prediction), placed(reference)), {}),
        (
            (
                [torch.from_numpy(each.transpose(2, 1, 0).copy()) for each in prediction],
                [each.transpose(2, 1, 0) for each in reference],
            ),
            {"spacing_mm": SPACING[::-1], "axes": "zyx"},
        ),
    ):
        if isinstance(sides[0], dict) and isinstance(sides[0]["case_1"], np.ndarray):
            more = {"spacing_mm": SPACING}
        assert lines(medloss.evaluate(*sides, labels=LABELS, **more)) == told


def test_one_array_probabilities_and_options_of_metrics():
    prediction, reference = scene()
    chances = np.stack([prediction[1] == k for k in range(3)]) * 0.8 + 0.2 / 3
    found = medloss.evaluate(
        chances,
        reference[1],
        spacing_mm=1.0,
        axes="cxyz",
        labels=[1],
        metrics=["dice", "normalized_surface_dice:tolerance_mm=2"],
    )
    assert found.mean("dice") == pytest.approx(0.875)
    assert found.mean("normalized_surface_dice", 1) == 1.0
    with pytest.raises(ValueError, match="metric, label: expected one of dice"):
        found.mean("jaccard")


def test_tables_are_frames_with_pandas_and_records_without(monkeypatch):
    prediction, reference = scene()
    found = medloss.evaluate(
        prediction[0], reference[0], spacing_mm=1, metrics="dice", lesions=True
    )
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pandas" else find(name)
    )
    assert [row["value"] for row in found.cases] == [0.875, 0.0]
    assert found.summary[1]["metric"] == "dice"
    assert {row["status"] for row in found.lesions} == {"found", "missed"}
    monkeypatch.undo()
    if find("pandas"):
        assert list(found.cases["value"]) == [0.875, 0.0]
    assert "<td>dice</td><td>1</td>" in found._repr_html_()
    assert repr(found) == "Evaluation of 1 cases: dice[1] 0.8750, dice[2] 0.0000"


def test_what_is_saved_is_compared_and_reported(tmp_path):
    prediction, reference = scene()
    for name, maps in (("one", prediction), ("two", reference)):
        found = medloss.evaluate(list(maps), list(reference), spacing_mm=SPACING, metrics="dice")
        found.save(tmp_path / name)
        assert (tmp_path / name / "report.html").stat().st_size > 5000
    page = found.report(tmp_path / "page.html")
    assert "medloss.evaluate(predictions=" in page.read_text()
    with pytest.raises(ValueError, match=r"page\.html"):
        found.report(page)
    with pytest.raises(ValueError, match="is not empty"):
        found.save(tmp_path / "one")
    words = [str(tmp_path / "one"), str(tmp_path / "two")]
    assert CliRunner().invoke(compare_command, words).exit_code == 0


def test_a_failed_case_is_told_and_only_failed_ones_raise():
    prediction, reference = scene()
    small = {"a": prediction[0], "b": prediction[1][:5]}
    with pytest.warns(UserWarning, match="1 of 2 cases failed and are in no mean; b: pred"):
        found = medloss.evaluate(
            small, {"a": reference[0], "b": reference[1]}, spacing_mm=1, metrics="dice"
        )
    assert [case.name for case in found.failed] == ["b"]


@pytest.mark.parametrize(
    ("sides", "options", "said"),
    [
        ("one", {}, "does not state the size of its voxels; say it in mm, such as spacing_mm"),
        ("one", {"spacing_mm": (1, 1)}, "has 3 spatial axes; spacing_mm has 2 sizes"),
        ("one", {"spacing_mm": -1}, "spacing_mm: expected"),
        ("four", {"spacing_mm": 1}, "axes: expected the order of the 4 axes such as 'cxyz', got"),
        ("one", {"spacing_mm": 1, "metrics": "dicee"}, "did you mean dice"),
        ("one", {"spacing_mm": 1, "preset": "x"}, "preset: expected one of deepmind"),
        ("one", {"spacing_mm": 1, "missed": "x"}, "missed: expected 'diagonal'"),
        ("one", {"spacing_mm": 1, "ignore_label": -3}, "ignore_label: expected a label, got -3"),
        ("one", {"spacing_mm": 1, "channels": "x"}, "channels: expected one of exclusive"),
        ("one", {"spacing_mm": 1, "labels": 3}, "labels: expected a mapping, a list"),
        ("one", {"spacing_mm": 1, "layout": "flat"}, "layout: is for folders"),
        ("one", {"spacing_mm": 1, "workers": 2}, "workers: expected 1, arrays are scored in this"),
        ("uneven", {"spacing_mm": 1}, "references: expected 2 as of predictions, got 1"),
        ("keys", {"spacing_mm": 1}, "only one of them has x, y"),
        ("nothing", {}, "Missing argument predictions: give predictions and references, or manif"),
        ("numbers", {}, "predictions: expected a path, an array, or a list or mapping of such"),
        ("one", {"spacing_mm": 1, "profile": "nnunet", "missed": 3}, "missed: the profile nnunet"),
    ],
)
def test_refusals_name_the_argument_what_was_expected_and_what_came(sides, options, said):
    prediction, reference = scene()
    given = {
        "one": (prediction[0], reference[0]),
        "four": (prediction, reference),
        "uneven": (list(prediction), list(reference[:1])),
        "keys": ({"x": prediction[0]}, {"y": reference[0]}),
        "nothing": (),
        "numbers": (3, 4),
    }
    with pytest.raises(ValueError, match=re.escape(said)):
        medloss.evaluate(*given[sides], **options)


def test_every_option_of_the_files_is_an_argument_and_limits_are_kept():
    arguments = set(inspect.signature(medloss.evaluate).parameters)
    options = {field.name for field in dataclasses.fields(InputSettings)}
    assert options - arguments == {"spacing"}
    prediction, reference = scene()
    found = medloss.evaluate(
        list(prediction),
        list(reference),
        spacing_mm=1,
        metrics="dice",
        labels=LABELS,
        accept="a: dice>=0.8",
        cluster="^(case)_",
        title="Ours",
    )
    assert found.table.settings["acceptance"] == ["a: dice>=0.8"]
    assert found.table.settings["cluster"] == "^(case)_"
    with pytest.raises(ValueError, match="accept"):
        medloss.evaluate(prediction[0], reference[0], spacing_mm=1, accept="a: nodice>=0.8")


def test_scoring_arrays_imports_neither_torch_nor_pandas():
    code = (
        "import sys, numpy as np, medloss; a = np.eye(8, dtype=np.uint8); "
        "medloss.evaluate(a, a, spacing_mm=1, metrics='dice'); "
        "print([name for name in ('torch', 'monai', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
