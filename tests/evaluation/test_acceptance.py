from __future__ import annotations

import json
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from html_pages import check_page
from study_folders import write_folder

from medloss.cli import main
from medloss.evaluation.outputs.acceptance import acceptances, parse_limits
from medloss.evaluation.outputs.report import write_report
from medloss.evaluation.outputs.results import read_folder
from medloss.evaluation.records import Measure, ScoredLabel

NAN, INF = math.nan, math.inf
DICE = Measure("dice", "", "higher")
HD95 = Measure("hausdorff95", "mm", "lower")
NSD = Measure("normalized_surface_dice[tolerance_mm=2]", "", "higher", {"tolerance_mm": 2})
LABELS = [ScoredLabel("1", "liver"), ScoredLabel("2", "Tumour"), ScoredLabel("whole", "")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("liver: dice>=0.9", ["1 liver: Dice ≥ 0.9 in the mean"]),
        ("2 : dice > .5 in 90% of cases", ["2 Tumour: Dice > 0.5 in 90% of the cases"]),
        ("tumour: HD95 <= 5 in 0.8", ["2 Tumour: HD95 ≤ 5 mm in 80% of the cases"]),
        ("whole: nsd at 2 mm>=1e-1", ["whole: NSD at 2 mm ≥ 0.1 in the mean"]),
        ("whole: normalized_surface_dice>=1", ["whole: NSD at 2 mm ≥ 1 in the mean"]),
        ("all: hausdorff95<10", [f"{x.title}: HD95 < 10 mm in the mean" for x in LABELS]),
    ],
)
def test_what_a_limit_may_look_like(text, words):
    limits = parse_limits([text], [DICE, HD95, NSD], LABELS)
    assert [f"{limit.label.title}: {limit.words}" for limit in limits] == words


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("liver dice>=0.9", "not of the form LABEL: METRIC>=NUMBER"),
        ("liver: dice=0.9", "not of the form"),
        ("liver: dice>=0.9 in most cases", "not of the form"),
        ("liver: dice>=high", "expected a number, got 'high'"),
        ("liver: dice>=nan", "expected a number"),
        ("liver: dice>=0.9 in 120%", "expected a share of cases such as 0.9 or 90%, got 120%"),
        ("liver: dice>=0.9 in 0", "expected a share"),
        ("liver: jaccard>=0.9", "'jaccard' is not computed; there are dice, hausdorff95"),
        ("lung: dice>=0.9", "no label is called 'lung'; there are 1 liver, 2 Tumour, whole"),
        ("liver: dice<=0.9", "of dice, higher is better"),
        ("liver: hausdorff95>=3", "of hausdorff95, lower is better"),
    ],
)
def test_what_is_no_limit_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_limits([text], [DICE, HD95, NSD], LABELS)


VALUES = {
    **{f"good{i}": {("1", "dice"): 0.9, ("1", "hausdorff95"): 3.0} for i in range(7)},
    "poor": {("1", "dice"): 0.5, ("1", "hausdorff95"): 3.0 * (1 + 1e-16)},
    "missed": {("1", "dice"): (0.0, "missed"), ("1", "hausdorff95"): (NAN, "missed")},
    "none": {("1", "dice"): (NAN, "both_empty"), ("1", "hausdorff95"): (NAN, "both_empty")},
    "torn": "cannot be read",
}


def judged(folder: Path, limits: list[str], missed: str = "exclude") -> list[tuple[object, ...]]:
    policies = {"missed": missed, "both_empty": "exclude", "meaning": "as told"}
    settings = {"acceptance": limits, "policies": policies}
    table = read_folder(write_folder(folder, VALUES, names={"1": "liver"}, settings=settings))
    return [(x.passed, x.met, x.of, x.failed, x.mean) for x in acceptances(table)]


def test_who_counts(tmp_path):
    """Of 11 cases one says nothing; the failed one meets no limit, nor does an excluded miss."""
    seven = ["liver: dice>=0.9 in 70%", "liver: dice>=0.9 in 71%", "liver: dice>0.9 in 1%"]
    mean = (7 * 0.9 + 0.5) / 9
    assert judged(tmp_path / "a", seven) == [
        (True, 7, 10, 1, pytest.approx(mean)),
        (False, 7, 10, 1, pytest.approx(mean)),
        (False, 0, 10, 1, pytest.approx(mean)),
    ]
    distances = ["liver: hausdorff95<=3 in 80%", "liver: hausdorff95<=3"]
    assert judged(tmp_path / "b", distances) == [(True, 8, 10, 1, 3.0)] * 2
    # Under another policy nothing was left out: an undefined value is no fault of the case.
    assert judged(tmp_path / "c", distances[:1], "diagonal") == [(True, 8, 9, 1, 3.0)]


