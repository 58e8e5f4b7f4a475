from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medloss.evaluation.inputs.case_images import modality, with_images
from medloss.evaluation.inputs.manifest import read_manifest
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading.images import read_grey
from medloss.evaluation.reading.settled import Told
from medloss.evaluation.reading.stored import CaseError


def folder_of(path: Path, *names: str) -> Path:
    for name in names:
        file = path / f"{name}.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"not looked into")
    return path


@pytest.mark.parametrize(
    ("case", "names", "channel", "found"),
    [
        ("a", ["a", "b"], "", "a"),
        ("a", ["a_0000", "a_0001"], "", "a_0000"),
        ("a", ["a_0000", "a_0001"], "1", "a_0001"),
        ("a", ["a", "a_t1"], "", "a"),
        ("a", ["a-T1C", "a-t2f"], "t1c", "a-T1C"),
        ("a", ["a/ct", "a/segmentations/liver"], "", "a/ct"),
        ("a", ["a/a-t1n", "a/a-t2w", "a/a-seg"], "t2w", "a/a-t2w"),
        ("a", ["a/imaging", "a/segmentation"], "", "a/imaging"),
        ("a", ["imagesTr/a_0000", "labelsTr/a"], "", "imagesTr/a_0000"),
        ("sub-01", ["sub-01/anat/sub-01_T1w"], "", "sub-01/anat/sub-01_T1w"),
        ("p/q", ["p/q/SUV", "p/q/CTres"], "suv", "p/q/SUV"),
        ("a_1", ["a_0000", "a_1_0000"], "", "a_1_0000"),
        ("a", ["a1_0000"], "", "the first image is 'a1_0000.nii.gz'"),
        ("a", ["a-t1", "a-t2"], "", "several images of 'a', and --channel says which: *-t1, *-t2"),
        ("a", ["a-t1", "a-t2"], "flair", "no image flair of 'a': *-t1, *-t2"),
        ("a", ["a_0000", "a_0001"], "7", "no image 7 of 'a': *_0000, *_0001"),
        ("{0}", ["{0}-t1", "{0}-t2"], "", "several images of '{0}'"),
    ],
)
def test_an_image_belongs_to_the_case_that_its_path_names(tmp_path, case, names, channel, found):
    images = folder_of(tmp_path, *names)
    pairs = (Pair(case, None, None),)
    if " " in found:
        with pytest.raises(ValueError, match=r"^--images: ") as refused:
            with_images(images, pairs, channel)
        assert found in str(refused.value)
    else:
        (pair,) = with_images(images, pairs, channel)
        assert pair.image == images / f"{found}.nii.gz"


def test_scored_files_are_no_images_and_a_case_without_one_is_said(tmp_path):
    images = folder_of(tmp_path, "imagesTr/a_0000", "labelsTr/a", "labelsTr/b")
    pairs = (Pair("a", None, images / "labelsTr/a.nii.gz"), Pair("b", None, None))
    pairs = (pairs[0], Pair("b", images / "labelsTr/b.nii.gz", None))
    one, other = with_images(images, pairs)
    assert one.image == images / "imagesTr/a_0000.nii.gz"
    assert (other.image, other.image_problem) == (None, f"{images} holds no image of 'b'")
    assert one == pairs[0]  # an image is no part of what is scored
    file = images / "imagesTr/a_0000.nii.gz"
    assert with_images(file, pairs[:1])[0].image == file
    with pytest.raises(ValueError, match="is one image, and there are 2 cases"):
        with_images(file, pairs)
    with pytest.raises(ValueError, match="nowhere does not exist"):
        with_images(tmp_path / "nowhere", pairs)


def test_a_name_with_bytes_that_are_no_text_is_found(tmp_path):
    name = os.fsdecode(b"b\xff_0000")
    try:
        folder_of(tmp_path, name)
    except OSError:
        pytest.skip("this file system has no such names")
    (pair,) = with_images(tmp_path, (Pair("b\\udcff", None, None),))
    assert pair.image == tmp_path / f"{name}.nii.gz"


