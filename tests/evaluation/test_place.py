"""A file that does not say where its voxels lie is never given a place."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from medloss.evaluation.inputs.case_pair import CaseOptions, CasePair, read_case_pair
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading.images import read_image
from medloss.evaluation.reading.stored import PATIENT, CaseError

SIZES = (2.0, 1.5, 3.0)
AFFINE = np.array([[-2, 0, 0, 19], [0, 1.5, 0, -12], [0, 0, 3, -22], [0, 0, 0, 1.0]])
SHAPE = (8, 9, 7)


def labels() -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[1:4, 2:8, 3:6] = 1
    array[5, 1:3, :2] = 2
    return array


def nifti(path: Path, array: np.ndarray, sizes: tuple[float, ...] = SIZES) -> Path:
    image = nibabel.Nifti1Image(array, None)
    image.header.set_zooms(sizes)
    assert not image.header["sform_code"]
    assert not image.header["qform_code"]
    nibabel.save(image, path)
    return path


def nrrd(path: Path, array: np.ndarray, sizes: tuple[float, ...] = SIZES, place: str = "") -> Path:
    place = place or f"spacings: {' '.join(map(str, sizes))}\n"
    head = (
        f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {' '.join(map(str, array.shape))}\n"
        f"encoding: raw\n{place}\n"
    )
    path.write_bytes(head.encode() + array.tobytes(order="F"))
    return path


def meta(path: Path, array: np.ndarray, sizes: tuple[float, ...] = SIZES, more: str = "") -> Path:
    head = (
        f"ObjectType = Image\nNDims = 3\n{more}DimSize = {' '.join(map(str, array.shape))}\n"
        f"ElementSpacing = {' '.join(map(str, sizes))}\nElementType = MET_UCHAR\n"
        f"ElementDataFile = LOCAL\n"
    )
    path.write_bytes(head.encode() + array.tobytes(order="F"))
    return path


WRITERS = {"a.nii": nifti, "a.nii.gz": nifti, "a.nrrd": nrrd, "a.mha": meta}


@pytest.fixture(params=WRITERS)
def unplaced(request, tmp_path):
    """Write a file without a place: of these voxels, and of this voxel size."""

    def write(array: np.ndarray, sizes: tuple[float, ...] = SIZES, folder: str = "x") -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        return WRITERS[request.param](tmp_path / folder / request.param, array, sizes)

    return write


def sides(prediction: Path, reference: Path, *, resample: bool = False) -> CasePair:
    return read_case_pair(Pair("a", prediction, reference), CaseOptions(resample=resample))


@pytest.mark.parametrize("resample", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_shape_and_voxel_size_decide_and_it_is_said(unplaced, save, turned, resample):
    """Against a file with a place: the same voxels in the same order, whatever the affine."""
    placed, other = save("b.nii.gz", labels(), AFFINE), unplaced(labels())
    files = (placed, other) if turned else (other, placed)
    found = sides(*files, resample=resample)
    np.testing.assert_array_equal(found.prediction.array, labels())
    np.testing.assert_array_equal(found.reference.array, labels())
    assert found.notes == (
        f"{other.name} does not say where its voxels lie: shape and voxel size alone show that "
        f"they belong together",
    )


def test_two_of_them_are_compared_with_a_note(unplaced):
    found = sides(unplaced(labels(), folder="p"), unplaced(labels(), folder="r"), resample=True)
    assert found.notes[0].startswith("neither file says where its voxels lie: shape")


@pytest.mark.parametrize("turned", [False, True])
def test_another_shape_or_voxel_size_is_refused_and_never_resampled(unplaced, save, turned):
    placed = save("b.nii.gz", labels(), AFFINE)
    for array, sizes, what in (
        (labels()[:, :-1], SIZES, "shape"),
        (labels().transpose(1, 0, 2), SIZES, "shape"),
        (labels(), (2.0, 2.0, 3.0), "spacing"),
    ):
        other = unplaced(array, sizes)
        files = (placed, other) if turned else (other, placed)
        with pytest.raises(CaseError, match=f"differ in {what}") as caught:
            sides(*files, resample=True)
        assert "--resample has nothing to go by: a." in str(caught.value)
        with pytest.raises(CaseError, match=f"differ in {what}"):
            sides(*files)


def test_files_with_a_place_are_held_to_it(save):
    moved = AFFINE.copy()
    moved[0, 3] += 5
    pair = save("p.nii", labels(), AFFINE), save("r.mha", labels(), moved)
    with pytest.raises(CaseError, match="differ in origin"):
        sides(*pair)
    assert "resampled" in sides(*pair, resample=True).notes[0]
    assert sides(pair[0], save("q.nrrd", labels(), AFFINE)).notes == ()


TURNED = "space directions: (-2,0,0) (0,1.5,0) (0,0,3)\n"


@pytest.mark.parametrize(
    ("place", "space"),
    [
        (f"space: RAS\n{TURNED}space origin: (19,-12,-22)\n", PATIENT),
        (f"space: left-posterior-superior\n{TURNED}space origin: (1,2,3)\n", PATIENT),
        (f"space: left-posterior-superior\n{TURNED}", ""),
        (f"space: left-posterior-superior\n{TURNED}space origin: none\n", ""),
        (f"space dimension: 3\n{TURNED}space origin: (1,2,3)\n", "a space without a name"),
        (f"space: scanner-xyz\n{TURNED}space origin: (1,2,3)\n", "the space 'scanner-xyz'"),
    ],
)
def test_the_space_of_an_nrrd_is_the_one_that_it_names(tmp_path, place, space):
    assert read_image(nrrd(tmp_path / "a.nrrd", labels(), place=place)).space == space


def test_files_in_one_space_of_their_own_are_held_to_it(tmp_path, save):
    def own(name: str, x: int, space: str = "space dimension: 3") -> Path:
        place = f"{space}\n{TURNED}space origin: ({x},2,3)\n"
        return nrrd(tmp_path / name, labels(), place=place)

    assert sides(own("p.nrrd", 1), own("r.nrrd", 1)).notes == ()
    with pytest.raises(CaseError, match="differ in origin"):
        sides(own("p.nrrd", 1), own("r.nrrd", 9))
    found = sides(own("p.nrrd", 1), own("r.nrrd", 9, "space: scanner-xyz"))
    assert found.notes[0].startswith(
        "the prediction lies in a space without a name, the reference in the space 'scanner-xyz':"
    )
    found = sides(own("p.nrrd", 1), save("r.nii", labels(), AFFINE))
    assert "the reference in the patient's space: shape" in found.notes[0]


@pytest.mark.parametrize(
    ("more", "space"),
    [
        ("", ""),
        ("Offset = 1 2 3\n", ""),
        ("TransformMatrix = 1 0 0 0 1 0 0 0 1\n", ""),
        ("TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\n", PATIENT),
        ("Orientation = 1 0 0 0 1 0 0 0 1\nPosition = 1 2 3\n", PATIENT),
    ],
)
def test_a_metaimage_has_a_place_by_its_directions_and_its_origin(tmp_path, more, space):
    assert read_image(meta(tmp_path / "a.mha", labels(), more=more)).space == space


def test_probabilities_have_the_place_of_the_image_beside_them(tmp_path, save):
    hot = np.stack([labels() == n for n in range(3)]).astype(np.float32).transpose(0, 3, 2, 1)
    np.savez(tmp_path / "a.npz", probabilities=hot)
    nifti(tmp_path / "a.nii.gz", labels())
    found = sides(tmp_path / "a.npz", save("r/a.nii.gz", labels(), AFFINE))
    assert [note.partition(" ")[0] for note in found.notes] == ["place", "a.npz"]


def test_error_maps_of_such_a_reference_claim_no_place(tmp_path):
    from medloss.evaluation.requests import choose_metric, parse_request
    from medloss.evaluation.score import EvalPlan, evaluate_pair

    (tmp_path / "p").mkdir()
    pair = Pair("a", nifti(tmp_path / "p/a.nii", labels()), nifti(tmp_path / "a.nii", labels()))
    study = EvalPlan((choose_metric(parse_request("dice")),), error_maps=tmp_path / "maps")
    assert evaluate_pair(pair, study).error == ""
    made = nibabel.load(tmp_path / "maps" / "a_errors.nii.gz")
    assert not made.header["sform_code"]
    assert not made.header["qform_code"]
    assert made.header.get_zooms() == SIZES


def test_pictures_of_such_a_reference_have_no_left_and_right():
    from medloss.evaluation.outputs.report.orientation import display_of
    from medloss.evaluation.outputs.report.planes import planes

    mask = labels() > 0
    found = planes(mask, ~mask, display_of(mask.shape, AFFINE, placed=False))
    assert [plane.name for plane in found] == ["axis 3", "axis 2", "axis 1"]  # as axial comes first
    assert {plane.letters for plane in found} == {("", "", "", "")}


def test_the_real_file(data_dir):
    folder = data_dir / "formats"
    plain, placed = folder / "nifti/made_no_transform.nii.gz", folder / "nifti/made_sform.nii.gz"
    if not plain.is_file():
        pytest.skip("the files of many formats are not here")
    for pair in ((plain, placed), (placed, plain), (plain, plain)):
        found = sides(*pair, resample=True)
        np.testing.assert_array_equal(found.prediction.array, found.reference.array)
        assert len(found.notes) == 1
    nhdr = sides(folder / "nrrd/made_label.nhdr", folder / "nrrd/made_label_same_as_nhdr.nii.gz")
    np.testing.assert_array_equal(nhdr.prediction.array, nhdr.reference.array)
    assert nhdr.notes == ()
