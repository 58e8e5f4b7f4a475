"""Real files of the formats that people have: counts and places by an independent reading."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from medloss.cli import main
from medloss.evaluation.inputs.case_pair import CaseOptions, read_case_pair
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading.images import read_image
from medloss.evaluation.reading.settled import Told
from medloss.evaluation.reading.stored import PATIENT, CaseError
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.score import EvalPlan, evaluate_pair

DICE = (choose_metric(parse_request("dice")), choose_metric(parse_request("hausdorff")))
ZYX, XYZ = Told((3.0, 1.5, 2.0), "zyx"), Told((2.0, 1.5, 3.0))
MADE = {1: 502, 2: 393}
SLICER = {
    "ribs": 8487,
    "cervical vertebral column": 1216,
    "thoracic vertebral column": 2712,
    "lumbar vertebral column": 3259,
    "right lung": 34450,
    "left lung": 33700,
    "tissue": 154589,
}


@pytest.fixture
def samples(data_dir) -> Path:
    folder = data_dir / "formats"
    if not (folder / "arrays").is_dir():
        pytest.skip("the files of many formats are not here")
    return folder


def counts(labels: np.ndarray) -> dict[int, int]:
    found, many = np.unique(labels, return_counts=True)
    return {int(label): int(n) for label, n in zip(found, many, strict=True) if label}


def made(samples: Path) -> np.ndarray:
    """The label map that many of the files hold, as nibabel reads it."""
    return np.asarray(nibabel.load(samples / "nifti/made_sform.nii.gz").dataobj)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nifti/made_sform.nii.gz", Told()),
        ("nifti/made_qform_only.nii.gz", Told()),
        ("nifti/made_label_nifti2.nii.gz", Told()),
        ("nifti/made_one_volume_4d.nii.gz", Told()),
        ("nifti/made_float_labels.nii.gz", Told()),
        ("nifti/made_scaled_labels.nii.gz", Told()),
        ("nifti/made_no_transform.nii.gz", Told()),
        ("nifti/made_sform_not_qform.nii.gz", Told()),
        ("analyze/made_nifti_pair.hdr", Told()),
        ("analyze/made_analyze75.hdr", Told()),
        ("nrrd/made_label.nhdr", Told()),
        ("arrays/made_label_zyx.npy", ZYX),
        ("arrays/made_label.npz", Told((), "zyx")),
        ("arrays/made_stack_plain.tif", XYZ),
        ("arrays/made_stack_imagej.tif", Told()),
        ("arrays/made_stack.ome.tif", Told()),
        ("arrays/made_ome_0.4.zarr", Told()),
        ("arrays/made_ome_0.5.zarr", Told()),
        ("arrays/png_slices/case1", XYZ),
    ],
)
def test_one_label_map_in_every_format(samples, name, told):
    """Exact against the NIfTI file with an sform, where both say a place also in that."""
    reference, path = samples / "nifti/made_sform.nii.gz", samples / name
    image = read_image(path, told=told)
    assert counts(image.labels()) == MADE
    np.testing.assert_array_equal(image.labels(), made(samples))
    np.testing.assert_allclose(image.spacing_mm, (2, 1.5, 3), rtol=1e-6)
    inputs = CaseOptions(spacing_mm=told.spacing_mm, axes=told.axes)
    case = evaluate_pair(Pair("a", path, reference), EvalPlan(DICE, inputs=inputs))
    assert case.error == ""
    assert [result.value for result in case.results] == [1, 0, 1, 0]
    said = any("shape and voxel size alone" in note for note in case.notes)
    assert said == (image.space != PATIENT)


def test_names_of_an_ome_zarr(samples):
    for version in ("0.4", "0.5"):
        image = read_image(samples / f"arrays/made_ome_{version}.zarr")
        assert dict(image.names) == {1: "organ", 2: "lesion"}
        np.testing.assert_allclose(image.affine[:3, 3], (-19, -12, -20))


def test_transforms_that_contradict_one_another(samples):
    image = read_image(samples / "nifti/made_sform_not_qform.nii.gz")
    assert "up to 6.67 voxels apart; the sform counts" in image.note
    assert image.affine[0, 3] == 19


def test_noise_of_float32_is_the_same_grid(samples):
    pair = Pair("a", *(samples / f"nifti/made_oblique_{n}.nii.gz" for n in ("pred_noise", "ref")))
    case = evaluate_pair(pair, EvalPlan(DICE))
    assert [result.value for result in case.results] == [1, 0, 1, 0]
    assert case.notes == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nifti/lesion_oblique.nii.gz", {1: 1125, 2: 27069, 3: 4287}),
        ("nifti/sct_labels.nii.gz", {3: 1, 5: 1}),
        ("nifti/torsoLabel.nii.gz", None),
        ("nifti/standard.nii.gz", None),
        ("nrrd/blob4.mha", {255: 4080}),
        ("slicer/Segmentation.seg.nrrd", dict(enumerate(SLICER.values(), start=1))),
        ("freesurfer/made_aseg_small.mgz", {2: 713, 17: 81, 41: 814, 53: 81, 1024: 27}),
    ],
)
def test_a_file_against_itself(samples, name, expected):
    path = samples / name
    case = evaluate_pair(Pair("a", path, path), EvalPlan(DICE))
    assert case.error == ""
    assert {result.value for result in case.results} == {0, 1}
    found = read_image(path).labels()
    if expected is None:
        expected = counts(np.asarray(nibabel.load(path).dataobj))
    assert counts(found) == expected
    assert [each.tp + each.fn for _, each in case.counts] == list(expected.values())


def test_a_grey_picture_in_two_files(samples):
    path = samples / "analyze/ras.hdr"
    image, other = read_image(path), nibabel.load(path)
    np.testing.assert_array_equal(image.array, np.asarray(other.dataobj))
    np.testing.assert_allclose(image.affine, other.affine, atol=1e-5)
    case = evaluate_pair(Pair("a", path, path), EvalPlan(DICE))
    assert "looks like a picture, not labels" in case.error


def test_freesurfer(samples):
    path = samples / "freesurfer/made_aseg_small.mgz"
    sides = read_case_pair(Pair("a", path, path.with_suffix(".nii.gz")), CaseOptions())
    np.testing.assert_array_equal(sides.prediction.array, sides.reference.array)
    assert sides.notes == ()
    wm = read_image(samples / "freesurfer/wm.mgz")
    assert (wm.shape, wm.spacing_mm) == ((256, 256, 256), (1.0, 1.0, 1.0))
    assert len(counts(wm.array)) + 1 == 52
    with gzip.open(samples / "freesurfer/wm.mgz") as file:
        other = nibabel.MGHImage.from_bytes(file.read())
    np.testing.assert_allclose(wm.affine, other.affine, atol=1e-5)


NRRD = "BallBinary30x30x30"


@pytest.mark.parametrize(
    "name",
    [".nhdr", "_bz2.nrrd", "_gz.nrrd", "_gz_byteskip_minus_one.nrrd", "_gz_lineskip.nrrd"],
)
def test_one_ball_in_every_encoding(samples, name):
    image = read_image(samples / f"nrrd/{NRRD}{name}")
    assert counts(image.labels()) == {257: 14328}
    other = np.asarray(nibabel.load(samples / f"nrrd/{NRRD}.nii.gz").dataobj)
    np.testing.assert_array_equal(image.labels(), other)


def test_a_detached_label_map(samples):
    path = samples / "nrrd/made_label.nhdr"
    pair = Pair("a", path, samples / "nrrd/made_label_same_as_nhdr.nii.gz")
    sides = read_case_pair(pair, CaseOptions())
    np.testing.assert_array_equal(sides.prediction.array, sides.reference.array)
    assert counts(sides.prediction.array) == MADE
    assert sides.notes == ()


def test_segments_of_slicer(samples):
    image = read_image(samples / "slicer/SegmentationOverlapping.seg.nrrd")
    assert image.independent
    found = {name: int(image.array[..., n - 1].sum()) for n, name in image.names.items()}
    assert found == {**SLICER, "overlapping sphere": 19139}
    others = image.array[..., :7].any(axis=-1)
    assert int((others & (image.array[..., 7] > 0)).sum()) == 15514
    one = read_image(samples / "slicer/Segmentation.seg.nrrd")
    assert dict(one.names) == dict(enumerate(SLICER, start=1))
    for label in one.names:
        np.testing.assert_array_equal(one.labels() == label, image.array[..., label - 1] > 0)


def test_a_cropped_segmentation_on_the_grid_of_the_case(samples, tmp_path):
    """Named, counted, and voxel by voxel where each file says that it lies."""
    head = samples / "crossformat/head"
    image = read_image(head / "head.seg.nrrd")
    assert dict(image.names) == {1: "Bone", 2: "Soft tissue", 3: "Sphere", 4: "Nothing"}
    assert image.cropped
    counted = json.loads((head / "expected.json").read_text())["voxels"]
    for channel, name in enumerate(("bone", "soft_tissue", "sphere", "nothing")):
        mask = np.asarray(nibabel.load(head / f"masks/{name}.nii.gz").dataobj) > 0
        affine = nibabel.load(head / f"masks/{name}.nii.gz").affine
        own = image.array[..., channel] > 0
        where = np.argwhere(own) @ image.affine[:3, :3].T + image.affine[:3, 3]
        there = np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]
        assert len(where) == len(there) == counted[image.names[channel + 1]]
        order = [np.lexsort(np.round(points, 3).T) for points in (where, there)]
        np.testing.assert_allclose(where[order[0]], there[order[1]], atol=1e-3)
    files = [str(head / name) for name in ("head.seg.nrrd", "labels.nii.gz")]
    words = ["--labels", "1=Bone,2=Soft tissue", "--json", str(tmp_path / "a.json")]
    result = CliRunner().invoke(main, ["eval", *files, "-m", "dice", *words], terminal_width=200)
    assert result.exit_code == 0, result.output
    assert "outside of a file is background" in result.output
    (case,) = json.loads((tmp_path / "a.json").read_text())["cases"]
    assert [(each["name"], each["value"]) for each in case["results"]] == [
        ("Bone", 1),
        ("Soft tissue", 1),
    ]


@pytest.mark.parametrize(
    ("name", "expected", "note"),
    [
        ("index", {1: 60, 2: 49}, ""),
        ("palette", {1: 60, 2: 49}, ""),
        ("mask255", {1: 109}, "the only value, 255, is read as label 1"),
    ],
)
def test_pictures(samples, name, expected, note):
    image = read_image(samples / f"arrays/png_2d/{name}/case1.png", told=Told((2, 1.5)))
    assert counts(image.labels()) == expected
    assert image.note == note
    plane = made(samples)[:, :, 7]
    expected_plane = plane > 0 if name == "mask255" else plane
    np.testing.assert_array_equal(image.labels(), expected_plane)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("slicer/CTChest4.nrrd", "is it a picture"),
        ("nrrd/BallBinary30x30x30_nifti.nhdr", "a header of its own"),
        ("nifti/made_rgb_colour_coded.nii.gz", "type RGB"),
        ("nifti/rgb_ct_perfusion.nii.gz", "type RGB"),
        ("nifti/complex_no_transform.nii.gz", "type complex64"),
        ("nifti/shear.nii.gz", "not at right angles"),
        ("nifti/example_nifti2.nii.gz", "2 channels"),
        ("freesurfer/test.mgz", "a sheared affine"),
        ("freesurfer/lh.Yeo2011.mgz", "each point of a surface"),
        ("arrays/png_2d/rgb/case1.png", "holds colours"),
        ("arrays/png_2d/jpeg/case1.jpg", "JPEG, whose values change"),
        ("arrays/made_label_zyx.npy", "--axes zyx"),
        ("arrays/made_label.npz", "--axes zyx"),
        ("arrays/made_stack_plain.tif", "--spacing 0.8,0.8,2.5"),
    ],
)
def test_what_is_refused_says_why(samples, name, words):
    path = samples / name
    with pytest.raises(CaseError, match=words) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
