from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from medloss.evaluation.inputs import case_pair as inputs_module
from medloss.evaluation.inputs.pairing import pair_paths
from medloss.evaluation.requests import DEFAULT_METRICS, choose_metric, parse_request
from medloss.evaluation.score import EvalPlan, check_options, complete, evaluate, plan_labels
from medloss.offers.host import PluginError
from medloss.scoring import EmptyPolicy

SPACING = (1.0, 2.0, 3.0)


def boxes() -> tuple[np.ndarray, np.ndarray]:
    """Prediction and reference: label 1 moved by 2 voxels of 1 mm, label 2 by 1 voxel of 3 mm."""
    prediction, reference = np.zeros((2, 14, 20, 10), dtype=np.uint8)
    reference[2:6, 2:6, 2:5] = 1
    prediction[4:8, 2:6, 2:5] = 1
    reference[2:6, 12:16, 2:6] = 2
    prediction[2:6, 12:16, 3:7] = 2
    return prediction, reference


def metrics(*names: str):
    return tuple(choose_metric(parse_request(name)) for name in names or DEFAULT_METRICS)


def run(prediction: Path, reference: Path, study: EvalPlan | None = None):
    study = study or EvalPlan(metrics())
    return complete(evaluate(pair_paths(prediction, reference), study), study)


def values(case) -> dict[tuple[int | None, str], float]:
    return {(result.label, result.column): result.value for result in case.results}


def statuses(case) -> dict[int | None, str]:
    return {result.label: result.status for result in case.results}


SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_known_values_in_millimetres_from_every_format(save, suffix):
    prediction, reference = boxes()
    case = run(save(f"p/a{suffix}", prediction, SPACING), save(f"r/a{suffix}", reference, SPACING))[
        0
    ]
    found = values(case)
    assert not case.error
    assert case.spacing_mm == pytest.approx(SPACING)
    assert case.shape == (14, 20, 10)
    assert found[1, "dice"] == pytest.approx(0.5)
    assert found[1, "sensitivity"] == pytest.approx(0.5)
    assert found[1, "specificity"] == pytest.approx(1 - 24 / (2800 - 48))
    assert found[1, "hausdorff95"] == pytest.approx(2.0)
    assert found[2, "dice"] == pytest.approx(0.75)
    assert found[2, "hausdorff95"] == pytest.approx(3.0)
    assert set(statuses(case).values()) == {"ok"}


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_formats_can_be_mixed_on_an_oblique_grid(save, oblique, suffix):
    prediction, reference = boxes()
    p, r = save("p/a.nii", prediction, oblique), save("r/a.nii", reference, oblique)
    expected = values(run(p, r)[0])
    other = run(p, save(f"s/a{suffix}", reference, oblique))[0]
    assert not other.error
    assert values(other) == pytest.approx(expected, rel=1e-6)


def test_a_label_of_another_case_has_a_row_in_every_case(save):
    prediction, reference = boxes()
    save("p/a.nii", prediction, SPACING)
    save("r/a.nii", reference, SPACING)
    save("p/b.nii", np.where(prediction == 1, prediction, 0), SPACING)
    save("r/b.nii", np.where(reference == 1, 7, 0).astype(np.uint8), SPACING)
    folder = save("r/b.nii", np.where(reference == 1, 7, 0).astype(np.uint8), SPACING).parent
    study = EvalPlan(metrics())
    first, second = run(folder.parent / "p", folder, study)
    assert statuses(first) == {1: "ok", 2: "ok", 7: "both_empty"}
    assert statuses(second) == {1: "spurious", 2: "both_empty", 7: "missed"}
    assert list(statuses(second)) == [1, 2, 7]
    assert math.isnan(values(second)[2, "dice"])
    assert len(first.results) == len(second.results) == 18


@pytest.mark.parametrize("both_empty", ["exclude", "perfect"])
def test_labels_found_or_asked_for_give_the_same_rows(save, both_empty):
    prediction, reference = boxes()
    save("p/a.nii", prediction, SPACING)
    save("r/a.nii", reference, SPACING)
    save("p/b.nii", np.zeros_like(prediction), SPACING)
    folder = save("r/b.nii", np.where(reference == 1, 1, 0).astype(np.uint8), SPACING).parent
    policy = EmptyPolicy(both_empty=both_empty)
    found = run(folder.parent / "p", folder, EvalPlan(metrics(), policy=policy))
    asked = run(
        folder.parent / "p", folder, EvalPlan(metrics(), labels={1: "", 2: ""}, policy=policy)
    )
    for one, other in zip(found, asked, strict=True):
        assert repr(one.results) == repr(other.results)  # as text, NaN equals NaN


