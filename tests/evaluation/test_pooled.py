"""Values of all cases together: each order of averaging by its number, and over the folder."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from medloss.cli import main
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.outputs.pooled import pooled
from medloss.evaluation.outputs.results import nnunet_keys, read_folder
from medloss.evaluation.records import CandidateRow, CaseResult, Reliability, ResultTable
from medloss.scoring import Counts, FoundLesions
from medloss.scoring.candidates import froc_scores

A = ((900, 100, 100), (50, 50, 0), (0, 5, 0))
B = ((0, 0, 10), (0, 0, 0), (8, 2, 2))


def table(*cases: CaseResult, **settings: object) -> ResultTable:
    return ResultTable((), (), cases, settings=settings)


def case(name: str, **fields: object) -> CaseResult:
    return dataclasses.replace(CaseResult(Pair(name, None, None)), **fields)


def about(value: float) -> object:
    return pytest.approx(value, abs=1e-5)


def test_five_ways_to_average_one_dice() -> None:
    """Three cases, two labels, (tp, fp, fn); none of the numbers is the other."""
    cases = [
        case(str(n), counts=((1, Counts(*a, 0)), (2, Counts(*b, 0))))
        for n, (a, b) in enumerate(zip(A, B, strict=True))
    ]
    failed = case("failed", error="torn")
    values = {(x.label, x.order): x.value for x in pooled(table(*cases, failed))}
    assert values == {
        (1, "voxels of all cases pooled"): about(0.88167),
        (2, "voxels of all cases pooled"): about(0.53333),
        (None, "mean over cases, then over labels"): about(0.46111),
        (None, "mean over labels, then over cases"): about(0.50556),
        (None, "voxels pooled by label, then mean over labels"): about(0.70750),
        (None, "voxels of all cases and labels pooled"): about(0.87688),
    }
    # nnU-Net's own keys hold one of them, label by label too.
    keys = nnunet_keys(cases)
    assert keys["foreground_mean"]["Dice"] == pytest.approx(0.46111, abs=1e-5)
    assert [round(keys["mean"][x]["Dice"], 5) for x in "12"] == [0.52222, 0.4]


def test_a_label_that_no_case_has() -> None:
    """As in nnU-Net it makes the mean over labels undefined; others leave it out."""
    nowhere = (3, Counts(0, 0, 0, 9))
    cases = [
        case(str(n), counts=((0, Counts(9, 0, 0, 0)), (1, Counts(*a, 0)), nowhere))
        for n, a in enumerate(A)
    ]
    values = {x.order: x.value for x in pooled(table(*cases)) if x.label is None}
    first, *others = values.values()
    assert math.isnan(first)
    expected = [np.mean([1800 / 2000, 100 / 150, 0]), 1900 / 2155, 1900 / 2155]
    assert others == pytest.approx(expected), "label 0 is no foreground"


def test_intervals_draw_cases() -> None:
    cases = [case(str(n), counts=((1, Counts(*a, 0)),)) for n, a in enumerate(A)]
    (found,) = pooled(table(*cases))
    # Cases of the same kind drawn thrice are the ends of what there is.
    assert 0 <= found.ci_low < found.value < found.ci_high <= 0.9
    assert pooled(table(*cases)) == (found,), "the same on every run"
    # Two cases of one patient, or of three: as many as there are patients.
    patients = [
        dataclasses.replace(
            each, pair=dataclasses.replace(each.pair, columns=(("patient", str(n // 2)),))
        )
        for n, each in enumerate(cases * 2)
    ]
    (grouped,) = pooled(table(*patients, cluster="patient"))
    assert grouped.value == pytest.approx(found.value)
    assert (grouped.ci_low, grouped.ci_high) != (found.ci_low, found.ci_high)
    (few,) = pooled(table(*patients[:4], cluster="patient"))
    assert math.isnan(few.ci_low)
    (alone,) = pooled(table(cases[0]))
    assert math.isnan(alone.ci_low)
    assert alone.value == pytest.approx(0.9)
    assert pooled(table()) == ()


def test_froc_is_that_of_all_images() -> None:
    """Two lesions at .9 and .2 with false ones at .8 and .4, then an image with none of either."""
    row = CandidateRow(1, "lesion_froc", (0.9, 0.2), (0.8, 0.4))
    one = case("a", candidates=(row,))
    (found,) = pooled(table(one))
    assert (found.order, found.value) == ("lesions of all cases pooled", pytest.approx(0.75))
    # Over two images the false ones are half as many: 1/4 .5, 1/2 .5, 1 and on 1.
    (found,) = pooled(table(one, case("b")))
    assert found.value == pytest.approx((0.5 + 0.5 + 4) / 6)
    assert found.curve["false_per_image"] == [0, 0.5, 1, 1]
    assert found.curve["sensitivity"] == [0.5, 0.5, 0.5, 1]
    assert found.curve["probability"] == [0.9, 0.8, 0.4, 0.2]
    # The interval is that of drawn cases, each image as often as it is drawn.
    lesions = FoundLesions(row.lesions, row.false), FoundLesions((), ())
    once, twice = froc_scores(lesions, np.array([[1.0, 1.0], [2.0, 0.0]]))
    assert (once, twice) == (pytest.approx(found.value), pytest.approx(0.75))
    asked = [{"metric": "lesion_froc", "name": "lesion_froc", "options": {"rates": [0.5]}}]
    (found,) = pooled(table(one, case("b"), metrics=asked))
    assert found.value == 0.5


def test_bins_of_all_cases_are_one_diagram() -> None:
    """What cancels within a case counts less in all of them together than in the mean."""
    asked = [
        {"metric": name, "name": name, "options": {"bins": 2, "binning": "equal_width"}}
        for name in ("expected_calibration_error", "maximum_calibration_error", "brier_score")
    ]
    over = Reliability(1, (10, 0), (0.4, math.nan), (0.0, math.nan))
    under = Reliability(1, (30, 10), (0.4, 0.8), (0.6, 0.8))
    cases = case("a", reliability=(over,)), case("b", reliability=(under,))
    found = {each.metric: each.value for each in pooled(table(*cases, metrics=asked))}
    apart = abs((10 * 0.4 + 30 * 0.4) - 30 * 0.6)
    assert found == {
        "expected_calibration_error": pytest.approx(apart / 50),
        "maximum_calibration_error": pytest.approx(apart / 40),
    }


@pytest.fixture
def study(tmp_path: Path) -> list[str]:
    """Two cases of probabilities: a lesion that is found and one that is not, one false one."""
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    for name, surest in (("a", 0.9), ("b", 0.6)):
        reference = np.zeros((12, 10, 8), dtype=np.uint8)
        reference[1:4, 1:4, 1:4] = reference[8:10, 7:9, 5:7] = 1
        chances = np.full(reference.shape, 0.05, dtype=np.float32)
        chances[2:5, 1:4, 1:4], chances[2, 2, 2] = 0.5, surest
        chances[8:10, 1:3, 1:3] = 0.75
        for side, array in (("ref", reference), ("pred", np.stack([1 - chances, chances], -1))):
            path = tmp_path / side / f"{name}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return ["eval", str(tmp_path / "pred"), str(tmp_path / "ref"), "--workers", "1"]


def test_eval_writes_shows_and_keeps_them(study: list[str], tmp_path: Path) -> None:
    names = ["dice", "lesion_froc", "lesion_froc:threshold=0.7", "auroc", "brier_score"]
    names += ["expected_calibration_error:bins=4", "average_calibration_error:within_mm=2.0"]
    asked = [word for name in names for word in ("--metric", name)]
    folder = tmp_path / "out"
    run = [*study, *asked, "--output", str(folder), "--no-report"]
    result = CliRunner().invoke(main, run, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "All cases together:" in result.output
    assert "lesion_froc, 1: lesions of all cases pooled" in result.output
    written = json.loads((folder / "summary.json").read_text())
    block = {(x["metric"], x["order"]): x for x in written["pooled"]}
    found = block["lesion_froc", "lesions of all cases pooled"]
    # .9 hit, .75 false in both, .6 hit: a quarter of the lesions before any false one, half after.
    at = np.interp([0.25, 0.5, 1, 2, 4, 8], [0, 0, 1, 1], [0, 0.25, 0.25, 0.5])
    assert found["value"] == pytest.approx(at.mean())
    assert found["curve"]["false_per_image"] == [0, 1, 1]
    sure = block["lesion_froc[threshold=0.7]", "lesions of all cases pooled"]
    assert sure["value"] == pytest.approx(0.25), "0.6 is no candidate"
    read = read_folder(folder)
    first = read.cases[0]
    assert [row.column for row in first.candidates] == ["lesion_froc", "lesion_froc[threshold=0.7]"]
    assert first.candidates[0].lesions == (pytest.approx(0.9), 0)
    (diagram,) = first.reliability
    assert (len(diagram.voxels), sum(diagram.voxels)) == (4, 960)
    assert [x["value"] for x in written["pooled"]] == pytest.approx([x.value for x in pooled(read)])
    # What is kept is gone on with: the same rows from the journal.
    again = CliRunner().invoke(main, [*run, "--resume"], catch_exceptions=False)
    assert again.exit_code == 0
    assert json.loads((folder / "summary.json").read_text())["pooled"] == written["pooled"]


def test_labels_alone_have_no_probabilities(study: list[str], tmp_path: Path) -> None:
    reference = study[2]
    run = ["eval", reference, reference, "--metric", "lesion_froc", "--workers", "1"]
    result = CliRunner().invoke(main, run)
    assert result.exit_code == 1
    assert "lesion_froc needs probabilities, and of" in " ".join(result.output.split())
