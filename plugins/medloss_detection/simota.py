"""SimOTA: which anchors answer for which true box, judged by what the network predicts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from medloss_detection.anchors import AnchorPyramid
from medloss_detection.boxes import at_least_float32, check_boxes, iou, pairwise


class Claims(NamedTuple):
    """Who claims the candidates, over the true boxes seen so far; each (K,).

    Args:
        number: of true boxes that claim a candidate.
        truth: one of them.
        lowest: cost of the candidate for the true box to which it costs least, a claimant or not.
        cheapest: that true box.
    """

    number: Tensor
    truth: Tensor
    lowest: Tensor
    cheapest: Tensor

    @classmethod
    def none(cls, candidates: int, like: Tensor) -> Claims:
        """Nobody claims anything yet."""
        nobody = torch.full((candidates,), -1, dtype=torch.long, device=like.device)
        return cls(nobody + 1, nobody, torch.full_like(nobody, torch.inf, dtype=like.dtype), nobody)

    def beside(self, cost: Tensor, overlap: Tensor, *, first: int, top: int) -> Claims:
        """These and the claims of the true boxes ``first``, ``first + 1``, ...

        Each claims its k cheapest candidates; k is the sum of its ``top`` highest IoUs, cut to an
        integer, at least 1.

        Args:
            cost: (m, K), infinite where a true box can claim nothing.
            overlap: (m, K), IoU.
            first: index of the first of the m true boxes.
            top: how many IoUs are summed.
        """
        few = min(top, cost.shape[1])
        k = overlap.topk(few, 1).values.sum(1).int().clamp_min(1)
        price, order = cost.topk(few, 1, largest=False)
        chosen = (torch.arange(few, device=cost.device) < k[:, None]) & price.isfinite()
        claimed = torch.zeros_like(cost, dtype=torch.bool).scatter(1, order, chosen)
        number = claimed.sum(0)
        truth = torch.where(number > 0, first + claimed.int().argmax(0), self.truth)
        lowest, cheapest = cost.min(0)
        lower = lowest < self.lowest
        return Claims(
            self.number + number,
            truth,
            torch.where(lower, lowest, self.lowest),
            torch.where(lower, first + cheapest, self.cheapest),
        )

    def settled(self) -> Tensor:
        """(K,), the true box that gets a candidate, −1 for none.

        A candidate that several claim goes to the true box to which it costs least.
        """
        return torch.where(self.number > 1, self.cheapest, self.truth)


def dynamic_k_matching(cost: Tensor, overlap: Tensor, *, top: int = 10) -> Tensor:
    """Match candidates to true boxes by cost, each true box with as many as its IoUs sum up to.

    Args:
        cost: (M, K), of true box i for candidate j; infinite in all of a row: no match for it.
        overlap: (M, K), IoU.
        top: how many of its highest IoUs a true box sums for its k, cut to an integer, at least 1.

    Returns:
        (K,), the true box of each candidate, −1 for none.

    Example:
        >>> cost = torch.tensor([[1.0, 2.0, 3.0], [5.0, 1.5, 9.0]])
        >>> overlap = torch.tensor([[0.9, 0.8, 0.5], [0.1, 0.7, 0.1]])
        >>> dynamic_k_matching(cost, overlap)
        tensor([ 0,  1, -1])
    """
    claims = Claims.none(cost.shape[1], cost)
    if cost.numel() == 0:
        return claims.truth
    return claims.beside(cost, overlap, first=0, top=top).settled()


CERTAIN = 1 - 1e-7
"""The highest probability: a sure and wrong class costs 16, not infinity."""

PAIRS_AT_ONCE = 2**22
"""Costs that are held at once; true boxes beyond it wait for the next pass."""


class SimOTA:
    """SimOTA assignment: each true box takes the anchors whose predictions fit it best.

    Formula:
        cost = BCE(√(p_class p_object), class) + λ (−log IoU), summed over classes;
        k = the sum of the 10 highest IoUs of a true box, cut to an integer, at least 1;
        each true box takes its k cheapest candidates; one that several take goes to the true box
        to which it costs least, be that one of them or another, which then has more than k.

    Candidates are the anchors of about the shape of a true box in the cell of its centre and its
    nearest neighbours, over all levels (``AnchorPyramid.candidates``); each true box chooses among
    the candidates of all, as in YOLOv7. Without objectness p_object is 1.

    Who gets a candidate that several take is decided as in the code that YOLOX and YOLOv7 released.

    YOLOv7 differs: an anchor may count twice if it is a candidate of two true boxes, and a true box
    without a candidate of its own takes another's. Here each anchor counts once, and such a true
    box stays without.

    Empty:
        no true boxes, or none with a candidate (those of size 0 have none): nothing is assigned.

    Args:
        iou_weight: λ, how much −log IoU weighs against the class.
        top: how many IoUs are summed for k.
        shape_ratio: an anchor fits if no side is so many times as long or as short as the box's.
        reach: a neighbouring cell is near if the centre is less than so many cells from it.

    Raises:
        ValueError: an option out of its range.

    Example:
        >>> from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
        >>> generator = AnchorGeneratorWithAnchorShape((1,), ((4, 4),))
        >>> anchors = generator(torch.zeros(1, 1, 12, 4), [torch.zeros(1, 1, 3, 1)])[0]
        >>> truth, labels = torch.tensor([[4.0, 0, 7, 4]]), torch.tensor([0])
        >>> SimOTA()(anchors, torch.zeros(3, 1), truth, labels, AnchorPyramid.of(anchors, [3], 1))
        tensor([-1,  0, -1])

    Source:
        Ge 2021, arXiv:2107.08430 (SimOTA); Ge 2021, arXiv:2103.14259 (OTA); Wang 2022,
        arXiv:2207.02696 (YOLOv7).
    """

    BELOW_LOW_THRESHOLD = -1
    BETWEEN_THRESHOLDS = -2
    """MONAI looks for these in a matcher: background, and ignored, which is never given."""

    def __init__(
        self,
        *,
        iou_weight: float = 3.0,
        top: int = 10,
        shape_ratio: float = 4.0,
        reach: float = 0.5,
    ) -> None:
        for name, good, expected, got in (
            ("iou_weight", iou_weight >= 0, "at least 0", iou_weight),
            ("top", top >= 1, "at least 1", top),
            ("shape_ratio", shape_ratio > 1, "more than 1", shape_ratio),
            ("reach", 0 <= reach <= 1, "a number in [0, 1]", reach),
        ):
            if not good:
                raise ValueError(f"{name}: expected {expected}, got {got!r}")
        self.iou_weight, self.top, self.shape_ratio, self.reach = (
            iou_weight,
            top,
            shape_ratio,
            reach,
        )

    @torch.no_grad()
    def __call__(
        self,
        boxes: Tensor,
        class_logits: Tensor,
        true_boxes: Tensor,
        true_labels: Tensor,
        pyramid: AnchorPyramid,
        *,
        objectness_logits: Tensor | None = None,
    ) -> Tensor:
        """Assign the anchors of one image.

        Args:
            boxes: (N, 4) or (N, 6), the predicted boxes, decoded, one for each anchor.
            class_logits: (N, C), each class on its own (sigmoid).
            true_boxes: (M, 4) or (M, 6).
            true_labels: (M,), class indices.
            pyramid: the grids of the N anchors.
            objectness_logits: (N,), or None for a network that has none.

        Returns:
            (N,), for each anchor the index of its true box, −1 for none.

        Raises:
            TypeError: boxes that are no tensors.
            ValueError: shapes that do not fit together, or labels that are no class.
        """
        _check(boxes, class_logits, true_boxes, true_labels, pyramid, objectness_logits)
        matched = torch.full((pyramid.number,), -1, dtype=torch.long, device=boxes.device)
        truth, anchor = pyramid.candidates(
            true_boxes, shape_ratio=self.shape_ratio, reach=self.reach
        )
        if not len(truth):
            return matched
        chosen = torch.unique(anchor)
        boxes = at_least_float32(boxes[chosen])
        objectness = None if objectness_logits is None else objectness_logits[chosen]
        wrong, right = _class_costs(class_logits[chosen], objectness)
        alone = torch.ones(len(true_boxes), dtype=torch.bool, device=boxes.device)
        alone[truth] = False
        claims = Claims.none(len(chosen), boxes)
        at_once = max(PAIRS_AT_ONCE // len(chosen), 1)
        for first in range(0, len(true_boxes), at_once):
            rows = slice(first, first + at_once)
            overlap = pairwise(iou, true_boxes[rows].to(boxes), boxes)
            class_cost = wrong + right[:, true_labels[rows]].T
            cost = class_cost - self.iou_weight * torch.log(overlap + 1e-8)
            cost = cost.masked_fill(alone[rows, None], torch.inf)
            claims = claims.beside(cost, overlap, first=first, top=self.top)
        matched[chosen] = claims.settled()
        return matched

    def __repr__(self) -> str:
        return (
            f"SimOTA(iou_weight={self.iou_weight}, top={self.top}, "
            f"shape_ratio={self.shape_ratio}, reach={self.reach})"
        )


def _class_costs(class_logits: Tensor, objectness: Tensor | None) -> tuple[Tensor, Tensor]:
    """BCE of y = √(p_class p_object) if no class were true, (K,), and what class c adds, (K, C)."""
    log_p = F.logsigmoid(at_least_float32(class_logits))
    if objectness is not None:
        log_p = log_p + F.logsigmoid(at_least_float32(objectness))[:, None]
    log_y = log_p / 2
    not_y = -torch.log1p(-log_y.exp().clamp_max(CERTAIN))
    return not_y.sum(1), -log_y - not_y


def _check(
    boxes: Tensor,
    class_logits: Tensor,
    true_boxes: Tensor,
    true_labels: Tensor,
    pyramid: AnchorPyramid,
    objectness: Tensor | None,
) -> None:
    check_boxes("boxes", boxes)
    check_boxes("true_boxes", true_boxes)
    number, corners = pyramid.number, boxes.shape[-1]
    for name, tensor, shape in (
        ("boxes", boxes, (number, corners)),
        ("class_logits", class_logits, (number, class_logits.shape[-1])),
        ("true_boxes", true_boxes, (true_boxes.shape[0], corners)),
        ("true_labels", true_labels, (true_boxes.shape[0],)),
        ("objectness_logits", objectness, (number,)),
    ):
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"{name}: expected the shape {shape}, got {tuple(tensor.shape)}")
    classes = class_logits.shape[-1]
    if len(true_labels) and not bool(((true_labels >= 0) & (true_labels < classes)).all()):
        raise ValueError(f"true_labels: expected class indices below {classes}, got others")
