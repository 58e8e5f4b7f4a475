"""Bundles are scored as MONAI would predict, and of their files nothing more is executed."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from integrations.bundle_folder import CONFIG, Folder, write_bundle
from torch import nn

import medloss
from medloss.evaluation.inputs.case_pair import CaseOptions
from medloss.evaluation.losses import choose_loss
from medloss.evaluation.records import CaseResult
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.score import EvalPlan
from medloss.integrations.bundle.choice import bundle_to_predict
from medloss.integrations.bundle.evaluate import bundle_pairs, evaluate_bundle
from medloss.integrations.bundle.settings import BundleInference, open_bundle

SOFTMAX = {"_target_": "Activationsd", "softmax": True}
SIGMOID = {"_target_": "Activationsd", "sigmoid": True}
ARGMAX = {"_target_": "AsDiscreted", "argmax": True}
INVERT = {"_target_": "Invertd", "transform": "@preprocessing", "orig_keys": "image"}
LINEAR = {**INVERT, "nearest_interp": False}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(sys, "path", [*sys.path])
    return write_bundle(tmp_path / "tiny")


def read_bundle(root: Path, checkpoint: Path | None = None, **options: Any) -> BundleInference:
    return open_bundle(bundle_to_predict(root, checkpoint=checkpoint, **options), checkpoint)


def study(*losses: str, **options: Any) -> EvalPlan:
    return EvalPlan(
        metrics=tuple(choose_metric(parse_request(name)) for name in ("dice", "hausdorff95")),
        losses=tuple(choose_loss(parse_request(loss)) for loss in losses),
        **options,
    )


def scored(folder: Folder, what: EvalPlan) -> list[CaseResult]:
    bundle = read_bundle(folder.root)
    return [*evaluate_bundle(bundle, bundle_pairs(bundle), what)]


def predictions(folder: Folder, what: EvalPlan | None = None) -> dict[str, np.ndarray[Any, Any]]:
    bundle = read_bundle(folder.root)
    pairs = bundle_pairs(bundle, predictions=folder.root / "out")
    for case in evaluate_bundle(bundle, pairs, what or study()):
        assert not case.error, case.trace
    made = {}
    for pair in pairs:
        assert pair.prediction is not None
        image, label = nib.load(pair.prediction), nib.load(pair.reference)
        np.testing.assert_allclose(image.affine, label.affine, atol=1e-6)
        made[pair.name] = np.asarray(image.dataobj)
    return made


def assert_same_labels(found: dict[str, Any], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, labels in expected.items():
        theirs = labels.movedim(0, -1).squeeze(-1).numpy().astype(np.uint8)
        assert len(np.unique(theirs)) > 1
        np.testing.assert_array_equal(found[name], theirs)


FORMS: dict[str, list[dict[str, Any]]] = {
    "probabilities inverted": [SOFTMAX, LINEAR, ARGMAX],
    "logits inverted": [LINEAR, ARGMAX],
    "probabilities of the nearest voxel": [SOFTMAX, {**INVERT, "nearest_interp": True}, ARGMAX],
    "labels inverted": [SOFTMAX, ARGMAX, {**INVERT, "nearest_interp": True}],
    "labels filtered": [
        SOFTMAX,
        LINEAR,
        ARGMAX,
        {"_target_": "LabelFilterd", "applied_labels": [2]},
    ],
}


@pytest.mark.parametrize("steps", FORMS.values(), ids=FORMS)
def test_labels_are_those_that_monai_writes(folder: Folder, steps: list[dict[str, Any]]) -> None:
    folder.postprocess(*steps)
    found = predictions(folder)
    assert all(labels.dtype == np.uint8 for labels in found.values())
    assert_same_labels(found, folder.monai())


def test_whole_images_are_one_window(folder: Folder) -> None:
    folder.configure(inferer={"_target_": "SimpleInferer"})
    assert_same_labels(predictions(folder), folder.monai())


REGIONS = {"whole": (1, 2), "core": (2,), "rim": (1,)}


@pytest.mark.parametrize("classes", [1, 3])
def test_independent_classes_are_those_that_monai_writes(folder: Folder, classes: int) -> None:
    network = {**CONFIG["network_def"], "out_channels": classes}
    steps = [SIGMOID, LINEAR, {"_target_": "AsDiscreted", "threshold": 0.45}]
    folder.postprocess(*steps, network_def=network)
    folder.train(classes)
    regions = study(labels=dict.fromkeys(REGIONS, ""), regions=REGIONS)
    found = predictions(folder, regions if classes == 3 else study())
    assert_same_labels(found, folder.monai())
    if classes == 1:
        return
    for case in scored(folder, regions):
        reference = np.asarray(nib.load(case.pair.reference).dataobj)
        dice = {r.label: r.value for r in case.results if r.column == "dice"}
        for channel, (name, members) in enumerate(REGIONS.items()):
            p, y = found[case.pair.name][..., channel] > 0, np.isin(reference, members)
            assert dice[name] == pytest.approx(2 * (p & y).sum() / (p.sum() + y.sum()))


def test_scores_are_those_of_the_written_files(folder: Folder) -> None:
    from medloss.evaluation.inputs.pairing import pair_paths
    from medloss.evaluation.score import evaluate

    out = folder.root / "out"
    bundle = read_bundle(folder.root)
    found = [*evaluate_bundle(bundle, bundle_pairs(bundle, predictions=out), study())]
    from_files = [*evaluate(pair_paths(out, folder.root / "data" / "labels"), study())]
    by_name = {case.pair.name: case for case in found}
    assert [case.pair.name for case in found] == ["b", "a"], "in the order of the bundle"
    for case in from_files:
        assert case.results == by_name[case.pair.name].results
        assert case.results
        assert case.spacing_mm == by_name[case.pair.name].spacing_mm
        assert case.spacing_mm == pytest.approx((1.2, 0.8, 1.5))


@pytest.mark.parametrize("ignore", [None, 2])
def test_losses_are_those_of_the_whole_probability_map(folder: Folder, ignore: int | None) -> None:
    what = study("dice_ce", "focal:gamma=1.5", inputs=CaseOptions(ignore_label=ignore))
    whole = folder.monai(until=2)
    for case in scored(folder, what):
        assert not case.error, case.trace
        p = whole[case.pair.name][None].clamp(0, 1)
        y = np.asarray(nib.load(case.pair.reference).dataobj).astype(np.int64)
        y = torch.from_numpy(y)[None, None]
        mask = torch.ones_like(y) if ignore is None else (y != ignore).long()
        values = {r.column: r.value for r in case.results if r.label is None}
        for name, options in (("dice_ce", {}), ("focal", {"gamma": 1.5})):
            expected = medloss.loss(name, **options)(p, y * mask, mask=mask)
            column = f"{name}_loss" + ("[gamma=1.5]" if options else "")
            assert values[column] == pytest.approx(expected.item(), rel=1e-5)


def test_train_and_evaluate_serve_where_there_is_no_inference(folder: Folder) -> None:
    expected = predictions(folder)
    (folder.root / "configs" / "inference.json").unlink()
    validation = {"dataset", "inferer", "postprocessing", "preprocessing"}
    train = {key: value for key, value in CONFIG.items() if key not in validation}
    train["validate"] = {key: CONFIG[key] for key in validation}
    text = json.dumps(train).replace("@preprocessing", "@validate#preprocessing")
    (folder.root / "configs" / "train.json").write_text(text)
    handler = {"_target_": "CheckpointLoader", "load_path": "$@bundle_root + '/models/best.pt'"}
    overlay = {"validate#handlers": [{"_target_": "StatsHandler"}, handler]}
    (folder.root / "configs" / "evaluate.json").write_text(json.dumps(overlay))
    with pytest.raises(ValueError, match=r"best\.pt does not exist; --checkpoint"):
        read_bundle(folder.root)
    (folder.root / "models" / "model.pt").rename(folder.root / "models" / "best.pt")
    found = predictions(folder)
    for name, labels in expected.items():
        np.testing.assert_array_equal(found[name], labels)


def test_overrides_and_weights_of_ones_own(folder: Folder, tmp_path: Path) -> None:
    (folder.root / "data").rename(tmp_path / "elsewhere")
    (folder.root / "models" / "model.pt").rename(tmp_path / "mine.pt")
    bundle = read_bundle(
        folder.root,
        checkpoint=tmp_path / "mine.pt",
        overrides={"dataset_dir": str(tmp_path / "elsewhere"), "inferer#overlap": 0.0},
    )
    assert bundle.score.overlap == 0.0
    assert Path(str(bundle.cases[0]["image"])).parent.parent == tmp_path / "elsewhere"
    assert dict(bundle.source)["checkpoint"] == str(tmp_path / "mine.pt")


def test_references_may_lie_in_a_folder_of_their_own(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    label = folder.root / "data" / "labels" / "a.nii.gz"
    label.rename(tmp_path / "truth" / "a.nii.gz")
    bundle = read_bundle(folder.root)
    case_b, case_a = evaluate_bundle(bundle, bundle_pairs(bundle, tmp_path / "truth"), study())
    assert case_a.results
    assert case_b.error == f"no reference: {tmp_path / 'truth'} holds no image called 'b'"


def test_a_case_that_fails_costs_no_other(folder: Folder) -> None:
    (folder.root / "data" / "images" / "b.nii.gz").write_bytes(b"no image")
    moved = folder.root / "data" / "labels" / "a.nii.gz"
    image = nib.load(moved)
    affine = image.affine + np.array([[0, 0, 0, 9.0], [0] * 4, [0] * 4, [0] * 4])
    labels = np.asarray(image.dataobj)
    case_b, case_a = scored(folder, study())
    assert case_b.error
    assert case_a.results
    nib.save(nib.Nifti1Image(labels, affine), moved)
    _, case_a = scored(folder, study("dice"))
    assert "prediction and reference differ in origin" in case_a.error


def test_only_what_inference_needs_is_built(folder: Folder) -> None:
    """``initialize`` and ``run`` would divide by zero."""
    folder.configure(evaluator={"_target_": "no.such.Evaluator"}, handlers=["$1 / 0"])
    assert predictions(folder)


class Trap:
    """Unpickled, it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_weights_execute_nothing(folder: Folder, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"model": Trap(sprung)}, folder.root / "models" / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt cannot be loaded as weights alone"):
        read_bundle(folder.root)
    (folder.root / "models" / "model.pt").write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    with pytest.raises(ValueError, match=r"model\.pt cannot be loaded as weights alone"):
        read_bundle(folder.root)
    assert not sprung.exists()


