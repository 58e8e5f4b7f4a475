"""The loss of a detector with boxes, objectness and classes, the YOLOv7 way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from medloss.compound.breakdown import TermValue
from medloss_detection.anchors import AnchorPyramid
from medloss_detection.boxes import CIoULoss, at_least_float32, iou
from medloss_detection.objectness import ObjectnessLoss, classification_loss, iou_targets
from medloss_detection.simota import SimOTA

PREDICTIONS = ("boxes", "class_logits", "objectness_logits")


class YoloLoss(nn.Module):
    """YOLOv7's loss: SimOTA assignment, then box, objectness and class loss.

    Formula:
        L = w_box mean(1 − CIoU) + w_obj L_objectness + w_cls L_class;
        box and class over the matched anchors, objectness over all, with the IoU of the prediction
        as the target of a matched anchor.

    The result is a mapping of weighted terms, as MONAI's detectors return them; their sum is what
    to differentiate. ``breakdown()`` tells each with its weight.

    YOLOv7 differs: it sums the means of the levels for box and class, where this takes one mean
    over all matched anchors; it multiplies by the batch size; and its objectness target is CIoU.

    Range: [0, ∞).

    Empty:
        images without objects, or without any matched anchor: box and class are 0 and stay in the
        graph; objectness is finite and pushes false positives down.

    Args:
        levels: number of feature levels.
        box_weight: w_box.
        objectness_weight: w_obj.
        class_weight: w_cls.
        balance: weight of the objectness of each level, from fine to coarse; YOLOv7's by default.
        autobalance: whether those weights follow the losses of the levels.
        iou_ratio: r, how much of a matched anchor's objectness target is the IoU: (1 − r) + r IoU.
        label_smoothing: ε, class targets are 1 − ε/2 and ε/2.
        gamma: γ, fades easy anchors in objectness and class as the focal loss does; 0 does not.
        box_loss: a module for matched boxes; ``CIoULoss()`` by default.
        assigner: decides who answers for what; ``SimOTA()`` by default.

    Raises:
        ValueError: an option out of its range.

    Example:
        >>> from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
        >>> generator = AnchorGeneratorWithAnchorShape((1,), ((4, 4, 4),))
        >>> image, features = torch.zeros(1, 1, 12, 8, 8), [torch.zeros(1, 1, 3, 2, 2)]
        >>> anchors = generator(image, features)[0]
        >>> predicted = {
        ...     "boxes": anchors[None],
        ...     "class_logits": torch.zeros(1, 12, 2),
        ...     "objectness_logits": torch.zeros(1, 12),
        ... }
        >>> truth = {"boxes": torch.tensor([[4.0, 0, 0, 8, 4, 4]]), "labels": torch.tensor([1])}
        >>> terms = YoloLoss(levels=1)(predicted, [truth], AnchorPyramid.of(anchors, [12], 1))
        >>> {name: round(value.item(), 4) for name, value in terms.items()}
        {'box': 0.0, 'objectness': 0.4852, 'classification': 0.2079}

    Source:
        YOLOv7, Wang 2022, arXiv:2207.02696.
    """

    def __init__(
        self,
        levels: int = 3,
        *,
        box_weight: float = 0.05,
        objectness_weight: float = 0.7,
        class_weight: float = 0.3,
        balance: Sequence[float] | None = None,
        autobalance: bool = False,
        iou_ratio: float = 1.0,
        label_smoothing: float = 0.0,
        gamma: float = 0.0,
        box_loss: nn.Module | None = None,
        assigner: SimOTA | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("iou_ratio", iou_ratio), ("label_smoothing", label_smoothing)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: expected a number in [0, 1], got {value!r}")
        self.weights = {
            "box": box_weight,
            "objectness": objectness_weight,
            "classification": class_weight,
        }
        for name, weight in self.weights.items():
            if not weight >= 0:
                raise ValueError(f"weight of {name}: expected at least 0, got {weight!r}")
        self.iou_ratio, self.label_smoothing, self.gamma = iou_ratio, label_smoothing, gamma
        self.box_loss = CIoULoss() if box_loss is None else box_loss
        self.objectness_loss = ObjectnessLoss(levels, balance, autobalance=autobalance, gamma=gamma)
        self.assigner = SimOTA() if assigner is None else assigner
        self._last: dict[str, Tensor] = {}

    def forward(
        self,
        predictions: Mapping[str, Tensor],
        targets: Sequence[Mapping[str, Tensor]],
        pyramid: AnchorPyramid,
    ) -> dict[str, Tensor]:
        """The weighted terms of a batch, by name.

        Args:
            predictions: ``boxes`` (B, N, 4 or 6), decoded corners, ``class_logits`` (B, N, C) and
                ``objectness_logits`` (B, N), anchors in the order of the pyramid.
            targets: for each image ``boxes`` (M, 4 or 6) and ``labels`` (M,), as for MONAI.
            pyramid: the grids of the N anchors.

        Raises:
            ValueError: something is missing, or shapes do not fit together.
        """
        boxes, class_logits, objectness = _parsed(predictions, targets)
        matched, true_boxes, true_labels = self._matched(
            boxes.detach(), class_logits.detach(), objectness.detach(), targets, pyramid
        )
        found = at_least_float32(boxes[matched])
        target = torch.zeros_like(objectness, dtype=torch.float32)
        target[matched] = iou_targets(iou(found, true_boxes), self.iou_ratio).to(target)
        self._last = {
            "box": self.box_loss(found, true_boxes.to(found)),
            "objectness": self.objectness_loss(objectness, target, pyramid.anchors_per_level),
            "classification": classification_loss(
                class_logits[matched],
                true_labels,
                label_smoothing=self.label_smoothing,
                gamma=self.gamma,
            ),
        }
        terms = {name: self.weights[name] * value for name, value in self._last.items()}
        self._last = {name: value.detach() for name, value in self._last.items()}
        return terms

    def extra_repr(self) -> str:
        """The options that belong to no part."""
        weights = ", ".join(f"{name}={weight}" for name, weight in self.weights.items())
        return (
            f"weights=({weights}), iou_ratio={self.iou_ratio}, "
            f"label_smoothing={self.label_smoothing}, gamma={self.gamma}, "
            f"assigner={self.assigner}"
        )

    def breakdown(self) -> dict[str, TermValue]:
        """The terms of the last forward pass, with their weights."""
        return {
            name: TermValue(float(value), self.weights[name]) for name, value in self._last.items()
        }

    def _matched(
        self,
        boxes: Tensor,
        class_logits: Tensor,
        objectness: Tensor,
        targets: Sequence[Mapping[str, Tensor]],
        pyramid: AnchorPyramid,
    ) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
        """Images and anchors that are matched, and their true boxes and labels."""
        images, anchors, true_boxes, true_labels = [], [], [], []
        for image, target in enumerate(targets):
            truth, labels = (target[key].to(boxes.device) for key in ("boxes", "labels"))
            answers = self.assigner(
                boxes[image],
                class_logits[image],
                truth,
                labels.long(),
                pyramid,
                objectness_logits=objectness[image],
            )
            anchor = (answers >= 0).nonzero()[:, 0]
            images.append(torch.full_like(anchor, image))
            anchors.append(anchor)
            true_boxes.append(at_least_float32(truth[answers[anchor]]))
            true_labels.append(labels.long()[answers[anchor]])
        where = torch.cat(images), torch.cat(anchors)
        return where, torch.cat(true_boxes), torch.cat(true_labels)


def _parsed(
    predictions: Mapping[str, Tensor], targets: Sequence[Mapping[str, Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    missing = [name for name in PREDICTIONS if name not in predictions]
    if missing:
        raise ValueError(f"predictions: expected {', '.join(PREDICTIONS)}, no {missing[0]} came")
    boxes, class_logits, objectness = (predictions[name] for name in PREDICTIONS)
    shape = tuple(objectness.shape)
    if len(shape) != 2 or boxes.shape[:-1] != shape or class_logits.shape[:-1] != shape:
        raise ValueError(
            f"predictions: expected boxes (B, N, 2d), class_logits (B, N, C) and "
            f"objectness_logits (B, N), got {tuple(boxes.shape)}, {tuple(class_logits.shape)} "
            f"and {shape}"
        )
    if not targets or len(targets) != shape[0]:
        raise ValueError(
            f"targets: expected one mapping for each of {shape[0]} images, got {len(targets)}"
        )
    return boxes, class_logits, objectness
