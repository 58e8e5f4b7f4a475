"""Labels pair by name where both files name them, else by number, and the results say which."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from medloss.cli import main
from medloss.evaluation.inputs.labels import parse_labels
from medloss.evaluation.inputs.naming import pair_labels
from medloss.evaluation.reading.images import Image, make_image
from medloss.evaluation.reading.stored import CaseError, Stored

SHAPE = (5, 4, 3)


def image(name: str, array: np.ndarray, names: dict[int, str] | None = None, **more) -> Image:
    return make_image(Path(name), Stored(array, np.eye(4), 3, names=names or {}, **more))


def labels(*values: int) -> np.ndarray:
    """A map that holds each value as many times as it is large."""
    found = np.zeros(np.prod(SHAPE), np.uint8)
    start = 0
    for value in values:
        found[start : start + value] = value
        start += value
    return found.reshape(SHAPE)


def channels(*masks: np.ndarray) -> np.ndarray:
    return np.stack(masks, axis=-1).astype(np.uint8)


def voxels(prediction: Image, reference: Image, text: str = "", **more) -> tuple[dict, str]:
    """Voxels of reference, prediction and both by class, as the layers have them, and the notes."""
    from medloss.evaluation.inputs.case_pair import CaseOptions, make_case_pair

    classes = parse_labels(text) if text else None
    options = CaseOptions(
        names=classes.table if classes else {}, regions=classes.regions if classes else {}, **more
    )
    pair = make_case_pair(prediction, reference, options)
    asked = list(classes.names) if classes else pair.classes
    found = {}
    for layer in pair.layers(asked, classes.regions if classes else {}):
        for label, code in layer.codes.items():
            one, other = layer.reference == code, layer.prediction == code
            found[label] = (int(one.sum()), int(other.sum()), int((one & other).sum()))
    return found, "; ".join(pair.notes)


A = labels(1, 2, 3)


def test_label_maps_with_other_numbers_pair_by_name():
    one = image("p.nrrd", np.choose(A, [0, 7, 5, 1]), {7: " liver ", 5: "SPLEEN", 1: "Extra"})
    other = image("r.nrrd", A, {1: "Liver", 2: "Spleen", 3: "Kidney", 9: "Nothing"})
    found, notes = voxels(one, other)
    assert found == {
        "Liver": (1, 1, 1),
        "Spleen": (2, 2, 2),
        "Kidney": (3, 0, 0),
        "Nothing": (0, 0, 0),
        "Extra": (0, 3, 0),
    }
    assert notes == (
        "labels pair by name; only the prediction has Extra; only the reference has Kidney, Nothing"
    )


def test_channels_in_another_order_pair_by_name_and_may_overlap():
    masks = [A == 1, A >= 1, A == 3]
    own = {"channels": "independent"}
    one = image("p", channels(masks[2], masks[0], masks[1]), {1: "c", 2: "a", 3: "b"}, **own)
    other = image("r", channels(*masks), {1: "A", 2: "B", 3: "C"}, **own)
    expected = {"A": (1, 1, 1), "B": (6, 6, 6), "C": (3, 3, 3)}
    assert voxels(one, other)[0] == expected
    assert voxels(other, one)[0] == {key.lower(): value for key, value in expected.items()}


def test_a_label_map_against_channels_that_overlap():
    own = {"channels": "independent"}
    stack = image("p", channels(A >= 2, A == 3, A == 1), {1: "big", 2: "c", 3: "a"}, **own)
    plain = image("r", A, {1: "a", 3: "c"})
    found, _ = voxels(stack, plain)
    assert found == {"a": (1, 1, 1), "c": (3, 3, 3), "big": (0, 5, 0), 2: (2, 0, 0)}
    assert voxels(plain, stack)[0] == {
        "big": (5, 0, 0),
        "c": (3, 3, 3),
        "a": (1, 1, 1),
        4: (0, 2, 0),
    }
    with pytest.raises(CaseError, match="overlap, which the labels of"):
        voxels(stack, image("r", A))
    found, _ = voxels(stack, image("r", A), "1=a,3=c")
    assert found == {1: (1, 1, 1), 3: (3, 3, 3)}


def test_a_number_without_a_name_is_nobodys_named_label():
    one = image("p", A, {1: "a"})
    other = image("r", A, {1: "b", 2: "c"})
    found, _ = voxels(one, other)
    assert found == {"b": (1, 0, 0), "c": (2, 0, 0), "a": (0, 1, 0), 3: (3, 3, 3), 5: (0, 2, 0)}


def test_labels_of_one_name_are_one_class():
    one = image("p.dcm", A, {1: "Lesion", 2: "lesion"})
    found, notes = voxels(one, image("r.dcm", A, {1: "Lesion", 3: "Lesion"}))
    assert found["Lesion"] == (4, 3, 1)
    assert "r.dcm has several labels called Lesion, which are one class" in notes
    assert "p.dcm has several labels called Lesion, lesion" in notes
    own = {"channels": "independent"}
    stack = image("p", channels(A == 1, A == 2), {1: "Lesion", 2: "Lesion"}, **own)
    assert voxels(stack, image("r", A, {1: "Lesion", 2: "Lesion"}))[0]["Lesion"] == (3, 3, 3)


def test_codes_pair_what_names_do_not():
    code = {"codes": {1: "SCT:1", 2: "SCT:2"}}
    found, notes = voxels(
        image("p", A, {1: "Leber", 2: "Milz"}, codes={1: "SCT:1", 2: "SCT:9"}),
        image("r", A, {1: "Liver", 2: "Spleen"}, **code),
    )
    assert found["Liver"] == (1, 1, 1)
    assert found["Spleen"] == (2, 0, 0)
    assert "Leber is Liver by its code SCT:1" in notes
    twice = image("p", A, {1: "x", 2: "y"}, codes={1: "SCT:1", 2: "SCT:1"})
    assert voxels(twice, image("r", A, {1: "Liver", 2: "Spleen"}, **code))[0]["Liver"][1] == 0


def test_one_side_without_names_goes_by_number_and_says_so():
    found, notes = voxels(image("p.nii", A), image("r.dcm", A, {1: "Liver", 2: "Spleen"}))
    assert found == {1: (1, 1, 1), 2: (2, 2, 2), 3: (3, 3, 3)}
    assert notes == ("labels pair by number, as p.nii names none; r.dcm has 1 Liver, 2 Spleen")
    assert voxels(image("p", A), image("r", A))[1] == ""


def test_a_table_maps_names_and_numbers_of_both_sides():
    named = image("p.dcm", np.choose(A, [0, 4, 2, 9]), {4: "Hepar", 2: "spleen", 9: "Fat"})
    found, notes = voxels(named, image("r.nii", A), "1=liver,hepar,2=spleen,3=kidney,both=1+2")
    assert found == {1: (1, 1, 1), 2: (2, 2, 2), 3: (3, 0, 0), "both": (3, 3, 3)}
    assert notes == "labels of p.dcm by name; not scored: Fat; not in it: kidney"
    own = {"channels": "independent"}
    stack = image("s", channels(A == 3, A == 2, A <= 1), {1: "Fat", 2: "x", 3: "HEPAR"}, **own)
    found, notes = voxels(stack, named, "liver=Leber,hepar,x=Spleen")
    assert found == {"liver": (1, int((A <= 1).sum()), 1), "x": (2, 2, 2)}
    assert "labels of s by name; not scored: Fat" in notes
    found, _ = voxels(stack, named, "5=liver,hepar,7=spleen,x,both=5+7")
    assert found["both"] == (3, int((A <= 2).sum()), 3)


def test_what_a_table_cannot_tell_is_refused():
    named, plain = image("p.dcm", A, {1: "Liver"}), image("r.nii", A)
    with pytest.raises(CaseError, match=r"r\.nii does not name its labels, .* no number for liver"):
        voxels(named, plain, "liver=Liver,hepar")
    with pytest.raises(CaseError, match="the region whole is made of label 2, which --labels does"):
        voxels(named, plain, "1=liver,whole=1+2")
    found, notes = voxels(named, plain, "1=spleen")
    assert found == {1: (1, 1, 1)}
    assert notes == "labels of p.dcm by number: it has none of the names"


def test_who_remaps_speaks_in_numbers():
    one = image("p", A, {1: "b", 2: "a"})
    found, notes = voxels(one, image("r", A, {1: "a", 2: "b"}), remap_prediction={3: 1})
    assert found[1] == (1, 4, 1)
    assert "labels pair by number" in notes


def test_names_that_would_be_taken_for_something_else():
    one = image("p", A, {1: "all", 2: "7", 3: "  "})
    assert set(voxels(one, one)[0]) == {"'all'", "'7'", 3}


def test_the_ignored_label_is_no_class():
    one = image("p", A, {1: "a"})
    other = image("r", labels(1, 3), {1: "a", 3: "ignore"})
    found = pair_labels(one, other, {}, {}, 3)
    assert 3 not in (found.classes or ())


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("liver=Liver,hepar", {"liver": ("liver", "Liver", "hepar")}),
        ("1=liver, Leber ,2,3=x", {1: ("liver", "Leber"), 2: (), 3: ("x",)}),
        ("1=a,both=1+2,2=b", {1: ("a",), 2: ("b",)}),
    ],
)
def test_the_grammar_of_names(text, table):
    assert parse_labels(text).table == table


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("liver", "'liver' is no label"),
        ("1,liver", "'liver' is no label"),
        ("both=1+2,liver", "'liver' is no label"),
        ("1=liver,1.5", "'1.5' is no label"),
        ("1=a,b,2=B", "the name 'B' is given to two labels"),
        ("a=x,a=y", "the name 'a' is given to two"),
        ("all=liver", "'all' cannot be the name"),
    ],
)
def test_wrong_names_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        parse_labels(text)


def test_names_in_a_json_file(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"liver": ["Liver", "hepar"], "spleen": 2}))
    assert parse_labels(str(path)).table == {2: ("spleen",), "liver": ("liver", "Liver", "hepar")}


# The whole command


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, ["eval", *map(str, arguments)])


@pytest.fixture
def study(tmp_path: Path) -> Path:
    pytest.importorskip("pydicom")
    from dicom_writing import write_seg

    pixels = np.zeros((6, 7), np.uint8)
    pixels[1:3, 1:4] = 1
    other = np.zeros_like(pixels)
    other[4:, 4:] = 1
    for case, (pred, ref) in {
        "a": ({1: "spleen", 2: "Liver"}, {1: "liver", 2: "Spleen"}),
        "b": ({1: "LIVER", 2: "spleen"}, {2: "Liver", 1: "Spleen"}),
    }.items():
        for side, names in (("pred", pred), ("ref", ref)):
            shown = [
                (number, 0.0, pixels if name[0].lower() == "l" else other)
                for number, name in names.items()
            ]
            write_seg(tmp_path / side / f"{case}.dcm", shown, names)
    return tmp_path


def test_a_study_has_one_row_a_name_in_every_output(study):
    out = study / "out"
    told = run(study / "pred", study / "ref", "-m", "dice", "--output", out, "--report")
    assert told.exit_code == 0, told.output
    assert "labels pair by name" in told.output
    found = json.loads((out / "summary.json").read_text())
    assert "pydicom" in found["settings"]["versions"]
    assert [label["label"] for label in found["settings"]["labels"]] == ["liver", "Spleen"]
    for case in found["cases"]:
        assert {r["label"]: r["value"] for r in case["results"]} == {"liver": 1.0, "Spleen": 1.0}
        assert "labels pair by name" in " ".join(case["notes"])
    assert "labels pair by name" in (out / "report.html").read_text()
    again = run(
        *(study / "pred", study / "ref", "-m", "dice", "--output", out, "--report", "--resume")
    )
    assert again.exit_code == 0
    assert "labels pair by name" in again.output


def test_a_case_by_number_among_cases_by_name_is_refused(study, save):
    labels_ = np.zeros((7, 6, 1), np.uint8)
    labels_[1, 1, 0] = 1
    for side in ("pred", "ref"):
        save(f"{side}/c.nii.gz", labels_)
    told = run(study / "pred", study / "ref", "-m", "dice")
    assert told.exit_code == 1
    assert "c: its labels pair by number and those of other cases by name" in told.output
    told = run(study / "pred", study / "ref", "-m", "dice", "--labels", "1=liver,2=spleen")
    assert told.exit_code == 0, told.output
