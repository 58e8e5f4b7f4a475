"""Objectness, classes, and the whole loss of a detector the YOLOv7 way."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from torch import Tensor
from torch.nn import functional as F

import medloss
from medloss_detection.anchors import AnchorPyramid
from medloss_detection.objectness import (
    ObjectnessLoss,
    classification_loss,
    focal_bce,
    iou_targets,
)
from medloss_detection.yolo import YoloLoss

LN2 = math.log(2)


def test_iou_targets() -> None:
    overlap = torch.tensor([1.0, 0.25, -0.5], requires_grad=True)
    assert iou_targets(overlap).tolist() == [1.0, 0.25, 0.0]
    assert iou_targets(overlap, 0.0).tolist() == [1.0, 1.0, 1.0]
    assert iou_targets(overlap, 0.5).tolist() == [1.0, 0.625, 0.5]
    assert not iou_targets(overlap).requires_grad


def test_focal_fades_what_is_right() -> None:
    # p = 0.8: t = 1: −log 0.8 · 0.2²; t = 0: −log 0.2 · 0.8²; t = 0.5: the mean of both · 0.5²
    logits, target = torch.full((3,), math.log(4)).double(), torch.tensor([1.0, 0.0, 0.5])
    expected = [
        -math.log(0.8) * 0.2**2,
        -math.log(0.2) * 0.8**2,
        -(math.log(0.8) + math.log(0.2)) / 2 * 0.5**2,
    ]
    assert focal_bce(logits, target, gamma=2.0).tolist() == pytest.approx(expected)
    plain = F.binary_cross_entropy_with_logits(logits, target.double(), reduction="none")
    assert torch.equal(focal_bce(logits, target), plain)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_is_finite_where_logits_saturate(gamma: float) -> None:
    logits = torch.tensor([1e4, -1e4, 1e4, -1e4], requires_grad=True)
    value = focal_bce(logits, torch.tensor([1.0, 0, 0, 1]), gamma)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


def test_classes_with_label_smoothing() -> None:
    # p = 0.8 and 0.5; targets 0.05 and 0.95 with ε = 0.1
    logits = torch.tensor([[math.log(4), 0.0]])
    expected = (-0.05 * math.log(0.8) - 0.95 * math.log(0.2) + LN2) / 2
    labels = torch.tensor([1])
    value = classification_loss(logits, labels, label_smoothing=0.1)
    assert value.item() == pytest.approx(expected)
    plain = (-math.log(0.2) + LN2) / 2
    assert classification_loss(logits, labels).item() == pytest.approx(plain)


def test_one_class_or_no_anchors_cost_nothing_and_keep_the_graph() -> None:
    for shape in ((3, 1), (0, 4)):
        logits = torch.randn(shape, requires_grad=True)
        value = classification_loss(logits, torch.zeros(shape[0], dtype=torch.long))
        assert value.item() == 0
        value.backward()
        assert logits.grad is not None
        assert not logits.grad.any()


def test_balance_weighs_levels() -> None:
    logits, target = torch.zeros(2, 7), torch.zeros(2, 7)
    logits[:, 6] = 100.0  # a sure false positive on the last level
    loss = ObjectnessLoss(levels=3)
    expected = 4.0 * LN2 + 1.0 * LN2 + 0.4 * 100.0
    assert loss(logits, target, (4, 2, 1)).item() == pytest.approx(expected)
    assert ObjectnessLoss(levels=2).level_balance.tolist() == [4.0, 1.0]
    assert ObjectnessLoss(levels=4).level_balance.tolist() == pytest.approx([4.0, 1.0, 0.25, 0.06])
    assert ObjectnessLoss()(logits, target).item() == pytest.approx((6 * LN2 + 100) / 7)
    assert ObjectnessLoss()(logits[:, :0], target[:, :0]).item() == 0


def test_autobalance_follows_the_levels_and_is_kept() -> None:
    loss = ObjectnessLoss(levels=2, balance=(1.0, 1.0), autobalance=True)
    logits = torch.tensor([[0.0, 0.0, math.log(3)]], requires_grad=True)  # LN2 and log 4
    value = loss(logits, torch.zeros(1, 3), (2, 1))
    first, second = 0.9999 + 0.0001 / LN2, 0.9999 + 0.0001 / math.log(4)
    assert loss.level_balance.tolist() == pytest.approx([first / second, 1.0], abs=1e-7)
    assert loss.level_balance[0] > 1, "the level with the lower loss gains weight"
    (gradient,) = torch.autograd.grad(value, logits)
    assert gradient[0].tolist() == pytest.approx([1 / 4, 1 / 4, 3 / 4])  # of the weights before
    kept = ObjectnessLoss(levels=2, autobalance=True)
    kept.load_state_dict(loss.state_dict())
    assert torch.equal(kept.level_balance, loss.level_balance)
    before = loss.level_balance.clone()
    loss.eval()(logits, torch.zeros(1, 3), (2, 1))
    with torch.no_grad():
        loss.train()(logits, torch.zeros(1, 3), (2, 1))
    assert torch.equal(loss.level_balance, before), "only training moves it"
    loss(torch.full((1, 3), -1e4, requires_grad=True), torch.zeros(1, 3), (2, 1))
    assert loss.level_balance.isfinite().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levels": 0}, "levels: expected at least 1"),
        ({"levels": 2, "balance": (1.0,)}, "balance: expected 2 weights"),
        ({"levels": 2, "balance": (1.0, -1.0)}, "balance: expected 2 weights of at least 0"),
        ({"levels": 6}, "balance: expected 6 weights"),
        ({"levels": 2, "reference_level": 2}, "reference_level: expected one of 2 levels"),
        ({"balance": (0.0,), "autobalance": True}, "balance: expected more than 0"),
        ({"gamma": -1.0}, "gamma: expected at least 0"),
    ],
)
def test_objectness_options_are_checked(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ObjectnessLoss(**options)


def test_objectness_shapes_are_checked() -> None:
    loss = ObjectnessLoss(levels=2)
    with pytest.raises(ValueError, match="expected 2 numbers with the sum 3, got"):
        loss(torch.zeros(1, 3), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="expected 2 numbers with the sum 3, got"):
        loss(torch.zeros(1, 3), torch.zeros(1, 3), (2, 2))
    with pytest.raises(ValueError, match="input, target"):
        loss(torch.zeros(1, 3), torch.zeros(1, 4), (2, 1))


def row(classes: int = 2) -> tuple[dict[str, Tensor], dict[str, Tensor], AnchorPyramid]:
    """One image of three cells of 4x4; the true box is the prediction of the second."""
    generator = AnchorGeneratorWithAnchorShape((1,), ((4, 4),))
    anchors = generator(torch.zeros(1, 1, 12, 4), [torch.zeros(1, 1, 3, 1)])[0]
    predictions = {
        "boxes": anchors[None].clone(),
        "class_logits": torch.zeros(1, 3, classes),
        "objectness_logits": torch.zeros(1, 3),
    }
    target = {"boxes": torch.tensor([[4.0, 0, 8, 4]]), "labels": torch.tensor([classes - 1])}
    return predictions, target, AnchorPyramid.of(anchors, [3], 1)


def test_yolo_worked_by_hand() -> None:
    predictions, target, pyramid = row()
    predictions["boxes"][0, 1] = torch.tensor([4.0, 0, 6, 4])  # IoU 1/2
    predictions["objectness_logits"][0, 1] = math.log(3)  # p = 3/4
    predictions["class_logits"][0, 1, 1] = math.log(3)
    loss = YoloLoss(levels=1)
    terms = loss(predictions, [target], pyramid)
    assert list(terms) == ["box", "objectness", "classification"]
    v = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
    box = 1 - 1 / 2 + 1 / 32 + v * v / (1 / 2 + v)
    objectness = (2 * LN2 - (math.log(3 / 4) + math.log(1 / 4)) / 2) / 3
    classification = (LN2 - math.log(3 / 4)) / 2
    expected = [0.05 * box, 0.7 * objectness, 0.3 * classification]
    assert [v.item() for v in terms.values()] == pytest.approx(expected)
    told = loss.breakdown()
    assert told["objectness"].weight == 0.7
    assert told["objectness"].value == pytest.approx(objectness)
    assert [t.weighted for t in told.values()] == pytest.approx(expected)


def test_yolo_learns_the_boxes() -> None:
    predictions, target, pyramid = row()
    torch.manual_seed(0)
    parts = {k: (v + 0.3 * torch.randn(v.shape)).requires_grad_() for k, v in predictions.items()}
    loss = YoloLoss(levels=1, box_weight=1.0)
    optimizer = torch.optim.Adam(parts.values(), 0.1)
    for _ in range(60):
        optimizer.zero_grad()
        total = sum(loss(parts, [target], pyramid).values())
        total.backward()
        optimizer.step()
    assert loss.breakdown()["box"].value < 0.05
    assert parts["objectness_logits"].argmax().item() == 1
    assert parts["class_logits"][0, 1].argmax().item() == 1


@pytest.mark.parametrize("classes", [1, 2])
def test_images_without_matches_are_finite_and_in_the_graph(classes: int) -> None:
    predictions, target, pyramid = row(classes)
    parts = {k: v.clone().requires_grad_() for k, v in predictions.items()}
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    point = {"boxes": torch.tensor([[5.0, 1, 5, 1]]), "labels": torch.tensor([0])}
    for given in (nothing, point):
        terms = YoloLoss(levels=1)(parts, [given], pyramid)
        assert terms["box"].item() == terms["classification"].item() == 0
        assert terms["objectness"].item() == pytest.approx(0.7 * LN2)
        gradients = torch.autograd.grad(sum(terms.values()), [*parts.values()])
        assert all(g.isfinite().all() for g in gradients)
        assert (gradients[2] > 0).all(), "false positives are pushed down"
    terms = YoloLoss(levels=1)(parts, [target], pyramid)
    assert (terms["classification"].item() > 0) == (classes > 1)


def test_iou_ratio_and_other_parts() -> None:
    predictions, target, pyramid = row()
    predictions["boxes"][0, 1] = torch.tensor([4.0, 0, 6, 4])
    hard = YoloLoss(levels=1, iou_ratio=0.0, box_loss=medloss.detection_part("iou"))
    predictions["objectness_logits"][0, 1] = 100.0
    terms = hard(predictions, [target], pyramid)
    assert terms["box"].item() == pytest.approx(0.05 / 2)
    assert terms["objectness"].item() == pytest.approx(0.7 * 2 * LN2 / 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"boxes": None}, "predictions: expected boxes, class_logits, objectness_logits, no boxes"),
        ({"boxes": torch.zeros(1, 2, 4)}, r"predictions: expected boxes \(B, N, 2d\)"),
        ({"objectness_logits": torch.zeros(3)}, r"predictions: expected boxes \(B, N, 2d\)"),
    ],
)
def test_wrong_predictions_are_refused(change: dict[str, Tensor | None], words: str) -> None:
    predictions, target, pyramid = row()
    given = {k: v for k, v in {**predictions, **change}.items() if v is not None}
    with pytest.raises(ValueError, match=words):
        YoloLoss(levels=1)(given, [target], pyramid)


def test_wrong_targets_and_options_are_refused() -> None:
    predictions, target, pyramid = row()
    with pytest.raises(ValueError, match="targets: expected one mapping for each of 1 images, got"):
        YoloLoss(levels=1)(predictions, [target, target], pyramid)
    with pytest.raises(ValueError, match="anchors_per_level: expected 3 numbers"):
        YoloLoss(levels=3)(predictions, [target], pyramid)
    with pytest.raises(ValueError, match="iou_ratio: expected a number in"):
        YoloLoss(iou_ratio=2.0)
    with pytest.raises(ValueError, match="label_smoothing: expected a number in"):
        YoloLoss(label_smoothing=-0.1)
    with pytest.raises(ValueError, match="weight of box: expected at least 0"):
        YoloLoss(box_weight=-1.0)
