"""The table of lesions: each lesion once, found again by other means, through every way of work."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import ndimage

from medloss.cli.eval import eval_command
from medloss.evaluation.inputs.case_pair import CaseOptions
from medloss.evaluation.inputs.pairing import pair_paths
from medloss.evaluation.lesions import LesionTable
from medloss.evaluation.outputs.lesions import sizes_of
from medloss.evaluation.outputs.results import FolderError, read_folder
from medloss.evaluation.records import CaseResult
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.score import EvalPlan, check_options, evaluate
from medloss.scoring import surface_distances

AFFINE = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3.0, 5], [0, 0, 0, 1]])
SPACING = (1.5, 2.0, 3.0)
CORNERS = np.ones((3, 3, 3))


def scene():
    """One lesion found, one in two pieces, two joined by one, one missed, one false."""
    reference, prediction = np.zeros((2, 24, 20, 16), np.uint8)
    for r, p in {
        "found": ((slice(1, 5),) * 3, (slice(2, 6), slice(1, 5), slice(1, 4))),
        "split": ((slice(8, 16), slice(1, 4), slice(1, 4)), (slice(8, 11),) + (slice(1, 4),) * 2),
        "joined": ((slice(1, 4),) + (slice(8, 11),) * 2, (slice(2, 9),) + (slice(8, 11),) * 2),
    }.values():
        reference[r] = prediction[p] = 1
    prediction[13:15, 1:4, 1:4] = 1
    reference[7:9, 8:11, 8:11] = 1
    reference[20:22, 15:18, 10:12] = 1
    prediction[14:16, 14:16, 13:15] = 1
    return reference, prediction


def rows_of(folder, table=None, **plan):
    metrics = (choose_metric(parse_request("dice")),)
    plan = EvalPlan(metrics, lesions=table or LesionTable(), **plan)
    check_options(plan)
    (case,) = evaluate(pair_paths(folder / "p", folder / "r"), plan)
    assert not case.error, case.error
    return case


@pytest.fixture
def study(save, tmp_path):
    reference, prediction = scene()
    save("r/a.nii.gz", reference, AFFINE)
    save("p/a.nii.gz", prediction, AFFINE)
    return tmp_path


def test_every_lesion_is_there_with_its_place_its_partners_and_its_overlap(study):
    reference, prediction = scene()
    case = rows_of(study)
    sides = {"reference": reference, "prediction": prediction}
    maps = {side: ndimage.label(mask, CORNERS)[0] for side, mask in sides.items()}
    assert len(case.lesions) == sum(int(each.max()) for each in maps.values())
    by_centre = {}
    for row in case.lesions:
        label = maps[row.side]
        inverse = np.linalg.solve(AFFINE[:3, :3], np.array(row.centroid_mm) - AFFINE[:3, 3])
        (number,) = (
            n
            for n in range(1, label.max() + 1)
            if np.allclose(ndimage.center_of_mass(label == n), inverse)
        )
        by_centre[row.side, row.number] = number
        assert row.voxels == np.count_nonzero(label == number)
        assert row.volume_mm3 == pytest.approx(row.voxels * 9)
        assert row.space == "RAS"
    for row in case.lesions:
        own = maps[row.side] == by_centre[row.side, row.number]
        far = "prediction" if row.side == "reference" else "reference"
        met = {by_centre[far, number] for number in row.partners}
        assert met == {*np.unique(maps[far][own]).tolist()} - {0}
        assert row.status in ("missed", "false") or met
        if not met:
            assert np.isnan([row.dice, row.iou, row.hausdorff95_mm, row.assd_mm]).all()
            continue
        other = np.isin(maps[far], list(met))
        shared = np.count_nonzero(own & other)
        assert row.dice == pytest.approx(2 * shared / (own.sum() + other.sum()))
        assert row.iou == pytest.approx(shared / np.count_nonzero(own | other))
        found = surface_distances(own, other, SPACING)
        assert row.hausdorff95_mm == found.percentile(95)
        assert row.assd_mm == pytest.approx(found.pooled_mean)
    words = sorted(row.status for row in case.lesions if row.side == "reference")
    assert words == ["found", "merged", "merged", "missed", "split"]
    words = sorted(row.status for row in case.lesions if row.side == "prediction")
    assert words == ["false", "found", "merged", "split", "split"]
    again = CaseResult.from_json(json.loads(json.dumps(case.to_json())), case.pair)
    assert str(again.lesions) == str(case.lesions)


def test_one_partner_each_by_another_rule(study):
    case = rows_of(study, LesionTable("dice@0"))
    assert all(len(row.partners) < 2 for row in case.lesions)
    assert {row.status for row in case.lesions} == {"found", "missed", "false"}
    assert sum(row.status == "false" for row in case.lesions) == 2


def test_the_numbers_of_objects_are_those_of_the_files(save, tmp_path):
    reference, prediction = np.zeros((2, 8, 8, 4), np.uint16)
    reference[0:2], reference[2:4] = 70, 5  # they touch
    prediction[0:3, :4] = 300
    for order in "CF":
        save(f"{order}/r/a.nii.gz", np.asarray(reference, order=order), (1, 2, 3))
        save(f"{order}/p/a.nii.gz", np.asarray(prediction, order=order), (1, 2, 3))
        inputs = CaseOptions(instances=True)
        case = rows_of(tmp_path / order, inputs=inputs, labels={1: "tooth"})
        found = {(row.side, row.number): row for row in case.lesions}
        assert found.keys() == {("reference", 5), ("reference", 70), ("prediction", 300)}
        assert found["prediction", 300].partners == (5, 70)
        assert found["reference", 5].status == "merged"
        assert found["reference", 5].centroid_mm == (2.5, 7.0, 4.5)


def test_what_is_ignored_is_no_part_of_a_lesion(save, tmp_path):
    reference, prediction = np.zeros((2, 10, 6, 6), np.uint8)
    reference[0:3, 0:2, 0:2] = 1
    reference[2] = 9
    reference[8, 0:2, 0:2] = 1
    prediction[0:3, 0:2, 0:2] = prediction[2, 4:6, 4:6] = 1
    save("r/a.nii.gz", reference)
    save("p/a.nii.gz", prediction)
    case = rows_of(tmp_path, labels={1: ""}, inputs=CaseOptions(ignore_label=9))
    found, missed, predicted = case.lesions
    assert (found.voxels, found.centroid_mm, found.dice) == (8, (0.5, 0.5, 0.5), 1.0)
    assert (missed.status, predicted.status, predicted.voxels) == ("missed", "found", 8)
    assert predicted.centroid_mm == (0.5, 0.5, 0.5)


def test_a_single_slice_without_a_place(tmp_path):
    for side in ("p", "r"):
        (tmp_path / side).mkdir()
        mask = np.zeros((6, 5), np.uint8)
        mask[1:3, 2] = 2
        np.save(tmp_path / side / "a.npy", mask)
    inputs = CaseOptions(spacing_mm=(2.0, 0.5), axes="xy")
    reference, prediction = rows_of(tmp_path, inputs=inputs).lesions
    assert (reference.volume_mm3, reference.centroid_mm) == (2.0, (3.0, 1.0))
    assert (reference.space, prediction.dice, prediction.hausdorff95_mm) == ("grid", 1.0, 0.0)


def run(*arguments):
    return CliRunner().invoke(eval_command, [str(argument) for argument in arguments])


def test_the_folder_the_journal_and_every_worker_have_the_same_lesions(study, save, monkeypatch):
    monkeypatch.chdir(study)
    for side, times in (("r", 1), ("p", 2)):
        save(f"{side}/=b.nii.gz", scene()[0] * times, np.diag([-1.0, 1, 1, 1]))
    common = ("p", "r", "-m", "dice", "--no-report", "--csv-safe", "--lesion-sizes", "100,1000")
    first = run(*common, "--lesions", "one.csv", "--output", "one")
    assert first.exit_code == 0, first.output
    assert "lesions of" in first.stdout
    again = run(*common, "--lesions", "two.csv", "--output", "two", "--workers", "2")
    assert again.exit_code == 0, again.output
    text = (study / "one" / "lesions.csv").read_text()
    assert {(study / place).read_text() for place in ("one.csv", "two.csv", "two/lesions.csv")} == {
        text
    }
    assert "\n'=b," in text
    assert ",-" in text  # a number is no text, safe or not
    assert ",'-" not in text
    # Half of the journal: the other case is scored again, and nothing else changes.
    journal = study / "two" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:2]))
    resumed = run(*common, "--lesions", "three.csv", "--output", "two", "--resume")
    assert "1 of 2 cases were scored before" in resumed.stderr
    assert (study / "two" / "lesions.csv").read_text() == text
    table = read_folder(study / "one")
    rows = [row for case in table.cases for row in case.lesions]
    assert len(rows) == len(list(csv.reader(text.splitlines()))) - 1
    entries = json.loads((study / "one" / "summary.json").read_text())["lesions_by_size"]
    found = sizes_of(table)
    assert [x["reference"] for x in entries] == [each.reference for each in found]
    assert sum(x["reference"] + x["prediction"] for x in entries) == len(rows)
    empty = [x["recall"] for x in entries if not x["reference"]]
    assert {*empty} == {None}  # label 2 has none in any reference: undefined, not 0
    # Another table is another study, and a damaged one is no folder.
    other = run(
        *common, "--lesions", "x.csv", "--output", "two", "--resume", "--lesion-matching", "iou@0.5"
    )
    assert other.exit_code == 2
    (study / "one" / "lesions.csv").write_text(text.replace("missed", "lost", 1))
    with pytest.raises(FolderError, match="expected one of found"):
        read_folder(study / "one")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--lesion-matching", "overlap"), "--lesion-matching needs --lesions FILE"),
        (("--lesions", "l.csv", "--lesion-matching", "best"), "matching: expected overlap"),
        (("--lesions", "l.csv", "--lesion-sizes", "5,2"), "each larger than the last"),
        (("--lesions", "l.csv", "--lesion-sizes", "a"), "expected volumes in mm³"),
        (
            ("--lesions", "l.csv", "--instances", "--lesion-connectivity", "faces"),
            "the objects are those of the files",
        ),
        (("--lesions", "l.csv", "--csv", "l.csv"), "two outputs name the same file"),
    ],
)
def test_what_cannot_be_meant_is_refused(study, monkeypatch, options, message):
    monkeypatch.chdir(study)
    result = run("p", "r", "-m", "dice", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_the_parts_of_a_region_are_its_labels(save, tmp_path):
    """Worked by hand, in both memory orders."""
    reference, prediction = np.zeros((2, 6, 10, 3), np.uint16)
    reference[0:4, 0:2], reference[0:4, 2:4] = 1, 2
    prediction[0:4, 0:3], prediction[0:4, 3:4] = 1, 2
    reference[0:2, 6:8], prediction[4:6, 6:8] = 1, 2  # missed, and false
    # Found: part 1 is 8 of 12 voxels in a plane, part 2 is 4 of 8. One of each is lost.
    value = (8 / 12 + 4 / 8) / 2 / (1 + 1)
    plain = 1 / (1 + 1)
    for order in "CF":
        save(f"{order}/r/a.nii.gz", np.asarray(reference, order=order))
        save(f"{order}/p/a.nii.gz", np.asarray(prediction, order=order))
        plan = EvalPlan(
            tuple(
                map(
                    choose_metric, map(parse_request, ("part_panoptic_quality", "panoptic_quality"))
                )
            ),
            labels={1: "", "both": ""},
            regions={"both": (1, 2)},
        )
        (case,) = evaluate(pair_paths(tmp_path / order / "p", tmp_path / order / "r"), plan)
        found = {(x.label, x.column): x.value for x in case.results}
        assert found["both", "part_panoptic_quality"] == pytest.approx(value)
        assert found["both", "panoptic_quality"] == pytest.approx(plain)
        assert found[1, "part_panoptic_quality"] == found[1, "panoptic_quality"]  # has no parts


def test_a_file_a_structure_has_the_lesions_of_its_own(study, save, monkeypatch):
    monkeypatch.chdir(study)
    for side, mask in zip("rp", scene(), strict=True):
        save(f"s{side}/a/tumour.nii.gz", mask, AFFINE)
        save(f"s{side}/a/cyst.nii.gz", mask[::-1], AFFINE)
    arguments = ("-m", "dice", "--lesions")
    layout = ("--layout", "{case}/{label}")
    assert run("p", "r", *arguments, "maps.csv").exit_code == 0
    found = run("sp", "sr", *layout, *arguments, "files.csv")
    assert found.exit_code == 0, found.output
    maps, files = (
        list(csv.reader((study / name).read_text().splitlines()))
        for name in ("maps.csv", "files.csv")
    )
    tumours = [row[3:] for row in files if row[1] == "tumour"]
    assert tumours == [row[3:] for row in maps[1:]]
    assert len(files) == 1 + 2 * len(tumours)