def test_weights_of_another_network_are_refused(folder: Folder) -> None:
    folder.train(classes=4)
    with pytest.raises(ValueError, match=r"does not fit network_def: .*size mismatch"):
        read_bundle(folder.root)
    torch.save({"epoch": 3}, folder.root / "models" / "model.pt")
    with pytest.raises(ValueError, match="holds no state_dict of tensors"):
        read_bundle(folder.root)
    torch.save(nn.Conv3d(1, 3, 3).state_dict(), folder.root / "models" / "model.pt")
    assert read_bundle(folder.root)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no network": (
        {"network_def": {"_target_": "no.such.Net"}},
        "network_def cannot be used: .*no",
    ),
    "another inferer": (
        {"inferer": {"_target_": "SliceInferer", "roi_size": [8, 8]}},
        "expected a SlidingWindowInferer, got SliceInferer",
    ),
    "no data": ({"cases": "$[]"}, "its list of cases is empty"),
    "the same name twice": (
        {"cases": [{"image": "x/a.nii.gz"}, {"image": "y/a.nii"}]},
        "two cases are called 'a'",
    ),
    "no image": ({"cases": [{"scan": "x.nii"}]}, "a case has no file under 'image'"),
    "transforms": ({"preprocessing": {"_target_": "NoSuchd"}}, "dataset#transform cannot be used"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_a_configuration_that_cannot_be_used_is_refused(
    folder: Folder, changes: dict[str, Any], message: str
) -> None:
    folder.configure(**changes)
    with pytest.raises(ValueError, match=message):
        bundle_pairs(read_bundle(folder.root))


STEPS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "unknown step": ([SOFTMAX, {"_target_": "Lambdad", "func": "$abs"}, ARGMAX], "has Lambdad"),
    "own activation": ([{"_target_": "Activationsd", "other": "$abs"}], "function of its own"),
    "no threshold": ([SIGMOID, LINEAR], "has a sigmoid; expected a threshold"),
    "neither": ([SOFTMAX, {"_target_": "AsDiscreted"}], "without argmax or threshold"),
    "both": ([{"_target_": "AsDiscreted", "argmax": True, "threshold": 0.5}], "argmax and thresh"),
    "cleaned, then inverted": (
        [ARGMAX, {"_target_": "FillHolesd"}, INVERT],
        "Invertd behind FillHolesd",
    ),
}


