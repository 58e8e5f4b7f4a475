"""NRRD and MetaImage against ITK, which defines what is in them."""

from __future__ import annotations

import bz2
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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a%02d.raw 1 4 1", "keeps its voxels in 'a01.raw', which does not exist"),
        ("a%02d.raw 1 3 1", "names 3 files for voxels of 2 x 3 x 4"),
        ("a%02d.raw 1 4 0", "names 0 files"),
        ("a%d.raw 1 900000000 1", "names 900000000 files"),
        ("LIST", "names 0 files"),
        ("LIST 2", "names 0 files"),
        ("rm -rf x | cat", "in 'rm -rf x . cat', which does not exist"),
        ("a%d" + " 1" * 3000, "the name of its voxels has"),
    ],
)
def test_files_of_voxels_that_are_not_there_are_named(tmp_path, name, words):
    refused(meta(tmp_path / "a.mhd", b"", ElementDataFile=name), words)
    refused(nrrd(tmp_path / "a.nrrd", b"", data_file=name), words)


def itk_type(name: str) -> np.dtype:
    sizes = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8}
    unsigned = name.startswith("MET_U")
    return np.dtype(f"{'u' if unsigned else 'i'}{sizes[name[5 if unsigned else 4 :]]}")


INTEGERS = [f"MET_{u}{n}" for u in ("", "U") for n in ("CHAR", "SHORT", "INT", "LONG", "LONG_LONG")]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("name", INTEGERS)
def test_every_integer_type_of_a_metaimage(tmp_path, name, big):
    """Long is 4 bytes on every machine, whatever a compiler makes of it."""
    dtype = itk_type(name)
    voxels = VOXELS.astype(dtype.newbyteorder(">" if big else "<")).tobytes()
    more = {"ElementType": name, "BinaryDataByteOrderMSB": str(big)}
    check(meta(tmp_path / "a.mha", voxels, **more))
    array = read_metaimage(tmp_path / "a.mha").array
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, VOXELS.reshape(2, 3, 4, order="F"))


def test_metaimage_as_text(tmp_path):
    text = " ".join(map(str, VOXELS)).encode()
    array = read_metaimage(meta(tmp_path / "a.mha", text, BinaryData="False")).array
    np.testing.assert_array_equal(array, VOXELS.reshape(2, 3, 4, order="F"))
    refused(meta(tmp_path / "a.mha", b"1 2 x" * 24, BinaryData="False"), "no numbers as text")
    refused(meta(tmp_path / "a.mha", b"999 " * 24, BinaryData="False"), "do not fit type uint8")
    refused(meta(tmp_path / "a.mha", b"9 " * 23, BinaryData="False"), "truncated")


@pytest.mark.parametrize(
    "name", ["my voxels.raw", "100 % sure.raw", "a=b.raw", "grün 1.raw", "LISTE"]
)
def test_names_of_voxels_with_blanks_and_signs(tmp_path, name):
    (tmp_path / name).write_bytes(BYTES)
    for path in (
        meta(tmp_path / "a b.mhd", b"", ElementDataFile=name),
        nrrd(tmp_path / "a b.nhdr", b"", data_file=name),
    ):
        np.testing.assert_array_equal(read_image(path).array, VOXELS.reshape(2, 3, 4, order="F"))


def parts(tmp_path, count=4):
    """The voxels in several files, of which each has two bytes before."""
    names = [f"part {n:02d}.raw" for n in range(1, count + 1)]
    size = 24 // count
    for n, name in enumerate(names):
        (tmp_path / name).write_bytes(b"xy" + BYTES[n * size : (n + 1) * size])
    return names


@pytest.mark.parametrize("count", [4, 2])
def test_voxels_in_a_list_of_files(tmp_path, count):
    names = parts(tmp_path, count)
    lines = "\n".join(["", *names, ""])
    each = "" if count == 4 else " 3"  # as many axes as the whole: slabs of it
    expected = VOXELS.reshape(2, 3, 4, order="F")
    for path in (
        nrrd(tmp_path / "a.nhdr", b"", byte_skip="2", data_file=f"LIST{each}{lines}"),
        nrrd(tmp_path / "b.nhdr", b"", byte_skip="2", data_file=f"part %02d.raw 1 {count} 1{each}"),
        meta(tmp_path / "a.mhd", b"", HeaderSize="2", ElementDataFile=f"LIST{each}{lines}"),
        meta(tmp_path / "b.mhd", b"", HeaderSize="2",
             ElementDataFile=f"part %02d.raw 1 {count} 1{each}"),
    ):  # fmt: skip
        np.testing.assert_array_equal(READERS.get(path.suffix, read_nrrd)(path).array, expected)


def test_lines_and_bytes_before_the_voxels(tmp_path):
    packed = gzip.compress(b"12345" + BYTES)
    for encoding, content, skip in (
        ("raw", BYTES, "0"),
        ("raw", b"123" + BYTES, "3"),
        ("raw", b"123" + BYTES, "-1"),
        ("gzip", packed, "5"),
        ("gzip", packed, "-1"),
        ("bzip2", bz2.compress(b"12345" + BYTES), "-1"),
    ):
        path = nrrd(tmp_path / "a.nrrd", b"one\ntwo\n" + content, encoding=encoding,
                    line_skip="2", byte_skip=skip)  # fmt: skip
        np.testing.assert_array_equal(read_nrrd(path).array, VOXELS.reshape(2, 3, 4, order="F"))


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
        ({"encoding": "zstd"}, "encoded as 'zstd'; expected raw, gzip"),
        ({"encoding": "hex"}, "truncated: 24 bytes of voxels where its header says 48"),
        ({"encoding": "hex", "voxels": b"x" * 48}, "no hexadecimal digits"),
        ({"encoding": "hex", "byte_skip": "-1", "voxels": b"0" * 48}, "where its voxels begin"),
        ({"line_skip": "2"}, "1 more lines should come before its voxels"),
        ({"sizes": "2 3 4\nsizes: 2 3 5"}, "states 'sizes' twice"),
        ({"data_file": "a.nii.gz"}, "has a header of its own"),
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
        ({"encoding": "bzip2"}, "damaged"),
        ({"encoding": "bzip2", "voxels": bz2.compress(VOXELS.tobytes())[:-9]}, "no end"),
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
        ({"ElementType": "MET_STRING"}, "type 'MET_STRING', not labels"),
        ({"ElementType": None}, "type '', not labels"),
        ({"ElementSpacing": None}, "states no voxel size"),
        ({"ElementSpacing": "1 2"}, "ElementSpacing is '1 2'; expected 3 numbers"),
        ({"ElementSpacing": "0 1 1"}, "unusable affine"),
        ({"TransformMatrix": "1 0 0"}, "expected 9 numbers"),
        ({"Offset": "a b c"}, "expected 3 numbers"),
        ({"BinaryData": "False", "CompressedData": "True"}, "both text and compressed"),
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
