"""MONAI's RetinaNet detector, trained with SimOTA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from torch import Tensor, nn

from medloss_detection.anchors import AnchorPyramid
from medloss_detection.boxes import CIoULoss
from medloss_detection.simota import SimOTA

MATCHER = (
    "SimOTARetinaNetDetector assigns by SimOTA and would ignore another matcher: use MONAI's "
    "RetinaNetDetector for one, or the option assigner for other settings of SimOTA"
)


class SimOTARetinaNetDetector(RetinaNetDetector):  # type: ignore[misc]
    """MONAI's RetinaNet detector with SimOTA in place of a matcher and CIoU boxes.

    Takes the place of ``RetinaNetDetector`` in training and inference, in 2D and 3D, with the same
    network, anchors, losses, samplers and box selector, and is called in the same way. It needs no
    matcher, so that training needs no torchvision.

    RetinaNet has no objectness. SimOTA's cost uses the class probability alone, and the class
    target of a matched anchor is 1, as MONAI sets it. With the default loss of classes, a mean over
    all anchors, background dominates: set a focal loss or a hard negative sampler.

    MONAI differs: with half precision it rounds anchors and boxes (bfloat16 has no odd numbers
    above 256); here anchors, assignment and box loss are in float32. Without any matched anchor
    MONAI's box loss is a constant on the CPU; here it is a 0 in the graph of the network.

    Empty:
        images without objects, or without any matched anchor: the box loss is 0, the class loss
        pushes false positives down.

    Args:
        network: as for ``RetinaNetDetector``.
        anchor_generator: MONAI's ``AnchorGenerator`` or ``AnchorGeneratorWithAnchorShape``, with
            ``indexing="ij"``.
        assigner: ``SimOTA()`` by default.
        retinanet: further options of ``RetinaNetDetector``.

    Example:
        >>> from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
        >>> from torch import nn
        >>> class Network(nn.Module):
        ...     spatial_dims, num_classes, num_anchors, size_divisible = 3, 1, 1, 4
        ...     cls_key, box_reg_key = "classification", "box_regression"
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.heads = nn.Conv3d(1, 1 + 6, 4, stride=4)
        ...     def forward(self, images):
        ...         found = self.heads(images)
        ...         return {self.cls_key: [found[:, :1]], self.box_reg_key: [found[:, 1:]]}
        >>> generator = AnchorGeneratorWithAnchorShape((1,), ((6, 6, 6),))
        >>> detector = SimOTARetinaNetDetector(Network(), generator)
        >>> truth = {"boxes": torch.tensor([[2.0, 2, 2, 8, 8, 8]]), "labels": torch.tensor([0])}
        >>> sorted(detector(torch.zeros(1, 1, 12, 12, 12), [truth]))
        ['box_regression', 'classification']

    Source:
        Ge 2021, arXiv:2107.08430 (SimOTA); Lin 2017, arXiv:1708.02002 (RetinaNet).
    """

    def __init__(
        self,
        network: nn.Module,
        anchor_generator: nn.Module,
        *,
        assigner: SimOTA | None = None,
        **retinanet: Any,
    ) -> None:
        super().__init__(network, anchor_generator, **retinanet)
        self.proposal_matcher = SimOTA() if assigner is None else assigner
        self.set_box_regression_loss(CIoULoss(), encode_gt=False, decode_pred=True)
        self._pyramid: tuple[Tensor, AnchorPyramid] | None = None

    def set_regular_matcher(self, *args: Any, **kwargs: Any) -> None:
        """Refused: a matcher would be ignored.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"set_regular_matcher: {MATCHER}")

    def set_atss_matcher(self, *args: Any, **kwargs: Any) -> None:
        """Refused: a matcher would be ignored.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"set_atss_matcher: {MATCHER}")

    def generate_anchors(self, images: Tensor, head_outputs: dict[str, list[Tensor]]) -> None:
        """Lay anchors over the features, in float32 whatever the features are in."""
        shapes = [
            each.new_empty(1, dtype=torch.float32).expand(each.shape)
            for each in head_outputs[self.cls_key]
        ]
        super().generate_anchors(images, {self.cls_key: shapes})

    def compute_loss(
        self,
        head_outputs_reshape: dict[str, Tensor],
        targets: list[dict[str, Tensor]],
        anchors: list[Tensor],
        num_anchor_locs_per_level: Sequence[int],
    ) -> dict[str, Tensor]:
        """Assign by what the network predicts, then MONAI's losses of classes and boxes."""
        class_logits = head_outputs_reshape[self.cls_key]
        regression = head_outputs_reshape[self.box_reg_key]
        pyramid = self._pyramid_of(anchors[0], num_anchor_locs_per_level)
        targets = [self._on(anchors[0].device, target) for target in targets]
        boxes = self.box_coder.decode_single(
            regression.detach().float().flatten(0, 1), torch.cat(anchors).float()
        ).view_as(regression)
        matched = [
            self.proposal_matcher(
                boxes[image],
                class_logits[image].detach(),
                target[self.target_box_key],
                target[self.target_label_key].long(),
                pyramid,
            )
            for image, target in enumerate(targets)
        ]
        return {
            self.cls_key: self.compute_cls_loss(class_logits, targets, matched),
            self.box_reg_key: self.compute_box_loss(regression, targets, anchors, matched),
        }

    def compute_box_loss(
        self,
        box_regression: Tensor,
        targets: list[dict[str, Tensor]],
        anchors: list[Tensor],
        matched_idxs: list[Tensor],
    ) -> Tensor:
        """The loss of matched boxes in float32; without any, a 0 in the graph of the network."""
        if not any(bool((matched >= 0).any()) for matched in matched_idxs):
            return box_regression.float().sum() * 0
        loss: Tensor = super().compute_box_loss(
            box_regression.float(), targets, anchors, matched_idxs
        )
        return loss

    def _pyramid_of(self, anchors: Tensor, locations_per_level: Sequence[int]) -> AnchorPyramid:
        """The grids of the anchors; MONAI keeps the anchors while images have one shape."""
        if self._pyramid is None or self._pyramid[0] is not anchors:
            pyramid = AnchorPyramid.of(anchors, locations_per_level, self.num_anchors_per_loc)
            self._pyramid = anchors, pyramid
        return self._pyramid[1]

    def _on(self, device: torch.device, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {key: target[key].to(device) for key in (self.target_box_key, self.target_label_key)}
