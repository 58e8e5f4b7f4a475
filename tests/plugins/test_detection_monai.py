"""SimOTARetinaNetDetector in MONAI: training, inference, bundle configs."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
import torch
from detection_scenes import Features, scene
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from monai.bundle import ConfigParser
from monai.losses import FocalLoss
from monai.losses.giou_loss import BoxGIoULoss
from torch import Tensor, nn

from medloss.offers.bundle import bundle_config
from medloss.offers.host import host
from medloss_detection.boxes import CIoULoss, DIoULoss, GIoULoss
from medloss_detection.retinanet import SimOTARetinaNetDetector
from medloss_detection.simota import SimOTA


def detector(axes: int = 3, classes: int = 2, **options: Any) -> SimOTARetinaNetDetector:
    torch.manual_seed(0)
    shapes = ((6,) * axes, (10,) * axes)
    network = RetinaNet(axes, classes, len(shapes), Features(axes), size_divisible=8)
    return SimOTARetinaNetDetector(
        network, AnchorGeneratorWithAnchorShape((1, 2), shapes), **options
    )


def detached(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in losses.items()}


@pytest.mark.parametrize("axes", [2, 3])
def test_a_training_step_and_inference(axes: int) -> None:
    found, (images, targets) = detector(axes), scene(axes)
    losses = found(images, targets)
    assert set(losses) == {"classification", "box_regression"}
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in found.parameters())
    found.set_box_selector_parameters(score_thresh=0.0, detections_per_img=5)
    with torch.no_grad():
        detections = found.eval()(images)
    assert [each["boxes"].shape for each in detections] == [(5, 2 * axes)] * 2
    found.set_sliding_window_inferer(roi_size=16)
    with torch.no_grad():
        assert len(found(images, use_inferer=True)) == 2


def test_training_lowers_the_losses() -> None:
    found, (images, targets) = detector(classes=1), scene()
    targets[0]["labels"] = torch.zeros(2, dtype=torch.long)
    optimizer = torch.optim.Adam(found.network.parameters(), 0.01)
    history = []
    for _ in range(15):
        losses = found(images, targets)
        history.append(detached(losses))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert all(history[-1][name] < history[0][name] for name in history[0])


def test_the_losses_are_those_of_monai_for_the_same_matches() -> None:
    """Beside the assignment, only MONAI's own code decides."""
    found, (images, targets) = detector(), scene()
    found.set_box_regression_loss(BoxGIoULoss(), encode_gt=False, decode_pred=True)
    matches: list[Tensor] = []
    assign = found.proposal_matcher

    class Recording(SimOTA):
        def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
            matches.append(assign(*args, **kwargs))
            return matches[-1]

    found.proposal_matcher = Recording()
    ours = detached(found(images, targets))
    assert [int((m >= 0).sum()) > 0 for m in matches] == [True, False]

    class Given(RetinaNetDetector):  # type: ignore[misc]
        proposal_matcher = SimOTA()

        def compute_anchor_matched_idxs(self, *args: Any) -> list[Tensor]:
            return matches

    monai = Given(found.network, found.anchor_generator)
    monai.set_box_regression_loss(BoxGIoULoss(), encode_gt=False, decode_pred=True)
    assert ours == pytest.approx(detached(monai(images, targets)))
    monai.set_box_regression_loss(GIoULoss(), encode_gt=False, decode_pred=True)
    assert ours == pytest.approx(detached(monai(images, targets)), rel=1e-5)


@pytest.mark.parametrize("boxes", [torch.zeros(0, 6), torch.tensor([[5.0, 5, 5, 5, 5, 5]])])
def test_batches_without_a_match_have_a_gradient(boxes: Tensor) -> None:
    found, (images, _) = detector(), scene()
    target = {"boxes": boxes, "labels": torch.zeros(len(boxes), dtype=torch.long)}
    losses = found(images, [target, target])
    assert losses["box_regression"].item() == 0
    assert losses["box_regression"].requires_grad
    sum(losses.values()).backward()
    head = found.network.regression_head.bbox_reg
    assert not head.weight.grad.any()
    assert found.network.classification_head.cls_logits.weight.grad.any()


