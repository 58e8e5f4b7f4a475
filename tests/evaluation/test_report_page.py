"""What the page says and shows, from records whose numbers are known."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from html_pages import check_page
from study_folders import write_folder

from medloss.evaluation.outputs.names import NAMES, called, has_mean, headed
from medloss.evaluation.outputs.report import title_of, tolerances, voxel_sizes, write_report
from medloss.evaluation.outputs.report.confusion import confusion_figure
from medloss.evaluation.outputs.report.label_table import label_table
from medloss.evaluation.outputs.report.lesion_sizes import lesion_sizes
from medloss.evaluation.outputs.report.pooled_figures import pooled_figures
from medloss.evaluation.outputs.report.reliability import reliability_figures
from medloss.evaluation.outputs.report.verdict import verdict
from medloss.evaluation.outputs.results import read_folder
from medloss.evaluation.records import (
    CandidateRow,
    Confusion,
    LesionRow,
    Measure,
    Reliability,
    ResultTable,
)
from medloss.offers.host import host
from medloss.scoring.candidates import RATES
from medloss.scoring.facts import Counts

NAN = math.nan
ORGANS = {"1": "liver", "2": "tumour"}


def study(folder: Path, *, summary: bool = True) -> ResultTable:
    """The example of a verdict: 40 cases, in 38 of which there is a tumour."""
    values = {}
    for i in range(40):
        tumour = (0.0, "missed") if i < 6 else (NAN, "both_empty") if i > 37 else (0.8, "ok")
        tumour = (0.0, "spurious") if i == 39 else tumour
        values[f"c{i}"] = {("1", "dice"): 0.94 + 0.0005 * i, ("2", "dice"): tumour}
    table = read_folder(write_folder(folder, values, names=ORGANS))
    ends = {"1": (0.94, 0.96), "2": (0.5, 0.8)}
    lines = (
        dataclasses.replace(line, ci_low=ends[line.key][0], ci_high=ends[line.key][1])
        for line in table.lines
    )
    return dataclasses.replace(table, lines=tuple(lines))


def said(table: ResultTable) -> list[str]:
    return [
        f"{x.kind or 'well'} {x.about or '-'}: {x.text}" for x in verdict(table, label_table(table))
    ]


def test_the_verdict_of_few_labels(tmp_path):
    assert said(study(tmp_path / "o")) == [
        "well liver: Dice 0.95 (0.94 to 0.96) in 40 cases",
        "bad tumour: Dice 0.66 (0.50 to 0.80) in 39 cases; 6 of 38 missed; predicted in 1 of 2 "
        "cases without it",
    ]


def test_two_cases_have_a_mean_and_nothing_else(tmp_path):
    values = {name: {("1", "dice"): x} for name, x in (("a", 0.9), ("b", 0.7))}
    folder = write_folder(tmp_path / "o", {**values, "c": "torn"}, names=ORGANS)
    assert said(read_folder(folder)) == [
        "bad -: 1 of 3 cases failed and is in none of the numbers",
        "well liver: Dice 0.80 in 2 cases",
    ]
    page = check_page(write_report(folder, pictures=False))
    assert page.count("svg") == 0
    assert "Fewer than 3 cases have no interval." in page.text
    assert "Distributions are shown from 3 cases" in page.text


def test_losses_alone_and_nothing_at_all(tmp_path):
    values = {name: {("all", "dice_ce"): x} for name, x in (("a", 0.5), ("b", 0.25))}
    folder = write_folder(tmp_path / "o", values, metrics={"dice_ce": ("", "lower")})
    assert said(read_folder(folder)) == ["well dice_ce: 0.38 in 2 cases"]
    check_page(write_report(folder, pictures=False))
    nothing = write_folder(tmp_path / "n", {"a": {("1", "dice"): (NAN, "both_empty")}})
    assert said(read_folder(nothing)) == ["well label 1: no value of Dice"]
    check_page(write_report(nothing, pictures=False))


def many_labels(folder: Path, cases: int = 3) -> Path:
    """105 labels, of which 60 and 61 are poor and 7 is missed twice."""
    rng = np.random.default_rng(0)
    words = ("liver", *["vertebra_{}"] * 50, *["rib_{}"] * 50, *["organ{}"] * 4)
    names = {str(k): words[k - 1].format(k) for k in range(1, 106)}
    values = {}
    for i in range(cases):
        own = {(str(k), "dice"): (0.9 + 0.05 * rng.random(), "ok") for k in range(1, 106)}
        own["60", "dice"], own["61", "dice"] = (0.02, "ok"), (0.03, "ok")
        if i < 2:
            own["7", "dice"] = (0.0, "missed")
        values[f"c{i}"] = own
    return write_folder(folder, values, names=names)


def test_the_verdict_of_many_labels_is_short(tmp_path):
    folder = many_labels(tmp_path / "o")
    table = read_folder(folder)
    spread, worst, missed = said(table)
    assert spread.startswith("well -: Dice of 105 labels: from 0.02 (rib_60) to 0.9")
    assert worst.startswith(
        "well -: Worst by Dice: rib_60 0.02 (0.02 to 0.02), rib_61 0.03 (0.03 to 0.03), vertebra_7"
    )
    assert missed == "bad -: Missed: vertebra_7 in 2 of 3"
    labels = label_table(table)
    assert [(block.title, len(block.rows)) for block in labels.blocks] == [
        ("vertebra …", 50),
        ("rib …", 50),
        ("Other labels", 5),
    ]
    assert [row.label.key for row in labels.lowest[:3]] == ["60", "61", "7"]
    assert labels.count == 105
    mean = labels.blocks[1].means[0]
    rows = labels.blocks[1].rows
    assert mean == (pytest.approx(np.mean([row.lines[0].mean for row in rows])), 50)
    page = check_page(write_report(folder, pictures=False))
    assert page.count("details", **{"class": "group"}) == 3 + 2  # statistics, and all cases
    assert not [x for _, x in page.elements if "scroll" in (x.get("class") or "")]


def test_a_mean_over_labels_only_where_it_says_something(tmp_path):
    metrics = {
        "dice": ("", "higher"),
        "volume_difference": ("mm3", "lower"),
        "missed_lesions": ("", "lower"),
    }
    values = {"a": {(k, m): float(k) for k in "12" for m in metrics}}
    folder = write_folder(tmp_path / "o", values, metrics=metrics)
    labels = label_table(read_folder(folder))
    assert labels.blocks[0].means == ((1.5, 2), None, None)
    page = check_page(write_report(folder, pictures=False))
    assert (
        "No mean over labels of Volume difference, Missed lesions: numbers of objects" in page.text
    )
    regions = [{"label": k, "name": "", "labels": [1, 2]} for k in (1, 2)]
    whole = write_folder(tmp_path / "r", values, metrics=metrics, settings={"labels": regions})
    labels = label_table(read_folder(whole))
    assert labels.blocks[0].means == (None, None, None)
    assert "counted elsewhere" in labels.no_mean


def test_every_metric_has_a_name_and_units_are_those_of_pages():
    ours = {offer.record.name: offer.record for offer in host().metrics}
    assert ours.keys() <= NAMES.keys()
    for name, record in ours.items():
        options = dict.fromkeys(("tolerance_mm", "width_mm"), 1.0)
        title = called(Measure(name, record.unit, record.better, options))
        assert "_" not in title
        assert "{" not in title
        assert has_mean(Measure(name, record.unit, record.better)) <= (record.unit != "mm3")
    assert headed(Measure("volume_difference", "mm3", "lower")) == "Volume difference (mm³)"
    by_label = {"tolerance_mm": {"1": 1, "2": 3}}
    assert called(Measure("normalized_surface_dice", "", "higher", by_label)) == "NSD at 1 to 3 mm"
    assert called(Measure("a_b[c=1]", "", "higher", {"c": 1})) == "a_b[c=1]"


def test_titles_voxel_sizes_and_tolerances(tmp_path):
    table = study(tmp_path / "o")
    assert title_of(table) == "Segmentation of liver and tumour in 40 cases"
    assert (
        title_of(read_folder(many_labels(tmp_path / "m", 1)))
        == "Segmentation of 105 labels in 1 case"
    )
    sizes = [(1.0, 1.0, 2.5), (0.5, 1.0, 2.5), (0.25, 0.25)]
    cases = [dataclasses.replace(table.cases[i], spacing_mm=mm) for i, mm in enumerate(sizes)]
    assert voxel_sizes(
        dataclasses.replace(table, cases=tuple(cases))
    ) == "0.5 to 1 x 1 x 2.5 mm, 0.25 x 0.25 mm".replace("x", "\N{MULTIPLICATION SIGN}")
    nsd = Measure("normalized_surface_dice", "", "higher", {"tolerance_mm": 2.0})
    assert tolerances(dataclasses.replace(table, measures=(nsd,))) == [("NSD at 2 mm", "2 mm")]


# What is drawn of facts


def with_facts(folder: Path, **facts: object) -> ResultTable:
    values = {name: {("1", "dice"): 0.5, ("2", "dice"): 0.5} for name in "ab"}
    table = read_folder(write_folder(folder, values, names=ORGANS))
    cases = (dataclasses.replace(case, **facts) for case in table.cases)
    return dataclasses.replace(table, cases=tuple(cases))


def test_confusion_by_hand(tmp_path):
    rows = (Confusion(1, (2, ""), (30, 10)), Confusion("", (1, 2), (7, 9)))
    counts = ((1, Counts(60, 7, 40, 0)), (2, Counts(50, 39, 0, 0)))
    table = with_facts(tmp_path / "o", confusion=rows, counts=counts)
    figure = confusion_figure(table)
    (exchange,) = figure.exchanges
    assert (exchange.label.key, exchange.predicted.key) == ("1", "2")
    assert (exchange.voxels, exchange.share, exchange.cases) == (60, 0.3, 2)
    assert [(row.label.key, row.voxels, row.shares, row.none) for row in figure.matrix] == [
        ("1", 200, (0.6, 0.3), 0.1),
        ("2", 100, (0.0, 1.0), 0.0),
    ]
    page = check_page(write_report(tmp_path / "o", table, pictures=False))
    assert "1 liver 2 tumour 30.0% 60 2" in page.text
    assert confusion_figure(with_facts(tmp_path / "n")) is None


def test_lesions_of_each_size(tmp_path):
    def lesion(side, number, volume, partners=()):
        status = "found" if partners else {"reference": "missed", "prediction": "false"}[side]
        return LesionRow(2, side, number, status, 1, volume, (0.0,) * 3, "RAS", partners)

    lesions = (
        lesion("reference", 1, 5.0),
        lesion("reference", 2, 50.0, (1,)),
        lesion("prediction", 1, 40.0, (2,)),
        lesion("prediction", 2, 500.0),
    )
    table = with_facts(tmp_path / "o", lesions=lesions)
    (found,) = lesion_sizes(table)
    assert [
        (x.low_mm3, x.high_mm3, x.reference, x.found, x.prediction, x.right) for x in found.sizes
    ] == [
        (0.0, 10.0, 2, 0, 0, 0),
        (10.0, 100.0, 2, 2, 2, 2),
        (100.0, math.inf, 0, 0, 2, 0),
    ]
    assert (found.total.recall, found.total.precision, found.unit) == (0.5, 0.5, "mm³")
    page = check_page(write_report(tmp_path / "o", table, pictures=False))
    shown = page.text.replace("\N{EN DASH}", "-")
    assert "below 10 2 0 0% 0 0 - 10 to 100 2 2 100% 2 2 100% 100 and more 0 0 - 2 0 0%" in shown
    alike = with_facts(tmp_path / "alike", lesions=lesions[:1])
    (found,) = lesion_sizes(alike)
    assert (found.sizes, found.total.reference) == ((), 2)
    page = check_page(write_report(tmp_path / "alike", alike, pictures=False))
    assert "Recall In the prediction Right Precision All sizes 2 0 0% 0 0" in page.text


def test_bins_of_all_cases_together(tmp_path):
    rows = (Reliability(1, (30, 0, 10), (0.1, NAN, 0.9), (0.2, NAN, 0.5)),)
    table = with_facts(tmp_path / "o", reliability=rows)
    other = (Reliability(1, (10, 0, 10), (0.2, NAN, 0.8), (0.4, NAN, 0.7)),)
    cases = (table.cases[0], dataclasses.replace(table.cases[1], reliability=other))
    table = dataclasses.replace(table, cases=cases)
    (figure,) = reliability_figures(table)
    assert [(p.voxels, p.probability, p.frequency) for p in figure.points] == [
        (40, pytest.approx(0.125), pytest.approx(0.25)),
        (20, pytest.approx(0.85), pytest.approx(0.6)),
    ]
    assert figure.error == pytest.approx((40 * 0.125 + 20 * 0.25) / 60)
    page = check_page(write_report(tmp_path / "o", table, pictures=False))
    assert "1 liver , 2 cases, ECE 0.1667" in page.text


def test_all_cases_together(tmp_path):
    column = "lesion_froc"
    values = {name: {("1", "dice"): 0.5, ("1", column): 0.5} for name in "ab"}
    metrics = {"dice": ("", "higher"), column: ("", "higher")}
    table = read_folder(write_folder(tmp_path / "o", values, names={"1": "liver"}, metrics=metrics))
    rows = ((Counts(3, 1, 1, 0), (0.9, 0.2), (0.8,)), (Counts(1, 3, 3, 0), (0.7,), (0.4,)))
    cases = (
        dataclasses.replace(
            case, counts=((1, counts),), candidates=(CandidateRow(1, column, lesions, false),)
        )
        for case, (counts, lesions, false) in zip(table.cases, rows, strict=True)
    )
    table = dataclasses.replace(table, cases=tuple(cases))
    dice, froc = pooled_figures(table)
    assert (dice.froc, dice.found.value) == (None, 0.5)
    # Surest first: found, false, found, false, found; half a false positive per image each.
    seen = {p.false_per_image: p.sensitivity for p in froc.froc.points}
    assert seen == pytest.approx(dict(zip(RATES, (1 / 3, 2 / 3, 1, 1, 1, 1), strict=True)))
    assert froc.found.value == pytest.approx(sum(seen.values()) / 6)
    assert froc.froc.line[0] == (froc.froc.x(0.0), froc.froc.y(0.0))
    page = check_page(write_report(tmp_path / "o", table, pictures=False))
    shown = page.text.replace("\N{EN DASH}", "-")
    assert "Dice 1 liver voxels of all cases pooled 0.5000 -" in shown
    assert "FROC 1 liver lesions of all cases pooled 0.8333 -" in shown
