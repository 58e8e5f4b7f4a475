"""`medloss suggest` on label sets of which it is known what they are."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from workbench.suggest import label_sets

from medloss.cli import main
from medloss.offers.host import host
from medloss.workbench.suggest import advice as rules
from medloss.workbench.suggest import reasons
from medloss.workbench.suggest.cases import find_label_maps, read_case, sample
from medloss.workbench.suggest.facts import summarize

PAGE = Path(__file__).parents[3] / "docs" / "suggest.md"


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, ["suggest", *map(str, arguments)])


def advice(*arguments: object) -> dict[str, Any]:
    done = run("--json", *arguments)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def changes(found: dict[str, Any]) -> list[str]:
    return [each["name"] for each in found["changes"]]


def test_compact_organs_need_no_change(tmp_path: Path) -> None:
    found = advice(label_sets.save(tmp_path / "labels", label_sets.organs()))
    assert changes(found) == []
    assert found["notes"] == []
    assert found["baseline"]["config"]["loss"] == {
        "_target_": "medloss.losses.DiceCELoss",
        "softmax": True,
        "include_background": False,
    }


def test_vessels_are_worth_their_centre_lines(tmp_path: Path) -> None:
    found = advice(label_sets.save(tmp_path / "labels", label_sets.vessels()))
    assert changes(found) == ["skeleton_recall"]
    (change,) = found["changes"]
    assert "3.0 voxels (3.0 mm) thick" in change["reason"]
    assert change["config"]["transform_before_cropping"]["classes"] == 2


def test_many_lesions_are_worth_their_own_regions(tmp_path: Path) -> None:
    found = advice(label_sets.save(tmp_path / "labels", label_sets.lesions()))
    assert changes(found) == ["cc_dice_ce"]
    assert "27 parts in the median case" in found["changes"][0]["reason"]


def test_small_uneven_tumours_are_worth_their_hardest_voxels(tmp_path: Path) -> None:
    found = advice(label_sets.save(tmp_path / "labels", label_sets.tumours()))
    assert changes(found) == ["dice_topk"]
    loss = found["changes"][0]["config"]["loss"]
    assert loss["terms"][1] == {"name": "topk_cross_entropy", "k": 0.1}
    assert loss["batch"]  # a case has no tumour
    assert "1 is in 3 of 4 cases" in found["baseline"]["reason"]
    assert any("25% of the cases have no foreground" in note for note in found["notes"])
    assert any("not in every case: 1 in 3 of 4" in note for note in found["notes"])


def test_sizes_that_differ_a_thousandfold(tmp_path: Path) -> None:
    found = advice(label_sets.save(tmp_path / "labels", label_sets.unequal()))
    assert changes(found) == ["dice_focal"]
    assert re.search(r"1 \d{4} times as large as 6", found["changes"][0]["reason"])


def test_many_classes_get_the_fused_head(tmp_path: Path) -> None:
    found = advice(label_sets.save(tmp_path / "labels", label_sets.many_classes()))
    assert changes(found) == []
    assert any("35 classes: `FusedHead`" in note for note in found["notes"])


def test_crumbs_beside_an_organ_are_noted_and_are_no_lesions(tmp_path: Path) -> None:
    labels = label_sets.blank()
    label_sets.put_ball(labels, (20, 20, 20), 12, 1)
    labels[40, 5::10, 44] = 1
    found = advice(label_sets.save(tmp_path / "labels", [labels]))
    assert changes(found) == []
    assert found["facts"]["classes"][0]["parts"] == 6
    assert found["notes"] == ["a tenth of the parts have one or two voxels: 1. Are they meant?"]


def test_one_vessel_among_many_organs_changes_nothing(tmp_path: Path) -> None:
    (labels,) = label_sets.many_classes()
    labels[0:3, 0:3, :] = 36
    found = advice(label_sets.save(tmp_path / "labels", [labels]))
    assert found["facts"]["classes"][-1]["tube_share"] == 1
    assert changes(found) == []


def test_thick_slices_are_noted(tmp_path: Path) -> None:
    folder = label_sets.save(tmp_path / "labels", label_sets.organs(), (0.7, 0.7, 5.0))
    (note,) = advice(folder)["notes"]
    assert "voxels are 7.1 times as long as wide" in note


def test_at_most_two_changes_and_those_that_are_alike_exclude_one_another(tmp_path: Path) -> None:
    maps = []
    for vessel, lesion in zip(label_sets.vessels(), label_sets.lesions(), strict=False):
        labels = np.where(vessel, 1, 2 * lesion).astype(np.uint8)
        labels[:, 40:, :4] = 3 + np.arange(48)[:, None, None] // 16
        maps.append(labels)
    assert changes(advice(label_sets.save(tmp_path / "labels", maps))) == [
        "skeleton_recall",
        "cc_dice_ce",
    ]


def test_a_large_image_pools_the_patches(tmp_path: Path) -> None:
    folder = label_sets.save(tmp_path / "labels", label_sets.organs())
    assert not advice(folder)["baseline"]["config"]["loss"].get("batch")
    found = advice(folder, "--patch-size", "24,24,24")["baseline"]
    assert found["config"]["loss"]["batch"]
    assert "a patch of 24 x 24 x 24 is 12% of the median image" in found["reason"]


def test_regions_overlap(tmp_path: Path) -> None:
    folder = label_sets.save(tmp_path / "labels", label_sets.organs())
    found = advice(folder, "--labels", "whole=1+2,core=2+3")
    assert found["baseline"]["config"]["loss"]["sigmoid"]
    assert not found["facts"]["exclusive"]
    whole, core = found["facts"]["classes"]
    assert whole["voxels"] > core["voxels"]


def test_names_gaps_and_absent_labels(tmp_path: Path) -> None:
    maps = [np.where(labels == 2, 7, labels) for labels in label_sets.organs()]
    folder = label_sets.save(tmp_path / "labels", maps)
    found = advice(folder, "--labels", "1=liver,7=spleen,9=kidney")
    assert [each["name"] for each in found["facts"]["classes"]] == ["liver", "spleen"]
    assert found["notes"][0] == "in none of the 3 cases: 9"
    assert found["notes"][1].startswith("labels are not 1 to 2")


def test_images_of_two_axes(tmp_path: Path) -> None:
    maps = [labels[:, :, 20] for labels in label_sets.vessels()]
    found = advice(label_sets.save(tmp_path / "labels", maps, (1.0, 1.0)))
    assert found["facts"]["axes"] == 2


def test_what_is_printed(tmp_path: Path) -> None:
    folder = label_sets.save(tmp_path / "labels", label_sets.vessels())
    text = run(folder).output
    for words in ("2 label maps", "Baseline: dice_ce", "Change 1: skeleton_recall", "arXiv:2404"):
        assert words in text
    assert "no promise" in text


def test_sampling_is_said(tmp_path: Path) -> None:
    folder = label_sets.save(tmp_path / "labels", label_sets.lesions())
    assert "2 label maps of 3, evenly spread" in run(folder, "--cases", 2).output
    paths = find_label_maps([folder])
    assert sample(paths, 2) == (paths[0], paths[2])
    assert sample(paths, 5) == paths


def test_a_damaged_file_is_told_and_the_others_are_measured(tmp_path: Path) -> None:
    folder = label_sets.save(tmp_path / "labels", label_sets.organs())
    (folder / "case001.nii.gz").write_bytes(b"no image")
    done = run(folder)
    assert done.exit_code == 1
    assert "not used:" in done.output
    assert "case001" in done.output
    assert "2 label maps" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "does not exist"),
        (["."], "holds no image"),
        (["labels", "--patch-size", "9"], "--patch-size"),
        (["labels", "--patch-size", "0,1,1"], "--patch-size"),
        (["labels", "--labels", "9=kidney"], "none of the 3 cases has a class"),
        (["labels", "--labels", "0"], "background"),
    ],
)
def test_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    label_sets.save(tmp_path / "labels", label_sets.organs())
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())


def test_cases_of_two_and_three_axes_do_not_go_together(tmp_path: Path) -> None:
    solid = label_sets.save(tmp_path / "a", label_sets.organs())
    flat = label_sets.save(tmp_path / "b", [label_sets.organs()[0][:, :, 20]], (1.0, 1.0))
    assert "some cases are 2D and some 3D" in run(solid, flat).output


def test_hippocampus(data_dir: Path) -> None:
    found = advice(data_dir / "Task04_Hippocampus" / "labelsTr", "--cases", 10)
    assert changes(found) == []
    assert found["facts"]["available"] == 200
    assert all(6 <= each["thickness_mm"] <= 9 for each in found["facts"]["classes"])


def test_lesions_in_thick_slices(data_dir: Path) -> None:
    found = advice(*sorted((data_dir / "lesions").glob("*_label.nrrd")))
    assert changes(found) == ["dice_topk"]
    assert any("8.3 times as long as wide" in note for note in found["notes"])


def test_torch_is_not_imported(tmp_path: Path) -> None:
    folder = label_sets.save(tmp_path / "labels", label_sets.organs())
    code = (
        "import sys; from medloss.cli import main\n"
        f"try: main(['suggest', {str(folder)!r}])\n"
        "finally: sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_every_config_trains(rule: rules.Rule, tmp_path: Path) -> None:
    make = {
        "skeleton_recall": label_sets.vessels,
        "cc_dice_ce": label_sets.lesions,
        "dice_topk": label_sets.tumours,
        "dice_focal": label_sets.unequal,
    }[rule.name]
    maps = make()
    (change,) = advice(label_sets.save(tmp_path / "labels", maps))["changes"]
    assert change["name"] == rule.name
    parser = ConfigParser(change["config"])
    parser.parse()
    loss = parser.get_parsed_content("loss")
    item: dict[str, Any] = {"label": MetaTensor(maps[0][None, :24, :24, :24], affine=torch.eye(4))}
    if "transform_before_cropping" in change["config"]:
        item = parser.get_parsed_content("transform_before_cropping")(item)
    classes = 7 if rule.name == "dice_focal" else 2
    batch = {key: value[None] for key, value in item.items()}
    batch["image"] = torch.zeros(1, classes, 24, 24, 24, requires_grad=True)
    if "prepare_batch" in change["config"]:
        image, target = parser.get_parsed_content("prepare_batch")(batch)
    else:
        image, target = batch["image"], batch["label"]
    value = loss(image, target)
    value.backward()
    assert value.isfinite()
    assert batch["image"].grad is not None
    assert batch["image"].grad.abs().sum() > 0


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_a_rule_speaks_of_what_is_there(rule: rules.Rule) -> None:
    host().losses.find(rule.name)
    host().metrics.find(rule.judge_by)
    assert rule.whole or host().losses.find(rule.term["name"])
    assert all(each.source for each in rule.evidence)
    assert {*rule.excludes} <= {each.name for each in rules.RULES}
    assert f"`{rule.name}`" in PAGE.read_text(encoding="utf-8")


def test_thresholds_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, value in inspect.getmembers(reasons, lambda each: isinstance(each, int | float)):
        shown = f"{value:.0%}" if 0 < value < 1 else f"{value:g}"
        assert f"| `{name}` | {shown} |" in text, name


def test_measures_of_one_case(tmp_path: Path) -> None:
    labels = label_sets.blank(20)
    labels[2:5, 2:5, :] = 1
    labels[10:14, 10:14, 10:14] = 2
    folder = label_sets.save(tmp_path / "labels", [labels], (1.0, 2.0, 0.5))
    case = read_case(folder / "case000.nii.gz")
    assert case.foreground == 180 + 64
    assert case.shapes[1].volume_mm3 == 180
    assert case.shapes[2].part_mm3 == (64,)
    facts = summarize([case])
    assert facts.anisotropy == 4
    first, second = facts.classes
    assert first.share_of_foreground == 180 / 244
    assert second.share_of_image == 64 / 8000
    assert first.surface_per_volume == (2 * (3 * 10 + 6 * 10) + 2 * 18) / 180
