from __future__ import annotations

import gzip
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from medloss.evaluation.reading.images import read_image
from medloss.evaluation.reading.stored import CaseError

FORMATS = ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.mhd"]


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.uint8)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_voxels_and_geometry(save, labels, oblique, name):
    image = read_image(save(name, labels, oblique))
    np.testing.assert_array_equal(image.array, labels)
    np.testing.assert_allclose(image.affine, oblique, atol=1e-5)
    assert image.spacing_mm == pytest.approx((0.8, 0.9, 2.5))
    assert image.shape == (5, 6, 7)


def test_the_affine_agrees_with_the_points_that_itk_names(save, labels, oblique):
    path = save("a.nrrd", labels, oblique)
    x, y, z = SimpleITK.ReadImage(str(path)).TransformIndexToPhysicalPoint((1, 2, 3))
    np.testing.assert_allclose(read_image(path).affine @ (1, 2, 3, 1), (-x, -y, z, 1), atol=1e-9)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32])
def test_integers_keep_their_type(save, labels, name, dtype):
    assert read_image(save(name, labels.astype(dtype))).array.dtype == dtype


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_that_hold_whole_numbers_are_narrowed(save, labels, name, dtype):
    image = read_image(save(name, labels.astype(dtype)))
    assert image.array.dtype == np.uint8
    np.testing.assert_array_equal(image.array, labels)


def test_floats_beyond_a_byte_keep_their_value(save):
    array = np.array([[[0.0, 300.0]]], dtype=np.float32)
    image = read_image(save("a.nii.gz", array))
    assert image.array.dtype == np.uint16
    assert image.array.max() == 300


