"""One file a structure: each scored on its own, absent ones empty, all ways to say so alike."""

from __future__ import annotations

import csv
import json
import shutil
import weakref
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result

from medloss.cli import main
from medloss.evaluation.inputs import structures
from medloss.evaluation.inputs.case_pair import CaseOptions
from medloss.evaluation.inputs.pairing import Pair, Structures

SHAPE = (9, 10, 8)
NAMES = ("kidney_left", "kidney_right", "liver", "spleen")


def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    matrix = np.diag([1.0, 2.0, 1.5, 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(array, matrix), path)


def masks(seed: int) -> dict[str, np.ndarray]:
    """Overlapping structures; the spleen is empty in odd cases."""
    draw = np.random.default_rng(seed)
    found = {name: (draw.random(SHAPE) < 0.3).astype(np.uint8) for name in NAMES}
    found["spleen"] *= 1 - seed % 2
    return found


def dice(one: np.ndarray, other: np.ndarray) -> float:
    both = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / both if both else np.nan


@pytest.fixture
def study(tmp_path, monkeypatch) -> dict[tuple[str, str], float]:
    """Two cases in folders, without empty predictions of the spleen; the Dice values by numpy."""
    monkeypatch.chdir(tmp_path)
    right = {}
    for seed, case in ((1, "s1"), (2, "s2")):
        true, found = masks(seed), masks(seed + 10)
        for name in NAMES:
            write(Path("ref", case, "segmentations", f"{name}.nii.gz"), true[name])
            if found[name].any():
                write(Path("pred", case, "segmentations", f"{name}.nii.gz"), found[name])
            right[case, name] = dice(true[name], found[name])
        write(Path("ref", case, "ct.nii.gz"), np.full(SHAPE, -1000, np.int16))
    return right


def run(*arguments: str, code: int = 0, report: bool = False) -> Result:
    quick = ["--no-report"] if "--output" in arguments and not report else []
    words = ["eval", *arguments, *quick, "-m", "dice"]
    result = CliRunner().invoke(main, words, terminal_width=300)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def values(path: str = "out/cases.csv") -> dict[tuple[str, str], float]:
    with Path(path).open(newline="") as file:
        return {(row["case"], row["label"]): float(row["value"]) for row in csv.DictReader(file)}


TOTAL = ("pred", "ref", "--layout", "totalsegmentator")


def test_every_structure_has_the_value_of_its_two_files(study):
    result = run(*TOTAL, "--output", "out", report=True)
    assert values() == pytest.approx(study, nan_ok=True)
    assert np.isnan(study["s1", "spleen"])
    said = " ".join(result.output.split())
    assert "s1: no file of the prediction for spleen, which counts as empty." in said
    assert "Beside labels, and not read: ref/{case}/ct (2)." in said
    assert "Layout: prediction {case}/segmentations/{label}; reference {case}/seg" in said
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["settings"]["inputs"]["layout"] == [
        "prediction {case}/segmentations/{label}",
        "reference {case}/segmentations/{label}",
    ]
    assert [each["label"] for each in summary["settings"]["labels"]] == [*NAMES]
    assert summary["cases"][0]["prediction"] == {
        name: f"pred/s1/segmentations/{name}.nii.gz" for name in NAMES[:3]
    }
    page = Path("out/report.html").read_text()
    assert "{case}/segmentations/{label}" in page
    assert "cannot repeat" not in page
    assert "several files" not in page


def manifest_rows() -> list[dict[str, object]]:
    return [
        {
            "case": case,
            **{
                side: {
                    path.name.removesuffix(".nii.gz"): str(path)
                    for path in sorted(Path(folder, case, "segmentations").iterdir())
                }
                for side, folder in (("prediction", "pred"), ("reference", "ref"))
            },
            "site": "Köln, Süd",
            "age": 61,
        }
        for case in ("s1", "s2")
    ]


def test_a_manifest_pattern_workers_and_labels_give_the_same_table(study):
    run(*TOTAL, "--output", "out")
    table = Path("out/cases.csv").read_bytes()
    run(*TOTAL, "--output", "w", "--workers", "2")
    run("pred", "ref", "--layout", "{case}/segmentations/{label}.nii.gz", "--output", "p")
    run(*TOTAL, "--output", "l", "--labels", ",".join(NAMES))
    for folder in "wpl":
        assert Path(folder, "cases.csv").read_bytes() == table
    rows = manifest_rows()
    Path("m.json").write_text(json.dumps(rows))
    names = [f"{side}[{name}]" for side in ("prediction", "reference") for name in NAMES]
    with Path("m.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
        writer.writerow(["Case", *names, "site", "age"])
        for row in rows:
            cells = [
                row[name.partition("[")[0]].get(name.partition("[")[2][:-1], "") for name in names
            ]
            writer.writerow([row["case"], *cells, row["site"], row["age"]])
    for name in ("m.json", "m.csv"):
        run("--manifest", name, "--output", "m", "--force")
        assert values("m/cases.csv") == pytest.approx(study, nan_ok=True)
        with Path("m/cases.csv").open(newline="") as file:
            reader = csv.DictReader(file)
            assert reader.fieldnames[-3:] == ["message", "site", "age"]
            assert {(row["site"], row["age"]) for row in reader} == {("Köln, Süd", "61")}
        case = json.loads(Path("m/summary.json").read_text())["cases"][0]
        assert case["columns"] == {"site": "Köln, Süd", "age": "61"}


def test_resuming_keeps_a_case_until_one_of_its_files_changes_or_comes(study):
    run(*TOTAL, "--output", "out")
    table = Path("out/cases.csv").read_bytes()
    result = run(*TOTAL, "--output", "out", "--resume")
    assert "2 of 2 cases were scored before" in result.output
    assert Path("out/cases.csv").read_bytes() == table
    write(Path("pred/s1/segmentations/spleen.nii.gz"), np.ones(SHAPE, np.uint8))
    result = run(*TOTAL, "--output", "out", "--resume")
    assert "1 of 2 cases were scored before; files of 1 others have changed" in result.output
    assert values()["s1", "spleen"] == 0
    assert run(*TOTAL, "--output", "out", "--resume", "--remap", "1=2", code=2)
    assert run(*TOTAL, "--output", "out", "--resume", "--instances", code=2)


def test_labels_give_numbers_and_regions_to_names(study, tmp_path):
    run(*TOTAL, "--labels", "5=Liver,2=kidney_left,3=kidney_right,kidneys=2+3", "--output", "out")
    found = values()
    assert list(found)[:4] == [("s1", "5"), ("s1", "2"), ("s1", "3"), ("s1", "kidneys")]
    assert found["s1", "5"] == pytest.approx(study["s1", "liver"])
    both = [
        [m["kidney_left"] | m["kidney_right"] for m in (masks(s), masks(s + 10))] for s in (1, 2)
    ]
    assert found["s1", "kidneys"] == pytest.approx(dice(*both[0]))
    assert found["s2", "kidneys"] == pytest.approx(dice(*both[1]))
    result = run(*TOTAL, "--labels", "livr", code=2)
    assert "no file is called 'livr'; structures are kidney_left" in result.output


def test_one_map_of_labels_against_files_of_structures(study):
    for case, seed in (("s1", 11), ("s2", 12)):
        organs = masks(seed)
        labels = np.where(organs["liver"], 5, np.where(organs["spleen"], 7, 0)).astype(np.uint8)
        write(Path("ml", f"{case}.nii.gz"), labels)
    arguments = ("ml", "ref", "--layout", "totalsegmentator", "--labels")
    run(*arguments, "5=liver,7=spleen", "--output", "out")
    found = values()
    assert found["s2", "5"] == pytest.approx(study["s2", "liver"])
    spleen = masks(12)["spleen"] & ~masks(12)["liver"] & 1
    assert found["s2", "7"] == pytest.approx(dice(spleen, masks(2)["spleen"]))
    result = run(*arguments, "liver", code=1)
    assert "is one file for all structures; say which of its labels is 'liver'" in result.output


def test_a_file_of_a_structure_holds_one_mask(study):
    two = masks(1)["liver"] + masks(2)["liver"] * 2
    write(Path("pred/s1/segmentations/liver.nii.gz"), two.astype(np.uint8))
    result = run(*TOTAL, code=1)
    assert (
        "liver.nii.gz holds the labels 1, 2, 3, and the file of a structure one mask"
        in result.output
    )
    run(*TOTAL, "--remap-prediction", "2=0,3=1")
    write(Path("pred/s1/segmentations/liver.nii.gz"), masks(11)["liver"] * 255)
    run(*TOTAL, "--output", "out")
    assert values() == pytest.approx(study, nan_ok=True)


def test_fractions_of_a_structure_need_a_threshold(study):
    soft = masks(11)["liver"] * np.float32(0.7) + np.float32(0.1)
    write(Path("pred/s1/segmentations/liver.nii.gz"), soft)
    assert "read with --threshold 0.5" in run(*TOTAL, code=1).output
    run(*TOTAL, "--threshold", "0.5", "--output", "out")
    assert values() == pytest.approx(study, nan_ok=True)


def test_the_files_of_a_reference_lie_on_one_grid(study):
    write(Path("ref/s1/segmentations/liver.nii.gz"), np.ones((9, 10, 7), np.uint8))
    assert (
        "are one reference: prediction and reference differ in shape" in run(*TOTAL, code=1).output
    )


def test_a_prediction_on_another_grid_is_resampled_on_demand(study):
    mirrored = np.diag([-1.0, 2.0, 1.5, 1.0])
    mirrored[0, 3] = SHAPE[0] - 1
    for path in Path("pred").rglob("*.nii.gz"):
        array = np.asanyarray(nibabel.load(path).dataobj)
        write(path, np.ascontiguousarray(array[::-1]), mirrored)
    assert "--resample turns them without loss" in run(*TOTAL, code=1).output
    result = run(*TOTAL, "--resample", "--output", "out")
    assert values() == pytest.approx(study, nan_ok=True)
    assert result.output.count("which loses nothing") == 2, "said once for each case"


def test_error_maps_of_each_structure(study):
    run(*TOTAL, "--output", "out", "--error-maps")
    maps = [*Path("out/error_maps").glob("s1_liver_*_errors.nii.gz")]
    assert len(maps) == 1
    errors = np.asanyarray(nibabel.load(maps[0]).dataobj)
    true, found = masks(1)["liver"], masks(11)["liver"]
    assert np.array_equal(errors == 1, (true & found) != 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ignore-label", "3"], "--ignore-label needs maps of labels"),
        (["--loss", "dice"], "--loss needs one file a side"),
        (["--layout-prediction", "flat", "--layout-reference", "flat"], "drop one of the three"),
    ],
)
def test_what_makes_no_sense_here_is_refused(study, arguments, words):
    assert words in run(*TOTAL, *arguments, code=2).output


def test_objects_in_the_files_of_structures(study):
    for path in (Path("pred/s1/segmentations"), Path("ref/s1/segmentations")):
        shutil.rmtree(path)
    ids = np.zeros(SHAPE, np.uint16)
    ids[:3], ids[3:6] = 7, 3000  # two that touch
    write(Path("ref/s1/segmentations/tooth.nii.gz"), ids)
    write(Path("pred/s1/segmentations/tooth.nii.gz"), np.where(ids == 7, 9, 0).astype(np.uint16))
    arguments = (*TOTAL, "--only", "s1", "--labels", "tooth", "-m", "panoptic_quality")
    run(*arguments, "--instances", "--csv", "o.csv")
    with Path("o.csv").open() as file:
        found = {row["metric"]: float(row["value"]) for row in csv.DictReader(file)}
    assert found["panoptic_quality"] == pytest.approx(1 / 1.5)
    assert found["dice"] == pytest.approx(2 / 3)


def test_one_structure_is_in_memory_at_a_time(study, monkeypatch):
    alive: weakref.WeakSet = weakref.WeakSet()
    most = 0
    read = structures.read_side

    def watched(*arguments, **options):
        nonlocal most
        image = read(*arguments, **options)
        alive.add(image)
        most = max(most, len(alive))
        return image

    monkeypatch.setattr(structures, "read_side", watched)
    sides = [
        Structures(tuple((name, Path(f"{side}/s2/segmentations/{name}.nii.gz")) for name in NAMES))
        for side in ("pred", "ref")
    ]
    pair = Pair("s2", *sides)
    for _ in structures.read_structures(pair, CaseOptions(), None):
        pass
    assert most <= 5, "the grid of the reference, and two files of two structures"


def test_a_structure_has_every_name_that_the_user_says(study):
    shutil.move("pred/s1/segmentations/liver.nii.gz", "pred/s1/segmentations/Hepar.nii.gz")
    shutil.move(
        "ref/s1/segmentations/kidney_left.nii.gz", "ref/s1/segmentations/Kidney left.nii.gz"
    )
    run(*TOTAL, "--labels", "organ=liver,hepar,kidney=kidney_left", "--output", "out")
    found = values()
    assert found["s1", "organ"] == pytest.approx(study["s1", "liver"])
    assert found["s2", "kidney"] == pytest.approx(study["s2", "kidney_left"])
    assert found["s1", "kidney"] == pytest.approx(study["s1", "kidney_left"])
    shutil.copy("pred/s1/segmentations/Hepar.nii.gz", "pred/s1/segmentations/liver.nii.gz")
    result = run(*TOTAL, "--labels", "organ=liver,hepar", code=1)
    assert (
        "the prediction has several files for 'organ': Hepar.nii.gz and liver.nii.gz"
        in result.output
    )


@pytest.mark.parametrize("name", ["head.seg.nrrd", "seg_binary_overlap.dcm", "rt_center.dcm"])
def test_files_that_name_their_segments_against_files_of_structures(
    data_dir, tmp_path, monkeypatch, name
):
    head = data_dir / "formats" / "crossformat" / "head"
    if not head.is_dir():
        pytest.skip("samples of formats are not here: set MEDLOSS_DATA to a folder that holds them")
    if name.endswith(".dcm"):
        pytest.importorskip("pydicom", reason="DICOM needs the extra dicom")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(head / "masks", "ref/head")
    Path("pred").mkdir()
    shutil.copy(head / name, "pred/head" + "".join(Path(name).suffixes))
    run("pred", "ref", "--layout-reference", "{case}/{label}", "--output", "out")
    found = {label: value for (_, label), value in values().items()}
    assert np.isnan(found.pop("nothing"))
    assert found == {"bone": 1, "soft_tissue": 1, "sphere": 1}


def test_a_tolerance_for_each_structure(study):
    """By its name, as one number alone for that structure; the column says all of them."""
    names = ("normalized_surface_dice", "boundary_iou")
    each = "{kidney_left:1,kidney_right:2,liver:3,Spleen:4}"
    asked = [f"{names[0]}:tolerance_mm={each}", f"{names[1]}:width_mm={each}"]
    run(*TOTAL, "--output", "each", *(word for text in asked for word in ("-m", text)))
    found = metric_values("each")
    for size, name in enumerate(NAMES, start=1):
        plain = [f"{names[0]}:tolerance_mm={size}", f"{names[1]}:width_mm={size}"]
        run(*TOTAL, "--output", f"only{size}", *(word for text in plain for word in ("-m", text)))
        for (case, label, metric), value in metric_values(f"only{size}").items():
            if label == name and metric != "dice":
                option = metric.partition("=")[0]
                assert found[case, label, f"{option}={each}]"] == pytest.approx(value, nan_ok=True)
    result = run(*TOTAL, "-m", f"{names[0]}:tolerance_mm={{liver:1}}", code=1)
    assert "tolerance_mm has no value for the label kidney_left" in result.output


def metric_values(folder: str) -> dict[tuple[str, str, str], float]:
    with Path(folder, "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["case"], row["label"], row["metric"]): float(row["value"]) for row in rows}
