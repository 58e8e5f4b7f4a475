"""Segmentations of 3D Slicer: names, values and layers, and what lies outside of the file."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation.format_files import label_map, segment_keys, write_nrrd

from medloss.evaluation.reading.images import case_name, read_image
from medloss.evaluation.reading.stored import CaseError

LAYERS = {
    "kinds": "list domain domain domain",
    "space_directions": "none (2,0,0) (0,1.5,0) (0,0,3)",
}


def one_layer(path, array, *segments, **more):
    return write_nrrd(path, array, array.shape, keys=segment_keys(*segments), **more)


def several_layers(path, layers, *segments, keys=None):
    array = np.stack(layers)
    made = segment_keys(*segments) if keys is None else keys
    return write_nrrd(path, array, array.shape, keys=made, **LAYERS)


def test_one_layer_is_a_label_map_with_names(tmp_path):
    path = one_layer(tmp_path / "case1.seg.nrrd", label_map(), ("lesion", 2, 0), ("organ ä", 1, 0))
    image = read_image(path)
    np.testing.assert_array_equal(image.array, label_map())
    assert dict(image.names) == {1: "organ ä", 2: "lesion"}
    assert (image.independent, image.cropped, image.note) == (False, True, "")
    assert case_name(path) == "case1"


def test_layers_are_classes_of_their_own(tmp_path):
    """The value 1 means something else in another layer."""
    ball = np.zeros_like(label_map())
    ball[2:6, 1:4, 1:3] = 1
    path = several_layers(
        tmp_path / "a.seg.nrrd",
        [label_map(), ball],
        ("organ", 1, 0),
        ("lesion", 2, 0),
        ("ball", 1, 1),
        ("nothing", 7, 0),
    )
    image = read_image(path)
    assert image.independent
    assert dict(image.names) == {1: "organ", 2: "lesion", 3: "ball", 4: "nothing"}
    for channel, expected in enumerate((label_map() == 1, label_map() == 2, ball == 1, ball == 9)):
        np.testing.assert_array_equal(image.array[..., channel], expected)


def test_segments_of_one_value_are_each_whole(tmp_path):
    path = one_layer(tmp_path / "a.seg.nrrd", label_map(), ("one", 1, 0), ("again", 1, 0))
    image = read_image(path)
    assert image.independent
    np.testing.assert_array_equal(image.array[..., 0], image.array[..., 1])


def test_one_used_layer_of_several_is_a_label_map(tmp_path):
    path = several_layers(
        tmp_path / "a.seg.nrrd", [label_map() * 0, label_map()], ("organ", 1, 1), ("lesion", 2, 1)
    )
    image = read_image(path)
    assert not image.independent
    np.testing.assert_array_equal(image.labels(), label_map())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_voxels_of_no_segment_are_background(tmp_path, dtype):
    array = label_map().astype(dtype)
    array[6, 5, 4] = 9
    if dtype == np.int16:
        array[6, 5, 3] = -4
    image = read_image(one_layer(tmp_path / "a.seg.nrrd", array, ("organ", 1, 0)))
    np.testing.assert_array_equal(image.labels(), label_map() == 1)
    assert image.note.startswith("voxels of no segment count as background: the values")


def test_the_keys_say_it_and_not_the_name_of_the_file(tmp_path):
    path = one_layer(tmp_path / "a.nrrd", label_map(), ("organ", 1, 0), ("lesion", 2, 0))
    assert dict(read_image(path).names) == {1: "organ", 2: "lesion"}


def test_without_keys_it_is_a_label_map(tmp_path):
    image = read_image(write_nrrd(tmp_path / "a.seg.nrrd", label_map(), label_map().shape))
    assert (dict(image.names), image.cropped) == ({}, False)
    np.testing.assert_array_equal(image.labels(), label_map())


@pytest.mark.parametrize("keys", [{}, segment_keys(("organ", 1, 0), ("lesion", 2, 0))])
def test_nothing_painted_at_all(tmp_path, keys):
    path = write_nrrd(tmp_path / "a.seg.nrrd", np.zeros((1, 1, 1), np.uint8), (1, 1, 1), keys=keys)
    image = read_image(path)
    assert image.cropped
    assert not image.labels().any()
    assert set(image.names.values()) == ({"organ", "lesion"} if keys else set())


def test_files_from_before_there_were_layers(tmp_path):
    """A segment a layer, and no key says so."""
    keys = {"Segment0_Name": "organ", "Segment1_Name": "lesion"}
    path = several_layers(
        tmp_path / "a.seg.nrrd",
        [(label_map() == 1).astype(np.uint8), (label_map() == 2).astype(np.uint8)],
        keys=keys,
    )
    image = read_image(path)
    assert dict(image.names) == {1: "organ", 2: "lesion"}
    np.testing.assert_array_equal(image.array[..., 1], label_map() == 2)


def test_a_key_that_is_missing_has_its_default(tmp_path):
    array = (label_map() == 1).astype(np.uint8)
    path = write_nrrd(
        tmp_path / "a.seg.nrrd", array, array.shape, keys={"Segment0_ID": "Segment_1"}
    )
    image = read_image(path)
    assert dict(image.names) == {1: "Segment_1"}
    np.testing.assert_array_equal(image.labels(), array)


def test_codes_of_a_terminology(tmp_path):
    entry = "a:b|TerminologyEntry:list~SCT^1^Organ~SCT^{}^x~{}~anatomy~^^~^^|c:d"
    keys = segment_keys(("left", 1, 0), ("right", 2, 0), ("one", 3, 0), ("two", 4, 0))
    keys |= {
        "Segment0_Tags": entry.format("64033007", "SCT^7771000^Left"),
        "Segment1_Tags": entry.format("64033007", "SCT^24028007^Right"),
        "Segment2_Tags": entry.format("85756007", "^^"),  # tissue, as all that nobody named
        "Segment3_Tags": entry.format("85756007", "^^"),
    }
    path = write_nrrd(tmp_path / "a.seg.nrrd", label_map(), label_map().shape, keys=keys)
    assert dict(read_image(path).codes) == {
        1: "SCT:64033007+SCT:7771000",
        2: "SCT:64033007+SCT:24028007",
    }


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"Segment0_ID": "a", "Segment0_Layer": "1"}, "value 1 in layer 1 of 1"),
        ({"Segment0_ID": "a", "Segment0_LabelValue": "0"}, "value 0 in layer 0"),
        ({"Segment0_ID": "a", "Segment0_LabelValue": "x"}, "Segment0_LabelValue is 'x'"),
        ({"Segment0_ID": "a", "Segment0_LabelValue": "9" * 30}, "Segment0_LabelValue is '999"),
        ({"Segmentation_MasterRepresentation": "Closed surface"}, "made of 'Closed surface'"),
        ({"Segmentation_MasterRepresentation": "Fractional labelmap"}, "convert it in 3D Slicer"),
    ],
)
def test_keys_that_contradict_the_file_are_named(tmp_path, keys, words):
    path = write_nrrd(tmp_path / "a.seg.nrrd", label_map(), label_map().shape, keys=keys)
    with pytest.raises(CaseError, match=words):
        read_image(path)


def test_thousands_of_segments_are_read_in_time(tmp_path):
    array = np.arange(1, 1701, dtype=np.uint16).reshape(17, 10, 10)
    segments = [(f"organ {n}", n, 0) for n in range(1, 20001)]
    image = read_image(one_layer(tmp_path / "a.seg.nrrd", array, *segments))
    assert len(image.names) == 20000
    np.testing.assert_array_equal(image.labels(), array)