def test_labels_keep_the_order_and_the_choice_of_the_user(save):
    prediction, reference = boxes()
    study = EvalPlan(metrics("dice"), labels={5: "", 1: "one"})
    cases = run(save("p/a.nii", prediction), save("r/a.nii", reference), study)
    assert statuses(cases[0]) == {5: "both_empty", 1: "ok"}
    assert plan_labels(cases, study) == (5, 1)


def test_a_missed_label_counts_what_the_policy_says(save):
    prediction, reference = boxes()
    prediction[prediction == 2] = 0
    p, r = save("p/a.nii", prediction, SPACING), save("r/a.nii", reference, SPACING)
    chosen = metrics("dice", "hausdorff95", "normalized_surface_dice")
    found = {}
    for missed in ("diagonal", "inf", "exclude"):
        (case,) = run(p, r, EvalPlan(chosen, policy=EmptyPolicy(missed=missed)))
        assert statuses(case)[2] == "missed"
        found[missed] = [values(case)[2, metric.column] for metric in chosen]
    corner = math.dist((0, 0, 0), (14, 40, 30))
    assert found["diagonal"][0] == found["diagonal"][2] == 0.0
    assert corner * 0.9 < found["diagonal"][1] < corner * 1.1
    assert found["inf"] == [0.0, math.inf, 0.0]
    assert math.isnan(found["exclude"][1])


def test_one_broken_case_does_not_stop_the_others(save, tmp_path):
    prediction, reference = boxes()
    for name in ("a", "b", "c"):
        save(f"p/{name}.nii.gz", prediction, SPACING)
        save(f"r/{name}.nii.gz", reference, SPACING if name != "c" else (1.0, 2.0, 2.0))
    (tmp_path / "p" / "a.nii.gz").write_bytes(b"\x1f\x8b")
    first, second, third = run(tmp_path / "p", tmp_path / "r")
    assert "a.nii.gz is truncated" in first.error
    assert not first.results
    assert not second.error
    assert third.error.startswith("prediction and reference differ in spacing")


def test_a_defect_of_a_metric_fails_the_case_with_its_name(save):
    prediction, reference = boxes()

    def broken(counts):
        raise ZeroDivisionError("division by zero")

    (metric,) = metrics("dice")
    study = EvalPlan((dataclasses.replace(metric, function=broken),))
    (case,) = run(save("p/a.nii", prediction), save("r/a.nii", reference), study)
    assert case.error == "ZeroDivisionError: division by zero"
    assert "in broken" in case.trace


def test_each_file_is_read_once_and_one_case_at_a_time(save, monkeypatch):
    prediction, reference = boxes()
    for name in ("a", "b"):
        save(f"p/{name}.nii", prediction)
        folder = save(f"r/{name}.nii", reference).parent
    read = []
    real = inputs_module.read_image
    monkeypatch.setattr(
        inputs_module, "read_image", lambda p, **how: read.append(p.stem) or real(p, **how)
    )
    study = EvalPlan(metrics())
    results = evaluate(pair_paths(folder.parent / "p", folder), study)
    next(results)
    assert read == ["a", "a"]
    next(results)
    assert read == ["a", "a", "b", "b"]


def test_probability_maps_are_scored_by_their_likeliest_class(save):
    prediction, reference = boxes()
    hot = np.eye(3, dtype=np.float32)[prediction] * 0.4 + 0.2
    study = EvalPlan(metrics("dice", "hausdorff95"))
    truth = save("r/a.nii", reference, SPACING)
    (soft,) = run(save("s/a.nii.gz", hot, SPACING), truth, study)
    (hard,) = run(save("p/a.nii.gz", prediction, SPACING), truth, study)
    assert not soft.error
    assert soft.results == hard.results


