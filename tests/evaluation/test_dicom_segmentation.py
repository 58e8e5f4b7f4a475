"""DICOM SEG: what each way of writing one means, by files written here and by public ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from click.testing import CliRunner

from medloss.cli import main
from medloss.evaluation.reading.images import case_name, read_image
from medloss.evaluation.reading.opened import recording
from medloss.evaluation.reading.stored import CaseError

pydicom = pytest.importorskip("pydicom")
from dicom_writing import item, one, write_seg, write_series  # noqa: E402

ROWS, COLUMNS = 5, 7


def plane(*filled: tuple[int, int], value: int = 1) -> np.ndarray:
    """Rows x columns with a value at (row, column)."""
    found = np.zeros((ROWS, COLUMNS), np.uint8)
    for row, column in filled:
        found[row, column] = value
    return found


def run(*arguments: object) -> tuple[int, str, dict]:
    out = Path(str(arguments[-1])) if str(arguments[-1]).endswith(".json") else None
    words = [
        *map(str, arguments[: -1 if out else None]),
        *(["--json", str(out), "--force"] if out else []),
    ]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["eval", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output, json.loads(out.read_text()) if out and out.exists() else {}


def dice(found: dict, metric: str = "dice") -> dict[int | str, float]:
    (case,) = found["cases"]
    return {r["label"]: r["value"] for r in case["results"] if r["metric"] == metric}


def test_voxels_lie_where_the_positions_say(tmp_path):
    """Frames from top to bottom, one left out; 35 pixels a frame, which is no whole byte."""
    frames = [(1, 9.0, plane((0, 6))), (1, 3.0, plane((4, 2), (3, 2))), (1, 0.0, plane((1, 1)))]
    path = write_seg(tmp_path / "a.dcm", frames, {1: "Liver"}, origin=(10, 20, 30))
    image = read_image(path)
    assert image.array.shape == (COLUMNS, ROWS, 4)
    assert {*map(tuple, np.argwhere(image.array).tolist())} == {
        *((6, 0, 3), (2, 4, 1), (2, 3, 1), (1, 1, 0))
    }
    assert image.spacing_mm == (1.0, 2.0, 3.0)  # between columns 1, between rows 2
    x, y, z = 10 + 6 * 1.0, 20 + 0 * 2.0, 30 + 3 * 3.0
    np.testing.assert_allclose(image.affine @ (6, 0, 3, 1), (-x, -y, z, 1), atol=1e-9)
    assert dict(image.names) == {1: "Liver"}
    assert "1 of 4 slices have no frame and are empty" in image.note


def test_an_oblique_stack(tmp_path):
    turn, tilt = 0.4, 0.25
    along = np.array([np.cos(turn), np.sin(turn), 0.0])
    down = np.array([-np.sin(turn) * np.cos(tilt), np.cos(turn) * np.cos(tilt), np.sin(tilt)])
    frames = [(1, 3.0 * n, plane((n, n + 1))) for n in range(3)]
    axes = [*np.round(along, 9), *np.round(down, 9)]
    image = read_image(write_seg(tmp_path / "a", frames, {1: "x"}, axes=axes, origin=(5, 6, 7)))
    expected = np.array([5, 6, 7]) + 2 * 1.0 * along + 1 * 2.0 * down + 3.0 * np.cross(along, down)
    np.testing.assert_allclose((image.affine @ (2, 1, 1, 1))[:3], expected * (-1, -1, 1), atol=1e-5)
    assert image.array[2, 1, 1] == 1


def test_segments_that_overlap_are_channels_and_others_a_label_map(tmp_path):
    apart = [(1, 0.0, plane((0, 0))), (3, 0.0, plane((1, 1)))]
    image = read_image(write_seg(tmp_path / "a.dcm", apart, {1: "a", 2: "b", 3: "c"}))
    assert not image.independent
    assert (image.array[0, 0, 0], image.array[1, 1, 0]) == (1, 3)
    assert dict(image.names) == {1: "a", 2: "b", 3: "c"}
    both = [(1, 0.0, plane((0, 0))), (3, 0.0, plane((0, 0), (1, 1)))]
    image = read_image(write_seg(tmp_path / "b.dcm", both, {1: "a", 2: "b", 3: "c"}))
    assert image.independent
    assert image.array.sum(axis=(0, 1, 2)).tolist() == [1, 0, 2]


def test_channels_of_other_numbers_are_said(tmp_path):
    frames = [(4, 0.0, plane((0, 0))), (9, 0.0, plane((0, 0)))]
    image = read_image(write_seg(tmp_path / "a.dcm", frames, {9: "b", 4: "a"}))
    assert dict(image.names) == {1: "a", 2: "b"}
    assert "its segments 4, 9 are channels 1 to 2" in image.note


def test_a_segment_number_that_all_frames_share(tmp_path):
    path = write_seg(tmp_path / "a", [(2, 0.0, plane((0, 0)))], {2: "b"}, shared_segment=True)
    assert read_image(path).array[0, 0, 0] == 2


def test_fractions_are_of_the_maximum_that_the_file_says(tmp_path):
    frames = [(1, 0.0, plane((0, 0), value=100)), (1, 3.0, plane((0, 1), value=99))]
    path = write_seg(
        tmp_path / "a.dcm",
        frames,
        {1: "a"},
        kind="FRACTIONAL",
        MaximumFractionalValue=200,
        SegmentationFractionalType="PROBABILITY",
    )
    image = read_image(path)
    assert image.array[0, 0, 0, 0] == 0.5
    assert image.array[1, 0, 1, 0] == pytest.approx(99 / 200)
    assert "in steps of 1/200: a segment is where it is at least 0.5" in image.note
    code, _, found = run(path, path, "-m", "dice", tmp_path / "o.json")
    assert (code, dice(found)["a"]) == (0, 1.0)
    frames[0][2][0, 0] = 201
    bad = write_seg(
        tmp_path / "b.dcm", frames, {1: "a"}, kind="FRACTIONAL", MaximumFractionalValue=200
    )
    with pytest.raises(CaseError, match="holds the fraction 201 of 200"):
        read_image(bad)


BACKGROUND = {0: ("DCM", "125040"), 5: ("SCT", "10200004")}


@pytest.mark.parametrize(
    ("more", "codes", "voxels", "names"),
    [
        ({}, BACKGROUND, {5: 2}, {5: "Liver"}),
        ({"PixelPaddingValue": 0}, None, {5: 2}, {5: "Liver"}),
        ({"PixelPaddingValue": 5}, None, {6: 33}, {6: "Rest"}),
        ({}, None, {5: 2, 6: 33}, {5: "Liver", 6: "Rest"}),
    ],
)
def test_the_background_of_label_maps(tmp_path, more, codes, voxels, names):
    frames = [(0, 0.0, plane((0, 0), (1, 1), value=5))]
    path = write_seg(
        tmp_path / "a.dcm", frames, {0: "Rest", 5: "Liver"}, kind="LABELMAP", codes=codes, **more
    )
    image = read_image(path)
    counted = dict(zip(*np.unique(image.array[image.array > 0], return_counts=True), strict=True))
    assert counted == voxels
    assert dict(image.names) == names


def test_codes_of_both_editions_of_snomed_are_one(tmp_path):
    for name, code in (("a", ("SRT", "T-62000")), ("b", ("SCT", "10200004"))):
        path = write_seg(tmp_path / name, [(1, 0.0, plane((0, 0)))], {1: name}, codes={1: code})
        assert read_image(path).codes == {1: "SCT:10200004"}


def test_one_slice_is_as_thick_as_the_file_says(tmp_path):
    frames = [(1, 0.0, plane((0, 0)))]
    image = read_image(write_seg(tmp_path / "a", frames, {1: "a"}, step=None, thickness=4.5))
    assert image.spacing_mm[2] == 4.5
    with pytest.raises(CaseError, match="one slice and does not say how thick it is"):
        read_image(write_seg(tmp_path / "b", frames, {1: "a"}, step=None, thickness=None))


def test_slices_left_out_between_all_others_are_known_from_the_images(tmp_path):
    frames = [(1, 0.0, plane((0, 0))), (1, 6.0, plane((0, 0)))]
    series = item(SeriesInstanceUID="1.2.3.5")
    path = write_seg(
        tmp_path / "a.dcm",
        frames,
        {1: "a"},
        step=None,
        ReferencedSeriesSequence=pydicom.Sequence([series]),
    )
    assert read_image(path).array.shape[2] == 2
    write_series(tmp_path / "ct", [0, 3, 6, 9], (ROWS, COLUMNS))
    image = read_image(path)
    assert image.array.shape[2] == 3
    assert image.spacing_mm[2] == 3.0


REFUSED = {
    "uneven": (
        [(1, h, plane((0, 0))) for h in (0.0, 3.0, 7.0)],
        {"step": None},
        "uneven distances",
    ),
    "twice": ([(1, 0.0, plane()), (1, 0.0, plane())], {}, "two frames of segment 1 at slice 0"),
    "unknown": ([(2, 0.0, plane())], {}, "frames of segment 2, which it does not describe"),
    "far": ([(1, h, plane()) for h in (0.0, 9000.0)], {}, "9000 mm apart, which no patient spans"),
    "tiled": ([(1, 0.0, plane())], {"TotalPixelMatrixRows": 50}, "segmentation of a slide"),
    "nowhere": ([(1, 0.0, plane())], {"frame_of_reference": None}, "no geometry"),
    "skew": ([(1, 0.0, plane())], {"axes": (1, 0, 0, 0.3, 0.954, 0)}, "not at right angles"),
    "bits": ([(1, 0.0, plane())], {"BitsAllocated": 32}, "has 32 bits a pixel"),
    "short": ([(1, 0.0, plane())], {"Rows": 500}, "is truncated"),
    "count": ([(1, 0.0, plane())], {"NumberOfFrames": 3}, "3 frames, and places of 1"),
    "kind": ([(1, 0.0, plane())], {"SegmentationType": "SURFACE"}, "of the type 'SURFACE'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_place_or_contradicts_itself_is_refused(tmp_path, name):
    frames, more, words = REFUSED[name]
    with pytest.raises(CaseError, match=words) as caught:
        read_image(write_seg(tmp_path / "a.dcm", frames, {1: "a"}, **more))
    assert str(tmp_path / "a.dcm") in str(caught.value)


def test_frames_of_several_orientations_are_refused(tmp_path):
    path = write_seg(tmp_path / "a.dcm", [(1, 0.0, plane()), (1, 3.0, plane())], {1: "a"})
    dataset = pydicom.dcmread(path)
    dataset.PerFrameFunctionalGroupsSequence[1].PlaneOrientationSequence = one(
        ImageOrientationPatient=[0, 1, 0, 1, 0, 0]
    )
    dataset.save_as(path)
    with pytest.raises(CaseError, match="several orientations"):
        read_image(path)
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence[1].PlaneOrientationSequence
    dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient = [
        *(0.6, 0, 3)
    ]
    dataset.save_as(path)
    with pytest.raises(CaseError, match=r"shifted within their planes, by up to 0\.6 voxels"):
        read_image(path)


def test_compressed_frames_need_a_decoder_and_run_lengths_have_one(tmp_path):
    value = plane((0, 0), value=7)
    path = write_seg(tmp_path / "a.dcm", [(0, 0.0, value)], {7: "a"}, kind="LABELMAP")
    dataset = pydicom.dcmread(path)
    dataset.compress(pydicom.uid.RLELossless)
    dataset.save_as(path)
    np.testing.assert_array_equal(read_image(path).array[..., 0], value.T)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    dataset.save_as(path)
    with pytest.raises(CaseError, match=r"compressed as JPEG 2000 .*, which nothing"):
        read_image(path)


def test_files_are_known_by_content_and_a_folder_by_the_one_it_holds(tmp_path):
    frames = [(1, 0.0, plane((0, 0)))]
    for name, case in (("a.dcm", "a"), ("b.seg", "b"), ("1.2.840.1", "1.2.840.1"), ("c", "c")):
        path = write_seg(tmp_path / "files" / name, frames, {1: "x"})
        assert case_name(path) == case
    folder = tmp_path / "case7"
    write_series(folder, [0, 3], (ROWS, COLUMNS))
    (folder / "notes.txt").write_text("words")
    assert case_name(folder) is None
    assert case_name(folder / "003_0") is None  # an image is no segmentation
    write_seg(folder / "seg", frames, {1: "x"})
    assert case_name(folder) == "case7"
    with recording() as files:
        assert read_image(folder).array[0, 0, 0] == 1
    assert {Path(path).name for path, *_ in files} == {"case7", "seg"}
    write_seg(folder / "other", frames, {1: "x"})
    with pytest.raises(CaseError, match=r"holds 2 DICOM segmentations \(other, seg\)"):
        read_image(folder)


def test_folders_of_files_and_of_folders_are_paired(tmp_path):
    frames = [(1, 0.0, plane((0, 0)))]
    for case in ("a", "b"):
        write_seg(tmp_path / "pred" / f"{case}.dcm", frames, {1: "x"})
        write_seg(tmp_path / "ref" / case / "1-1.dcm", frames, {1: "x"})
        write_series(tmp_path / "ref" / case, [0, 3], (ROWS, COLUMNS))
    code, _, found = run(tmp_path / "pred", tmp_path / "ref", "-m", "dice", tmp_path / "o.json")
    assert code == 0
    assert [case["case"] for case in found["cases"]] == ["a", "b"]
    code, output, _ = run(tmp_path / "pred" / "a.dcm", tmp_path / "ref" / "b", "-m", "dice")
    assert code == 0
    code, output, _ = run(tmp_path / "ref" / "a", tmp_path / "ref" / "b", "-m", "dice")
    assert (code, "1 of 1 cases scored" in output) == (0, True)


def test_without_pydicom_one_sentence_names_the_extra(tmp_path):
    path = write_seg(tmp_path / "a.dcm", [(1, 0.0, plane((0, 0)))], {1: "x"})
    code = (
        "import sys; sys.modules['pydicom'] = None; from medloss.cli import main; "
        f"main(['eval', {str(path)!r}, {str(path)!r}, '-m', 'dice'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        "needs pydicom to be read, which is not installed here: pip install 'medloss[dicom]'"
        in (" ".join(done.stdout.split()))
    )
    assert "Traceback" not in done.stdout + done.stderr


# Public files


@pytest.fixture
def formats(data_dir: Path) -> Path:
    folder = data_dir / "formats"
    if not folder.is_dir():
        pytest.skip("the public files of other formats are not here")
    return folder


def masks(folder: Path) -> dict[str, np.ndarray]:
    return {
        path.name.removesuffix(".nii.gz").replace("_", " ").capitalize(): np.asarray(
            nibabel.load(path).dataobj
        )
        for path in sorted((folder / "masks").glob("*.nii.gz"))
    }


def test_the_head_in_three_kinds_of_segmentations(formats):
    head = formats / "crossformat" / "head"
    expected = masks(head)
    image = read_image(head / "seg_binary_overlap.dcm")
    assert image.array.shape == (64, 64, 19, 4)
    for channel in range(4):
        np.testing.assert_array_equal(
            image.array[..., channel], expected[image.names[channel + 1]][:, :, 1:]
        )
    assert image.affine[2, 3] == pytest.approx(45.0)  # the slice at 43.5 has no frame
    labels = np.asarray(nibabel.load(head / "labels.nii.gz").dataobj)
    image = read_image(head / "seg_labelmap.dcm")
    np.testing.assert_array_equal(image.array, labels[:, :, 1:])
    assert dict(image.names) == {1: "Bone", 2: "Soft tissue"}
    image = read_image(head / "seg_fractional.dcm")
    stored = pydicom.dcmread(head / "seg_fractional.dcm")
    heights = [
        float(each.PlanePositionSequence[0].ImagePositionPatient[2])
        for each in stored.PerFrameFunctionalGroupsSequence
    ]
    frames = stored.pixel_array[np.argsort(heights)]
    np.testing.assert_allclose(image.array[..., 0], frames.transpose(2, 1, 0) / 200, rtol=1e-6)


def test_segments_are_those_that_highdicom_finds(formats):
    highdicom = pytest.importorskip("highdicom")
    names = ["ct2/seg_image_ct_binary_overlap.dcm", "odd_frame/label.seg"]
    paths = [formats / "dicom_seg" / name for name in names]
    for path in (*paths, formats / "crossformat" / "head" / "seg_binary_overlap.dcm"):
        image = read_image(path)
        theirs = highdicom.seg.segread(path)
        for label in image.names:
            volume = theirs.get_volume(segment_numbers=[label])
            own = image.array[..., label - 1] if image.independent else image.array == label
            voxels = np.argwhere(volume.array[..., 0])
            places = np.c_[voxels, np.ones(len(voxels))] @ volume.affine.T * (-1, -1, 1, 1)
            found = np.rint(np.linalg.solve(image.affine, places.T).T[:, :3]).astype(int)
            assert len(voxels) == own.sum()
            assert own[tuple(found.T)].all()


def test_a_nifti_prediction_counts_outside_of_the_frames_too(formats, tmp_path):
    head = formats / "crossformat" / "head"
    loaded = nibabel.load(head / "labels.nii.gz")
    array = np.asarray(loaded.dataobj).copy()
    for name in ("labels.nii.gz", "labels_PIR.nii.gz", "labels_RSA.nii.gz"):
        code, output, found = run(
            *(head / name, head / "seg_labelmap.dcm", "-m", "dice", "-m", "hausdorff"),
            tmp_path / "o.json",
        )
        assert code == 0, output
        assert dice(found) == {1: 1.0, 2: 1.0}
        assert dice(found, "hausdorff") == {1: 0.0, 2: 0.0}
    assert not array[:, :, 0].any()
    array[:10, 0, 0] = 1  # where the SEG has no frame
    nibabel.save(nibabel.Nifti1Image(array, loaded.affine), tmp_path / "p.nii.gz")
    code, output, found = run(
        tmp_path / "p.nii.gz", head / "seg_labelmap.dcm", "-m", "dice", tmp_path / "o.json"
    )
    assert dice(found)[1] == pytest.approx(2 * 1426 / (1426 + 1436))
    assert "outside of a file is background" in output
    code, output, _ = run(head / "labels.nii.gz", head / "seg_binary_overlap.dcm", "-m", "dice")
    assert (code, "overlap, which the labels of" in output) == (1, True)


def test_soft_tissue_against_sphere_has_the_dice_of_the_masks(formats, tmp_path):
    seg = formats / "crossformat" / "head" / "seg_binary_overlap.dcm"
    code, _, found = run(
        *(seg, formats / "crossformat" / "head" / "masks" / "sphere.nii.gz"),
        *("--labels", "1=Soft tissue", "-m", "dice"),
        tmp_path / "o.json",
    )
    assert code == 0
    assert dice(found)[1] == pytest.approx(0.047776, abs=5e-7)


SELF = {
    "ct2/seg_image_ct_binary.dcm": (638, (0.488281, 0.488281, 1.25)),
    "ct2/seg_image_ct_binary_fractional.dcm": (638, (0.488281, 0.488281, 1.25)),
    "one_slice/seg_image_ct_binary_single_frame.dcm": (1832, (0.661468, 0.661468, 5.0)),
    "odd_frame/label.seg": (322, (0.7, 0.7, 2.5)),
    "labelmap/sparse-labelmap-noppv.dcm": (630, (0.7, 0.7, 2.5)),
}


@pytest.mark.parametrize("name", SELF)
def test_public_segmentations_against_themselves(formats, tmp_path, name):
    path = formats / "dicom_seg" / name
    voxels, spacing = SELF[name]
    image = read_image(path)
    assert (int((image.array >= 0.5).sum()), image.spacing_mm) == (voxels, spacing)
    code, _, found = run(path, path, "-m", "dice", "-m", "hausdorff", tmp_path / "o.json")
    assert code == 0
    assert {*dice(found).values()} == {1.0}
    assert {*dice(found, "hausdorff").values()} == {0.0}


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("odd_frame/label.seg", "odd_frame/label.nrrd"),
        ("labelmap/sparse-labelmap-noppv.dcm", "labelmap/sparse_labelmap_noppv_seg.nrrd"),
    ],
)
def test_public_segmentations_equal_their_twins_of_another_format(formats, name, twin):
    image = read_image(formats / "dicom_seg" / name)
    other = SimpleITK.ReadImage(str(formats / "dicom_seg" / twin))
    voxels = SimpleITK.GetArrayFromImage(other).transpose(2, 1, 0) != 0
    assert voxels.sum() == (image.array != 0).sum()
    for index in np.argwhere(voxels)[:: max(1, int(voxels.sum()) // 50)]:
        x, y, z = other.TransformIndexToPhysicalPoint([int(i) for i in index])
        own = np.linalg.solve(image.affine, (-x, -y, z, 1))[:3]
        np.testing.assert_allclose(own, np.rint(own), atol=1e-3)
        assert image.array[tuple(np.rint(own).astype(int))] != 0


def test_overlapping_public_segments_are_whole(formats, tmp_path):
    path = formats / "dicom_seg" / "ct2" / "seg_image_ct_binary_overlap.dcm"
    image = read_image(path)
    assert image.array.shape == (16, 16, 165, 2)
    assert image.array.sum(axis=(0, 1, 2)).tolist() == [64, 16]
    first, second = np.moveaxis(image.array, -1, 0)
    assert 2 * (first & second).sum() / (64 + 16) == 0.4
    true = read_image(formats / "dicom_seg" / "ct2" / "seg_image_ct_true_fractional.dcm")
    assert true.array.sum(dtype=np.float64) == pytest.approx(326.0235, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("seg_image_sm_control_labelmap.dcm", "slide coordinates and no place in a patient"),
        ("seg_image_cr_binary.dcm", "no geometry"),
    ],
)
def test_public_segmentations_without_a_place_are_refused(formats, name, words):
    with pytest.raises(CaseError, match=words):
        read_image(formats / "dicom_seg" / "refuse" / name)


def test_frames_far_apart_take_the_memory_of_the_frames(tmp_path):
    """Frames of 64 KiB 3 m apart span 3001 slices of 3 channels: 563 MiB that nobody may fill."""
    rows = np.zeros((256, 256), np.uint8)
    rows[:9, :9] = 1
    path = write_seg(
        *(tmp_path / "a.dcm", [(1, 0.0, rows), (2, 3000.0, rows), (3, 0.0, rows)]),
        {1: "a", 2: "b", 3: "c"},
        step=1.0,
    )
    code = (
        "import resource, pathlib, pydicom.sr; "
        "from medloss.evaluation.reading.images import read_image; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        f"image = read_image(pathlib.Path({str(path)!r})); "
        "assert image.array.shape == (256, 256, 3001, 3), image.array.shape; "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60 << 10, done.stdout  # in KiB
