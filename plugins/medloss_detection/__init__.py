"""Detection: boxes in 3D, and the assignment of predictions to them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from medloss import Detection, hookimpl


@hookimpl
def medloss_detection() -> Iterator[Detection]:
    """Yield the parts of a detector."""
    part = partial(Detection, family="detection")
    yield part(name="iou", target="medloss_detection.boxes:IoULoss", role="box_loss")
    yield part(name="giou", target="medloss_detection.boxes:GIoULoss", role="box_loss")
    yield part(name="diou", target="medloss_detection.boxes:DIoULoss", role="box_loss")
    yield part(name="ciou", target="medloss_detection.boxes:CIoULoss", role="box_loss")
    yield part(
        name="objectness",
        target="medloss_detection.objectness:ObjectnessLoss",
        role="objectness_loss",
        example={"levels": 3},
    )
    yield part(
        name="yolo",
        target="medloss_detection.yolo:YoloLoss",
        role="detection_loss",
        example={"levels": 3},
    )
    yield part(name="simota", target="medloss_detection.simota:SimOTA", role="assigner")
    yield part(
        name="simota_retinanet",
        target="medloss_detection.retinanet:SimOTARetinaNetDetector",
        role="detector",
        example={"network": "@network", "anchor_generator": "@anchor_generator"},
    )
