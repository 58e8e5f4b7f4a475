"""Plain formats: each reads to the voxels that were written, and scores as numpy counts them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from evaluation.format_files import (
    SPACING,
    dice,
    label_map,
    perturbed,
    write_json,
    write_mgh,
    write_nrrd,
    write_ome_zarr,
    write_png,
)

from medloss.cli import main
from medloss.evaluation.inputs.case_pair import CaseOptions, read_case_pair
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading import stored
from medloss.evaluation.reading.foreign import WAYS
from medloss.evaluation.reading.formats import READERS
from medloss.evaluation.reading.images import case_name, no_image, read_image
from medloss.evaluation.reading.opened import recording
from medloss.evaluation.reading.settled import Told, parse_told
from medloss.evaluation.reading.slices import read_slices
from medloss.evaluation.reading.stored import PATIENT, CaseError
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.score import EvalPlan, evaluate_pair

DICE = (choose_metric(parse_request("dice")),)
XYZ, ZYX = Told(SPACING), Told(SPACING[::-1], "zyx")


def slices(folder: Path, array: np.ndarray, suffix: str = ".png") -> Path:
    import tifffile

    folder.mkdir(parents=True)
    for z in range(array.shape[2]):
        path = folder / f"slice_{z + 8}{suffix}"  # 8, 9, 10: not in the order of the alphabet
        if suffix == ".png":
            write_png(path, array[:, :, z].T)
        else:
            tifffile.imwrite(path, array[:, :, z].T)
    return folder


def tiff(path: Path, array: np.ndarray, **settings: object) -> Path:
    import tifffile

    tifffile.imwrite(path, array.transpose(), **settings)
    return path


def pair_of_files(path: Path, array: np.ndarray, *, analyze: bool = False) -> Path:
    kind = nibabel.AnalyzeImage if analyze else nibabel.Nifti1Pair
    image = kind(array, np.diag([*SPACING, 1.0]))
    nibabel.save(image, path.with_suffix(".img"))
    return path


def npy(path: Path, array: np.ndarray) -> Path:
    np.save(path, array.transpose())
    return path


def npz(path: Path, array: np.ndarray) -> Path:
    np.savez_compressed(path, seg=array.transpose(), spacing=np.array(SPACING[::-1]))
    return path


def imagej(path: Path, array: np.ndarray) -> Path:
    return tiff(
        path,
        array,
        imagej=True,
        resolution=(1 / SPACING[0], 1 / SPACING[1]),
        metadata={"spacing": SPACING[2], "unit": "mm", "axes": "ZYX"},
    )


def ome(path: Path, array: np.ndarray) -> Path:
    sizes = {f"PhysicalSize{axis}": size * 1000 for axis, size in zip("XYZ", SPACING, strict=True)}
    return tiff(path, array, ome=True, metadata={"axes": "ZYX", **sizes}, compression="zlib")


def with_json(path: Path, array: np.ndarray) -> Path:
    write_json(path.with_suffix(".json"), {"spacing": SPACING[::-1]})
    return tiff(path, array)


def hexadecimal(path: Path, array: np.ndarray) -> Path:
    text = array.tobytes("F").hex()
    lines = "\n".join(text[start : start + 35] for start in range(0, len(text), 35))
    return write_nrrd(path, lines.encode(), array.shape, encoding="hex")


def ascii_text(path: Path, array: np.ndarray) -> Path:
    text = " ".join(map(str, array.ravel(order="F"))).encode()
    return write_nrrd(path, text, array.shape, encoding="ascii")


def bzip(path: Path, array: np.ndarray) -> Path:
    content = array.tobytes("F")
    two = bz2.compress(content[:50]) + bz2.compress(content[50:])
    return write_nrrd(path, two, array.shape, encoding="bzip2")


WRITERS: dict[str, tuple[str, Callable[..., Path], Told]] = {
    "mgz": ("a.mgz", write_mgh, Told()),
    "mgh": ("a.mgh", write_mgh, Told()),
    "pair": ("a.hdr", pair_of_files, Told()),
    "analyze": ("a.hdr", lambda path, array: pair_of_files(path, array, analyze=True), Told()),
    "hex": ("a.nrrd", hexadecimal, Told()),
    "ascii": ("a.nrrd", ascii_text, Told()),
    "bzip2": ("a.nrrd", bzip, Told()),
    "npy": ("a.npy", npy, ZYX),
    "npz": ("a.npz", npz, Told((), "zyx")),
    "tiff": ("a.tif", tiff, XYZ),
    "nnunet": ("a.tif", with_json, Told()),
    "imagej": ("a.tiff", imagej, Told()),
    "ome": ("a.ome.tif", ome, Told()),
    "png slices": ("a", slices, XYZ),
    "tiff slices": ("a", lambda path, array: slices(path, array, ".tif"), XYZ),
    "zarr 2": (
        "a.zarr",
        lambda path, array: write_ome_zarr(path, array.transpose(), scale=SPACING[::-1]),
        Told(),
    ),
    "zarr 3": (
        "a.ome.zarr",
        lambda path, array: write_ome_zarr(
            path,
            array.transpose(),
            version="0.5",
            scale=SPACING[::-1],
            shards=(6, 6, 8),
            chunks=(3, 3, 4),
        ),
        Told(),
    ),
}


def options(told: Told) -> CaseOptions:
    return CaseOptions(spacing_mm=told.spacing_mm, axes=told.axes)


@pytest.fixture(params=WRITERS)
def written(request, tmp_path):
    """Both label maps in a format: the files, and what the user says of them."""
    name, write, told = WRITERS[request.param]
    files = []
    for folder, array in (("p", perturbed(label_map())), ("r", label_map())):
        (tmp_path / folder).mkdir()
        files.append(write(tmp_path / folder / name, array))
    return request.param, *files, told


def test_a_file_scores_as_numpy_counts_it(written):
    """Against itself 1; against a perturbed copy what the arrays say; the voxel size is right."""
    _, prediction, reference, told = written
    plan = EvalPlan(DICE, inputs=options(told))
    own = evaluate_pair(Pair("a", reference, reference), plan)
    assert own.error == ""
    assert [result.value for result in own.results] == [1.0, 1.0]
    np.testing.assert_allclose(own.spacing_mm, SPACING, rtol=1e-7)
    case = evaluate_pair(Pair("a", prediction, reference), plan)
    assert case.error == ""
    expected = [dice(perturbed(label_map()), label_map(), label) for label in (1, 2)]
    assert 0 < min(expected) < max(expected) < 1
    np.testing.assert_allclose([r.value for r in case.results], expected, rtol=1e-12)
    np.testing.assert_array_equal(read_image(reference, told=told).labels(), label_map())


def test_a_file_without_a_place_is_compared_by_shape_and_voxel_size(written, tmp_path):
    """Against a NIfTI file, whose axes are the same: with a note, and never resampled."""
    kind, prediction, _, told = written
    if kind in ("mgz", "mgh", "pair", "hex", "ascii", "bzip2"):
        assert read_image(prediction).space == PATIENT
        return
    other = tmp_path / "b.nii.gz"
    nibabel.save(nibabel.Nifti1Image(label_map(), np.diag([-2, -1.5, 3, 1.0])), other)
    resampled = CaseOptions(spacing_mm=told.spacing_mm, axes=told.axes, resample=True)
    for pair in (Pair("a", prediction, other), Pair("a", other, prediction)):
        sides = read_case_pair(pair, resampled)
        assert any("shape and voxel size alone" in note for note in sides.notes), sides.notes
        np.testing.assert_array_equal(
            sides.prediction.labels(), read_image(pair.prediction, told=told).labels()
        )
    nibabel.save(nibabel.Nifti1Image(label_map()[:, :-1], np.diag([-2, -1.5, 3, 1.0])), other)
    with pytest.raises(CaseError, match=r"differ in shape.*--resample has nothing to go by"):
        read_case_pair(Pair("a", prediction, other), resampled)


def test_every_file_that_decides_is_recorded(written):
    kind, prediction, _, told = written
    with recording() as files:
        read_image(prediction, told=told)
    found = {Path(path).name for path, size, *_ in files if size is not None}
    inside = {path.name for path in prediction.rglob("*")} if prediction.is_dir() else set()
    beside = {"pair": {"a.img"}, "analyze": {"a.img"}, "nnunet": {"a.json"}}.get(kind, set())
    assert {prediction.name, *beside} <= found | ({prediction.name} if inside else set())
    if "slices" in kind:
        assert found == inside | {"a"}
    if "zarr" in kind:
        pieces = prediction / "labels" / "organs" / "0"
        assert {path.name for path in pieces.rglob("*")} <= found


def test_a_beside_that_comes_later_is_noticed(tmp_path):
    path = tiff(tmp_path / "a.tif", label_map())
    with recording() as files:
        read_image(path, told=XYZ)
    assert (str(tmp_path / "a.json"), None, None, None) in files


@pytest.mark.parametrize("name", ["a.npy", "a.png", "a.tif"])
def test_nothing_is_guessed_that_the_file_does_not_say(tmp_path, name):
    path = tmp_path / name
    rows = label_map()[:, :, 0].T
    if name == "a.npy":
        np.save(path, rows)
        with pytest.raises(CaseError, match=r"which of its 2 axes \(6 x 7\).*such as --axes yx"):
            read_image(path, told=Told((2, 1.5)))
        with pytest.raises(CaseError, match=r"has 2 axes \(6 x 7\), and --axes zyx names 3"):
            read_image(path, told=ZYX)
    elif name == "a.png":
        write_png(path, rows)
    else:
        import tifffile

        tifffile.imwrite(path, rows, resolution=(72, 72), resolutionunit="INCH")  # of a printer
    axes = "yx" if name == "a.npy" else ""
    with pytest.raises(CaseError, match=r"not state the size of its voxels.*--spacing 0.8,0.8"):
        read_image(path, told=Told((), axes))
    if not axes:
        with pytest.raises(CaseError, match="has 2 spatial axes; --spacing has 3 sizes"):
            read_image(path, told=Told(SPACING))
    image = read_image(path, told=Told((1.5, 2.0) if axes else (2.0, 1.5), axes))
    assert image.spacing_mm == (2.0, 1.5)
    np.testing.assert_array_equal(image.labels(), label_map()[:, :, 0])


@pytest.mark.parametrize("kind", ["pair", "imagej", "ome", "nnunet", "zarr 2", "npz", "mgz"])
def test_a_size_that_contradicts_the_file_is_an_error(tmp_path, kind):
    name, write, told = WRITERS[kind]
    path = write(tmp_path / name, label_map())
    same = read_image(path, told=Told(SPACING[::-1] if told.axes else SPACING, told.axes))
    np.testing.assert_allclose(same.spacing_mm, SPACING, rtol=1e-7)
    wrong = (2.0, 2.0, 2.0)
    with pytest.raises(CaseError, match=r"states a voxel size of 2 x 1\.5 x 3 mm, and --spacing"):
        read_image(path, told=Told(wrong, told.axes))


def test_axes_say_what_a_size_belongs_to(tmp_path):
    """One rule for every file: the sizes are in the order of the axes, else along x, y and z."""
    array = label_map()
    np.save(tmp_path / "a.npy", array.transpose(1, 2, 0))
    path = tiff(tmp_path / "a.tif", array)
    for file in (tmp_path / "a.npy", path):
        image = read_image(file, told=Told((1.5, 3.0, 2.0), "yzx"))
        assert image.spacing_mm == SPACING
        np.testing.assert_array_equal(image.labels(), array)


def test_an_array_of_classes(tmp_path):
    hot = np.eye(3, dtype=np.float32)[label_map()]
    np.save(tmp_path / "a.npy", hot.transpose(3, 2, 1, 0))
    image = read_image(tmp_path / "a.npy", told=Told(SPACING[::-1], "czyx"))
    assert image.probabilities
    np.testing.assert_array_equal(image.labels(), label_map())


@pytest.mark.parametrize(
    ("spacing", "axes", "words"),
    [
        ("1,2", "zyx", "expected 3 sizes in mm"),
        ("1", None, "expected 2 or 3 sizes"),
        ("1,2,0", None, "such as 0.8,0.8,2.5, got '1,2,0'"),
        ("1,2,x", None, "--spacing"),
        ("1,2,inf", None, "--spacing"),
        ("", None, "--spacing"),
        (None, "zzyx", "--axes: expected letters such as zyx"),
        (None, "zy", "--axes"),
        (None, "tyx", "--axes"),
        (None, "", "--axes"),
    ],
)
def test_options_that_make_no_sense_are_refused(spacing, axes, words):
    with pytest.raises(ValueError, match=words):
        parse_told(spacing, axes)


def test_the_command_takes_them(tmp_path):
    for side in ("p", "r"):
        (tmp_path / side).mkdir()
        np.save(tmp_path / side / "a.npy", label_map().transpose())
    folders = [str(tmp_path / side) for side in ("p", "r")]
    words = ["eval", *folders, "-m", "hausdorff95", "-m", "dice"]
    failed = CliRunner().invoke(main, words, terminal_width=200)
    assert failed.exit_code == 1
    assert "--axes zyx" in failed.output
    out = tmp_path / "out"
    said = [*words, "--axes", "zyx", "--spacing", "3,1.5,2", "--output", str(out)]
    result = CliRunner().invoke(main, said, terminal_width=200)
    assert result.exit_code == 0, result.output
    assert "neither file says where its voxels lie" in result.output
    found = json.loads((out / "summary.json").read_text())
    assert found["settings"]["inputs"] == {"axes": "zyx", "spacing_mm": [3.0, 1.5, 2.0]}
    assert found["cases"][0]["spacing_mm"] == list(SPACING)
    wrong = CliRunner().invoke(main, [*words, "--axes", "zxx"])
    assert wrong.exit_code == 2
    assert CliRunner().invoke(main, [*said, "--resume"], terminal_width=200).exit_code == 0


# --- FreeSurfer --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("suffix", [".mgz", ".mgh"])
def test_mgh_is_where_nibabel_says(tmp_path, dtype, suffix):
    turned = [[0.6, 0.8, 0], [-0.8, 0.6, 0], [0, 0, -1]]
    path = write_mgh(tmp_path / f"a{suffix}", label_map().astype(dtype), directions=turned)
    content = path.read_bytes()
    content = gzip.decompress(content) if suffix == ".mgz" else content
    image, other = read_image(path), nibabel.MGHImage.from_bytes(content)
    np.testing.assert_allclose(image.affine, other.affine, atol=1e-5)
    np.testing.assert_array_equal(image.labels(), np.asarray(other.dataobj))
    assert image.space == PATIENT


def test_mgh_without_its_flag_has_voxels_of_1_mm_and_no_place(tmp_path):
    image = read_image(write_mgh(tmp_path / "a.mgh", label_map(), good=False))
    assert (image.spacing_mm, image.space) == ((1.0, 1.0, 1.0), "")


def test_large_labels_and_long_tags_survive(tmp_path):
    labels = label_map().astype(np.int32) * 12101
    path = write_mgh(tmp_path / "a.mgz", labels, tags=bytes(1 << 18))
    np.testing.assert_array_equal(read_image(path).labels(), labels)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: b"\0\0\0\2" + c[4:], "is not an MGH file"),
        (lambda c: c[:200], "is not an MGH file"),
        (lambda c: c[:20] + b"\0\0\0\6" + c[24:], "values of type tensor"),
        (lambda c: c[:300], "truncated"),
        (lambda c: c[:4] + b"\x7f\xff\xff\xff" * 3 + c[16:], "GiB"),
        (lambda c: c[:30] + bytes(12) + c[42:], "unusable affine"),
    ],
)
def test_damaged_mgh_is_named(tmp_path, change, words):
    content = write_mgh(tmp_path / "a.mgh", label_map()).read_bytes()
    for name, packed in (("a.mgh", False), ("a.mgz", True)):
        path = tmp_path / name
        path.write_bytes(gzip.compress(change(content)) if packed else change(content))
        with pytest.raises(CaseError, match=words):
            read_image(path)


def test_a_surface_is_refused(tmp_path):
    with pytest.raises(CaseError, match=r"each point of a surface.*mri_surf2vol"):
        read_image(write_mgh(tmp_path / "a.mgz", np.zeros((1000, 1, 1), np.float32)))


# --- pairs of header and image -----------------------------------------------------------------


def test_pairs_may_be_compressed_and_their_names_have_blanks(tmp_path):
    image = nibabel.Nifti1Pair(label_map(), np.diag([*SPACING, 1.0]))
    nibabel.save(image, tmp_path / "my case.img.gz")
    for path in (tmp_path / "my case.hdr.gz", tmp_path / "my case.hdr"):
        if not path.exists():
            path.write_bytes(gzip.decompress((tmp_path / "my case.hdr.gz").read_bytes()))
        np.testing.assert_array_equal(read_image(path).labels(), label_map())
        assert case_name(path) == "my case"


def test_one_pair_is_one_case(tmp_path):
    for side in ("p", "r"):
        (tmp_path / side).mkdir()
        pair_of_files(tmp_path / side / "a.hdr", label_map())
    result = CliRunner().invoke(main, ["eval", str(tmp_path / "p"), str(tmp_path / "r")])
    assert result.exit_code == 0, result.output


def test_analyze_has_no_place_and_no_left(tmp_path):
    image = read_image(pair_of_files(tmp_path / "a.hdr", label_map(), analyze=True))
    assert (image.space, image.spacing_mm) == ("", SPACING)


def test_what_is_wrong_with_a_pair_is_named(tmp_path):
    path = pair_of_files(tmp_path / "a.hdr", label_map(), analyze=True)
    content = path.read_bytes()

    def refused(words: str, new: bytes = content) -> None:
        path.write_bytes(new)
        with pytest.raises(CaseError, match=words):
            read_image(path)

    refused("scales its voxels by 2.5", content[:112] + np.float32(2.5).tobytes() + content[116:])
    refused("is not a NIfTI header", b"ENVI\n" + content[5:])
    refused("file of one piece", content[:344] + b"n+1\0")
    (tmp_path / "a.img.gz").touch()
    refused("beside it is a.img and a.img.gz")
    (tmp_path / "a.img.gz").unlink()
    (tmp_path / "a.img").unlink()
    refused("beside it is no a.img")
    assert "name the .hdr beside them" in no_image(tmp_path / "a.img")


# --- NIfTI -------------------------------------------------------------------------------------


def nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> nibabel.Nifti1Image:
    image = nibabel.Nifti1Image(array, np.diag([*SPACING, 1.0]) if affine is None else affine)
    nibabel.save(image, path)
    return image


@pytest.mark.parametrize("shape", [(7, 6, 5, 1), (7, 6, 5, 1, 1), (7, 6, 5, 1, 1, 1, 1)])
def test_trailing_axes_of_one_are_none(tmp_path, shape):
    path = tmp_path / "a.nii"
    nifti(path, label_map().reshape(shape))
    np.testing.assert_array_equal(read_image(path).labels(), label_map())


def test_trailing_sizes_of_0_are_1(tmp_path):
    path = tmp_path / "a.nii"
    nifti(path, label_map())
    content = bytearray(path.read_bytes())
    content[40:56] = np.array([5, 7, 6, 5, 0, 0, 0, 0], "<i2").tobytes()
    path.write_bytes(content)
    np.testing.assert_array_equal(read_image(path).labels(), label_map())


@pytest.mark.parametrize(("moved", "said"), [(0.0, False), (0.1, False), (0.2, True), (10, True)])
def test_two_transforms_that_contradict_one_another(tmp_path, moved, said):
    """Beyond a tenth of a voxel, 0.15 mm here: the sform counts, and it is said."""
    path, affine = tmp_path / "a.nii.gz", np.diag([*SPACING, 1.0])
    image = nibabel.Nifti1Image(label_map(), affine)
    other = affine.copy()
    other[0, 3] += moved
    image.set_sform(affine, 2)
    image.set_qform(other, 1)
    nibabel.save(image, path)
    found = read_image(path)
    np.testing.assert_allclose(found.affine, affine)
    assert ("the sform counts" in found.note) == said
    if said:
        assert f"up to {moved / 1.5:.3g} voxels apart" in found.note


def test_names_of_labels_in_a_header(tmp_path):
    """TotalSegmentator's table: an extension of code 0 with XML."""
    image = nibabel.Nifti1Image(label_map(), np.diag([*SPACING, 1.0]))
    text = (
        b'<?xml version="1.0" encoding="UTF-8"?><CaretExtension><VolumeInformation Index="0">'
        b'<LabelTable><Label Key="0" Red="0">background</Label>'
        b'<Label Key="1" Red="0.2" Alpha="1"><![CDATA[liver]]></Label>\n'
        b'<Label Red="1" Key="5"><![CDATA[kidney & "cyst"]]></Label>'
        b'<Label Key="2">a &amp; b</Label>'
        b"</LabelTable></VolumeInformation></CaretExtension>"
    )
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, text))
    for name in ("a.nii", "a.nii.gz"):
        nibabel.save(image, tmp_path / name)
        found = read_image(tmp_path / name)
        assert dict(found.names) == {1: "liver", 5: 'kidney & "cyst"', 2: "a & b"}
        np.testing.assert_array_equal(found.labels(), label_map())


