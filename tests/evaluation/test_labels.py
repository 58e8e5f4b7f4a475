from __future__ import annotations

import json

import pytest

from medloss.evaluation.inputs.labels import parse_changes, parse_labels


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
    assert parse_labels(text).names == labels
    assert list(parse_labels(text).names) == list(labels)


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
    assert parse_labels(str(path)).names == {1: "Anterior", 2: "Posterior"}


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
        ('{"labels": {"whole": [1, 0]}}', "label 0 is the background"),
        ('{"labels": {"whole": [1, 1]}}', "the region 'whole' has a label twice"),
        ('{"labels": {"whole": []}}', "neither a name nor a label nor a list"),
        ('{"labels": {"all": [1, 2]}}', "'all' cannot be the name of a region"),
        ('{"labels": {"liver": 2, "ignore": 2}}', "label 2 is to be ignored"),
        ('{"labels": {"liver": 1, "ignore": [2, 3]}}', "'ignore' stands for several labels"),
        (
            '{"labels": {"a": [1, 2], "b": 2}, "regions_class_order": [1]}',
            "regions_class_order has 1 labels for 2 regions",
        ),
        ('{"labels": {"a": 1}, "regions_class_order": ["x"]}', "expected a list of labels"),
        ('{"network_data_format": {"x": 1}}', "no object 'outputs', or an empty one"),
        (
            '{"network_data_format": {"outputs": {"a": {}, "b": {}}}}',
            r"the outputs \['a', 'b'\] and none is called 'pred'",
        ),
        (
            '{"network_data_format": {"outputs": {"pred": {"channel_def": {"1": "a"}}}}}',
            "names the channels .1., not 0, 1, 2",
        ),
        ("[" * 100000, "is not JSON"),
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


def test_regions_on_the_command_line():
    classes = parse_labels("1=core, 2, whole tumour = 1 + 2, edge=3")
    assert classes.names == {1: "core", 2: "", "whole tumour": "", 3: "edge"}
    assert classes.regions == {"whole tumour": (1, 2)}
    assert not classes.independent


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=1+2,a=1+3", "the name 'a' is given to two regions"),
        ("1=a,a=1+2", "the name 'a' is given to two"),
        ("whole=1+", "'whole' is no label"),
        ("1+2=whole", "'1[+]2' is no label"),
        ("a=1,b=1", "label 1 is named twice"),
        ("all=1+2", "'all' cannot be the name of a region"),
    ],
)
def test_wrong_regions_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        parse_labels(text)


def read(tmp_path, content):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    return parse_labels(str(path))


def test_regions_and_the_ignored_label_of_nnunet(tmp_path):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "edge": 3, "ignore": 4}
    classes = read(tmp_path, {"labels": labels, "regions_class_order": [1, 2, 3]})
    assert classes.names == {"whole": "", "core": "", 3: "edge"}
    assert classes.regions == {"whole": (1, 2, 3), "core": (2, 3)}
    assert classes.ignore == 4
    assert classes.independent
    assert classes.region_order == (1, 2, 3)


def test_a_list_of_one_label_is_that_label(tmp_path):
    assert read(tmp_path, {"edge": [3]}).names == {3: "edge"}


@pytest.mark.parametrize("output", ["pred", "only"])
def test_the_channels_of_a_bundle(tmp_path, output):
    def bundle(*names: str):
        channels = {str(number): name for number, name in enumerate(names)}
        return {"network_data_format": {"outputs": {output: {"channel_def": channels}}}}

    classes = read(tmp_path, bundle("Background", "spleen", "liver"))
    assert (classes.names, classes.independent) == ({1: "spleen", 2: "liver"}, False)
    classes = read(tmp_path, bundle("core", "whole"))
    assert (classes.names, classes.independent) == ({1: "core", 2: "whole"}, True)
    assert classes.channels_only
    classes = read(tmp_path, bundle("spleen"))
    assert (classes.names, classes.channels_only) == ({1: "spleen"}, False)


def test_changes_of_labels():
    assert parse_changes("3=1, 1 = 3,4=0") == {3: 1, 1: 3, 4: 0}


@pytest.mark.parametrize(
    ("text", "words"),
    [("3", "not of the form OLD=NEW"), ("3=1,3=2", "label 3 is changed twice"), ("3=a", "'a'")],
)
def test_wrong_changes_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        parse_changes(text)
