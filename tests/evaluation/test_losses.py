from __future__ import annotations

import numpy as np
import pytest
import torch

import medloss
from medloss.evaluation.inputs.pairing import pair_paths
from medloss.evaluation.losses import choose_loss
from medloss.evaluation.requests import parse_request
from medloss.evaluation.score import EvalPlan, evaluate
from medloss.offers.host import PluginError

SPACING = (1.0, 2.0, 3.0)
NAMES = ["dice", "focal_tversky:fn_weight=0.6,fp_weight=0.4", "boundary"]


def run(prediction, reference, *names):
    study = EvalPlan((), losses=tuple(choose_loss(parse_request(name)) for name in names))
    return next(evaluate(pair_paths(prediction, reference), study))


@pytest.fixture
def labels() -> np.ndarray:
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[1:4, 2:5, 2:6] = 1
    labels[4:6, 2:5, 2:6] = 2
    return labels


def direct(name: str, probabilities: np.ndarray, labels: np.ndarray) -> float:
    request = parse_request(name)
    loss = medloss.loss(request.name, **dict(request.options))
    inputs = torch.from_numpy(np.moveaxis(probabilities, -1, 0).copy()).float()[None]
    target = torch.from_numpy(labels.astype(np.int64))[None, None]
    return float(loss(inputs, target, spacing_mm=SPACING))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_probability_maps_give_the_value_of_the_loss_itself(save, labels, suffix):
    noise = np.random.default_rng(0).random((*labels.shape, 3)) + np.eye(3)[labels]
    soft = (noise / noise.sum(-1, keepdims=True)).astype(np.float32)
    prediction = save(f"p/a{suffix}", soft, SPACING, classes=True)
    case = run(prediction, save("r/a.nii", labels, SPACING), *NAMES)
    assert not case.error
    assert [r.label for r in case.results] == [None] * len(NAMES)
    assert [r.column for r in case.results] == [
        "dice_loss",
        "focal_tversky_loss[fn_weight=0.6,fp_weight=0.4]",
        "boundary_loss",
    ]
    expected = [direct(name, soft, labels) for name in NAMES]
    assert [r.value for r in case.results] == pytest.approx(expected, rel=1e-6)


def test_label_maps_are_probabilities_of_zero_and_one(save, labels):
    moved = np.roll(labels, 1, axis=0)
    moved[moved == 2] = 3
    case = run(save("p/a.nii", moved, SPACING), save("r/a.nii", labels, SPACING), *NAMES)
    expected = [direct(name, np.eye(4)[moved], labels) for name in NAMES]
    assert [r.value for r in case.results] == pytest.approx(expected, rel=1e-6)


def test_a_perfect_label_map_has_no_dice_loss(save, labels):
    case = run(save("p/a.nii", labels), save("r/a.nii", labels), "dice")
    assert case.results[0].value == pytest.approx(0, abs=1e-5)


def test_empty_label_maps_have_two_classes_and_not_one(save):
    empty = np.zeros((3, 4, 5), np.uint8)
    case = run(save("p/a.nii", empty), save("r/a.nii", empty), "dice")
    assert case.results[0].value == pytest.approx(0, abs=1e-5)


def test_one_channel_is_the_probability_of_label_one(save, labels):
    binary = (labels == 1).astype(np.uint8)
    soft = (0.2 + 0.6 * binary[..., None]).astype(np.float32)
    case = run(save("p/a.nii", soft, SPACING), save("r/a.nii", binary, SPACING), "dice")
    assert case.results[0].value == pytest.approx(direct("dice", soft, binary), rel=1e-6)


def test_too_few_channels_fail_the_case_in_one_sentence(save, labels):
    soft = np.full((*labels.shape, 2), 0.5, np.float32)
    case = run(save("p/a.nii", soft), save("r/a.nii", labels), "dice")
    assert "dice_loss: " in case.error
    assert "\n" not in case.error


def test_huge_label_numbers_are_refused_before_memory_is_taken(save):
    labels = np.full((40, 40, 40), 60000, np.uint16)
    case = run(save("p/a.nii", labels), save("r/a.nii", labels), "dice")
    assert "60001 classes" in case.error
    assert "14.3 GiB" in case.error


def test_losses_that_give_more_than_one_value_are_refused(save, labels):
    case = run(save("p/a.nii", labels), save("r/a.nii", labels), "dice:reduction='none'")
    assert "gives 3 values, not one" in case.error


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("dicee", PluginError, "did you mean"),
        ("dice:softmax=true", ValueError, "probabilities already, drop 'softmax'"),
        ("dice:smoooth=1", ValueError, "no option 'smoooth'"),
        ("dice:reduction=max", ValueError, "dice: .*reduction"),
    ],
)
def test_wrong_losses_are_refused_before_the_work(name, kind, words):
    with pytest.raises(kind, match=words):
        choose_loss(parse_request(name))