def test_the_interval_of_the_share_and_what_chance_can_do(tmp_path):
    table = read_folder(
        write_folder(
            tmp_path / "o",
            {f"c{i}": {("1", "dice"): 0.9 if i < 47 else 0.1} for i in range(50)},
            settings={"acceptance": ["1: dice>=.5 in 80%", "1: dice>=.5 in 90%", "1: dice>=1"]},
        )
    )
    sure, unsure, mean = acceptances(table)
    assert sure.ends == pytest.approx((0.834518, 0.987451), abs=1e-6)
    assert [x.passed for x in (sure, unsure, mean)] == [True, True, False]
    assert [x.beyond_chance for x in (sure, unsure, mean)] == [True, False, False]
    assert (
        sure.words
        == "Dice ≥ 0.5 in 80% of the cases: the mean is 0.85; 47 of 50 cases meet it (83 to 99%)"
    )


def test_a_label_that_no_case_has_meets_nothing(tmp_path):
    assert judged(tmp_path / "o", ["lung: dice>=0"]) == [
        (False, 0, 1, 1, pytest.approx(NAN, nan_ok=True))
    ]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for side, edge in (("ref", 4), ("pred", 3)):
        (tmp_path / side).mkdir()
        array = np.zeros((6, 6, 6), np.uint8)
        array[1 : 1 + edge, 1:5, 1:5] = 1
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / side / "a.nii.gz")
    return tmp_path


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(map(str, words)))
    return result.exit_code, result.output


def test_the_command_says_it_and_the_folder_keeps_it(images):
    out = images / "out"
    common = ("eval", images / "pred", images / "ref", "-m", "dice", "--labels", "liver=1")
    text = "liver: dice>=0.9"
    code, said = run(*common, "--output", out, "--accept", text, "--title", "My <study>")
    assert code == 3
    assert "Not met: 1 liver: Dice ≥ 0.9 in the mean: the mean is 0.86; 0 of 1 case" in said
    page = check_page(out / "report.html")
    assert "The limit is not met Not met 1 liver" in page.text
    assert page.text.startswith("My <study>")
    (entry,) = json.loads((out / "summary.json").read_text())["acceptance"]
    assert (entry["limit"], entry["passed"], entry["met"], entry["of"]) == (text, False, 0, 1)
    first = (out / "report.html").read_bytes()
    assert run("report", out)[0] == 0
    assert (out / "report.html").read_bytes() == first
    assert run("report", out, "--title", "Another")[0] == 0
    assert check_page(out / "report.html").text.startswith("Another")
    assert run(*common, "--accept", "liver: dice>=0.85")[0] == 0


def test_a_profile_may_say_it(images):
    profile = images / "mine.toml"
    profile.write_text(
        'name = "mine"\nsummary = "ours"\nmetrics = ["dice"]\nlabels = {liver = 1}\n'
        '[acceptance]\nrules = ["liver: dice>=0.9 in 50%"]\n'
    )
    code, said = run("eval", images / "pred", images / "ref", "--profile", profile)
    assert code == 3
    assert "Not met: 1 liver: Dice ≥ 0.9 in 50% of the cases" in said


def test_what_cannot_be_is_refused_before_the_work(images):
    common = ("eval", images / "pred", images / "ref", "-m", "dice")
    for words, reason in (
        (("--accept", "liver: jaccard>=0.9"), "'jaccard' is not computed"),
        (("--accept", "lung: dice>=0.9", "--labels", "liver=1"), "no label is called 'lung'"),
        (("--title", "x"), "--title needs --output DIR"),
    ):
        code, said = run(*common, *words)
        assert code == 2
        assert reason in " ".join(said.split())


def test_a_folder_with_another_limit_is_damaged(tmp_path):
    folder = write_folder(
        tmp_path / "o", {"a": {("1", "dice"): 0.5}}, settings={"acceptance": ["nonsense"]}
    )
    with pytest.raises(ValueError, match="is not of the form"):
        write_report(folder)
