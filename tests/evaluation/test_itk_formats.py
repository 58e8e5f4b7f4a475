"""NRRD and MetaImage against ITK, which defines what is in them."""

from __future__ import annotations

import gzip
import zlib

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from medloss.evaluation.reading.images import read_image
from medloss.evaluation.reading.metaimage import read_metaimage
from medloss.evaluation.reading.nrrd import read_nrrd
from medloss.evaluation.reading.stored import CaseError

READERS = {".nrrd": read_nrrd, ".mha": read_metaimage, ".mhd": read_metaimage}


def by_itk(path):
    """Array with the classes last and the affine, by ITK's own account of every corner."""
    image = SimpleITK.ReadImage(str(path))
    axes = image.GetDimension()
    array = SimpleITK.GetArrayFromImage(image)
    array = array.transpose(*reversed(range(axes)), *range(axes, array.ndim))
    space = min(axes, 3)
    affine = np.eye(4)
    steps = np.eye(axes, dtype=int)
    origin = np.array(image.TransformIndexToPhysicalPoint([0] * axes))
    for axis in range(space):
        point = np.array(image.TransformIndexToPhysicalPoint(steps[axis].tolist()))
        affine[:space, axis] = (point - origin)[:space]
    affine[:space, 3] = origin[:space]
    return array, np.diag([-1, -1, 1, 1]) @ affine, space


def check(path):
    array, affine, dimensions = READERS[path.suffix](path)[:3]
    expected, matrix, space = by_itk(path)
    np.testing.assert_array_equal(array, expected)
    assert array.dtype == expected.dtype
    np.testing.assert_allclose(affine, matrix, atol=1e-6)
    assert dimensions == space


TYPES = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32]


@settings(max_examples=60, deadline=None)
@given(
    suffix=st.sampled_from(sorted(READERS)),
    dtype=st.sampled_from([*TYPES, np.uint64, np.float64]),
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    classes=st.sampled_from([0, 2, 3]),
    angle=st.floats(-3, 3),
    packed=st.booleans(),
)
def test_files_that_itk_writes(tmp_path_factory, suffix, dtype, shape, classes, angle, packed):
    axes = len(shape)
    classes *= axes < 4
    values = np.arange(np.prod(shape) * max(classes, 1)) % 100
    array = values.reshape(*shape[::-1], *([classes] if classes else [])).astype(dtype)
    image = SimpleITK.GetImageFromArray(array, isVector=bool(classes))
    turn = np.eye(axes)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    if axes == 3:
        turn = turn[:, [2, 0, 1]]
    image.SetSpacing([0.7, 1.3, 2.5, 1.0][:axes])
    image.SetOrigin([-3.5, 20.0, 7.25, 0.0][:axes])
    image.SetDirection((np.round(turn, 9) + 0.0).ravel().tolist())
    path = tmp_path_factory.mktemp("itk") / f"a{suffix}"
    SimpleITK.WriteImage(image, str(path), useCompression=packed)
    check(path)


VOXELS = np.arange(24, dtype=np.uint8)
BYTES = VOXELS.tobytes()
NRRD = {
    "type": "uchar",
    "dimension": "3",
    "sizes": "2 3 4",
    "encoding": "raw",
    "space": "left-posterior-superior",
    "space directions": "(2,0,0) (0,0,3) (0,-1.5,0)",
    "space origin": "(1,-2,3)",
}
META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "TransformMatrix": "0 1 0 -1 0 0 0 0 1",
    "Offset": "1 -2 3",
    "ElementSpacing": "2 3 1.5",
    "DimSize": "2 3 4",
    "ElementType": "MET_UCHAR",
    "ElementDataFile": "LOCAL",
}


def nrrd(path, voxels=BYTES, **changed):
    changed = {name.replace("_", " "): value for name, value in changed.items()}
    # What says how long the vectors are has to come before them.
    fields = {"space dimension": None, **NRRD, **changed}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    head = "NRRD0004\n# a comment: of words\nkey:=value: of any kind\n" + "\n".join(lines)
    path.write_bytes(head.encode() + b"\n\n" + voxels)
    return path


