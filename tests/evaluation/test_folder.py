from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from study_folders import write_folder

from medloss.evaluation.outputs.results import FolderError, read_folder

NAN, INF = math.nan, math.inf
VALUES = {
    "a": {("1", "dice"): 0.5, ("1", "hausdorff95"): 2.0},
    "b": {("1", "dice"): (0.0, "missed"), ("1", "hausdorff95"): (INF, "missed")},
    "c": {("1", "dice"): (NAN, "both_empty"), ("1", "hausdorff95"): (NAN, "both_empty")},
    "d": "d.nii.gz is empty",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    voxels = {"a": {"1": (10, 12)}, "b": {"1": (4, 0)}, "c": {"1": (0, 0)}}
    return write_folder(tmp_path / "out", VALUES, names={"1": "liver"}, voxels=voxels)


def change(folder: Path, edit) -> None:
    path = folder / "summary.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_everything_is_read(folder):
    found = read_folder(folder)
    assert [case.name for case in found.cases] == ["a", "b", "c", "d"]
    assert [label.title for label in found.labels] == ["1 liver"]
    assert [measure.title for measure in found.measures] == ["dice", "hausdorff95 (mm)"]
    a, b, c, d = found.cases
    assert (a.values["1", "dice"].value, a.values["1", "dice"].status) == (0.5, "ok")
    assert b.values["1", "hausdorff95"].value == INF
    assert b.values["1", "hausdorff95"].used
    assert not c.values["1", "hausdorff95"].used
    assert d.error == "d.nii.gz is empty"
    assert not d.values
    assert a.voxels == {"1": (10, 12)}
    assert d.voxels == {}
    assert (a.spacing_mm, a.shape) == ((1.0, 1.0, 2.0), (8, 8, 8))


def test_a_null_in_the_summary_is_infinite_only_where_there_are_values(folder):
    dice, distance = read_folder(folder).lines
    assert dice.mean == 0.25
    assert math.isnan(dice.sd)
    assert distance.mean == INF
    assert distance.maximum == INF
    assert math.isnan(distance.ci_low)
    assert distance.failed == 1


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c.update(format=99), "has the format 99"),
        (lambda c: c.pop("settings"), "lacks or garbles 'settings'"),
        (lambda c: c["summary"][0].pop("ci_low"), "lacks or garbles 'ci_low'"),
        (lambda c: c["settings"]["policies"].pop("meaning"), "meaning"),
        (lambda c: c["settings"]["metrics"][0].update(better="more"), "higher or lower"),
        (lambda c: c["cases"].pop(), "do not hold the same cases"),
        (lambda c: c["cases"].append(c["cases"][0]), "do not hold the same cases"),
        (lambda c: c["cases"][0]["results"].pop(), "differ in the values of 'a'"),
        (lambda c: c["metric_per_case"].pop(), "expected 3 cases, got 2"),
        (lambda c: c.update(cases=7), "summary.json"),
        (lambda c: c["settings"].update(inputs=True), "inputs: expected dict, got True"),
        (lambda c: c["settings"].update(inputs={"left_out": 1}), "left_out: expected list, got 1"),
        (lambda c: c["settings"].update(bootstrap=[[1]]), "bootstrap: expected dict"),
        (lambda c: c["settings"].update(bootstrap={"level": "x"}), "could not convert"),
        (lambda c: c["cases"][0].update(shape=[1e400, 2]), "infinity"),
    ],
)
def test_a_damaged_summary_is_one_sentence(folder, edit, words):
    change(folder, edit)
    with pytest.raises(FolderError, match=r"summary\.json") as caught:
        read_folder(folder)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not begin with case,label"),
        ("case,label\n", "does not begin with case,label"),
        ("{head}\na,1,,dice,abc,,deepmind,ok,\n", "line 2: could not convert"),
        ("{head}\na,1,,dice,1,,deepmind,ok,\na,1,,dice,1,,deepmind,ok,\n", "there twice"),
        ("{head}\na,1\n", "is damaged"),
        ("{head}\n", "do not hold the same cases"),
        ("{head}\nd,,,,,,deepmind,failed,x\n", "differ in the values of 'a'"),
    ],
)
def test_a_damaged_table_is_one_sentence(folder, text, words):
    head = (folder / "cases.csv").read_text().splitlines()[0]
    (folder / "cases.csv").write_text(text.format(head=head))
    with pytest.raises(FolderError, match=r"cases\.csv") as caught:
        read_folder(folder)
    assert words in str(caught.value)


def test_what_is_no_output_folder_is_told(tmp_path, folder):
    with pytest.raises(FolderError, match="is no folder"):
        read_folder(tmp_path / "gone")
    with pytest.raises(FolderError, match=r"has no summary\.json"):
        read_folder(tmp_path)
    (folder / "cases.csv").unlink()
    with pytest.raises(FolderError, match=r"has no cases\.csv"):
        read_folder(folder)
    (folder / "summary.json").write_text("[" * 100_000)
    with pytest.raises(FolderError, match="is not JSON"):
        read_folder(folder)
    (folder / "summary.json").write_bytes(b"\xff\xfe")
    with pytest.raises(FolderError, match="is not JSON"):
        read_folder(folder)
    (folder / "summary.json").write_text("[]")
    with pytest.raises(FolderError, match="holds no object"):
        read_folder(folder)


def test_a_case_without_any_label_has_no_lines(tmp_path):
    found = read_folder(write_folder(tmp_path / "out", {"a": {}, "b": {("1", "dice"): 1.0}}))
    assert [len(case.values) for case in found.cases] == [0, 1]
    assert not found.cases[0].error