# --- PNG and TIFF ------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"colours": 1}, {"bits": 16}])
def test_grey_values_and_numbers_of_a_palette_are_labels(tmp_path, settings):
    path = write_png(tmp_path / "a.png", label_map()[:, :, 0].T, **settings)
    image = read_image(path, told=Told((2, 1.5)))
    np.testing.assert_array_equal(image.labels(), label_map()[:, :, 0])
    assert image.note == ""


@pytest.mark.parametrize(("bits", "full"), [(8, 255), (16, 65535), (1, 1)])
def test_a_mask_of_white_is_label_1(tmp_path, bits, full):
    rows = (label_map()[:, :, 0].T > 0).astype(np.uint16)
    path = write_png(tmp_path / "a.png", rows * full, bits=bits)
    image = read_image(path, told=Told((2, 1.5)))
    np.testing.assert_array_equal(image.labels(), rows.T)
    assert (str(full) in image.note) == (full > 1)


def test_255_beside_another_label_stays_what_it_is(tmp_path):
    rows = np.array([[0, 1, 255], [0, 1, 255]])
    image = read_image(write_png(tmp_path / "a.png", rows), told=Told((1, 1)))
    assert sorted(set(image.labels().ravel().tolist())) == [0, 1, 255]
    alone = read_image(write_png(tmp_path / "b.png", rows * 0 + 2), told=Told((1, 1)))
    assert alone.labels().max() == 2


