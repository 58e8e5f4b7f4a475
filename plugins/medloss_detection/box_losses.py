"""Losses of boxes: 1 minus an overlap, as modules that MONAI's detectors take."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.modules.loss import _Loss

from medloss_detection.overlap import check_boxes, ciou, diou, giou, iou

REDUCTIONS = ("mean", "sum", "none")


def reduced(values: Tensor, reduction: str) -> Tensor:
    """Mean, sum or the values themselves; the mean of nothing is 0, not NaN, and keeps its graph.

    Example:
        >>> import torch
        >>> reduced(torch.zeros(0), "mean")
        tensor(0.)
    """
    if reduction == "none":
        return values
    return values.mean() if reduction == "mean" and values.numel() else values.sum()


def check_reduction(reduction: str) -> str:
    """The name of a reduction.

    Raises:
        ValueError: there is no such reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction: expected one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    return reduction


class BoxLoss(_Loss):
    """1 − overlap of each predicted box with its true box.

    Args:
        reduction: ``"mean"`` over the pairs, ``"sum"``, or ``"none"`` for one value a pair.

    Raises:
        ValueError: there is no such reduction.
    """

    overlap: ClassVar[staticmethod[[Tensor, Tensor], Tensor]]

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=check_reduction(reduction))

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of predicted and true boxes, pair by pair.

        Args:
            input: (N, 4) or (N, 6) corners of predicted boxes, MONAI's ``StandardMode``.
            target: the same shape, the true boxes.

        Raises:
            TypeError: no tensors.
            ValueError: no boxes, or shapes that differ.
        """
        check_boxes("input", input)
        check_boxes("target", target)
        if input.shape != target.shape:
            raise ValueError(
                f"target: expected the shape {tuple(input.shape)} of the input, "
                f"got {tuple(target.shape)}"
            )
        return reduced(1 - type(self).overlap(input, target), self.reduction)

    def extra_repr(self) -> str:
        """The options."""
        return f"reduction={self.reduction!r}"


class IoULoss(BoxLoss):
    """IoU loss of boxes: 1 minus intersection over union.

    Formula:
        L = 1 − |A ∩ B| / |A ∪ B|, mean over the pairs.

    Range: [0, 1].

    Disjoint boxes have the value 1 and no gradient: use ``giou``, ``diou`` or ``ciou`` to train.

    Empty:
        no pairs: 0. Two boxes of size 0: 1. Value and gradient are finite in both cases.

    Args:
        reduction: ``"mean"`` over the pairs, ``"sum"``, or ``"none"`` for one value a pair.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[0.0, 0, 0, 2, 2, 2]]), torch.tensor([[1.0, 0, 0, 3, 2, 2]])
        >>> round(IoULoss()(a, b).item(), 6)
        0.666667

    Source:
        Yu 2016, arXiv:1608.01471 (with −log IoU in place of 1 − IoU).
    """

    overlap = staticmethod(iou)


class GIoULoss(BoxLoss):
    """GIoU loss of boxes: also disjoint boxes are drawn together.

    Formula:
        L = 1 − IoU + (|H| − |A ∪ B|) / |H| with the smallest box H around A and B, mean over the
        pairs.

    Range: [0, 2].

    Empty:
        no pairs: 0. Two boxes of size 0 in one place: 1. Value and gradient are finite.

    Args:
        reduction: ``"mean"`` over the pairs, ``"sum"``, or ``"none"`` for one value a pair.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[0.0, 0, 0, 1, 1, 1]]), torch.tensor([[3.0, 0, 0, 4, 1, 1]])
        >>> GIoULoss()(a, b).item()
        1.5

    Source:
        Rezatofighi 2019, arXiv:1902.09630.
    """

    overlap = staticmethod(giou)


class DIoULoss(BoxLoss):
    """DIoU loss of boxes: draws the centres together, along the shortest way.

    Formula:
        L = 1 − IoU + d² / c² with the distance d of the centres and the diagonal c of the smallest
        box around A and B, mean over the pairs.

    Range: [0, 2].

    Empty:
        no pairs: 0. Two boxes of size 0 in one place: 1. Value and gradient are finite.

    Args:
        reduction: ``"mean"`` over the pairs, ``"sum"``, or ``"none"`` for one value a pair.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[0.0, 0, 0, 2, 2, 2]]), torch.tensor([[2.0, 0, 0, 4, 2, 2]])
        >>> round(DIoULoss()(a, b).item(), 6)
        1.166667

    Source:
        Zheng 2020, arXiv:1911.08287.
    """

    overlap = staticmethod(diou)


class CIoULoss(BoxLoss):
    """CIoU loss of boxes: overlap, distance of the centres, and aspect.

    Formula:
        L = 1 − IoU + d² / c² + α v, mean over the pairs;
        d² / c² as in DIoU; α = v / (1 − IoU + v), a constant for the gradient;
        v = mean over pairs of axes i < j of (4/π²) (arctan(a_i / a_j) − arctan(b_i / b_j))² with
        the sizes a and b of the boxes.

    Range: [0, 3].

    In 2D there is one pair of axes and v is that of the paper. The mean over the three pairs in 3D
    is our choice; it is 0 for boxes of the same shape at any scale.

    Empty:
        no pairs: 0. Two boxes of size 0 in one place: 1. Value and gradient are finite.

    Args:
        reduction: ``"mean"`` over the pairs, ``"sum"``, or ``"none"`` for one value a pair.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[0.0, 0, 0, 2, 2, 2]]), torch.tensor([[0.0, 0, 0, 2, 2, 4]])
        >>> round(CIoULoss()(a, b).item(), 6)
        0.543149

    Source:
        Zheng 2020, arXiv:1911.08287.
    """

    overlap = staticmethod(ciou)