def meta(path, voxels=BYTES, **changed):
    fields = {**META, **changed}
    last = fields.pop("ElementDataFile")
    lines = [f"{name} = {value}" for name, value in fields.items() if value is not None]
    head = "\n".join([*lines, f"ElementDataFile = {last}"] if last else lines)
    path.write_bytes(head.encode() + b"\n" + voxels)
    return path


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"space": "right-anterior-superior"},
        {"space": "LAS"},
        {"space": None, "space_dimension": "3"},
        {"encoding": "gzip", "voxels": gzip.compress(VOXELS.tobytes())},
        {"encoding": "gz", "voxels": gzip.compress(VOXELS.tobytes())},
        {"type": "unsigned short", "endian": "big", "voxels": VOXELS.astype(">u2").tobytes()},
        {"type": "int16", "endian": "little", "voxels": VOXELS.astype("<i2").tobytes()},
        {"byte_skip": "5", "voxels": b"12345" + VOXELS.tobytes()},
        {"byte_skip": "-1", "voxels": b"1234567" + VOXELS.tobytes()},
        {"space_units": '"mm" "mm" "mm"'},
        {"kinds": "domain domain domain"},
        {"space": None, "space_directions": None, "space_origin": None, "spacings": "2 3 1.5"},
        {"sizes": "2 3 2 2", "dimension": "4", "kinds": "vector domain domain domain",
         "space_directions": "none (2,0,0) (0,0,3) (0,-1.5,0)"},
        {"sizes": "6 4", "dimension": "2", "space": None, "space_dimension": "2",
         "space_directions": "(0,2) (-3,0)", "space_origin": "(1,-2)"},
    ],
)  # fmt: skip
def test_headers_of_other_programs(tmp_path, changed):
    check(nrrd(tmp_path / "a.nrrd", **changed))


def test_classes_may_be_the_last_axis_of_an_nrrd(tmp_path):
    path = nrrd(
        tmp_path / "a.nrrd",
        sizes="2 3 2 2",
        dimension="4",
        kinds="domain domain domain list",
        space_directions="(2,0,0) (0,0,3) (0,-1.5,0) none",
    )
    array, _, dimensions = read_nrrd(path)[:3]
    assert dimensions == 3
    np.testing.assert_array_equal(array, VOXELS.reshape(2, 3, 2, 2, order="F"))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"ElementSpacing": None, "ElementSize": "2 3 1.5"},
        {"TransformMatrix": None, "Rotation": "0 1 0 -1 0 0 0 0 1"},
        {"Offset": None, "Position": "4 5 6"},
        {"CompressedData": "True", "CompressedDataSize": str(len(zlib.compress(VOXELS.tobytes()))),
         "voxels": zlib.compress(VOXELS.tobytes())},
        {"ElementType": "MET_SHORT", "BinaryDataByteOrderMSB": "True",
         "voxels": VOXELS.astype(">i2").tobytes()},
        {"ElementType": "MET_USHORT", "BinaryDataByteOrderMSB": None, "ElementByteOrderMSB": "True",
         "voxels": VOXELS.astype(">u2").tobytes()},
        {"ElementNumberOfChannels": "3", "DimSize": "2 2 2"},
    ],
)  # fmt: skip
def test_metaimage_headers_of_other_programs(tmp_path, changed):
    check(meta(tmp_path / "a.mha", **changed))


