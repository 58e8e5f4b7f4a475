"""``medloss eval`` with metrics of lesions, of centre lines and of probabilities."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from medloss.cli import main
from medloss.evaluation.inputs.case_pair import CaseOptions
from medloss.evaluation.inputs.pairing import pair_paths
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.score import EvalPlan, check_options, complete, evaluate
from medloss.scoring import EmptyPolicy, Probabilities
from medloss_distribution.metrics import expected_calibration_error

ECE = "expected_calibration_error"
SHAPE = (8, 7, 6)


def metrics(*names):
    return tuple(choose_metric(parse_request(name)) for name in names)


def run(folder, names, **study):
    study = EvalPlan(metrics(*names), **study)
    pairs = pair_paths(folder / "p", folder / "r", probabilities=True)
    return complete(evaluate(pairs, study), study)


def values(case, column=ECE):
    assert not case.error
    return {x.label: x.value for x in case.results if x.column == column}


def softmax(seed, classes=3, shape=SHAPE):
    weights = np.exp(2 * np.random.default_rng(seed).standard_normal((*shape, classes)))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def reference(seed):
    return np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint8)


def direct(predicted, where, **options):
    return pytest.approx(
        expected_calibration_error(Probabilities(predicted, where), **options), rel=1e-5
    )


@pytest.mark.parametrize("kind", ["nifti", "npz"])
def test_probabilities_of_files_are_judged_class_by_class(save, tmp_path, kind):
    p, y = softmax(0), reference(1)
    save("r/a.nii.gz", y)
    if kind == "npz":
        save("p/a.nii.gz", p.argmax(-1).astype(np.uint8))
        np.savez(tmp_path / "p" / "a.npz", probabilities=p.transpose(3, 2, 1, 0))
    else:
        save("p/a.nii.gz", p, classes=True)
    (case,) = run(tmp_path, [ECE])
    assert values(case) == {label: direct(p[..., label], y == label) for label in (1, 2)}
    regions = {"any": (1, 2)}
    (case,) = run(tmp_path, [ECE, "dice"], labels={"any": "any", 0: "", 7: ""}, regions=regions)
    assert values(case) == {
        "any": direct(p[..., 1:].sum(-1), y > 0),
        0: direct(p[..., 0], y == 0),
        7: 0,  # no channel and no voxel
    }


def test_channels_of_their_own_and_a_single_channel(save, tmp_path):
    y = reference(1)
    p = np.random.default_rng(2).random((*SHAPE, 2)).astype(np.float32)
    save("r/a.nii.gz", y)
    save("p/a.nii.gz", p, classes=True)
    regions = {"any": (1, 2), "core": (2,)}
    (case,) = run(
        tmp_path,
        [ECE],
        labels={"any": "any", "core": "core"},
        regions=regions,
        inputs=CaseOptions(channels="independent"),
    )
    assert values(case) == {"any": direct(p[..., 0], y > 0), "core": direct(p[..., 1], y == 2)}
    save("p/a.nii.gz", p[..., :1], classes=True)
    (case,) = run(tmp_path, [ECE], labels={1: "", 0: ""})
    assert values(case) == {
        1: direct(p[..., 0], y == 1),
        0: direct(1 - p[..., 0].astype(np.float64), y == 0),
    }


def test_every_channel_is_a_class_in_every_case(save, tmp_path):
    sure = np.zeros((*SHAPE, 3), np.float32)
    sure[..., 0], sure[..., 2] = 0.75, 0.25
    for name, label in (("a", 0), ("b", 1)):
        save(f"r/{name}.nii.gz", np.full(SHAPE, label, np.uint8))
        save(f"p/{name}.nii.gz", sure, classes=True)
    first, second = run(tmp_path, [ECE])
    assert values(first) == {1: 0, 2: 0.25}  # in neither map, and still not sure
    assert values(second) == {1: 1, 2: 0.25}
    without = run(tmp_path, ["dice"])
    assert [values(case, "dice").keys() for case in without] == [{1}, {1}]


def test_a_class_that_a_case_has_no_channel_for_has_probability_0(save, tmp_path):
    for name, classes in (("a", 1), ("b", 3)):
        save(f"r/{name}.nii.gz", np.zeros(SHAPE, np.uint8))
        stack = np.full((*SHAPE, classes), 1 / max(classes, 4), np.float32)
        stack[..., 0] = 1 - stack[..., 1:].sum(-1) if classes > 1 else 0.25
        save(f"p/{name}.nii.gz", stack, classes=True)
    first, second = run(tmp_path, [ECE])
    assert values(first) == {1: 0.25, 2: 0}
    assert values(second) == {1: 0.25, 2: 0.25}
    _, case = run(tmp_path, [ECE], inputs=CaseOptions(channels="independent"))
    assert values(case) == {1: 0.5, 2: 0.25, 3: 0.25}


def test_label_maps_are_refused_with_the_reason(save, tmp_path):
    y = reference(1)
    save("r/a.nii.gz", y)
    save("p/a.nii.gz", y)
    (case,) = run(tmp_path, ["dice", f"{ECE}:bins=5"])
    assert f"{ECE}[bins=5] needs probabilities, and of {tmp_path / 'p' / 'a.nii.gz'}" in case.error
    assert "labels alone (nnU-Net's .npz is taken with --probabilities)" in case.error


def test_ignored_voxels(save, tmp_path):
    p, y = softmax(0), reference(1)
    y[:3] = 9
    save("r/a.nii.gz", y)
    save("p/a.nii.gz", p, classes=True)
    (case,) = run(tmp_path, [ECE], inputs=CaseOptions(ignore_label=9))
    assert values(case) == {label: direct(p[3:][..., label], y[3:] == label) for label in (1, 2)}


def lesions(save):
    """Case a: three lesions of which two are found, one false; case b: no lesion, two false."""
    y, p = np.zeros((2, 20, 8, 8), np.uint8)
    y[1:4, 1:4, 1:4] = y[8:12, 1:4, 1:4] = y[16:18, 5:7, 5:7] = 1
    p[2:4, 1:4, 1:4] = p[8:12, 1:3, 1:4] = p[0, 7, 7] = 1
    save("r/a.nii.gz", y, (1, 1, 2))
    save("p/a.nii.gz", p, (1, 1, 2))
    q = np.zeros_like(p)
    q[0, 0, 0] = q[9, 1:4, 2] = 1
    save("r/b.nii.gz", np.zeros_like(y), (1, 1, 2))
    save("p/b.nii.gz", q, (1, 1, 2))


def test_lesions_of_a_study_with_printed_settings(save, tmp_path):
    lesions(save)
    names = ["lesion_f1", "lesion_f1:matching=iou@0.5,min_prediction_mm3=4", "lesion_dice"]
    names += ["panoptic_quality", "found_lesions", "missed_lesions", "false_lesions"]
    command = ["eval", str(tmp_path / "p"), str(tmp_path / "r"), "--output", str(tmp_path / "o")]
    result = CliRunner().invoke(main, [*command, *(x for n in names for x in ("-m", n))])
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    for printed in ("matching=overlap", "connectivity=corners", "min_reference_mm3=0"):
        assert printed in text
    found = json.loads((tmp_path / "o" / "summary.json").read_text())
    table = {
        case["case"]: {x["metric"]: x["value"] for x in case["results"]} for case in found["cases"]
    }
    assert table["a"] == pytest.approx(
        {
            "lesion_f1": 2 * 2 / (2 * 2 + 1 + 1),
            "lesion_f1[matching=iou@0.5,min_prediction_mm3=4]": 2 * 2 / (2 * 2 + 0 + 1),
            "lesion_dice": (2 * 18 / (27 + 18) + 2 * 24 / (36 + 24)) / 4,
            "panoptic_quality": (18 / 27 + 24 / 36) / (2 + 1 / 2 + 1 / 2),
            "found_lesions": 2,
            "missed_lesions": 1,
            "false_lesions": 1,
        }
    )
    assert [table["b"][name] for name in ("lesion_f1", "missed_lesions", "false_lesions")] == [
        0,
        0,
        2,
    ]
    options = found["settings"]["metrics"][1]["options"]
    assert options["matching"] == "iou@0.5"
    assert options["connectivity"] == "corners"
    mean = {x["metric"]: x["mean"] for x in found["summary"]}
    assert mean["false_lesions"] == 1.5  # in a scan
    counts = [mean[f"{name}_lesions"] for name in ("found", "missed", "false")]
    assert counts == [1, 0.5, 1.5]
    pooled = 2 * counts[0] / (2 * counts[0] + counts[1] + counts[2])
    assert pooled == 2 * 2 / (2 * 2 + 1 + 3)  # of all lesions of both cases


def test_what_cannot_be_computed_is_known_before_the_work(monkeypatch):
    study = EvalPlan(metrics("panoptic_quality:matching=overlap"))
    with pytest.raises(
        ValueError, match=r"panoptic_quality\[matching=overlap\]: matching: expected"
    ):
        check_options(study)
    check_options(EvalPlan(metrics(f"{ECE}:bins=4", "lesion_dice:dilation_voxels=3")))
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    check_options(EvalPlan(metrics("cl_dice")))
    monkeypatch.setitem(sys.modules, "skimage.morphology", None)
    with pytest.raises(ValueError, match=r"cl_dice: skeletons need scikit-image: the extra"):
        check_options(EvalPlan(metrics("cl_dice")))


def test_brats_2023_policy_counts_an_empty_region_as_perfect(save, tmp_path):
    save("r/a.nii.gz", np.zeros(SHAPE, np.uint8))
    save("p/a.nii.gz", np.zeros(SHAPE, np.uint8))
    (case,) = run(tmp_path, ["lesion_dice"], labels={1: ""}, policy=EmptyPolicy.of("brats2023"))
    assert values(case, "lesion_dice") == {1: 1.0}


def test_a_bundle_keeps_no_probabilities():
    from medloss.integrations.bundle.evaluate import check_losses

    with pytest.raises(ValueError, match=f"{ECE} needs the probabilities of a whole volume"):
        check_losses(None, EvalPlan(metrics("dice", ECE)))
