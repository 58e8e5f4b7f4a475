from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
from html_pages import check_page
from study_folders import write_folder

from medloss.evaluation.outputs import report as content
from medloss.evaluation.outputs.methods import definitions_paragraph
from medloss.evaluation.outputs.report import figures, opened_case, pictures, write_report
from medloss.evaluation.outputs.results import FolderError, read_folder

NAN, INF = math.nan, math.inf
HOSTILE = """<script>alert('x')</script>"&'><img src=x onerror=alert(1)>{{ 7*7 }}</style>"""


def block(shape, low, high):
    mask = np.zeros(shape, dtype=np.uint8)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 1
    return mask


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Three cases on disk, one of them missed, and one that failed."""
    shape, affine = (12, 10, 8), np.diag([-1.0, 1.0, 2.0, 1.0])
    reference = block(shape, (2, 2, 2), (8, 8, 6))
    predictions = {
        "good": reference,
        "bad": block(shape, (2, 2, 2), (8, 8, 4)),
        "gone": np.zeros(shape, dtype=np.uint8),
    }
    for side in ("pred", "ref"):
        (tmp_path / side).mkdir()
    for name, prediction in predictions.items():
        for side, array in (("pred", prediction), ("ref", reference)):
            image = nibabel.Nifti1Image(array, affine)
            nibabel.save(image, tmp_path / side / f"{name}.nii.gz")
    values = {
        "good": {("1", "dice"): 1.0, ("1", "hausdorff95"): 0.0},
        "bad": {("1", "dice"): 2 / 3, ("1", "hausdorff95"): 4.0},
        "gone": {("1", "dice"): (0.0, "missed"), ("1", "hausdorff95"): (22.0, "missed")},
        "lost": "no prediction: pred holds no image called 'lost'",
    }
    n = int(reference.sum())
    voxels = {"good": {"1": (n, n)}, "bad": {"1": (n, n // 2)}, "gone": {"1": (n, 0)}}
    return write_folder(
        tmp_path / "out",
        values,
        names={"1": "liver"},
        voxels=voxels,
        files=(tmp_path / "pred", tmp_path / "ref"),
        shape=shape,
    )


def test_the_page_stands_alone_and_says_everything(study):
    path = write_report(study)
    assert path == study / "report.html"
    page = check_page(path)
    assert "1 of 4 cases failed" in page.text
    assert "no prediction: pred holds no image called 'lost'" in page.text
    assert "Missed: in the reference, but not in the prediction 1 liver , 1 case: gone" in page.text
    assert "Dice coefficient: twice the overlap" in page.text
    assert "medloss eval pred ref" in page.text
    assert "marching-cubes" in page.text
    # Three pictures of three planes, and the plots of two metrics for two kinds of screens.
    assert page.count("g") == 9
    assert page.count("svg", role="img") == 9 + 2 * 2 + 1
    assert page.source.index("4 cases failed") < page.source.index("<table")
    assert path.stat().st_size < 100_000


def test_the_same_folder_gives_the_same_bytes(study):
    first = write_report(study).read_bytes()
    (study / "report.html").unlink()
    assert write_report(study).read_bytes() == first


def test_the_time_is_that_of_the_results(study):
    os.utime(study / "summary.json", (0, 86400 * 365))
    assert "1971-01-01 00:00 UTC" in check_page(write_report(study)).text


def test_without_pictures_no_image_is_read(study, monkeypatch):
    monkeypatch.setattr(opened_case, "read_case_pair", lambda *_: pytest.fail("read"))
    page = check_page(write_report(study, pictures=False))
    assert page.count("g") == 0
    assert "#pictures" not in page.source


def test_names_from_outside_are_text_and_nothing_else(tmp_path):
    values = {
        f"case{HOSTILE}": {(HOSTILE, HOSTILE): 0.5, ("1", HOSTILE): (0.0, "missed")},
        "other": {(HOSTILE, HOSTILE): 0.7, ("1", HOSTILE): (0.1, "spurious")},
        f"failed{HOSTILE}": f"reason {HOSTILE}",
    }
    folder = write_folder(
        tmp_path / "out",
        values,
        names={"1": f"name{HOSTILE}"},
        metrics={HOSTILE: (f"unit{HOSTILE}", "lower")},
        voxels={f"case{HOSTILE}": {"1": (5, 5)}},
        files=(Path(f"pred{HOSTILE}"), Path(f"ref{HOSTILE}")),
        settings={
            "title": f"title {HOSTILE}",
            "command": f"command {HOSTILE}",
            "versions": {f"package{HOSTILE}": f"1{HOSTILE}"},
            "preset": f"preset{HOSTILE}",
            "policies": {"meaning": f"meaning {HOSTILE}"},
        },
        version=f"0{HOSTILE}",
    )
    page = check_page(write_report(folder))
    named = ("case", "failed", "reason ", "name", "unit", "title ", "command ", "package")
    for word in (*named, "preset"):
        assert " ".join(f"{word}{HOSTILE}".split()) in page.text, word
    assert "<script>alert" not in page.source
    assert "49" not in page.text.replace("{{ 7*7 }}", "")


def test_a_name_that_is_no_text_does_not_stop_the_page(tmp_path):
    name = "broken\udcff"
    path = write_folder(tmp_path / "out", {"a": {("1", "dice"): 1.0}}, names={"1": "x"})
    summary = (path / "summary.json").read_text()
    (path / "summary.json").write_text(summary.replace("medloss eval pred", r"\udcff"))
    assert name.encode("utf-8", "replace") == b"broken?"
    assert "? ref" in check_page(write_report(path)).text


def test_nothing_but_failures(tmp_path):
    page = check_page(write_report(write_folder(tmp_path / "out", {"a": "empty", "b": "torn"})))
    assert "2 of 2 cases failed" in page.text
    assert "No case gave a value." in page.text


def test_all_well_is_said_too(tmp_path):
    values = {"a": {("1", "dice"): 1.0}, "b": {("1", "dice"): 0.9}}
    page = check_page(write_report(write_folder(tmp_path / "out", values)))
    assert "Every case was scored, and every label was found" in page.text


def test_undefined_and_infinite_values_are_shown_as_such(tmp_path):
    values = {
        "a": {("1", "hausdorff95"): (INF, "missed")},
        "b": {("1", "hausdorff95"): (NAN, "both_empty")},
        "c": {("1", "hausdorff95"): 2.0},
        "d": {("1", "hausdorff95"): 3.0},
    }
    page = check_page(write_report(write_folder(tmp_path / "out", values)))
    assert page.count("td", **{"data-v": "Infinity"}) == 2  # of the case and of the mean
    assert page.count("td", **{"data-v": ""}) >= 1
    assert "∞ \N{MULTIPLICATION SIGN} 1" in page.text
    assert "nan" not in page.text.lower().split()


def test_a_page_of_many_labels_stays_small(tmp_path):
    rng = np.random.default_rng(0)
    values = {
        f"case{i}": {(str(k), "dice"): float(rng.random()) for k in range(1, 106)}
        for i in range(60)
    }
    voxels = {name: {str(k): (100, 90) for k in range(1, 106)} for name in values}
    folder = write_folder(tmp_path / "out", values, voxels=voxels)
    path = write_report(folder, pictures=False)
    assert path.stat().st_size < 3_000_000
    page = check_page(path)
    assert "those with the worst values of Dice. The other 2300 are in cases.csv" in page.text
    kept, left_out = content.case_rows(read_folder(folder))
    shown = sorted(row.values[0] for row in kept)
    every = sorted(value for own in values.values() for value in own.values())
    assert (shown, left_out) == (every[:4000], 2300)


def test_the_worst_rows_are_kept_where_lower_is_better(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "_MOST_ROWS", 3)
    distances = {"a": 1.0, "b": 9.0, "c": NAN, "d": 5.0}
    values = {case: {("1", "hausdorff95"): value} for case, value in distances.items()}
    metrics = {"hausdorff95": ("mm", "lower")}
    folder = write_folder(tmp_path / "o", {**values, "e": "torn"}, metrics=metrics)
    kept, left_out = content.case_rows(read_folder(folder))
    assert ([row.case for row in kept], left_out) == (["b", "d", "e"], 2)


def test_what_was_left_out_and_changed_is_said_up_front(tmp_path):
    folder = write_folder(
        tmp_path / "out",
        {"a": {("whole", "dice"): 0.5}},
        settings={
            "inputs": {"left_out": ["b", HOSTILE], "ignore_label": 9},
            "labels": [{"label": "whole", "name": "", "labels": [1, 2]}],
        },
    )
    content = json.loads((folder / "summary.json").read_text())
    content["cases"][0]["notes"] = [f"resampled {HOSTILE}"]
    (folder / "summary.json").write_text(json.dumps(content))
    page = check_page(write_report(folder))
    assert "2 references were left out, because nobody predicted them b, <script>" in page.text
    assert "1 case was changed before scoring a : resampled <script>" in page.text
    assert "Voxels with label 9 in the reference do not count." in page.text
    assert "whole: labels 1, 2." in page.text
    assert "Every case was scored" not in page.text


# Volumes


def test_bland_altman_by_hand(tmp_path):
    names = ["a", "b", "c", "none"]
    values = {name: {("1", "dice"): 0.5} for name in names}
    voxels = {"a": {"1": (100, 110)}, "b": {"1": (200, 190)}, "c": {"1": (300, 0)}}
    folder = read_folder(write_folder(tmp_path / "o", values, voxels=voxels))  # 2 mm³ a voxel
    (found,) = figures.agreements(folder)
    assert found.cases == ("a", "b", "c")
    assert found.unit == "mm³"
    assert found.differences == (20.0, -20.0, -600.0)
    assert found.means == (210.0, 390.0, 300.0)
    assert found.agreement.bias == -200.0
    sd = math.sqrt((220**2 + 180**2 + 400**2) / 2)
    assert found.agreement.limits == pytest.approx((-200 - 1.96 * sd, -200 + 1.96 * sd))
    figure = figures.plot(found)
    assert figure.y.low < found.agreement.limits[0] < found.agreement.limits[1] < figure.y.high


def test_large_volumes_are_in_ml_and_one_case_has_no_limits(tmp_path):
    voxels = {"a": {"1": (1000, 500)}}
    folder = write_folder(tmp_path / "o", {"a": {("1", "dice"): 0.5}}, voxels=voxels)
    (found,) = figures.agreements(read_folder(folder))
    assert (found.unit, found.reference, found.prediction) == ("ml", (2.0,), (1.0,))
    assert all(map(math.isnan, found.agreement.limits))
    page = check_page(write_report(folder))
    assert page.count("svg", role="img") == 0
    assert "shown from 3 cases with the label on" in page.text


def test_without_counts_there_is_no_plot_and_the_page_says_so(tmp_path):
    page = check_page(write_report(write_folder(tmp_path / "o", {"a": {("1", "dice"): 0.5}})))
    assert "The results hold no voxel counts" in page.text


# Strips


def test_a_box_by_hand(tmp_path):
    values = [0.0, 1.0, 2.0, 3.0, 4.0, 20.0]
    study = {f"c{i}": {("1", "hausdorff95"): value} for i, value in enumerate(values)}
    folder = read_folder(write_folder(tmp_path / "o", study))
    figure = figures.strip(folder, folder.measure("hausdorff95"))
    (row,) = figure.rows
    assert row.n == 6
    assert row.box == pytest.approx([figure.axis(x) for x in (1.25, 2.5, 3.75)])
    assert row.whiskers == (figure.axis(0.0), figure.axis(4.0))  # 20 > 3.75 + 1.5 * 2.5
    assert row.mean == figure.axis(5.0)
    assert sorted(point.value for point in row.points) == values
    thin = figures.strip(folder, folder.measure("hausdorff95"), thin=True)
    assert [point.value for point in thin.rows[0].points] == [20.0]


# Pictures


def test_worst_and_best_by_hand(tmp_path):
    values = {
        "a": {("1", "dice"): 0.9, ("2", "dice"): 0.2},
        "b": {("1", "dice"): 0.5, ("2", "dice"): 0.3},
        "c": {("1", "dice"): 0.7, ("2", "dice"): (NAN, "both_empty")},
    }
    folder = read_folder(write_folder(tmp_path / "o", values))
    worst, best = pictures.choose(folder)
    assert [(c.case.name, c.label.key) for c in worst] == [
        *(("a", "2"), ("b", "1")),
        *(("b", "2"), ("c", "1")),
        ("a", "1"),
    ]
    assert best == []  # none is left


def test_where_lower_is_better_the_largest_is_the_worst(tmp_path):
    values = {name: {("1", "hausdorff95"): x} for name, x in zip("abcdef", range(6), strict=True)}
    metrics = {"hausdorff95": ("mm", "lower")}
    folder = read_folder(write_folder(tmp_path / "o", values, metrics=metrics))
    worst, best = pictures.choose(folder)
    assert [choice.case.name for choice in worst] == ["f", "e", "d"]
    assert [choice.case.name for choice in best] == ["a"]


def test_pictures_of_files_that_changed_are_refused(study):
    reference = study.parent / "ref" / "bad.nii.gz"
    image = nibabel.load(reference)
    other = np.asarray(image.dataobj).copy()
    other[0, 0, 0] = 1
    nibabel.save(nibabel.Nifti1Image(other, image.affine), reference)
    (study.parent / "pred" / "gone.nii.gz").unlink()
    page = check_page(write_report(study))
    assert page.count("g") == 3
    assert "the files hold 145 and 72 voxels of this label" in page.text
    assert "gone.nii.gz cannot be read: No such file or directory" in page.text


def test_inputs_are_changed_as_the_study_changed_them(study):
    """The study scored label 7 of the predictions as label 1."""
    for path in (study.parent / "pred").iterdir():
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj) * 7, image.affine), path)
    folder = read_folder(study)
    (choice,) = [c for c in pictures.choose(folder)[0] if c.case.name == "bad"]
    assert "the files hold 144 and 0 voxels" in pictures.draw(choice, folder).problem
    folder.settings["inputs"] = {"remap_prediction": {"7": 1}}
    assert pictures.draw(choice, folder).planes
    folder.settings["inputs"] = {"new_option": True}
    assert "cannot repeat" in pictures.draw(choice, folder).problem


def test_no_output_folder_is_an_error(tmp_path):
    with pytest.raises(FolderError, match=r"has no summary\.json"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_was_done_to_the_files_is_said_in_words(tmp_path):
    said = {
        "names": {"1": ["liver"]},
        "remap_prediction": {"2": 1},
        "remap_reference": {"2": 1},
        "threshold": 0.7,
        "resample": True,
    }
    folder = write_folder(tmp_path / "o", {"a": {("1", "dice"): 0.5}}, settings={"inputs": said})
    table = read_folder(folder)
    text = definitions_paragraph(table)
    assert text.endswith(
        " A class of its own is where its probability is at least 0.7. Labels changed in all "
        "files: 2 to 1."
    ), "nothing was resampled"
    note = "prediction resampled to the nearest voxel, from 4 x 4 x 4 of 1 x 1 x 1 mm"
    case = dataclasses.replace(table.cases[0], notes=(note,))
    text = definitions_paragraph(dataclasses.replace(table, cases=(case,)))
    assert text.endswith(" In 1 case the prediction was resampled to the nearest voxel.")
    assert "{" not in text