def test_voxels_in_another_file(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("a.raw", "below/a.raw"):
        (tmp_path / name).write_bytes(b"12" + VOXELS.tobytes())
        check(meta(tmp_path / "a.mhd", b"", ElementDataFile=name, HeaderSize="2"))
        check(meta(tmp_path / "a.mhd", b"", ElementDataFile=name, HeaderSize="-1"))
        check(nrrd(tmp_path / "a.nrrd", b"", data_file=name, byte_skip="2"))


def refused(path, words):
    with pytest.raises(CaseError, match=words) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


OUTSIDE = ["../a.raw", "/etc/passwd", "http://example.org/a.raw", "below/../../a.raw"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_file_outside_of_the_folder_is_opened(tmp_path, name):
    (tmp_path / "a.raw").write_bytes(VOXELS.tobytes())
    folder = tmp_path / "case"
    folder.mkdir()
    refused(meta(folder / "a.mhd", b"", ElementDataFile=name), "points outside of its folder")
    refused(nrrd(folder / "a.nrrd", b"", data_file=name), "points outside of its folder")
    (folder / "link.raw").symlink_to(tmp_path / "a.raw")
    refused(meta(folder / "a.mhd", b"", ElementDataFile="link.raw"), "points outside")


@pytest.mark.parametrize("name", ["a%02d.raw 1 4 1", "LIST", "LIST 2D", "rm -rf x | cat"])
def test_names_that_are_no_single_file_are_refused(tmp_path, name):
    refused(meta(tmp_path / "a.mhd", b"", ElementDataFile=name), "in several files")
    refused(nrrd(tmp_path / "a.nrrd", b"", data_file=name), "in several files")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sizes": "2 3 5"}, "truncated: 24 bytes of voxels where its header says 30"),
        ({"sizes": "2 3 -4"}, "holds no voxels: its header says 2 x 3 x -4"),
        ({"sizes": "2 3 x"}, "sizes is '2 3 x'; expected whole numbers"),
        ({"sizes": None}, "sizes is ''; expected whole numbers"),
        ({"sizes": "90000 90000 90000"}, "which take 6.789e.05 GiB"),
        ({"type": "block"}, "type 'block', not labels"),
        ({"type": "short"}, "does not say the byte order"),
        ({"encoding": "hex"}, "encoded as 'hex'; expected raw or gzip"),
        ({"line_skip": "2"}, "lines before its voxels"),
        ({"byte_skip": "-7"}, "byte skip is -7"),
        ({"space_directions": "(2,0,0) (0,0,3)"}, "expected 3 vectors"),
        ({"space_directions": "(2,0,0) (0,0,3) (0,x,0)"}, "space directions is"),
        ({"space_directions": "(2,0,0) (0,0,3) (0,nan,0)"}, "space directions is"),
        ({"space_directions": "(2,0,0) (0,0,3) (0,0,0)"}, "unusable affine"),
        ({"space_directions": "(2,0,0) none none"}, "3 axes; expected 2 or 3"),
        ({"space_directions": None}, "states no voxel size"),
        ({"space_directions": None, "spacings": "1 2"}, "2 spacings for 3 axes"),
        ({"space_directions": None, "spacings": "1 2 3", "axis_mins": "0 0 0"}, "axis mins"),
        ({"space_units": '"m" "m" "m"'}, "lengths in 'm'; expected mm"),
        ({"encoding": "gzip", "voxels": gzip.compress(VOXELS.tobytes())[:-9]}, "truncated"),
        ({"encoding": "gzip", "voxels": b"x" * 40}, "damaged"),
        ({"encoding": "gzip", "byte_skip": "-1"}, "where its compressed voxels begin"),
    ],
)
def test_damaged_nrrd_headers_are_named(tmp_path, changed, words):
    refused(nrrd(tmp_path / "a.nrrd", **changed), words)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"DimSize": "2 3 5"}, "truncated: 24 bytes of voxels where its header says 30"),
        ({"DimSize": "2 0 5"}, "holds no voxels"),
        ({"DimSize": "7"}, "1 axes; expected 2 or 3"),
        ({"DimSize": "90000 90000 90000"}, "which take 6.789e.05 GiB"),
        ({"DimSize": "9" * 30}, "expected whole numbers"),
        ({"ElementType": "MET_LONG"}, "type 'MET_LONG', not labels"),
        ({"ElementType": None}, "type '', not labels"),
        ({"ElementSpacing": None}, "states no voxel size"),
        ({"ElementSpacing": "1 2"}, "ElementSpacing is '1 2'; expected 3 numbers"),
        ({"ElementSpacing": "0 1 1"}, "unusable affine"),
        ({"TransformMatrix": "1 0 0"}, "expected 9 numbers"),
        ({"Offset": "a b c"}, "expected 3 numbers"),
        ({"BinaryData": "False"}, "as text"),
        ({"ElementNumberOfChannels": "-1"}, "ElementNumberOfChannels is '-1'"),
        ({"ElementNumberOfChannels": "2 2"}, "ElementNumberOfChannels is '2 2'"),
        ({"ElementDataFile": None}, "is not a MetaImage file"),
        ({"ElementDataFile": "gone.raw"}, "in 'gone.raw', which does not exist"),
        ({"CompressedData": "True"}, "damaged"),
        ({"CompressedData": "True", "voxels": zlib.compress(VOXELS.tobytes())[:-6]}, "truncated"),
    ],
)
def test_damaged_metaimage_headers_are_named(tmp_path, changed, words):
    refused(meta(tmp_path / "a.mha", **changed), words)
