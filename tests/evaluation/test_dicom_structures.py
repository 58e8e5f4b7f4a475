"""DICOM RTSTRUCT: contours on the grid of their series or of the other file."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from medloss.cli import main
from medloss.evaluation.reading.images import read_image
from medloss.evaluation.reading.opened import recording
from medloss.evaluation.reading.stored import CaseError

pydicom = pytest.importorskip("pydicom")
from dicom_writing import write_rt, write_series  # noqa: E402

CLOSED = "CLOSED_PLANAR"


def box(low: tuple[float, float], high: tuple[float, float], height: float) -> list[list[float]]:
    """Corners in mm of a rectangle of columns and rows, whose voxels are 1 and 2 mm wide."""
    (x0, y0), (x1, y1) = low, high
    corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    return [[x * 1.0, y * 2.0, height] for x, y in corners]


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["eval", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture
def liver(tmp_path: Path) -> Path:
    """A box on two of four slices, with a hole on one, beside its series and another one."""
    write_series(tmp_path / "ct", [0, 3, 6, 9])
    write_series(tmp_path / "scout", [0, 50], series="1.2.3.77", frame_of_reference="1.2.3.78")
    drawn = [
        (CLOSED, box((1.5, 0.5), (5.5, 4.5), 3.0)),
        (CLOSED, box((2.5, 1.5), (3.5, 3.5), 3.0)),
        (CLOSED, box((1.5, 0.5), (5.5, 4.5), 9.0)),
    ]
    return write_rt(tmp_path / "rt.dcm", {"Liver": drawn, "Empty": []})


def test_on_the_grid_of_the_series_that_the_file_names(liver):
    with recording() as files:
        image = read_image(liver)
    assert image.shape == (12, 10, 4)
    assert image.spacing_mm == (1.0, 2.0, 3.0)
    assert image.array.sum(axis=(0, 1)).tolist() == [0, 16 - 2, 0, 16]
    assert dict(image.names) == {1: "Liver", 2: "Empty"}
    assert "Liver: 1 slices between its contours have none and are empty" in image.note
    assert "Empty: it has no contours and is empty" in image.note
    names = {Path(path).name for path, *_ in files}
    assert names >= {"rt.dcm", "003_0", "010_1", "017_2", "024_3", "ct"}
    assert not any("scout" in path for path, *_ in files)


def test_the_frame_of_reference_stands_in_for_a_series_that_is_not_there(tmp_path, liver):
    rt = write_rt(tmp_path / "b.dcm", {"a": [(CLOSED, box((1, 1), (3, 3), 0.0))]}, series="9.9")
    assert read_image(rt).array.sum() == 9
    write_series(tmp_path / "second", [0, 3], series="1.2.3.79")
    with pytest.raises(CaseError, match="2 others share its frame of reference"):
        read_image(rt)


def test_the_series_may_lie_in_a_folder_beside(tmp_path):
    write_series(tmp_path / "study" / "ct", [0, 3])
    write_series(tmp_path / "study" / "other", [0, 3], series="7.7", frame_of_reference="7.8")
    drawn = {"a": [(CLOSED, box((1, 1), (3, 3), 3.0))]}
    assert read_image(write_rt(tmp_path / "study" / "rt" / "1-1.dcm", drawn)).array.sum() == 9
    assert read_image(tmp_path / "study" / "rt").array.sum() == 9  # the folder, by its content


def test_without_a_series_the_other_file_has_the_grid(tmp_path, save):
    drawn = {"a": [(CLOSED, box((1, 1), (3, 3), 3.0))]}
    rt = write_rt(tmp_path / "rt.dcm", drawn, preamble=False)
    with pytest.raises(CaseError, match="contours make a mask on a grid of voxels alone"):
        read_image(rt)
    labels = np.zeros((12, 10, 4), np.uint8)
    labels[1:4, 1:4, 1] = 1
    affine = np.diag([-1.0, -2.0, 3.0, 1.0])
    straight = save("p.nii.gz", labels, affine)
    turned = np.diag([1.0, -2.0, 3.0, 1.0])
    turned[0, 3] = -11.0
    flipped = save("q.nii.gz", labels[::-1], turned)
    sagittal = save("s.nii.gz", labels.transpose(2, 0, 1).copy(), affine[:, [2, 0, 1, 3]])
    for path in (straight, flipped, sagittal):
        for pair in ((path, rt), (rt, path)):
            code, output = run(*pair, "-m", "dice")
            assert code == 0, output
            assert "ok          1.0000" in output or "1.0000" in output
    code, output = run(rt, rt, "-m", "dice")
    assert (code, "contours make a mask on a grid" in output) == (1, True)
    nowhere = save("n.nrrd", labels)
    Path(nowhere).write_bytes(nowhere.read_bytes().replace(b"space: left", b"#pace: left"))
    code, output = run(rt, nowhere, "-m", "dice")
    assert code == 1


def test_contours_that_are_no_outline_are_listed_and_no_class(tmp_path):
    write_series(tmp_path / "ct", [0, 3])
    point = ("POINT", [[1.0, 1.0, 0.0]])
    way = ("OPEN_PLANAR", box((1, 1), (3, 3), 0.0))
    closed = (CLOSED, box((1, 1), (3, 3), 0.0))
    both = {"Isocenter": [point], "Mixed": [way, closed, point]}
    image = read_image(write_rt(tmp_path / "a", both))
    assert dict(image.names) == {1: "Mixed"}
    assert "Isocenter: not a mask and not scored: 1 POINT" in image.note
    assert "Mixed: not a mask and not scored: 1 OPEN_PLANAR, 1 POINT" in image.note
    with pytest.raises(CaseError, match=r"no closed contours \(Isocenter: .*1 POINT"):
        read_image(write_rt(tmp_path / "b", {"Isocenter": [point]}))


def test_what_should_be_known_of_contours_is_said(tmp_path):
    write_series(tmp_path / "ct", [0, 3, 6])
    drawn = {
        "Outside": [(CLOSED, box((1, 1), (3, 3), z)) for z in (-3.0, 6.0, 8.0)],
        "Between": [(CLOSED, box((1, 1), (3, 3), 1.0))],
        "Tiny": [(CLOSED, box((1.2, 1.2), (1.6, 1.6), 0.0))],
        "Partly": [(CLOSED, box((0.5, 0.5), (3.5, 3.5), 0)), (CLOSED, box((2.5, 2.5), (6, 6), 0))],
        "Lone": [(CLOSED, [[5.0, 8.0, 3.0]]), (CLOSED, [[7.0, 8.0, 3.0], [8.0, 8.0, 3.0]])],
        "Xor": [("CLOSEDPLANAR_XOR", box((0.5, 0.5), (3.5, 3.5), 0.0))],
    }
    image = read_image(write_rt(tmp_path / "a.dcm", drawn, images=("9.9.9",)))
    assert image.independent
    voxels = dict(zip(drawn, image.array.sum(axis=(0, 1, 2)).tolist(), strict=True))
    assert voxels == {
        "Outside": 9,
        "Between": 9,
        "Tiny": 0,
        "Partly": 9 + 16 - 2,
        "Lone": 3,
        "Xor": 9,
    }
    for sentence in (
        "or within 0.001 voxel of a line",
        "Outside: 2 of 3 contours lie outside the images",
        "Between: 1 contours lie between slices and count for the nearest",
        "Tiny: its contours hold no voxel centre, so that it is empty",
        "Partly: contours overlap partly in 1 slices, where even-odd leaves a hole",
        "2 contours have one or two points",
        "10 of 10 contours name an image that is not in the series; their positions decide",
    ):
        assert sentence in image.note
    strict = read_image(tmp_path / "a.dcm", contours="strict")
    assert strict.array.sum(axis=(0, 1, 2)).tolist()[:2] == [1, 1]
    assert "and not within 0.001 voxel of a line" in strict.note


def test_the_rule_is_an_option_and_in_the_results(tmp_path):
    write_series(tmp_path / "ct", [0, 3])
    one = write_rt(tmp_path / "a.dcm", {"x": [(CLOSED, box((1, 1), (3, 3), 0.0))]})
    out = tmp_path / "o.json"
    code, output = run(one, one, "-m", "dice", "--contours", "strict", "--json", out)
    assert (code, "and not within 0.001 voxel" in output) == (0, True)
    assert '"contours": "strict"' in out.read_text()


def test_contours_across_the_slices_are_refused(tmp_path):
    write_series(tmp_path / "ct", [0, 3, 6])
    slanted = box((1, 1), (3, 3), 0.0)
    slanted[2][2] = slanted[3][2] = 3.0
    with pytest.raises(CaseError, match="not parallel to the slices of the images"):
        read_image(write_rt(tmp_path / "a.dcm", {"x": [(CLOSED, slanted)]}))


def test_a_series_that_is_no_volume_is_refused(tmp_path):
    rt = write_rt(tmp_path / "rt.dcm", {"x": [(CLOSED, box((1, 1), (3, 3), 0.0))]})
    write_series(tmp_path / "ct", [0, 3, 3])
    with pytest.raises(CaseError, match="two images at one position"):
        read_image(rt)


def test_a_changed_series_is_scored_anew(tmp_path, liver):
    out = tmp_path / "out"
    assert run(liver, liver, "-m", "dice", "--output", out)[0] == 0
    assert "1 of 1 cases were scored before" in run(
        *(liver, liver, "-m", "dice", "--output", out, "--resume")
    )[1].replace("\n", " ")
    image = next((tmp_path / "ct").iterdir())
    dataset = pydicom.dcmread(image)
    dataset.PixelSpacing = [2.0, 1.0]
    dataset.save_as(image)
    told = run(liver, liver, "-m", "dice", "--output", out, "--resume")[1]
    assert "files of 1 others have changed" in told


def test_round_structures_have_the_volume_of_cylinders(tmp_path):
    write_series(tmp_path / "ct", range(0, 30, 3), (512, 512), spacing=(1.0, 1.0))
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    round_ = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    drawn = {}
    for number in range(20):
        centre = np.array([80 + 80 * (number % 5), 80 + 80 * (number // 5)])
        circle = np.round(centre + 35 * round_, 4)
        drawn[f"s{number}"] = [
            (CLOSED, [[x, y, float(z)] for x, y in circle.tolist()]) for z in range(0, 30, 3)
        ]
    path = write_rt(tmp_path / "rt.dcm", drawn)
    image = read_image(path)
    volume = np.pi * 35**2 * 10
    counts = np.bincount(image.array.ravel(order="K"))[1:]
    np.testing.assert_allclose(counts, volume, rtol=0.01)


# Public files


@pytest.fixture
def formats(data_dir: Path) -> Path:
    folder = data_dir / "formats"
    if not folder.is_dir():
        pytest.skip("the public files of other formats are not here")
    return folder


@pytest.mark.parametrize(
    ("name", "rule", "voxels"),
    [
        ("rt_midpoint", "inclusive", (1426, 21285, 525)),
        ("rt_midpoint", "strict", (1426, 21285, 525)),
        ("rt_center", "inclusive", (1426, 21285, 525)),
        ("rt_center", "strict", (349, 15925, 273)),
    ],
)
def test_both_ways_of_drawing_give_the_masks_of_the_head(formats, name, rule, voxels):
    head = formats / "crossformat" / "head"
    image = read_image(head / f"{name}.dcm", contours=rule)
    assert tuple(image.array.sum(axis=(0, 1, 2))) == voxels
    if rule == "inclusive":
        for label, title in image.names.items():
            file = head / "masks" / f"{title.lower().replace(' ', '_')}.nii.gz"
            expected = np.asarray(nibabel.load(file).dataobj)
            np.testing.assert_array_equal(image.array[..., label - 1], expected)
    if name == "rt_center":
        few = [
            contour
            for each in pydicom.dcmread(head / "rt_center.dcm").ROIContourSequence
            for contour in each.ContourSequence
            if len(contour.ContourData) < 9
        ]
        assert f"{len(few)} contours have one or two points" in image.note


PHANTOM = {
    "inclusive": {
        "ROI-1": (3010, 1966),
        "ROI-2": (1415, 2282),
        "ROI-3": (2747, 1772),
        "ROI-4": (2419, 4535),
    },
    "strict": {"ROI-4": (2406, 4508)},
}


@pytest.mark.parametrize("name", ["dummy_rt", "invalid_reference_rt"])
@pytest.mark.parametrize("rule", PHANTOM)
def test_the_phantom(formats, name, rule):
    image = read_image(formats / "rtstruct" / "phantom" / f"{name}.dcm", contours=rule)
    found = {title: (image.array == label).sum(axis=(0, 1)) for label, title in image.names.items()}
    for title, expected in PHANTOM[rule].items():
        assert tuple(found[title]) == expected
        assert f"{title}: 1 of 3 contours lie outside the images" in image.note
    assert "of 12 contours name an image that is not in the series" in image.note


def test_a_hole_and_an_oblique_series(formats):
    image = read_image(formats / "rtstruct" / "phantom" / "rt.dcm")
    assert image.array.sum(axis=(0, 1)).tolist() == [1443, 0]
    image = read_image(formats / "rtstruct" / "oblique" / "rt_oblique.dcm")
    twin = nibabel.load(formats / "rtstruct" / "oblique" / "ring_mask.nii.gz")
    assert int(image.array.sum()) == 1150
    assert image.spacing_mm == (2.5, 3.5, 4.5)
    for voxel in np.argwhere(np.asarray(twin.dataobj)):
        own = np.linalg.solve(image.affine, twin.affine @ (*voxel, 1))[:3]
        np.testing.assert_allclose(own, np.rint(own), atol=1e-3)
        assert image.array[tuple(np.rint(own).astype(int))] == 1


def test_points_without_a_series_are_refused(formats):
    with pytest.raises(CaseError, match="contours make a mask on a grid of voxels alone"):
        read_image(formats / "rtstruct" / "points" / "rtstruct.dcm")