def test_big_endian_files_come_in_the_order_of_the_machine(tmp_path, labels):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.save(nibabel.Nifti1Image(labels.astype(">i2"), np.eye(4), header), tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    assert image.array.dtype == np.dtype(np.int16)
    assert image.array.dtype.isnative
    np.testing.assert_array_equal(image.array, labels)


def test_nifti_2_and_wrong_compression_suffixes_are_read(tmp_path, labels):
    nibabel.save(nibabel.Nifti2Image(labels, np.eye(4)), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii").array, labels)
    (tmp_path / "a.nii").rename(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(read_image(tmp_path / "b.nii.gz").array, labels)


def test_scaled_integers_are_labels_after_scaling(tmp_path, labels):
    image = nibabel.Nifti1Image(labels, np.eye(4))
    image.header.set_slope_inter(2.0, 0.0)
    nibabel.save(image, tmp_path / "a.nii")
    stored = nibabel.load(tmp_path / "a.nii", mmap=False)
    assert stored.dataobj.slope == 2.0
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii").array, stored.get_fdata())


@pytest.mark.parametrize(
    ("unit", "millimetres"), [("mm", 1.0), ("meter", 1000.0), ("micron", 0.001), ("unknown", 1.0)]
)
def test_nifti_units_become_millimetres(tmp_path, labels, unit, millimetres):
    image = nibabel.Nifti1Image(labels, np.diag([2.0, 3.0, 4.0, 1.0]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii.gz")
    expected = np.array([2.0, 3.0, 4.0]) * millimetres
    np.testing.assert_allclose(read_image(tmp_path / "a.nii.gz").spacing_mm, expected)


@pytest.mark.parametrize("name", FORMATS)
def test_images_in_two_dimensions(save, name):
    array = np.array([[0, 1, 2], [0, 0, 2]], dtype=np.uint8)
    image = read_image(save(name, array, np.diag([0.5, 2.0, 1.0, 1.0])))
    np.testing.assert_array_equal(image.array, array)
    assert image.spacing_mm == pytest.approx((0.5, 2.0))


@pytest.mark.parametrize("name", FORMATS)
def test_probabilities_give_the_likeliest_class(save, oblique, name):
    weights = np.random.default_rng(1).random((4, 5, 6, 3)).astype(np.float32)
    probabilities = weights / weights.sum(-1, keepdims=True)
    image = read_image(save(name, probabilities, oblique, classes=True))
    assert image.probabilities
    assert image.shape == (4, 5, 6)
    np.testing.assert_array_equal(image.array, probabilities)
    np.testing.assert_array_equal(image.labels(), probabilities.argmax(-1))
    np.testing.assert_allclose(image.affine, oblique, atol=1e-5)


def test_a_nifti_file_with_five_axes_holds_a_vector_a_voxel(save):
    array = np.zeros((2, 3, 4, 1, 2), dtype=np.float32)
    array[..., 1] = 1
    image = read_image(save("a.nii.gz", array))
    assert image.shape == (2, 3, 4)
    assert image.labels().all()


def test_a_scalar_image_with_four_axes_has_its_classes_last(tmp_path):
    array = np.zeros((2, 2, 3, 4), dtype=np.float32)  # classes, z, y, x
    array[1] = 1
    SimpleITK.WriteImage(
        SimpleITK.GetImageFromArray(array, isVector=False), str(tmp_path / "a.nrrd")
    )
    read = read_image(tmp_path / "a.nrrd")
    assert read.shape == (4, 3, 2)
    assert read.labels().all()


def test_one_channel_is_foreground_from_one_half(save):
    array = np.array([0.0, 0.49, 0.5, 1.0], dtype=np.float32).reshape(4, 1, 1, 1)
    image = read_image(save("a.nii.gz", array))
    assert image.probabilities
    assert image.labels().ravel().tolist() == [0, 0, 1, 1]


def test_labels_with_a_needless_last_axis_stay_labels(save, labels):
    image = read_image(save("a.nii.gz", labels[..., None]))
    assert not image.probabilities
    np.testing.assert_array_equal(image.array, labels)


def refused(path: Path, *words: str) -> str:
    with pytest.raises(CaseError) as caught:
        read_image(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    for word in words:
        assert word in text
    return text


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(save, name, value):
    array = np.zeros((2, 2, 2), dtype=np.float32)
    array[1, 1, 1] = value
    refused(save(name, array), "NaN or infinite")


def test_fractional_labels_are_refused_with_the_value(save):
    refused(save("a.nii.gz", np.full((2, 2, 2), 0.25, np.float32)), "0.25", "whole numbers")


def test_negative_labels_are_refused(save):
    refused(save("a.nii.gz", np.full((2, 2, 2), -1, np.int16)), "the label -1")


def test_a_picture_instead_of_labels_is_refused(save):
    picture = np.arange(2001, dtype=np.int16).reshape(3, 23, 29)
    assert read_image(save("a.nii.gz", np.minimum(picture, 2000))).array.max() == 2000
    refused(save("a.nii.gz", np.arange(2100, dtype=np.int16).reshape(3, 25, 28)), "picture")


def test_channels_that_are_no_probabilities_are_refused(save):
    array = np.full((2, 2, 2, 3), 1 / 3, np.float32)
    assert read_image(save("a.nii.gz", array)).probabilities
    refused(save("a.nii.gz", array * 9), "3 channels", "from 3 to 3")
    refused(save("a.nii.gz", array * 2), "sum", "between 2 and 2", "--channels independent")
    series = np.arange(2 * 2 * 2 * 3).reshape(2, 2, 2, 3).astype(np.int16)
    refused(save("a.nii.gz", series), "from 0 to 23", "is it a time series")


def test_complex_and_colour_files_are_refused(save, tmp_path):
    refused(save("a.nii", np.zeros((2, 2, 2), np.complex64)), "complex64")
    colour = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), tmp_path / "b.nii")
    refused(tmp_path / "b.nii", "type")


@pytest.mark.parametrize("name", FORMATS)
def test_empty_files_are_refused(tmp_path, name):
    (tmp_path / name).touch()
    assert refused(tmp_path / name) == f"{tmp_path / name} is empty"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.nii", "NIfTI"), ("a.nii.gz", "NIfTI"), ("a.nrrd", "NRRD"), ("a.mha", "MetaImage")],
)
def test_other_files_under_the_name_of_an_image_are_refused(tmp_path, capfd, name, kind):
    (tmp_path / name).write_text("not an image\n" * 100)
    refused(
        tmp_path / name, f"is not a {kind}".replace("a N", "a N" if kind == "NIfTI" else "an N")
    )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_truncated_files_are_refused(save, name, share, capfd):
    noise = np.random.default_rng(2).integers(0, 4, (20, 20, 20)).astype(np.uint8)
    path = save(name, noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path)
    assert capfd.readouterr().err == ""


def test_a_nifti_header_alone_is_truncated(save, labels):
    path = save("a.nii", labels)
    path.write_bytes(path.read_bytes()[:352])
    refused(path, "truncated", "0 bytes of voxels", str(labels.size))
    path.write_bytes(path.read_bytes()[:100])
    refused(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_a_flipped_byte_in_the_compressed_voxels_is_noticed(save, name, capfd):
    noise = np.random.default_rng(3).integers(0, 4, (20, 20, 20)).astype(np.uint8)
    path = save(name, noise)
    content = bytearray(path.read_bytes())
    content[-400] ^= 0xFF
    path.write_bytes(content)
    refused(path, "damaged")
    assert capfd.readouterr().err == ""


def test_metaimage_voxels_in_another_file(save, labels):
    path = save("a.mhd", labels)
    raw = path.with_suffix(".raw")
    raw.write_bytes(raw.read_bytes()[:-1])
    refused(path, "truncated", f"{labels.size - 1} bytes")
    raw.unlink()
    refused(path, "a.raw", "does not exist")


def test_files_without_voxel_size_are_refused(save, labels):
    for name, field in (("a.mha", b"ElementSpacing"), ("a.nrrd", b"space directions")):
        path = save(name, labels)
        lines = re.sub(rb"(?m)^" + field + rb".*\n", b"", path.read_bytes(), count=1)
        path.write_bytes(lines)
        refused(path, "states no voxel size")
    path = save("a.nii", labels)
    content = bytearray(path.read_bytes())
    content[80:84] = bytes(4)  # pixdim[1]
    path.write_bytes(content)
    refused(path, "states no voxel size", "0 x 1 x 1")


def test_a_header_that_contradicts_itself_is_refused(tmp_path, labels):
    image = nibabel.Nifti1Image(labels, np.diag([1.0, 1.0, 2.0, 1.0]))
    image.header["pixdim"][3] = 5
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(image.to_bytes()))
    refused(tmp_path / "a.nii.gz", "1 x 1 x 5 by pixdim", "1 x 1 x 2 by the affine")


def test_sheared_axes_are_refused(save, labels):
    sheared = np.eye(4)
    sheared[0, 2] = 0.2
    path = save("a.nii.gz", labels, sheared)
    refused(path, "sheared")


def test_an_affine_with_nan_is_refused(tmp_path, labels):
    image = nibabel.Nifti1Image(labels, np.eye(4))
    content = bytearray(image.to_bytes())
    content[280:284] = np.float32(np.nan).tobytes()  # srow_x[0]
    (tmp_path / "a.nii").write_bytes(content)
    refused(tmp_path / "a.nii")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    refused(tmp_path / "a.nii.gz", "No such file")
    (tmp_path / "b.nii").mkdir()
    refused(tmp_path / "b.nii")
