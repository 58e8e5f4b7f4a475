"""Sample cases of BraTS through the evaluation, against what the official programs print."""

from __future__ import annotations

from pathlib import Path

import pytest

from medloss.evaluation.inputs.pairing import pair_paths
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.score import EvalPlan, evaluate
from medloss.scoring import EmptyPolicy

SAMPLES = Path(__file__).parent / "brats_samples"
NEW = "matching=dice@0.000001"
SEG = f"{NEW},unmatched=excluded"
METS = f"{NEW},min_reference_mm3=20,needs_reference=true"
OLD = "dilation_voxels=1,min_reference_mm3=2.5"
MIST = "matching=near@3,connectivity=edges,min_reference_mm3=10,on_small=spurious"


def scored(preset, *requests, only=""):
    """By case and label: values in the order of the requests; and the notes of the cases."""
    plan = EvalPlan(
        tuple(choose_metric(parse_request(request)) for request in requests),
        labels={"ET": "", "WT": ""},
        regions={"ET": (3,), "WT": (1, 2, 3)},
        policy=EmptyPolicy.of(preset),
        preset=preset,
    )
    pairs = [p for p in pair_paths(SAMPLES / "pred", SAMPLES / "ref") if only in p.name]
    found, notes = {}, set()
    for case in evaluate(pairs, plan):
        assert not case.error
        notes |= {*case.notes}
        for result in case.results:
            found.setdefault((case.name, result.label), []).append(result.value)
    return found, notes


def lesion_wise(rule):
    return [
        f"lesion_dice:{rule}",
        f"lesion_hausdorff95:{rule}",
        f"lesion_normalized_surface_dice:tolerance_mm=voxel,{rule}",
    ]


TABLE = [
    *("dice", "hausdorff95", "normalized_surface_dice:tolerance_mm=0.5"),
    *lesion_wise(SEG),
    *lesion_wise(METS),
    *(f"{name}_lesions:{NEW}" for name in ("found", "false", "missed")),
    f"lesion_f1:min_dice=0.1,{METS}",
]
OFFICIAL = {
    ("00132", "ET"): [
        *(0.68408, 33.5261, 0.32471, 0.77360, 2.0748, 0.86059),
        *(0.58020, 94.8061, 0.64544, 6, 1, 2, 0.85714),
    ],
    ("00132", "WT"): [
        *(0.75648, 31.8434, 0.27758, 0.69108, 2.6588, 0.77520),
        *(0.51831, 95.2441, 0.58140, 6, 1, 1, 0.85714),
    ],
    ("00630", "ET"): [
        *(0.91479, 1.0, 0.66727, 0.86685, 0.8735, 0.95446),
        *(0.87678, 0.8982, 0.97036, 12, 0, 0, 1),
    ],
}


def test_the_official_numbers_under_their_own_name_and_with_a_note():
    found, notes = scored("brats2026_official", *TABLE)
    for place, values in OFFICIAL.items():
        assert found[place] == pytest.approx(values, abs=5.1e-5), place
    (note,) = notes
    assert "voxel sizes in the reverse order" in note


def test_with_the_voxel_sizes_of_the_files_the_numbers_are_right():
    requests = ["hausdorff95", "normalized_surface_dice:tolerance_mm=0.8594", *lesion_wise(SEG)]
    found, notes = scored("brats2026", *requests)
    hd95, nsd, dice, lesion_hd95, lesion_nsd = found["00630", "ET"]
    assert (hd95, nsd) == pytest.approx((1.2154, 0.9337), abs=5.1e-5)
    assert (dice, lesion_hd95, lesion_nsd) == pytest.approx((0.86685, 1.0844, 0.9570), abs=5.1e-5)
    assert not notes


def test_the_rules_of_2023_and_of_mist():
    old, _ = scored("brats2023", *lesion_wise(OLD)[:2], only="00132")
    assert old["00132", "WT"] == pytest.approx([0.51831, 95.4272], abs=5.1e-5)
    assert old["00132", "ET"] == pytest.approx([0.58020, 95.2210], abs=5.1e-5)
    mist, _ = scored("deepmind", *lesion_wise(MIST)[:2], f"lesion_f1:{MIST}", only="00132")
    assert mist["00132", "ET"] == pytest.approx([0.58020, 95.0031, 0.85714], abs=5.1e-5)