def test_images_in_two_dimensions(save):
    prediction, reference = boxes()
    p = save("p/a.nii", prediction[:, :, 3], np.diag([1.0, 2.0, 3.0, 1.0]))
    r = save("r/a.nrrd", reference[:, :, 3], np.diag([1.0, 2.0, 3.0, 1.0]))
    (case,) = run(p, r)
    assert not case.error
    assert values(case)[1, "dice"] == pytest.approx(0.5)
    assert values(case)[1, "hausdorff95"] == pytest.approx(2.0)


def test_options_reach_the_metric(save):
    prediction, reference = boxes()
    names = [f"normalized_surface_dice:tolerance_mm={mm}" for mm in (0.5, 2)]
    chosen = metrics(*names)
    (case,) = run(
        save("p/a.nii", prediction, SPACING), save("r/a.nii", reference, SPACING), EvalPlan(chosen)
    )
    found = values(case)
    assert found[1, "normalized_surface_dice[tolerance_mm=2]"] == pytest.approx(1.0)
    assert 0 < found[1, "normalized_surface_dice[tolerance_mm=0.5]"] < 1


def test_unknown_metrics_and_options_are_refused():
    with pytest.raises(PluginError, match="dice"):
        metrics("dicee")
    with pytest.raises(ValueError, match=r"no option 'tolerance'; it has .*tolerance_mm"):
        metrics("normalized_surface_dice:tolerance=2")
    with pytest.raises(ValueError, match=r"no option 'x'"):
        metrics("dice:x=2")


def test_values_that_a_metric_refuses_are_found_before_the_work():
    study = EvalPlan(metrics("normalized_surface_dice:tolerance_mm=-1"))
    with pytest.raises(ValueError, match=r"normalized_surface_dice\[tolerance_mm=-1\]: "):
        check_options(study)
    check_options(EvalPlan(metrics("normalized_surface_dice:tolerance_mm=1")))


def test_two_maps_of_nothing_but_background_have_no_rows(save):
    empty = np.zeros((3, 3, 3), np.uint8)
    (case,) = run(save("p/a.nii", empty), save("r/a.nii", empty))
    assert not case.error
    assert case.results == ()


def test_a_real_pair(data_dir):
    folder = data_dir / "totalsegmentator"
    (case,) = run(folder / "example_seg.nii.gz", folder / "example_seg_fast.nii.gz")
    assert not case.error
    found = values(case)
    assert len(statuses(case)) >= 40  # the header names more labels than the voxels have
    assert all(0 <= v <= 1 or v != v for (_, column), v in found.items() if column == "dice")
    assert sum(v > 0.8 for (_, column), v in found.items() if column == "dice") > 20


def test_a_real_pair_on_different_grids(data_dir):
    folder = data_dir / "totalsegmentator"
    (case,) = run(
        folder / "example_seg_fast.nii.gz", folder / "example_seg_fast_force_split.nii.gz"
    )
    assert "differ in shape: 122 x 101 x 30 against 122 x 101 x 112" in case.error


def test_real_labels_against_a_copy_moved_by_one_voxel(data_dir, save):
    import nibabel

    source = data_dir / "Task04_Hippocampus" / "labelsTr" / "hippocampus_004.nii.gz"
    image = nibabel.load(source)
    moved = np.roll(np.asanyarray(image.dataobj), 1, axis=0)
    (case,) = run(save("p/hippocampus_004.nii.gz", moved, image.affine), source)
    assert not case.error
    found = values(case)
    for label in (1, 2):
        assert 0.7 < found[label, "dice"] < 1
        assert found[label, "hausdorff95"] <= 1.0 + 1e-9
        assert found[label, "normalized_surface_dice"] == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["brain1", "brain2", "breast1"])
def test_real_lesions_in_nrrd_against_a_nifti_copy(data_dir, save, name):
    from medloss.evaluation.reading.images import read_image

    source = data_dir / "lesions" / f"{name}_label.nrrd"
    image = read_image(source)
    copy = save(f"p/{name}_label.nii.gz", image.array, image.affine)
    (case,) = run(copy, source)
    assert not case.error
    assert {v for (_, column), v in values(case).items() if column == "dice"} == {1.0}
    assert {v for (_, column), v in values(case).items() if column == "hausdorff95"} == {0.0}
