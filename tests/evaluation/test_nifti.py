"""The reader of headers against nibabel, which reads them too."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloss.evaluation.reading.nifti import parse_header, read_nifti
from medloss.evaluation.reading.stored import CaseError

KINDS = {"1": nibabel.Nifti1Image, "2": nibabel.Nifti2Image}
lengths = st.floats(0.125, 8, width=32)
places = st.floats(-200, 200, width=32)


@st.composite
def images(draw):
    """Any size, type, byte order, unit and way to say the place."""
    kind = KINDS[draw(st.sampled_from("12"))]
    axes = draw(st.integers(2, 4))
    shape = tuple(draw(st.integers(1, 4)) for _ in range(axes))
    dtype = np.dtype(draw(st.sampled_from(["u1", "i2", "u2", "i4", "f4", "i8", "f8"])))
    header = kind.header_class(endianness=draw(st.sampled_from("<>")))
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_zooms([draw(lengths) for _ in shape])
    quaternion = np.array([draw(st.floats(-1, 1)) for _ in range(3)])
    quaternion /= max(1.0, np.linalg.norm(quaternion) * draw(st.floats(1, 2)))
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = quaternion
    header["pixdim"][0] = draw(st.sampled_from([-1, 1]))
    for name in ("qoffset_x", "qoffset_y", "qoffset_z"):
        header[name] = draw(places)
    for name in ("srow_x", "srow_y", "srow_z"):
        header[name] = [draw(places) for _ in range(4)]
    header["qform_code"], header["sform_code"] = draw(st.sampled_from([(0, 0), (1, 0), (2, 1)]))
    voxels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    image = kind(voxels, None, header)
    for name in ("qform_code", "sform_code", "pixdim"):
        image.header[name] = header[name]
    return image


@settings(max_examples=60)
@given(images())
def test_headers_say_what_nibabel_reads(image):
    content = image.to_bytes()
    again = type(image).from_bytes(content)
    header = parse_header(Path("a.nii"), content)
    assert header.shape == again.shape
    assert header.dtype == again.header.get_data_dtype()
    assert header.offset == again.dataobj.offset
    np.testing.assert_allclose(header.affine, again.affine, atol=2e-5, rtol=1e-6)
    np.testing.assert_allclose(header.pixdim, again.header.get_zooms(), rtol=1e-6)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", KINDS.values())
def test_voxels_in_the_order_of_the_file_without_a_copy(tmp_path, kind, packed):
    voxels = np.random.default_rng(0).integers(0, 9, (4, 5, 6)).astype(np.uint16)
    image = kind(voxels, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a long word" * 9))
    content = image.to_bytes()
    path = tmp_path / "a.nii"
    path.write_bytes(gzip.compress(content) if packed else content)
    array, _, dimensions = read_nifti(path)[:3]
    np.testing.assert_array_equal(array, voxels)
    assert (array.dtype, dimensions) == (np.uint16, 3)
    assert array.flags.f_contiguous
    assert not array.flags.owndata


def test_gzip_streams_that_follow_one_another(tmp_path):
    content = nibabel.Nifti1Image(np.full((9, 9, 9), 3, np.uint8), np.eye(4)).to_bytes()
    pieces = (content[:100], content[100:400], content[400:])
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"".join(map(gzip.compress, pieces)))
    assert (read_nifti(path)[0] == 3).all()


def test_a_stream_that_goes_on_after_the_voxels_is_not_followed(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((9, 9, 9), np.uint8), np.eye(4)).to_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(image + bytes(1000)))  # padding of other programs
    assert read_nifti(path)[0].shape == (9, 9, 9)
    path.write_bytes(gzip.compress(image + bytes(1 << 24)))
    with pytest.raises(CaseError, match="holds more bytes than its header says"):
        read_nifti(path)


def changed(place: int, dtype: str, *values: float) -> bytes:
    content = bytearray(nibabel.Nifti1Image(np.ones((4, 5, 6), np.uint8), np.eye(4)).to_bytes())
    new = np.array(values, dtype=dtype).tobytes()
    content[place : place + len(new)] = new
    return bytes(content)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("place", "dtype", "values", "words"),
    [
        (0, "<i4", [347], "is not a NIfTI file"),
        (344, "u1", [0, 0, 0, 0], "is not a NIfTI file"),
        (344, "u1", list(b"ni1"), r"voxels in another file \(.img\)"),
        (40, "<i2", [0], "its header says 0 axes"),
        (40, "<i2", [9], "its header says 9 axes"),
        (40, "<i2", [3, 4, -5], "holds no voxels: its header says 4 x -5 x 6"),
        (40, "<i2", [3, 4, 0], "holds no voxels: its header says 4 x 0 x 6"),
        (40, "<i2", [3, 0, 0, 0], "holds no voxels: its header says 0 x 0 x 0"),
        (40, "<i2", [7, 2, 2, 2, 2, 2, 1, 1], "has 5 axes"),
        (40, "<i2", [3, 32000, 32000, 32000], "32000 x 32000 x 32000 voxels, which take 3.052e"),
        (40, "<i2", [3, 400, 500, 60], "is truncated: .* where its header says 12000"),
        (70, "<i2", [128], "values of type RGB, not labels"),
        (70, "<i2", [77], "values of type number 77, not labels"),
        (76, "<f4", [1, 0], "states no voxel size: pixdim is 0 x 1 x 1"),
        (76, "<f4", [1, np.nan], "states no voxel size: pixdim is nan x 1 x 1"),
        (108, "<f4", [0], "its voxels begin at byte 0"),
        (108, "<f4", [1e30], "its voxels begin at byte 1e[+]30"),
        (108, "<f4", [np.nan], "its voxels begin at byte nan"),
        (112, "<f4", [2, np.inf], "its voxels are shifted by inf"),
        (252, "<i2", [1, 0, *([16448] * 6)], "is no rotation"),
    ],
)
def test_damaged_fields_are_named(tmp_path, packed, place, dtype, values, words):
    content = changed(place, dtype, *values)
    path = tmp_path / "a.nii"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(CaseError, match=words) as caught:
        read_nifti(path)
    assert str(caught.value).startswith(f"{path} ")
