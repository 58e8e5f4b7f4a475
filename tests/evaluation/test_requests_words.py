"""What people type behind ``-m``: aliases, several names between commas, numbers with units."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner

import medloss
from medloss.cli import main
from medloss.evaluation.outputs.thresholds import parse_threshold
from medloss.evaluation.planning import Definition, make_plan
from medloss.evaluation.profiles.reading import read_profile
from medloss.evaluation.requests import (
    choose_metric,
    named_columns,
    options_of,
    parse_requests,
    read_number,
)
from medloss.evaluation.settings import InputSettings
from medloss.offers.host import PluginError, host


def columns(*texts: str) -> list[str]:
    return [choose_metric(request).column for request in parse_requests(texts)]


ALIASES = {
    "dsc": "dice",
    "iou": "jaccard",
    "recall": "sensitivity",
    "tpr": "sensitivity",
    "tnr": "specificity",
    "ppv": "precision",
    "ravd": "relative_volume_error",
    "hd": "hausdorff",
    "hd95": "hausdorff95",
    "asd": "average_surface_distance",
    "assd": "average_symmetric_surface_distance",
    "masd": "mean_average_surface_distance",
    "nsd": "normalized_surface_dice",
    "medloss:nsd": "medloss:normalized_surface_dice",
    "surface_dice": "normalized_surface_dice",
    "apl": "added_path_length",
    "cldice": "cl_dice",
    "pq": "panoptic_quality",
    "auc": "auroc",
    "ap": "average_precision",
    "ece": "expected_calibration_error",
    "nll": "negative_log_likelihood",
    "froc": "lesion_froc",
}


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_alias_leads_to_one_metric(alias: str, name: str) -> None:
    assert host().metrics.find(alias) is host().metrics.find(name)
    assert host().metrics.own_name(alias) == name
    assert columns(alias) == [name]


def test_no_alias_is_a_name_or_an_alias_of_something_else() -> None:
    names = [offer.record.name for offer in host().metrics]
    aliases = [alias for offer in host().metrics for alias in offer.record.aliases]
    assert len({*names, *aliases}) == len(names) + len(aliases)


GRAMMAR = {
    "dice,nsd": ["dice", "normalized_surface_dice"],
    " dice , hd95 ": ["dice", "hausdorff95"],
    "nsd:tolerance_mm=2,dice": ["normalized_surface_dice[tolerance_mm=2]", "dice"],
    "hd:percentile=95,directed=true,iou": ["hausdorff[percentile=95,directed=True]", "jaccard"],
    "nsd:tolerance_mm=2mm": ["normalized_surface_dice[tolerance_mm=2]"],
    "nsd:tolerance_mm=2 mm": ["normalized_surface_dice[tolerance_mm=2]"],
    "nsd:tolerance_mm=1.5MM": ["normalized_surface_dice[tolerance_mm=1.5]"],
    "nsd:tolerance_mm={1:2mm,2:3 mm},dice": [
        "normalized_surface_dice[tolerance_mm={1:2,2:3}]",
        "dice",
    ],
    "hd:percentile=95%": ["hausdorff[percentile=95]"],
    "hd:percentile=99.5 %": ["hausdorff[percentile=99.5]"],
    "medloss:dice,medloss:hd:percentile=95": ["medloss:dice", "medloss:hausdorff[percentile=95]"],
}


@pytest.mark.parametrize(("text", "expected"), GRAMMAR.items())
def test_what_is_typed_is_read(text: str, expected: list[str]) -> None:
    assert columns(text) == expected


REFUSED = {
    "nsd:tolerance_mm=2cm": "expected a number of millimetres, got '2cm'; write 20",
    "nsd:tolerance_mm=50um": "expected a number of millimetres, got '50um'; write 0.05",
    "nsd:tolerance_mm=2%": "expected a number of millimetres, got '2%'",
    "hd:percentile=95mm": "expected a number of percent, got '95mm'",
    "nsd:tolerance_mm=1,5": "'5' in 'nsd:tolerance_mm=1,5' is no name: decimals have a point",
    "nsd:2mm": "'nsd:2mm': expected nsd:option=value, got '2mm' behind it",
    "nsd=2": "'nsd=2' has no name before it: NAME:option=value",
    "tolerance_mm=2,nsd": "'tolerance_mm=2' has no name before it",
    "dice,,nsd": "a name is missing between two commas of 'dice,,nsd'",
    "dice,": "a name is missing between two commas",
    "": "expected a name, got ''",
    "nsd:tolerance=2": "has no option 'tolerance'; it has tolerance_mm",
    "hd:percentile=high": "expected a number, got 'high'",
    "NSD": r"did you mean nsd \(normalized_surface_dice\)\?",
    "dice_ce": "'dice_ce' is a loss and no metric",
}


@pytest.mark.parametrize(("text", "words"), REFUSED.items())
def test_what_cannot_be_meant_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises((ValueError, PluginError), match=words):
        columns(text)


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        *(("2", "mm", 2), ("-1.5e1", "", -15.0), (" 2 mm ", "mm", 2), ("95%", "%", 95)),
        *(("95 %", "", 0.95), ("3mm\N{SUPERSCRIPT THREE}", "mm3", 3), ("2cm", "mm", "write 20")),
        *(("1ml", "mm3", "write 1000"), ("5%", "mm", "got '5%'"), ("mm", "mm", "got 'mm'")),
        *(("true", "", "got 'true'"), ("nan", "", "got 'nan'"), ("1e999", "", "got '1e999'")),
        *(("[1]", "", "got"), ("", "mm", "expected a number of millimetres")),
    ],
)
def test_numbers_with_units(text: str, unit: str, expected: float | str) -> None:
    if not isinstance(expected, str):
        assert read_number(text, unit) == pytest.approx(expected)
        return
    with pytest.raises(ValueError, match=expected.replace("[", r"\[")):
        read_number(text, unit)


def test_columns_are_named_by_alias_label_and_options() -> None:
    there = (
        *("dice", "hausdorff95", "normalized_surface_dice[tolerance_mm=1]"),
        *("normalized_surface_dice[tolerance_mm=2]", "dice_loss"),
    )
    for text, expected in {
        "dice": (("dice",), ""),
        "dsc[left kidney]": (("dice",), "left kidney"),
        "hd95[1]": (("hausdorff95",), "1"),
        "nsd": (there[2:4], ""),
        "nsd[tolerance_mm=2]": ((there[3],), ""),
        "nsd[tolerance_mm=2][1]": ((there[3],), "1"),
        "dice_loss": (("dice_loss",), ""),
        "assd": ((), ""),
        "": ((), ""),
    }.items():
        assert named_columns(text, there) == expected, text


def test_thresholds_take_aliases_and_units() -> None:
    plan = make_plan(InputSettings(), Definition(metrics=("dsc,hd95,nsd:tolerance_mm=1",)))
    assert parse_threshold("hd95[1]=5 mm", "over", plan).value == 5
    assert parse_threshold("nsd=90%", "under", plan).value == pytest.approx(0.9)
    assert parse_threshold("dsc=.5", "under", plan).column.name == "dice"
    wrong = {"hd95=5cm": "write 50", "dice": "METRIC=number", "iou=1": "not computed"}
    for text, words in wrong.items():
        with pytest.raises(ValueError, match=words):
            parse_threshold(text, "over", plan)
    twice = make_plan(InputSettings(), Definition(metrics=("nsd,nsd:tolerance_mm=2",)))
    with pytest.raises(ValueError, match="'nsd' names normalized_surface_dice and normal"):
        parse_threshold("nsd=1", "under", twice)
    with pytest.raises(ValueError, match="dice is asked for twice"):
        make_plan(InputSettings(), Definition(metrics=("dice,dsc",)))


def test_profiles_and_the_studies_of_losses_take_them() -> None:
    from medloss.workbench.study.runs import parse_losses

    profile = {
        "name": "mine",
        "summary": "Mine.",
        "metrics": ["nsd:tolerance_mm=2mm", {"name": "hd95", "column": "hd"}],
        "averages": [{"name": "all", "metrics": ["nsd[tolerance_mm=2]", "hd"]}],
        "ranking": {"method": "rank_then_aggregate", "metrics": ["nsd"], "tie_break": "dsc"},
    }
    content = read_profile(profile).content
    assert content["averages"][0]["metrics"] == ["normalized_surface_dice[tolerance_mm=2]", "hd"]
    assert content["ranking"]["metrics"] == ["normalized_surface_dice"]
    assert content["ranking"]["tie_break"] == "dice"
    plan = make_plan(InputSettings(), Definition(profile=profile, metrics=("nsd:tolerance_mm=2",)))
    assert [m.column for m in plan.metrics] == ["normalized_surface_dice[tolerance_mm=2]", "hd"]
    (loss,) = parse_losses("dice_ce+0.5*surface_dice:tolerance_mm=2 mm")
    assert loss.name == "dice_ce+0.5*surface_dice[tolerance_mm=2]"
    with pytest.raises(ValueError, match="got '2cm'; write 20"):
        parse_losses("surface_dice:tolerance_mm=2cm")


def test_a_study_by_aliases_is_written_and_compared_under_the_names(tmp_path: Path) -> None:
    cube = np.zeros((8, 8, 8), np.uint8)
    cube[2:5, 2:5, 2:5] = 1
    for name, moves in (("ref", (0, 0, 0)), ("one", (1, 1, 1)), ("two", (1, 2, 3))):
        (tmp_path / name).mkdir()
        for case, moved in enumerate(moves):
            image = nib.Nifti1Image(np.roll(cube, moved, axis=0), np.eye(4))
            nib.save(image, tmp_path / name / f"c{case}.nii.gz")

    def run(*words: str) -> str:
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        return done.output

    for name in ("one", "two"):
        asked = ("-m", "dsc,nsd:tolerance_mm=1mm", "--accept", "1: nsd >= 10% in 50%")
        out = str(tmp_path / f"out_{name}")
        run("eval", str(tmp_path / name), str(tmp_path / "ref"), *asked, "--output", out)
        found = json.loads((tmp_path / f"out_{name}" / "summary.json").read_text())
        named = [each["name"] for each in found["settings"]["metrics"]]
        assert named == ["dice", "normalized_surface_dice"]
    folders = str(tmp_path / "out_one"), str(tmp_path / "out_two")
    told = run("compare", *folders, "-m", "dsc,nsd", "--margin", "nsd=10%", "--primary", "dsc")
    assert "normalized_surface_dice" in told
    study = ("sample-size", *folders, "-m", "nsd[1]", "--non-inferiority", "5%", "--power", "80%")
    assert "cases" in run(*study)
    scores = medloss.evaluate(tmp_path / "one", tmp_path / "ref", metrics=["dsc,hd:percentile=95%"])
    assert scores.mean("dsc") == scores.mean("dice")
    assert scores.mean("hd") == 1.0
    assert str(medloss.metric("nsd", tolerance_mm=2)) == "NormalizedSurfaceDiceMetric"
    assert "also found as nsd, surface_dice" in run("info", "nsd")


PYTHONS_OWN = (
    r"unsupported operand|not supported between|has no attribute|object is not|not iterable|"
    r"could not convert|cannot be interpreted|invalid literal|must be real|has no len|"
    r"unexpected keyword"
)


def test_no_option_of_any_metric_lets_an_error_of_python_through() -> None:
    """Each option with what is no value of it; 20 values each were tried once, by hand."""
    refused = []
    for offer in host().metrics:
        for option in options_of(offer.record.name):
            for value in ("abc", "[1,abc]", "1.5", "99999999999"):
                text = f"{offer.record.name}:{option}={value}"
                try:
                    make_plan(InputSettings(labels="1=liver"), Definition(metrics=(text,)))
                except ValueError as error:
                    refused.append(str(error))
    assert len(refused) > 250  # values of which most are no option's
    assert [text for text in refused if re.search(PYTHONS_OWN, text)] == []