def test_the_modality_is_that_of_the_data_set(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    names = {"channel_names": {"0": "CT", "1": "T1"}}
    (tmp_path / "dataset.json").write_text(json.dumps(names))
    assert modality(tmp_path / "imagesTr") == "CT"
    assert modality(tmp_path / "imagesTr", "1") == "T1"
    (tmp_path / "dataset.json").write_text("{")
    assert modality(tmp_path / "imagesTr") == ""


def test_a_manifest_names_images(tmp_path):
    folder_of(tmp_path, "p/a", "r/a", "i/a")
    head = "case,prediction,reference,Image,site\n"
    rows = "a,p/a.nii.gz,r/a.nii.gz,i/a.nii.gz,x\nb,p/a.nii.gz,r/a.nii.gz,i/b.nii.gz,y\n"
    (tmp_path / "m.csv").write_text(head + rows.replace("b,p/a", "b,p/b", 1))
    one, other = read_manifest(tmp_path / "m.csv")
    assert one.image == tmp_path / "i/a.nii.gz"
    assert dict(one.columns) == {"image": "i/a.nii.gz", "site": "x"}
    assert other.image is None
    assert other.image_problem.endswith("i/b.nii.gz does not exist")


def test_images_are_read_as_their_headers_scale_them(tmp_path):
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nibabel.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(2.0, -1000.0)
    nibabel.save(image, tmp_path / "a.nii")
    assert (read_grey(tmp_path / "a.nii").array == 2.0 * stored - 1000).all()
    stack = np.stack([stored, stored + 100], axis=-1).astype(np.float32)
    stack[0, 0, 0, 1] = np.nan
    nibabel.save(nibabel.Nifti1Image(stack, np.eye(4)), tmp_path / "b.nii")
    found = read_grey(tmp_path / "b.nii", channel=1)
    assert np.array_equal(found.array, stack[..., 1], equal_nan=True)
    assert found.note == "channel 1 of 0 to 1"
    assert (read_grey(tmp_path / "b.nii").array == stored).all()
    for path, channel in (("b.nii", 2), ("a.nii", 1)):
        with pytest.raises(CaseError, match=f"there is no channel {channel}"):
            read_grey(tmp_path / path, channel=channel)
    (tmp_path / "c.nii").write_bytes(b"")
    with pytest.raises(CaseError, match=r"c\.nii is empty"):
        read_grey(tmp_path / "c.nii")


def test_photographs_are_images_in_shades_of_grey(tmp_path):
    picture = pytest.importorskip("PIL.Image")
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[1, 2], colours[3, 5] = (255, 255, 255), (0, 255, 0)
    for name, shape in (("a.png", colours), ("b.jpg", colours), ("c.png", colours[..., 0])):
        picture.fromarray(shape).save(tmp_path / name)
    picture.fromarray(np.full((4, 6), 40000, np.uint16)).save(tmp_path / "d.png")
    pairs = with_images(tmp_path, tuple(Pair(name, None, None) for name in "abcd"))
    assert [pair.image.name for pair in pairs] == ["a.png", "b.jpg", "c.png", "d.png"]
    told = Told((0.5, 0.25))
    found = [read_grey(pair.image, told=told) for pair in pairs]
    assert {image.shape for image in found} == {(6, 4)}
    assert {image.spacing_mm for image in found} == {(0.5, 0.25)}
    assert (found[0].array[2, 1], found[0].array[5, 3]) == (255, 150)  # 0.587 of 255
    assert found[3].array.max() == 40000
    with pytest.raises(CaseError, match=r"a\.png does not state the size of its voxels"):
        read_grey(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff torn")
    with pytest.raises(CaseError, match=r"b\.jpg is damaged"):
        read_grey(tmp_path / "b.jpg", told=told)


def test_a_dicom_series_is_an_image(tmp_path):
    pytest.importorskip("pydicom")
    from dicom_writing import write_series

    pixels = [np.arange(120).reshape(10, 12) + 1000 * n for n in range(4)]
    heights = [3.0, 9.0, 0.0, 12.0]  # none at 6 mm
    folder = write_series(tmp_path / "a" / "ct", heights, pixels=pixels, scale=(0.5, -1024.0))
    for images in (tmp_path, folder):
        (pair,) = with_images(images, (Pair("a", None, None),))
        assert pair.image == folder
    with pytest.raises(ValueError, match="is one image, and there are 2 cases"):
        with_images(folder, (Pair("a", None, None), Pair("b", None, None)))
    found = read_grey(folder)
    assert found.shape == (12, 10, 5)
    assert found.spacing_mm == (1.0, 2.0, 3.0)
    for height, each in zip(heights, pixels, strict=True):
        assert (found.array[:, :, round(height / 3)] == 0.5 * each.T - 1024).all()
    assert np.isnan(found.array[:, :, 2]).all()
    other = write_series(tmp_path / "other", [30.0], series="1.9", pixels=pixels)
    next(other.iterdir()).rename(folder / "999")
    with pytest.raises(CaseError, match="holds 2 series of images where one is expected"):
        read_grey(folder)


def test_a_real_series_is_what_pydicom_reads(data_dir):
    pydicom = pytest.importorskip("pydicom")
    folder = data_dir / "formats" / "crossformat" / "head" / "ct"
    if not folder.is_dir():
        pytest.skip("the files of many formats are not here")
    found = read_grey(folder)
    assert found.shape == (64, 64, 20)
    for path in sorted(folder.iterdir())[:3]:
        dataset = pydicom.dcmread(path)
        values = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        place = np.array([*map(float, dataset.ImagePositionPatient), 1.0]) * (-1, -1, 1, 1)
        index = np.linalg.solve(found.affine, place)
        assert index == pytest.approx([0, 0, round(index[2]), 1], abs=1e-3)
        assert (found.array[:, :, round(index[2])] == values.T).all()