def test_colours_are_refused(tmp_path):
    import tifffile

    picture = np.zeros((6, 7, 3), np.uint8)
    path = write_png(tmp_path / "a.png", picture, colours=3)
    with pytest.raises(CaseError, match=r"holds colours or transparency \(RGB\)"):
        read_image(path, told=Told((1, 1)))
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb")
    with pytest.raises(CaseError, match="holds colours"):
        read_image(tmp_path / "a.tif", told=Told((1, 1)))


def test_a_picture_of_another_kind_under_that_name_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    with pytest.raises(CaseError, match="is not a PNG file; it is a JPEG, whose values change"):
        read_image(tmp_path / "a.png", told=Told((1, 1)))


def test_a_time_series_is_refused(tmp_path):
    path = tiff(tmp_path / "a.ome.tif", label_map(), ome=True, metadata={"axes": "TYX"})
    with pytest.raises(CaseError, match="is a time series"):
        read_image(path, told=XYZ)


def test_channels_of_a_tiff_are_classes(tmp_path):
    hot = np.eye(3, dtype=np.float32)[label_map()]
    import tifffile

    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, hot.transpose(3, 2, 1, 0), ome=True, metadata={"axes": "CZYX"})
    image = read_image(path, told=XYZ)
    assert image.probabilities
    np.testing.assert_array_equal(image.labels(), label_map())


