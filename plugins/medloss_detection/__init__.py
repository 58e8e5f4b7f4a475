"""Detection: boxes in 3D, and the assignment of predictions to them."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Detection, hookimpl


@hookimpl
def medloss_detection() -> Iterator[Detection]:
    """Yield the parts of a detector."""
    yield Detection(
        name="iou",
        target="medloss_detection.box_losses:IoULoss",
        family="detection",
        role="box_loss",
        summary="IoU loss of boxes: 1 minus intersection over union.",
        cites=("arXiv:1608.01471",),
    )
    yield Detection(
        name="giou",
        target="medloss_detection.box_losses:GIoULoss",
        family="detection",
        role="box_loss",
        summary="GIoU loss of boxes: also disjoint boxes are drawn together.",
        cites=("arXiv:1902.09630",),
    )
    yield Detection(
        name="diou",
        target="medloss_detection.box_losses:DIoULoss",
        family="detection",
        role="box_loss",
        summary="DIoU loss of boxes: draws the centres together, along the shortest way.",
        cites=("arXiv:1911.08287",),
    )
    yield Detection(
        name="ciou",
        target="medloss_detection.box_losses:CIoULoss",
        family="detection",
        role="box_loss",
        summary="CIoU loss of boxes: overlap, distance of the centres, and aspect.",
        cites=("arXiv:1911.08287",),
    )
    yield Detection(
        name="objectness",
        target="medloss_detection.objectness:ObjectnessLoss",
        family="detection",
        role="objectness_loss",
        summary="Objectness loss: cross entropy with IoU targets, weighted by feature level.",
        cites=("arXiv:2207.02696",),
        example={"levels": 3},
    )
    yield Detection(
        name="yolo",
        target="medloss_detection.yolo:YoloLoss",
        family="detection",
        role="detection_loss",
        summary="YOLOv7's loss: SimOTA assignment, then box, objectness and class loss.",
        cites=("arXiv:2207.02696",),
        example={"levels": 3},
    )
    yield Detection(
        name="simota",
        target="medloss_detection.simota:SimOTA",
        family="detection",
        role="assigner",
        summary="SimOTA assignment: each true box takes the anchors whose predictions fit it best.",
        cites=("arXiv:2107.08430", "arXiv:2103.14259", "arXiv:2207.02696"),
    )
    yield Detection(
        name="simota_retinanet",
        target="medloss_detection.retinanet:SimOTARetinaNetDetector",
        family="detection",
        role="detector",
        summary="MONAI's RetinaNet detector with SimOTA in place of a matcher and CIoU boxes.",
        cites=("arXiv:2107.08430", "arXiv:1708.02002"),
        example={"network": "@network", "anchor_generator": "@anchor_generator"},
    )
