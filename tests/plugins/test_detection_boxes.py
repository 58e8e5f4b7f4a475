"""Overlap of boxes: values worked by hand, MONAI's values, identities, gradients."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data.box_utils import box_giou, box_iou, box_pair_giou
from torch import Tensor

import medloss
from medloss.testing.detection_subject import degenerate_boxes, random_boxes
from medloss_detection.boxes import (
    BoxLoss,
    CIoULoss,
    DIoULoss,
    GIoULoss,
    IoULoss,
    Overlap,
    ciou,
    diou,
    giou,
    iou,
    pairwise,
)

LOSSES = {iou: IoULoss, giou: GIoULoss, diou: DIoULoss, ciou: CIoULoss}
FLAT_AND_TALL = 4 / math.pi**2 * (math.atan(4) - math.atan(1 / 4)) ** 2
HALF_AS_HIGH = 4 / math.pi**2 * 2 / 3 * (math.atan(1) - math.atan(1 / 2)) ** 2

# boxes, then IoU = |A ∩ B| / |A ∪ B|, (|H| − |A ∪ B|) / |H|, d² / c², v
WORKED = {
    "2D, shifted": ([0, 0, 2, 2], [1, 1, 3, 3], 1 / 7, 2 / 9, 2 / 18, 0),
    "2D, apart": ([0, 0, 1, 1], [3, 0, 4, 1], 0, 2 / 4, 9 / 17, 0),
    "2D, flat and tall": ([0, 0, 4, 1], [0, 0, 1, 4], 1 / 7, 9 / 16, 4.5 / 32, FLAT_AND_TALL),
    "2D, one in the other": ([0, 0, 4, 4], [1, 1, 3, 3], 4 / 16, 0, 0, 0),
    "3D, shifted": ([0, 0, 0, 2, 2, 2], [1, 1, 1, 3, 3, 3], 1 / 15, 12 / 27, 3 / 27, 0),
    "3D, half": ([0, 0, 0, 2, 2, 2], [0, 0, 0, 2, 2, 4], 8 / 16, 0, 1 / 24, HALF_AS_HIGH),
    "3D, touching": ([0, 0, 0, 1, 1, 1], [1, 0, 0, 2, 1, 1], 0, 0, 1 / 6, 0),
}


@pytest.mark.parametrize("case", WORKED)
def test_worked_by_hand(case: str) -> None:
    first, second, share, outside, apart, v = WORKED[case]
    a, b = torch.tensor([first]).double(), torch.tensor([second]).double()
    alpha = v / (1 - share + v) if v else 0
    expected = {
        iou: share,
        giou: share - outside,
        diou: share - apart,
        ciou: share - apart - alpha * v,
    }
    for overlap, value in expected.items():
        assert overlap(a, b).item() == pytest.approx(value, abs=1e-12)
        assert overlap(b, a).item() == pytest.approx(value, abs=1e-12)
        assert LOSSES[overlap]()(a, b).item() == pytest.approx(1 - value, abs=1e-12)


@pytest.mark.parametrize("axes", [2, 3])
def test_iou_and_giou_are_those_of_monai(axes: int) -> None:
    a, b = (boxes.float() for boxes in random_boxes(axes=axes))
    assert torch.allclose(pairwise(iou, a, b), box_iou(a, b), atol=1e-6)
    assert torch.allclose(pairwise(giou, a, b), box_giou(a, b), atol=1e-6)
    assert torch.allclose(giou(a, b), box_pair_giou(a, b), atol=1e-6)


corner = st.integers(-20, 20)


@st.composite
def two_boxes(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    axes = draw(st.sampled_from([2, 3]))
    boxes = []
    for _ in range(2):
        low = [draw(corner) for _ in range(axes)]
        boxes.append([*low, *[start + draw(st.integers(0, 20)) for start in low]])
    a, b = torch.tensor(boxes, dtype=torch.float64)[:, None]
    return a, b


@given(two_boxes())
def test_order_bounds_and_symmetry(boxes: tuple[Tensor, Tensor]) -> None:
    a, b = boxes
    values = {overlap: overlap(a, b).item() for overlap in LOSSES}
    assert 0 <= values[iou] <= 1
    assert -1 <= values[giou] <= values[iou]
    assert -1 <= values[diou] <= values[iou]
    assert -2 <= values[ciou] <= values[diou]
    for overlap, value in values.items():
        assert overlap(b, a).item() == pytest.approx(value)


@given(two_boxes(), st.sampled_from([1e-3, 0.5, 7.0, 1e3]), st.integers(-100, 100))
def test_scale_and_place_change_nothing(
    boxes: tuple[Tensor, Tensor], scale: float, shift: int
) -> None:
    a, b = boxes
    for overlap in LOSSES:
        moved = overlap(scale * (a + shift), scale * (b + shift)).item()
        # a side of 0 is taken as 1e-6 voxels for its aspect, which is no longer a ratio
        assert moved == pytest.approx(overlap(a, b).item(), abs=1e-3)


def test_the_aspect_term_is_zero_for_similar_boxes_only_and_any_order_of_axes() -> None:
    a = torch.tensor([[0.0, 0, 0, 2, 3, 5]]).double()
    similar, other = 2.5 * a, torch.tensor([[0.0, 0, 0, 2, 5, 3]]).double()
    assert (diou(a, similar) - ciou(a, similar)).item() == pytest.approx(0, abs=1e-12)
    expected = (diou(a, other) - ciou(a, other)).item()
    assert expected > 1e-3
    for order in itertools.permutations(range(3)):
        turn = [*order, *[axis + 3 for axis in order]]
        value = (diou(a[:, turn], other[:, turn]) - ciou(a[:, turn], other[:, turn])).item()
        assert value == pytest.approx(expected)


@pytest.mark.parametrize("overlap", [iou, giou, diou])
@pytest.mark.parametrize("axes", [2, 3])
def test_gradients(overlap: Overlap, axes: int) -> None:
    a, b = random_boxes(axes=axes)
    assert torch.autograd.gradcheck(overlap, (a.requires_grad_(), b))


@pytest.mark.parametrize("axes", [2, 3])
def test_alpha_is_a_constant_for_the_gradient_of_ciou(axes: int) -> None:
    a, b = random_boxes(axes=axes)
    a.requires_grad_()
    (gradient,) = torch.autograd.grad(ciou(a, b).sum(), a)
    share, v = iou(a, b), _aspect(a, b)
    alpha = (v / (1 - share + v)).detach()
    (expected,) = torch.autograd.grad((diou(a, b) - alpha * v).sum(), a)
    assert torch.allclose(gradient, expected)
    v = _aspect(a, b)
    (through,) = torch.autograd.grad((diou(a, b) - v * v / (1 - iou(a, b) + v)).sum(), a)
    assert not torch.allclose(gradient, through)


def _aspect(a: Tensor, b: Tensor) -> Tensor:
    sizes, others = (box[:, box.shape[1] // 2 :] - box[:, : box.shape[1] // 2] for box in (a, b))
    pairs = list(itertools.combinations(range(sizes.shape[1]), 2))
    angles = [
        (sizes[:, i] / sizes[:, j]).atan() - (others[:, i] / others[:, j]).atan() for i, j in pairs
    ]
    return 4 / math.pi**2 * torch.stack(angles).square().mean(0)


@pytest.mark.parametrize("loss", [DIoULoss, CIoULoss, GIoULoss])
def test_disjoint_boxes_are_drawn_together(loss: type[BoxLoss]) -> None:
    true = torch.tensor([[10.0, 10, 10, 14, 14, 14]])
    box = torch.tensor([[0.0, 0, 0, 4, 4, 4]], requires_grad=True)
    before = loss()(box, true)
    (gradient,) = torch.autograd.grad(before, box)
    assert (gradient[:, :3] + gradient[:, 3:] < 0).all(), "a step moves it towards the true box"
    assert loss()(box - gradient, true) < before


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("overlap", LOSSES)
def test_boxes_without_volume(overlap: Overlap, axes: int) -> None:
    cases = degenerate_boxes(axes)
    for what in ("a point and a box", "two points in one place", "the same plane twice"):
        a, b = cases[what]
        assert iou(a, b).item() == 0
    for a, b in cases.values():
        a = a.clone().requires_grad_()
        value = overlap(a, b)
        (gradient,) = torch.autograd.grad(value.sum(), a)
        assert value.isfinite().all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("side", [1e-10, 1e-20, 1e-30])
def test_the_aspect_of_tiny_boxes_has_a_finite_gradient(side: float) -> None:
    sides = side * torch.tensor([1.0, 2, 3])
    tiny = torch.cat([torch.zeros(3), sides])[None].requires_grad_()
    (gradient,) = torch.autograd.grad(ciou(tiny, torch.tensor([[0.0, 0, 0, 2, 1, 3]])).sum(), tiny)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("boxes", "other", "error", "words"),
    [
        (torch.zeros(2, 5), torch.zeros(2, 5), ValueError, r"boxes: expected \(..., 4\)"),
        (
            torch.zeros(2, 4),
            torch.zeros(2, 6),
            ValueError,
            "other: expected boxes of 2 axes, got 3",
        ),
        ([[0, 0, 1, 1]], torch.zeros(1, 4), TypeError, "boxes: expected a tensor, got list"),
        (torch.zeros(()), torch.zeros(1, 4), ValueError, "boxes: expected"),
    ],
)
def test_what_is_no_box_is_refused(
    boxes: Tensor, other: Tensor, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        iou(boxes, other)


def test_reductions() -> None:
    a, b = random_boxes(5)
    assert CIoULoss("none")(a, b).shape == (5,)
    assert CIoULoss("sum")(a, b).item() == pytest.approx(5 * CIoULoss()(a, b).item())
    with pytest.raises(ValueError, match="reduction: expected one of mean, sum, none, got 'avg'"):
        CIoULoss("avg")


def test_reached_by_name_and_by_class() -> None:
    assert isinstance(medloss.detection_part("ciou"), CIoULoss)
    assert medloss.detection.GIoULoss is GIoULoss
    assert {r.name for r in medloss.list_detection()} >= {"iou", "giou", "diou", "ciou", "simota"}