def test_slices_that_do_not_belong_together_are_refused(tmp_path):
    folder = slices(tmp_path / "a", label_map())

    def refused(words: str) -> None:
        with pytest.raises(CaseError, match=words):
            read_slices(folder)

    (folder / "slice_9.png").rename(folder / "slice_99.png")
    refused("slices 8 to 99, without 9")
    (folder / "slice_99.png").unlink()
    write_png(folder / "slice_9.png", label_map()[:, :-1, 0].T)
    refused("do not belong together: slice_8.png is 7 x 6 of uint8, slice_9.png 7 x 5 of uint8")
    (folder / "other_9.png").touch()
    refused("no stack of slices: beside slice_10.png is another kind of name")
    (folder / "notes.txt").touch()
    refused("no stack of slices: it holds notes.txt")


def test_nnunets_json_must_fit(tmp_path):
    path = with_json(tmp_path / "a.tif", label_map())
    write_json(tmp_path / "a.json", {"spacing": [1, 2]})
    with pytest.raises(CaseError, match="expected 3 sizes in mm"):
        read_image(path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(CaseError, match="is no JSON file"):
        read_image(path)
    imagej(path, label_map())
    write_json(tmp_path / "a.json", {"spacing": [1, 1, 1]})
    with pytest.raises(CaseError, match=r"states a voxel size of 2 x 1\.5 x 3 mm"):
        read_image(path)


# --- OME-Zarr ----------------------------------------------------------------------------------


def test_which_label_image_is_meant_must_be_clear(tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", label_map().transpose(), scale=SPACING[::-1])
    one = path / "labels" / "organs"
    np.testing.assert_array_equal(read_image(one).labels(), label_map())
    write_json(path / "labels" / ".zattrs", {"labels": ["organs", "vessels"]})
    with pytest.raises(CaseError, match=r"2 label images \(organs, vessels\); name the folder"):
        read_image(path)
    np.testing.assert_array_equal(read_image(one).labels(), label_map())


@pytest.mark.parametrize(
    ("unit", "factor"), [("micrometer", 1e-3), ("nanometer", 1e-6), ("centimeter", 10)]
)
def test_units_of_lengths(tmp_path, unit, factor):
    path = write_ome_zarr(tmp_path / "a.zarr", label_map().transpose(), unit=unit)
    np.testing.assert_allclose(read_image(path).spacing_mm, np.array(SPACING) * factor)


def test_a_length_without_a_unit_is_none(tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", label_map().transpose(), unit="furlong")
    with pytest.raises(CaseError, match="not state the size of its voxels"):
        read_image(path)
    assert read_image(path, told=XYZ).space == ""


def test_one_time_and_one_channel_are_left_out(tmp_path):
    array = label_map().transpose()[None, None]
    path = write_ome_zarr(tmp_path / "a.zarr", array, axes="tczyx", scale=(1, 1, *SPACING[::-1]))
    image = read_image(path)
    assert image.spacing_mm == SPACING
    np.testing.assert_array_equal(image.labels(), label_map())
    two = write_ome_zarr(
        tmp_path / "b.zarr", np.repeat(array, 2, 0), axes="tczyx", scale=(1, 1, *SPACING[::-1])
    )
    with pytest.raises(CaseError, match="is a time series"):
        read_image(two)


def test_two_of_them_are_held_to_their_place(tmp_path):
    array = label_map().transpose()
    one = write_ome_zarr(tmp_path / "a.zarr", array)
    other = write_ome_zarr(tmp_path / "b.zarr", array, version="0.5")
    assert read_case_pair(Pair("a", one, other), CaseOptions()).notes == ("labels pair by name",)
    attributes = one / "labels" / "organs" / ".zattrs"
    attributes.write_text(attributes.read_text().replace("5.0", "9.0"))
    with pytest.raises(CaseError, match="differ in origin"):
        read_case_pair(Pair("a", one, other), CaseOptions())


@pytest.mark.parametrize("name", ["../outside", "/etc", "labels"])
def test_a_zarr_leads_nowhere_else(tmp_path, name):
    path = write_ome_zarr(tmp_path / "a.zarr", label_map().transpose())
    attributes = path / "labels" / "organs" / ".zattrs"
    attributes.write_text(
        attributes.read_text().replace('"path": "0"', f'"path": "../../../{name}"')
    )
    with pytest.raises(CaseError, match="its first level is"):
        read_image(path)


# --- of all ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [("a.png", "PIL", "png"), ("a.tif", "tifffile", "tiff"), ("a.zarr", "zarr", "zarr")],
)
def test_without_its_library_a_format_names_the_extra(tmp_path, monkeypatch, name, library, extra):
    writers = {
        "a.png": lambda path: write_png(path, label_map()[:, :, 0].T),
        "a.tif": lambda path: tiff(path, label_map()),
        "a.zarr": lambda path: write_ome_zarr(path, label_map().transpose()),
    }
    path = writers[name](tmp_path / name)

    def missing(module: str) -> None:
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(stored.importlib, "import_module", missing)
    with pytest.raises(CaseError, match=rf"{library}.*medloss\[{extra}\]"):
        read_image(path, told=XYZ)


def test_a_format_costs_nothing_before_a_file_of_it_comes(tmp_path):
    for side in ("p", "r"):
        (tmp_path / side).mkdir()
        nifti(tmp_path / side / "a.nii.gz", label_map())
    code = (
        "import sys; from medloss.cli import main\n"
        f"sys.argv = ['medloss', 'eval', {str(tmp_path / 'p')!r}, {str(tmp_path / 'r')!r}, "
        "'-m', 'dice', '--workers', '1']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('LOADED', [n for n in ('PIL', 'tifffile', 'zarr', 'nibabel', 'numpy') "
        "if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "LOADED ['numpy']" in result.stdout


def test_a_foreign_format_is_named_with_a_way_out(tmp_path):
    for name, way in WAYS.items():
        path = tmp_path / f"case1{name}"
        path.write_bytes(b"x")
        with pytest.raises(CaseError, match="is no format that is read here: it is") as caught:
            read_image(path)
        assert way in str(caught.value)
        assert "\n" not in str(caught.value)


def test_no_format_of_ours_is_foreign():
    assert not set(WAYS) & set(READERS)


def test_files_that_are_something_else_are_no_traceback(tmp_path):
    """A picture under the name of each format."""
    content = io.BytesIO(write_png(tmp_path / "x.png", label_map()[:, :, 0].T).read_bytes())
    for suffix in READERS:
        path = tmp_path / f"a{suffix}"
        if suffix == ".png":
            path.write_bytes(b"x" * 500)
        else:
            path.write_bytes(content.getvalue())
        with pytest.raises(CaseError) as caught:
            read_image(path, told=XYZ)
        assert str(path) in str(caught.value)