@pytest.mark.parametrize(("steps", "message"), STEPS.values(), ids=STEPS)
def test_postprocessing_that_cannot_be_done_row_by_row_is_refused(
    folder: Folder, steps: list[dict[str, Any]], message: str
) -> None:
    folder.postprocess(*steps)
    with pytest.raises(ValueError, match=message):
        read_bundle(folder.root)


def test_losses_that_cannot_be_had_are_refused_before_the_work(folder: Folder) -> None:
    bundle = read_bundle(folder.root)
    pairs = bundle_pairs(bundle)
    with pytest.raises(ValueError, match=r"topk_cross_entropy_loss: .* expected a function of cl"):
        next(evaluate_bundle(bundle, pairs, study("topk_cross_entropy")))
    with pytest.raises(ValueError, match="cannot be remapped"):
        next(evaluate_bundle(bundle, pairs, study("dice", inputs=CaseOptions({1: 2}))))
    folder.postprocess(LINEAR, ARGMAX)
    bundle = read_bundle(folder.root)
    with pytest.raises(ValueError, match="a loss needs probabilities"):
        next(evaluate_bundle(bundle, pairs, study("dice")))
    folder.postprocess(SIGMOID, LINEAR, {"_target_": "AsDiscreted", "threshold": 0.45})
    for case in scored(folder, study("dice")):
        assert "channels of this bundle are independent; leave out --loss" in case.error
    folder.configure()
    for case in scored(folder, study("cross_entropy:weight=[1, 2]")):
        assert "weight: expected 3 values" in case.error


def test_configurations_that_are_missing_are_named(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere is no folder of a bundle"):
        read_bundle(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no configuration called 'other'"):
        read_bundle(folder.root, configs=("other",))
    (folder.root / "configs" / "inference.json").unlink()
    with pytest.raises(ValueError, match=r"holds neither inference\.json .* nor train\.json"):
        read_bundle(folder.root)
