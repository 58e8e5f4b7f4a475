from __future__ import annotations

import json

import pytest

from medloss.evaluation.labels import parse_labels


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("1", {1: ""}),
        ("2,1", {2: "", 1: ""}),
        (" 1 = left kidney , 7=b ", {1: "left kidney", 7: "b"}),
        ("1=a=b,2", {1: "a=b", 2: ""}),
    ],
)
def test_labels_on_the_command_line(text, labels):
    assert parse_labels(text) == labels
    assert list(parse_labels(text)) == list(labels)


@pytest.mark.parametrize(
    "content",
    [
        {"0": "background", "1": "Anterior", "2": "Posterior"},
        {"background": 0, "Anterior": 1, "Posterior": 2},
        {"name": "Hippocampus", "labels": {"0": "background", "1": "Anterior", "2": "Posterior"}},
        {"channel_names": {"0": "MR"}, "labels": {"background": 0, "Anterior": 1, "Posterior": 2}},
    ],
)
def test_labels_of_json_files(tmp_path, content):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(content))
    assert parse_labels(str(path)) == {1: "Anterior", 2: "Posterior"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no label is named"),
        ("liver", "'liver' is no label"),
        ("1.5", "'1.5' is no label"),
        ("-1", "'-1' is no label"),
        ("0,1", "background"),
        ("1,1", "label 1 is named twice"),
        ("1=a,2=a", "the name 'a' is given to two labels"),
        ("1=", "names no name"),
        ("nowhere.json", "cannot be read: No such file"),
    ],
)
def test_wrong_labels_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        parse_labels(text)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[1, 2]", "holds no object"),
        ('{"labels": {"background": 0}}', "no label is named"),
        ('{"labels": {"whole": [1, 2]}}', "'whole' is a region of several labels"),
        ('{"labels": {"liver": 1, "ignore": 2}}', "label 2 marks voxels to ignore"),
        ('{"liver": true}', "neither a name nor a label"),
        ('{"liver": -1}', "'-1' is no label"),
        ('{"one": "liver"}', "'one' is no label"),
    ],
)
def test_wrong_json_files_are_refused(tmp_path, content, words):
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=words) as caught:
        parse_labels(str(path))
    assert str(path) in str(caught.value)
