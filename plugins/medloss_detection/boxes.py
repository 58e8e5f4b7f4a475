"""Overlap of boxes in 2D and 3D (IoU, and what GIoU, DIoU and CIoU add to it) and losses on it.

A box is its two corners, (x1, y1, x2, y2) or (x1, y1, z1, x2, y2, z2): MONAI's ``StandardMode``.
Corners in the wrong order count as a box of size 0. All functions compare the boxes of two tensors
of equal or broadcastable shape, in float32 at least; :func:`pairwise` compares each with each.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from medloss.sums.numeric import ratio

Overlap = Callable[[Tensor, Tensor], Tensor]

SMALLEST = 1e-6
"""Sizes below it have the aspect of this size: a point has no aspect, and no gradient of one."""


class _Pair(NamedTuple):
    """What every overlap is made of: sizes are (..., d), the rest is (...)."""

    sizes: Tensor
    other_sizes: Tensor
    hull_sizes: Tensor
    union: Tensor
    iou: Tensor


def iou(boxes: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of boxes, 0 for two boxes of size 0.

    Formula:
        IoU = |A ∩ B| / |A ∪ B|.

    Args:
        boxes: (..., 4) or (..., 6) corners.
        other: the same shape, or one that broadcasts.

    Returns:
        (...), in [0, 1].

    Raises:
        TypeError: no tensors.
        ValueError: no boxes, or boxes of different dimensions.

    Example:
        >>> iou(torch.tensor([0.0, 0, 2, 2]), torch.tensor([1.0, 0, 3, 2])).item()
        0.3333333432674408
    """
    return _pair(boxes, other).iou


def giou(boxes: Tensor, other: Tensor) -> Tensor:
    """Generalised IoU: falls below 0 as disjoint boxes move apart.

    That is 1 minus :class:`GIoULoss`, in [−1, 1]; arguments and errors as :func:`iou`.

    Example:
        >>> giou(torch.tensor([0.0, 0, 1, 1]), torch.tensor([3.0, 0, 4, 1])).item()
        -0.5
    """
    pair = _pair(boxes, other)
    hull = _product(pair.hull_sizes)
    return pair.iou - ratio(hull - pair.union, hull)


def diou(boxes: Tensor, other: Tensor) -> Tensor:
    """Distance IoU: IoU less the squared distance of the centres over that of the hull's corners.

    That is 1 minus :class:`DIoULoss`, in [−1, 1]; arguments and errors as :func:`iou`.

    Example:
        >>> diou(torch.tensor([0.0, 0, 2, 2]), torch.tensor([2.0, 0, 4, 2])).item()
        -0.20000000298023224
    """
    return _diou(_pair(boxes, other), boxes, other)


def ciou(boxes: Tensor, other: Tensor) -> Tensor:
    """Complete IoU: DIoU less a term for boxes of another aspect.

    That is 1 minus :class:`CIoULoss`, in [−2, 1]; arguments and errors as :func:`iou`.

    Example:
        >>> flat, tall = torch.tensor([0.0, 0, 4, 1]), torch.tensor([0.0, 0, 1, 4])
        >>> round((diou(flat, tall) - ciou(flat, tall)).item(), 6)
        0.168468
    """
    pair = _pair(boxes, other)
    v = _aspect(pair.sizes, pair.other_sizes)
    with torch.no_grad():
        alpha = ratio(v, 1 - pair.iou + v)
    return _diou(pair, boxes, other) - alpha * v


def pairwise(overlap: Overlap, boxes: Tensor, other: Tensor) -> Tensor:
    """Each box of (N, 2d) against each of (M, 2d), as (N, M).

    Example:
        >>> pairwise(iou, torch.eye(4)[:2], torch.eye(4)).shape
        torch.Size([2, 4])
    """
    return overlap(boxes[:, None], other[None])


def check_boxes(name: str, boxes: Tensor) -> None:
    """Raise unless the last axis holds the corners of boxes.

    Raises:
        TypeError: no tensor.
        ValueError: the last axis has neither 4 nor 6 entries.
    """
    if not isinstance(boxes, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(boxes).__name__}")
    if boxes.ndim == 0 or boxes.shape[-1] not in (4, 6):
        raise ValueError(
            f"{name}: expected (..., 4) or (..., 6) corners of boxes, got {tuple(boxes.shape)}"
        )


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is that."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _pair(boxes: Tensor, other: Tensor) -> _Pair:
    check_boxes("boxes", boxes)
    check_boxes("other", other)
    if boxes.shape[-1] != other.shape[-1]:
        raise ValueError(
            f"other: expected boxes of {boxes.shape[-1] // 2} axes, got {other.shape[-1] // 2}"
        )
    (low, high), (other_low, other_high) = _corners(boxes), _corners(other)
    sizes, other_sizes = (high - low).clamp_min(0), (other_high - other_low).clamp_min(0)
    inner = torch.minimum(high, other_high) - torch.maximum(low, other_low)
    hull = torch.maximum(high, other_high) - torch.minimum(low, other_low)
    intersection = _product(inner.clamp_min(0))
    union = _product(sizes) + _product(other_sizes) - intersection
    return _Pair(sizes, other_sizes, hull, union, ratio(intersection, union))


def _corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    low, high = at_least_float32(boxes).chunk(2, -1)
    return low, high


def _product(sizes: Tensor) -> Tensor:
    """Volume; ``prod`` would look for zeros before it differentiates, and wait for the device."""
    return functools.reduce(operator.mul, sizes.unbind(-1))


def _diou(pair: _Pair, boxes: Tensor, other: Tensor) -> Tensor:
    (low, high), (other_low, other_high) = _corners(boxes), _corners(other)
    twice_apart = (low + high) - (other_low + other_high)
    return pair.iou - ratio(twice_apart.square().sum(-1) / 4, pair.hull_sizes.square().sum(-1))


def _aspect(sizes: Tensor, other_sizes: Tensor) -> Tensor:
    sizes, other_sizes = sizes.clamp_min(SMALLEST), other_sizes.clamp_min(SMALLEST)
    pairs = itertools.combinations(range(sizes.shape[-1]), 2)
    angles = torch.stack(
        [
            torch.atan2(sizes[..., i], sizes[..., j])
            - torch.atan2(other_sizes[..., i], other_sizes[..., j])
            for i, j in pairs
        ]
    )
    return 4 / math.pi**2 * angles.square().mean(0)


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

    In 2D there is one pair of axes and v is that of the paper. In 3D there are three, (x, y),
    (x, z) and (y, z), and their mean is our choice, as the paper has no 3D form: it is 0 for boxes
    of the same shape at any scale and only for them, below 1 as in 2D, and does not depend on the
    order of the axes.

    Empty:
        no pairs: 0. Two boxes of size 0 in one place: 1. Value and gradient are finite.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[0.0, 0, 0, 2, 2, 2]]), torch.tensor([[0.0, 0, 0, 2, 2, 4]])
        >>> round(CIoULoss()(a, b).item(), 6)
        0.543149

    Source:
        Zheng 2020, arXiv:1911.08287.
    """

    overlap = staticmethod(ciou)
