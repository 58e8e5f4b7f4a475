"""Definitions as files: read strictly, applied whole or not at all, told in every result."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner

import medloss
from medloss.cli.compare import compare_command
from medloss.cli.eval import eval_command
from medloss.cli.info import info_command
from medloss.cli.list import list_command
from medloss.evaluation.outputs.results import read_folder
from medloss.evaluation.planning import Definition, Settings
from medloss.evaluation.profiles.reading import read_profile
from medloss.evaluation.settings import InputSettings

SAMPLES = Path(__file__).parent / "brats_samples"
MINE = {"name": "mine", "summary": "Ours."}


def write(path, array, spacing=(1, 1, 1)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.astype(np.uint8), np.diag([*spacing, 1])), path)


def run(*words):
    return CliRunner().invoke(eval_command, [str(word) for word in words])


# Reading


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "a"\nsummary = "b"\nlables = 1', "line 3: lables: there is no such key; did you"),
        ('name = "a"\nsummary = "b"\n[ranking]\nmethod = "x"', "line 4: ranking.method: expected"),
        ('name = "a"\nsummary = "b"\n[ranking]\nties = "min"', "ranking: the key 'method' is miss"),
        ('name = "a"\nsummary = "b"\nmetrics = [{ nme = "dice" }]', "metrics[1].nme: there is no"),
        ('name = "a"\nsummary = "b"\nname = "c"', "is not TOML: Cannot overwrite a value"),
        ('name = "a"', "the key 'summary' is missing"),
        (
            'name = "a"\nsummary = "b"\n[tolerances.by_label]\nx = -1',
            "tolerances.by_label.x: expec",
        ),
        ('name = "a"\nsummary = "b"\n[policies]\nmissed = "no"', "policies.missed: expected diago"),
        (
            'name = "a"\nsummary = "b"\n[variants.x]\nname = "c"',
            "variants.x.name: there is no such",
        ),
        ('name = "a"\nsummary = "b"\n[labels]\nx = 1.5', "labels.x: expected a label, a list of"),
    ],
)
def test_what_no_profile_may_say_is_refused_with_file_and_place(tmp_path, text, said):
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        read_profile(path)
    assert str(path) in str(caught.value)


def test_the_hash_is_of_what_is_said_and_not_of_how(tmp_path):
    toml, other = tmp_path / "p.toml", tmp_path / "q.json"
    toml.write_text('summary = "b"\nname = "a" # c\n[tolerances]\nmm = 2\n[policies]\nmissed = 3.5')
    content = {"name": "a", "summary": "else", "policies": {"missed": 3.5}}
    other.write_text(json.dumps({**content, "tolerances": {"mm": 2.0}}))
    assert read_profile(toml).sha256 == read_profile(other).sha256
    assert read_profile({**content, "tolerances": {"mm": 2.5}}).sha256 != read_profile(toml).sha256
    other.write_text('{"name": "a", "name": "b", "summary": "c"}')
    with pytest.raises(ValueError, match="the key 'name' stands twice"):
        read_profile(other)


def test_variants_lie_one_over_the_other_and_bear_their_names():
    mets = read_profile("brats2026:mets:official")
    assert mets.name == "brats2026:mets:official"
    assert mets.content["labels"] == {"ET": 3, "RC": 4, "TC": [1, 3], "WT": [1, 2, 3]}
    assert mets.content["preset"] == "brats2026_official"
    assert mets.sha256 != read_profile("brats2026:official:mets").sha256  # other names
    assert read_profile("medloss:brats2023:met").content["matching"] == {
        "matching": "overlap",
        "dilation_voxels": 1,
        "min_reference_mm3": 2.5,
    }
    for wrong, said in (
        ("brats2026:mts", "did you mean mets"),
        ("nnunet:x", "it has none"),
        ("nnune", "did you mean nnunet"),
    ):
        with pytest.raises(ValueError, match=said):
            read_profile(wrong)


def test_shipped_profiles_are_listed_and_have_cards():
    listed = json.loads(CliRunner().invoke(list_command, ["--kind", "profile", "--json"]).output)
    names = [row["name"] for row in listed["profiles"]]
    assert {"nnunet", "brats2023", "brats2026", "topcow", "autopet"} <= set(names)
    assert names == [record.name for record in medloss.profiles.list_profiles()]
    card = CliRunner().invoke(info_command, ["topcow"]).output
    assert "hausdorff95" in card
    assert "MergedBin = 1 + 2" in card


# Beside what a user says


def settled(profile, **said):
    inputs = {name: said.pop(name) for name in [*said] if hasattr(InputSettings(), name)}
    return Settings.of(InputSettings(**inputs), Definition(profile=profile, **said))


def test_a_profile_fills_in_and_gives_way_only_as_it_says():
    profile = {**MINE, "preset": "exact", "metrics": ["dice"], "labels": {"a": 1, "b": 2}}
    plain = settled(profile)
    assert plain.definition.preset == "exact"
    assert plain.plan().labels == {1: "a", 2: "b"}
    assert plain.profile.changed == ()
    assert settled(profile, preset="exact", labels="1=a,2=b").profile.changed == ()  # the same
    with pytest.raises(ValueError, match="--preset: the profile mine says exact, and does not all"):
        settled(profile, preset="monai")
    with pytest.raises(ValueError, match="--labels: the profile mine says a=1,b=2, and does not"):
        settled(profile, labels="1=a")
    allowing = settled({**profile, "allow": ["preset"]}, preset="monai")
    assert allowing.plan().preset == "monai"
    assert allowing.profile.changed == ("preset is monai instead of exact",)
    beside = settled(profile, metrics=("dice", "jaccard"), ignore_label=9)
    assert [metric.column for metric in beside.plan().metrics] == ["dice", "jaccard"]
    assert beside.profile.changed == (
        "ignore_label is 9, of which the profile says nothing",
        "beside its metrics: jaccard",
    )


def test_matching_and_tolerances_reach_the_metrics_that_have_them():
    plan = settled(
        {
            **MINE,
            "metrics": [
                "dice",
                "normalized_surface_dice",
                {
                    "name": "normalized_surface_dice",
                    "options": {"tolerance_mm": 1},
                    "column": "near",
                },
                "lesion_f1",
            ],
            "matching": {"matching": "iou@0.5"},
            "tolerances": {"mm": 3},
        }
    ).plan()
    options = {metric.column: dict(metric.options) for metric in plan.metrics}
    assert options["normalized_surface_dice"]["tolerance_mm"] == 3
    assert options["near"]["tolerance_mm"] == 1
    assert options["lesion_f1"]["matching"] == "iou@0.5"
    each = {**MINE, "labels": {"a": 1, "b": 2, "c": [1, 2]}, "metrics": ["normalized_surface_dice"]}
    (metric,) = settled({**each, "tolerances": {"mm": 3, "by_label": {"B": 1}}}).plan().metrics
    names = [(1, "a"), (2, "b"), ("c", "")]
    assert [metric.for_label(*name).options["tolerance_mm"] for name in names] == [3, 1, 3]
    more = "boundary_iou:width_mm={a:1,b:2,c:3}"
    plan = settled({**each, "tolerances": {"mm": 3, "by_label": {"b": 1}}}, metrics=(more,)).plan()
    assert [metric.record.name for metric in plan.metrics][1:] == ["boundary_iou"]
    with pytest.raises(ValueError, match=r"matching\.conectivity: no metric here has that option"):
        settled({**MINE, "metrics": ["lesion_f1"], "matching": {"conectivity": "faces"}})


def test_a_mean_over_what_is_not_there_is_refused_before_any_work():
    mean = {"name": "both", "labels": ["a", "x"]}
    profile = {**MINE, "labels": {"a": 1}, "averages": [mean]}
    said = r"both goes over the label x, and there is none .* \(with the profile mine\)"
    with pytest.raises(ValueError, match=said):
        settled(profile).plan()
    mean = {"name": "both", "metrics": ["jaccard"]}
    with pytest.raises(ValueError, match="both goes over the metric jaccard"):
        settled({**MINE, "metrics": ["dice"], "averages": [mean]}).plan()


# In every result


def test_name_and_hash_stand_in_every_result(tmp_path):
    reference = np.zeros((8, 8, 8))
    reference[2:6, 2:6, 2:6] = 1
    for name in "ab":
        write(tmp_path / "ref" / f"{name}.nii.gz", reference)
        write(tmp_path / "pred" / f"{name}.nii.gz", np.roll(reference, 1, 0))
    sides = tmp_path / "pred", tmp_path / "ref"
    first = run(*sides, "--profile", "nnunet", "--output", tmp_path / "out")
    assert first.exit_code == 0, first.output
    sha = read_profile("nnunet").sha256
    assert f"Profile: nnunet ({sha[:12]})" in first.output
    head, row, *_ = (tmp_path / "out/cases.csv").read_text().splitlines()
    assert (head.split(",")[-1], row.split(",")[-1]) == ("profile", f"nnunet {sha}")
    table = read_folder(tmp_path / "out")
    assert (table.profile["name"], table.profile["sha256"]) == ("nnunet", sha)
    assert f"nnunet ({sha[:12]})" in (tmp_path / "out/report.html").read_text()
    averages = json.loads((tmp_path / "out/summary.json").read_text())["averages"]
    assert averages[0]["value"] == pytest.approx(0.75)
    again = run(*sides, "--profile", "totalsegmentator", "--output", tmp_path / "out", "--resume")
    assert again.exit_code == 2
    assert "holds a study with another" in again.output
    other = run(*sides, "-m", "dice", "-m", "jaccard", "--output", tmp_path / "other")
    assert other.exit_code == 0
    words = [str(tmp_path / "out"), str(tmp_path / "other"), "--common-metrics"]
    compared = CliRunner().invoke(compare_command, words)
    assert compared.exit_code == 2
    assert "the profile's name differs: nnunet in out, None in other" in compared.output


# Official numbers


def counts(tp, fp, fn):
    """Two maps of one row with these counts."""
    reference, prediction = np.zeros((2, 3000), np.uint8)
    reference[: tp + fn] = 1
    prediction[:tp] = prediction[tp + fn : tp + fn + fp] = 1
    return prediction.reshape(10, 30, 10), reference.reshape(10, 30, 10)


def test_nnunets_mean_is_of_cases_then_labels_and_the_other_order_is_another_number():
    classes = [
        [(900, 100, 100), (50, 50, 0), (0, 5, 0)],
        [(0, 0, 10), (0, 0, 0), (8, 2, 2)],
    ]
    maps = []
    for one, two in zip(*classes, strict=True):
        of_two = np.multiply(2, counts(*two))
        maps.append([np.concatenate(pair) for pair in zip(counts(*one), of_two, strict=True)])
    given = [m[0] for m in maps], [m[1] for m in maps]
    labels = {"A": 1, "B": 2}
    found = medloss.evaluate(*given, profile="nnunet", labels=labels, spacing_mm=1)
    assert found.mean("dice", 1) == pytest.approx(0.52222, abs=5e-6)
    assert found.mean("dsc[1]") == found.mean("dice", 1)
    with pytest.raises(ValueError, match="expected one of"):
        found.mean("dice[1]", 2)
    assert found.averages[0].value == pytest.approx(0.46111, abs=5e-6)
    mean = {"name": "mean of labels", "first": "labels"}
    other = medloss.evaluate(
        *given,
        profile={**MINE, "metrics": ["dice"], "averages": [mean]},
        labels=labels,
        spacing_mm=1,
    )
    assert other.averages[0].value == pytest.approx(0.50556, abs=5e-6)
    absent = medloss.evaluate(*given, profile="nnunet", labels={"A": 1, "C": 3}, spacing_mm=1)
    assert math.isnan(absent.averages[0].value)


def test_brats_samples_as_the_official_program_prints_them():
    words = (SAMPLES / "pred", SAMPLES / "ref")
    found = medloss.evaluate(*words, profile="brats2026:mets:official")
    expected = {
        "lesionwise_dsc": 0.58020,
        "lesionwise_hd95": 94.8061,
        "lesionwise_nsd": 0.64544,
        "all_instance_tp": 6,
        "all_instance_fp": 1,
        "all_instance_fn": 2,
        "large_instance_f1": 0.85714,
        "global_dsc": 0.68408,
        "global_hd95": 33.5261,
        "global_nsd": 0.32471,
    }
    case = next(each for each in found.table.cases if each.name == "00132")
    values = {name: case.values["3", name].value for name in expected}
    assert values == pytest.approx(expected, abs=5.1e-5)
    assert "brats-evaluation 0.0.10" in found._repr_html_()
    right = medloss.evaluate(*words, profile="brats2026:goat", only="00630")
    (case,) = right.table.cases
    assert case.values["3", "lesionwise_hd95"].value == pytest.approx(1.0844, abs=5.1e-5)
    old = medloss.evaluate(*words, profile="brats2023:met", only="00132")
    (case,) = old.table.cases
    assert [case.values["WT", f"lesion_{x}"].value for x in ("dice", "hausdorff95")] == (
        pytest.approx([0.51831, 95.4272], abs=5.1e-5)
    )


def test_topcows_own_shapes_and_class_averages():
    pytest.importorskip("skimage")
    cubes = np.zeros((2, 8, 8, 8), np.uint8)
    for label in range(8):
        place = tuple(
            slice(4 * bit, 4 * bit + 4) for bit in (label >> 2, label >> 1 & 1, label & 1)
        )
        cubes[(slice(None), *place)] = label + 1
    cubes[0][cubes[0] == 4] = 0
    cubes[0, 1:3, 1:3, 5:7] = cubes[0, 4:8, 1:3, 5:7] = cubes[0, 4:8, 5:7, 5:7] = 0
    donut = np.zeros((2, 9, 7, 5), np.uint8)
    donut[:, 2:5, 2:6, 1:4] = 1
    donut[:, 2:5, 3:5, 2] = 0
    donut[0, 2:5, 2:6, 3] = 6
    sides = [{"cubes": cubes[x], "donut": donut[x]} for x in (0, 1)]
    found = medloss.evaluate(*sides, profile="topcow", spacing_mm=1)
    values = {(each.name, each.measure.name): each.value for each in found.averages}
    # aggregates of the official test, expected_e2e_test_metrics.json
    assert values["class average", "dice"] == pytest.approx(0.6029761904761904)
    assert values["class average", "betti0_error"] == 0.3125
    assert values["class average", "hausdorff95"] == pytest.approx(28.603553384542465)
    assert values["group 2 detection F1", "jaccard"] == 0.25
    assert found.mean("dice", "MergedBin") == pytest.approx(0.9434782608695652)
    assert found.mean("hausdorff95", "MergedBin") == 1.0
    assert found.mean("betti0_error", "MergedBin") == 0
    assert found.mean("cl_dice", "MergedBin") == 0.5  # thinning leaves nothing of the cubes
    assert "TopCoW 2024, segmentation" in found._repr_html_()


def test_autopets_volumes_and_its_script_beside_its_rules():
    reference, prediction = np.zeros((2, 20, 20, 20), np.uint8)
    reference[2:6, 2:6, 2:6] = reference[10:12, 10:12, 10:12] = 1
    prediction[5:9, 2:6, 2:6] = prediction[15:18, 15:18, 15:18] = prediction[18, 18, 18] = 1
    empty = np.zeros_like(reference)
    sides = (
        {"a": prediction, "p0": empty, "r0": prediction},
        {"a": reference, "p0": reference, "r0": empty},
    )
    rows = {}
    for profile in ("autopet", "autopet:official"):
        found = medloss.evaluate(*sides, profile=profile, spacing_mm=(4, 4, 3))
        for case in found.table.cases:
            rows[profile, case.name] = [result.value for result in case.results]
    assert rows["autopet", "a"] == pytest.approx([0.19512, 1344, 384], abs=5e-6)
    assert rows["autopet", "p0"] == pytest.approx([0, 0, 3456])
    assert math.isnan(rows["autopet", "r0"][0])
    assert rows["autopet", "r0"][1:] == pytest.approx([4416, 0])
    assert rows["autopet:official", "r0"] == pytest.approx([0, 4416, 0])


def test_totalsegmentator_leaves_out_what_the_reference_has_not():
    reference = np.zeros((12, 12, 12), np.uint8)
    reference[2:8, 2:8, 2:8] = 1
    shifted = np.roll(reference, 2, 0)
    found = medloss.evaluate(
        {"a": shifted, "b": shifted}, {"a": reference, "b": 0 * reference},
        profile="totalsegmentator", labels={"liver": 1}, spacing_mm=1.5,
    )  # fmt: skip
    assert found.mean("surface_dice_3") == 1.0
    (line, _) = found.table.lines
    assert (line.n, line.not_used) == (1, 1)