def test_other_losses_samplers_and_settings_of_monai() -> None:
    found, (images, targets) = detector(assigner=SimOTA(top=3)), scene()
    assert found.proposal_matcher.top == 3
    assert isinstance(found.box_loss_func, CIoULoss)
    found.set_cls_loss(FocalLoss(gamma=2.0))
    found.set_hard_negative_sampler(batch_size_per_image=16, positive_fraction=0.5)
    found.set_box_regression_loss(nn.SmoothL1Loss(), encode_gt=True, decode_pred=False)
    assert all(torch.isfinite(v) for v in found(images, targets).values())
    found.set_target_keys("box", "label")
    renamed = [{"box": t["boxes"], "label": t["labels"]} for t in targets]
    assert all(torch.isfinite(v) for v in found(images, renamed).values())


def test_a_matcher_would_be_ignored_and_is_refused() -> None:
    found = detector()
    with pytest.raises(TypeError, match="set_atss_matcher: SimOTARetinaNetDetector assigns by"):
        found.set_atss_matcher(num_candidates=4)
    with pytest.raises(TypeError, match="set_regular_matcher: SimOTARetinaNetDetector assigns by"):
        found.set_regular_matcher(0.5, 0.4)


def test_anchors_are_exact_under_autocast() -> None:
    found = detector(2)
    images = torch.rand(1, 1, 536, 8)
    boxes = torch.tensor([[509.0, 0, 515, 6]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = found(images, [{"boxes": boxes, "labels": torch.tensor([0])}])
    assert found.anchors[0].dtype == torch.float32
    assert 511.0 in found.anchors[0], "which is 512 in bfloat16"
    assert losses["box_regression"].item() > 0
    assert all(torch.isfinite(v) for v in losses.values())


def test_the_grids_are_read_again_for_another_shape_of_images() -> None:
    found, (images, targets) = detector(), scene()
    found(images, targets)
    first = found._pyramid
    found(images, targets)
    assert found._pyramid is first
    larger = torch.nn.functional.pad(images, (0, 8))
    assert all(torch.isfinite(v) for v in found(larger, targets).values())
    assert found._pyramid is not first


def test_a_bundle_config_builds_and_trains() -> None:
    block = bundle_config(host().detection.find("simota_retinanet"))
    assert block["_target_"] == "medloss.detection.SimOTARetinaNetDetector"
    config = {
        "network": {
            "_target_": "RetinaNet",
            "spatial_dims": 3,
            "num_classes": 2,
            "num_anchors": 1,
            "feature_extractor": {"_target_": "detection_scenes.Features"},
            "size_divisible": 8,
        },
        "anchor_generator": {
            "_target_": "AnchorGeneratorWithAnchorShape",
            "feature_map_scales": [1, 2],
            "base_anchor_shapes": [[6, 6, 6]],
        },
        "box_loss": {"_target_": "medloss.detection.DIoULoss"},
        "detector": {**block, "assigner": {"_target_": "medloss.detection.SimOTA", "top": 5}},
        "detector_ops": [
            "$@detector.set_box_regression_loss(@box_loss, encode_gt=False, decode_pred=True)",
            "$@detector.set_hard_negative_sampler(16, 0.3)",
        ],
    }
    parser = ConfigParser(json.loads(json.dumps(config)))
    found = parser.get_parsed_content("detector")
    parser.get_parsed_content("detector_ops")
    assert found.proposal_matcher.top == 5
    assert isinstance(found.box_loss_func, DIoULoss)
    sum(found(*scene()).values()).backward()
    assert all(p.grad is not None for p in found.parameters())


def test_it_can_be_pickled_after_a_step() -> None:
    found, (images, targets) = detector(), scene()
    before = detached(found(images, targets))
    again = pickle.loads(pickle.dumps(found))
    assert detached(again(images, targets)) == pytest.approx(before)
