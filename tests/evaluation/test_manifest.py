from __future__ import annotations

import json

import pytest

from medloss.evaluation.inputs.manifest import read_manifest


@pytest.fixture
def manifest(tmp_path):
    """A manifest beside p/a.nii, p/b.nii, r/a.nii and notes.txt."""
    for name in ("p/a.nii", "p/b.nii", "r/a.nii", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def write(content, name="cases.csv"):
        path = tmp_path / "sub" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return path

    return write


HEAD = "case,prediction,reference\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_paths_are_relative_to_the_manifest_and_rows_keep_their_order(manifest, delimiter, end):
    text = (
        "\ufeffSite, Case,reference ,prediction\n"
        "x,two,../r/a.nii,../p/b.nii\n"
        "\n"
        'y,"one, late",../r/a.nii, ../p/a.nii\n'
    )
    if delimiter != ",":
        text = text.replace('"one, late"', "one").replace(",", delimiter)
    path = manifest(text.replace("\n", end))
    first, second = read_manifest(path)
    assert (first.name, first.problem) == ("two", "")
    assert second.name == ("one, late" if delimiter == "," else "one")
    assert first.prediction.resolve() == (path.parents[1] / "p" / "b.nii").resolve()
    assert second.reference.resolve() == (path.parents[1] / "r" / "a.nii").resolve()


def test_json(manifest, tmp_path):
    entry = {"case": "a", "prediction": str(tmp_path / "p/a.nii"), "reference": "../r/a.nii"}
    (pair,) = read_manifest(manifest([{**entry, "fold": 3}], "cases.json"))
    assert pair.prediction == tmp_path / "p/a.nii"
    assert not pair.problem


def test_what_is_missing_is_a_problem_of_its_case(manifest):
    path = manifest(
        HEAD + "a,../p/a.nii,../r/a.nii\n"
        "b,../p/b.nii,../r/b.nii\n"
        "c,,../r/a.nii\n"
        "d,../notes.txt,../r/a.nii\n"
        "e,../p,../r/a.nii\n"
    )
    a, b, c, d, e = read_manifest(path)
    assert not a.problem
    folder = path.parent
    assert (b.problem, b.missing) == (
        f"no reference: {folder / '../r/b.nii'} does not exist",
        "reference",
    )
    assert (c.problem, c.missing) == (f"no prediction: {path}, line 4 names none", "prediction")
    assert (d.problem, d.missing) == (f"the prediction {folder / '../notes.txt'} is no image", "")
    assert e.missing == "prediction"
    assert c.prediction is None
    assert d.prediction is None


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("case,prediction\na,b\n", "m.csv", "m.csv has no reference; it has 'case', 'prediction'"),
        ("", "m.csv", "has no case and no prediction and no reference; it has nothing"),
        (HEAD, "m.csv", "names no case"),
        (HEAD + "a,b\n", "m.csv", "line 2: 2 cells where the head has 3"),
        (HEAD + "a,b,c,d\n", "m.csv", "line 2: 4 cells where the head has 3"),
        (HEAD + ",b,c\n", "m.csv", "line 2: the case has no name"),
        (HEAD + "a,b,c\nx,b,d\na,e,f\n", "m.csv", "has the case 'a' twice: line 2 and line 4"),
        (
            HEAD + "a,../p/a.nii,../r/a.nii\nb,../p/../p/a.nii,../r/a.nii\n",
            "m.csv",
            "compares .* twice: line 2 and line 3",
        ),
        ("case,case,prediction,reference\na,b,c,d\n", "m.csv", "has the column case twice"),
        (HEAD + 'a,"b,c\n', "m.csv", "is damaged CSV"),
        ("{", "m.json", "is not JSON"),
        ({"cases": []}, "m.json", "holds no list such as"),
        ([], "m.json", "names no case"),
        ([{"case": "a"}], "m.json", "entry 1 has no prediction and no reference; it has 'case'"),
        (
            [{"case": 1, "prediction": "", "reference": ""}],
            "m.json",
            "entry 1: case is 1 and no text",
        ),
        (HEAD, "m.txt", "is no manifest; the suffix must be"),
    ],
)
def test_wrong_manifests_are_refused_with_their_name(manifest, content, name, words):
    path = manifest(content, name)
    with pytest.raises(ValueError, match=words) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_manifests_that_are_no_text_or_not_there(tmp_path):
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        read_manifest(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read_manifest(tmp_path / "m.csv")
