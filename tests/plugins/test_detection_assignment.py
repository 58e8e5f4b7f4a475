"""Candidates and SimOTA: examples worked by hand, and loops that do the same slowly."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.apps.detection.utils.anchor_utils import AnchorGenerator, AnchorGeneratorWithAnchorShape
from torch import Tensor

from medloss_detection import simota
from medloss_detection.anchors import AnchorPyramid
from medloss_detection.boxes import iou, pairwise
from medloss_detection.simota import SimOTA, dynamic_k_matching

Cells = list[tuple[int, ...]]


def pyramid_of(
    size: tuple[int, ...], cells: Cells, shapes: Any, scales: tuple[int, ...] = ()
) -> tuple[Tensor, AnchorPyramid]:
    """Anchors of MONAI, and what is read from them."""
    generator = AnchorGeneratorWithAnchorShape(scales or (1,) * len(cells), shapes)
    maps = [torch.zeros(1, 1, *level) for level in cells]
    anchors = generator(torch.zeros(1, 1, *size), maps)[0]
    return anchors, AnchorPyramid.of(anchors, [math.prod(c) for c in cells], len(shapes))


ROW = pyramid_of((24, 4), [(6, 1)], ((4, 4),))
"""Six cells of 4x4 in a row, with one anchor of 4x4 in each."""


def candidates(pyramid: AnchorPyramid, boxes: Any, **options: Any) -> set[tuple[int, int]]:
    found = pyramid.candidates(torch.tensor(boxes, dtype=torch.float32), **options)
    pairs = list(zip(found.truth.tolist(), found.anchor.tolist(), strict=True))
    assert len(pairs) == len(set(pairs)), "a pair twice"
    return set(pairs)


def test_the_cell_of_the_centre_and_the_nearer_neighbour() -> None:
    _, row = ROW
    near_left, near_right, middle = [3, 0, 7, 4], [5, 0, 9, 4], [4, 0, 8, 4]
    assert candidates(row, [near_left, near_right, middle]) == {
        *[(0, 1), (0, 0)],
        *[(1, 1), (1, 2)],
        (2, 1),
    }
    assert candidates(row, [near_left], reach=0.0) == {(0, 1)}
    assert candidates(row, [near_left], reach=1.0) == {(0, 0), (0, 1), (0, 2)}


def test_no_neighbours_outside_the_image() -> None:
    _, row = ROW
    assert candidates(row, [[-1, 0, 3, 4], [21, 0, 25, 4]]) == {(0, 0), (1, 5)}
    assert candidates(row, [[-9, 0, -5, 4], [40, 0, 44, 4]]) == {(0, 0), (1, 5)}


def test_in_3d_there_are_up_to_three_neighbours() -> None:
    _, cube = pyramid_of((12, 12, 12), [(3, 3, 3)], ((4, 4, 4),))
    near = candidates(cube, [[3, 5, 3, 7, 9, 7]])  # centre 5, 7, 5: cell 1, 1, 1
    assert near == {(0, 13), (0, 13 - 9), (0, 13 + 3), (0, 13 - 1)}


def test_the_shape_decides_about_anchors() -> None:
    _, row = pyramid_of((24, 4), [(6, 1)], ((4, 4), (16, 4)))
    assert candidates(row, [[4, 0, 8, 4]]) == {(0, 2)}  # 16 is 4 times 4: not less than 4
    assert candidates(row, [[3.9, 0, 8.1, 4]]) == {(0, 2), (0, 3)}
    assert candidates(row, [[3.9, 0, 8.1, 4]], shape_ratio=2.0) == {(0, 2)}
    assert candidates(row, [[6, 0, 6, 4], [5, 1, 5, 1], [0, 0, 24, 24]]) == set()


@st.composite
def levels(draw: st.DrawFn) -> tuple[tuple[int, ...], Cells, Any, tuple[int, ...]]:
    axes = draw(st.sampled_from([2, 3]))
    coarse = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    size = tuple(8 * n for n in coarse)
    shapes = [[draw(st.sampled_from([2, 6, 12])) for _ in range(axes)] for _ in range(2)]
    return size, [tuple(2 * n for n in coarse), coarse], shapes, (1, 2)


@settings(max_examples=40)
@given(levels(), st.integers(0, 2**31), st.sampled_from([0.5, 1.0]))
def test_candidates_are_what_a_loop_over_anchors_finds(
    level: tuple[tuple[int, ...], Cells, Any, tuple[int, ...]], seed: int, reach: float
) -> None:
    size, cells, _, _ = level
    anchors, pyramid = pyramid_of(*level)
    boxes = random_truth(size, 4, seed)
    expected, first = set(), 0
    for shape, end in zip(cells, [pyramid.anchors_per_level[0], pyramid.number], strict=True):
        stride = [s / n for s, n in zip(size, shape, strict=True)]
        for n in range(first, end):
            for m, box in enumerate(boxes.tolist()):
                if _is_candidate(anchors[n].tolist(), box, stride, reach):
                    expected.add((m, n))
        first = end
    assert candidates(pyramid, boxes.tolist(), reach=reach) == expected


def _is_candidate(anchor: list[float], box: list[float], stride: list[float], reach: float) -> bool:
    axes, beside = len(stride), 0
    for axis in range(axes):
        (a0, a1), (b0, b1) = (each[axis::axes] for each in (anchor, box))
        if not max((a1 - a0) / (b1 - b0), (b1 - b0) / (a1 - a0)) < 4:
            return False
        cells_apart = abs((a0 + a1) - (b0 + b1)) / 2 / stride[axis]
        if cells_apart >= 0.5 + reach:
            return False
        beside += cells_apart >= 0.5
    return beside <= 1


def random_truth(size: tuple[int, ...], number: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = torch.tensor(size, dtype=torch.float32)
    centres = shape * (0.02 + 0.96 * torch.rand(number, len(size), generator=generator))
    half = 1 + 5 * torch.rand(number, len(size), generator=generator)
    return torch.cat([centres - half, centres + half], 1)


def test_other_layouts_are_refused() -> None:
    anchors, _ = pyramid_of((8, 12), [(2, 3)], ((4, 4),))
    with pytest.raises(ValueError, match="anchors: expected 8 boxes, 1 for each of"):
        AnchorPyramid.of(anchors, [8], 1)
    with pytest.raises(ValueError, match=r"with indexing='ij'"):
        AnchorPyramid.of(anchors.flip(0), [6], 1)
    swapped = AnchorGenerator(((4,),), ((1.0,),), indexing="xy")
    turned = swapped(torch.zeros(1, 1, 8, 12), [torch.zeros(1, 1, 2, 3)])[0]
    with pytest.raises(ValueError, match=r"with indexing='ij'"):
        AnchorPyramid.of(turned, [6], 1)


TRUTH = torch.tensor([[2.0, 0, 8, 4], [6.0, 0, 13, 4]])
LABELS = torch.tensor([0, 1])


def predicted() -> tuple[Tensor, Tensor]:
    """Boxes and class logits of the six anchors; only 0, 1 and 2 are candidates."""
    boxes = ROW[0].clone()
    boxes[:3] = torch.tensor([[2.0, 0, 8, 4], [2.0, 0, 8, 4], [9.0, 0, 13, 4]])
    logits = torch.zeros(6, 2)
    logits[1, 1] = 1.0
    return boxes, logits


def test_an_assignment_worked_by_hand() -> None:
    """Two true boxes and six anchors.

    Centres 5 and 9.5 lie in cells 1 and 2, nearer to cells 0 and 1: candidates are 0, 1 and 2.
    IoUs with true box 0: 1, 1, 0, so k = 2; with true box 1: 2/11, 2/11, 4/7, so k = 1.
    With p = σ(logit), y = √p, the classes cost −log y of the true and −log(1 − y) of the other:
    0.3466 + 1.2279 = 1.5745 where both logits are 0.
    """
    boxes, logits = predicted()
    assert SimOTA()(boxes, logits, TRUTH, LABELS, ROW[1]).tolist() == [0, 0, 1, -1, -1, -1]
    # Anchor 2 is sure that it is not class 1: −log y = 10, so 11.23 + 1.68. Of the others, anchor 1
    # is the cheapest for true box 1, 1.38 + 5.11 against 1.57 + 5.11. But for true box 0 it costs
    # 0.3466 − log(1 − 0.8550) = 2.28 only: true box 0 keeps it, and true box 1 has nothing.
    logits[2, 1] = -20.0
    assert SimOTA()(boxes, logits, TRUTH, LABELS, ROW[1]).tolist() == [0, 0, -1, -1, -1, -1]
    swapped = TRUTH.flip(0), LABELS.flip(0)
    assert SimOTA()(boxes, logits, *swapped, ROW[1]).tolist() == [1, 1, -1, -1, -1, -1]
    # Where anchor 1 does not fit true box 0 so well, k = int(1 + 0.3) = 1 and it is free.
    boxes[1] = torch.tensor([5.0, 0, 11, 4])
    assert SimOTA()(boxes, logits, TRUTH, LABELS, ROW[1]).tolist() == [0, 1, -1, -1, -1, -1]


def test_objectness_counts_in_the_cost() -> None:
    boxes, logits = predicted()
    boxes[1] = torch.tensor([2.0, 0, 8.5, 4])  # a little worse, so that k is 1 for true box 0
    objectness = torch.zeros(6)
    one = TRUTH[:1], LABELS[:1]
    assert SimOTA()(boxes, logits, *one, ROW[1], objectness_logits=objectness)[0] == 0
    objectness[0] = -20.0
    found = SimOTA()(boxes, logits, *one, ROW[1], objectness_logits=objectness)
    assert found.tolist() == [-1, 0, -1, -1, -1, -1]


def slow_simota(
    boxes: list[Any],
    logits: list[list[float]],
    objectness: list[float],
    truth: list[Any],
    labels: list[int],
    pairs: set[tuple[int, int]],
) -> list[int]:
    """SimOTA in loops over plain numbers, with y = √(p_class p_object) and its cross entropy."""
    columns = sorted({n for _, n in pairs})
    rows = sorted({m for m, _ in pairs})
    cost, share = {}, {}
    for m in rows:
        for n in columns:
            share[m, n] = iou(torch.tensor([truth[m]]), torch.tensor([boxes[n]])).item()
            total = 0.0
            for c, logit in enumerate(logits[n]):
                y = math.sqrt(1 / (1 + math.exp(-logit)) / (1 + math.exp(-objectness[n])))
                total -= math.log(y) if c == labels[m] else math.log(1 - y)
            cost[m, n] = total - 3 * math.log(share[m, n] + 1e-8)
    matched = slow_matching(cost, share, rows, columns)
    return [matched.get(n, -1) for n in range(len(boxes))]


def slow_matching(
    cost: dict[tuple[int, int], float],
    share: dict[tuple[int, int], float],
    rows: list[int],
    columns: list[int],
) -> dict[int, int]:
    """The true box of each candidate that gets one."""
    claims: dict[int, list[int]] = {n: [] for n in columns}
    for m in rows:
        best = sorted((share[m, n] for n in columns), reverse=True)[:10]
        for n in sorted(columns, key=lambda n, m=m: cost[m, n])[: max(int(sum(best)), 1)]:
            claims[n].append(m)
    result = {}
    for n, claimants in claims.items():
        if claimants:
            among = rows if len(claimants) > 1 else claimants
            result[n] = min(among, key=lambda m, n=n: cost[m, n])
    return result


@given(seed=st.integers(0, 2**31), number=st.integers(1, 6), candidates=st.integers(1, 20))
def test_conflicts_are_settled_as_in_the_loops(seed: int, number: int, candidates: int) -> None:
    cost, share = torch.rand(
        2, number, candidates, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    rows, columns = list(range(number)), list(range(candidates))
    plain = [{(m, n): t[m, n].item() for m in rows for n in columns} for t in (cost, share)]
    matched = slow_matching(*plain, rows, columns)
    expected = [matched.get(n, -1) for n in columns]
    assert dynamic_k_matching(cost, share).tolist() == expected


@pytest.mark.parametrize("pairs_at_once", [1, 2**22])
@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), number=st.integers(1, 6), classes=st.integers(1, 3))
def test_simota_is_what_the_loops_find(
    pairs_at_once: int, seed: int, number: int, classes: int
) -> None:
    size = (16, 16, 16)
    anchors, pyramid = pyramid_of(size, [(4, 4, 4), (2, 2, 2)], ((5, 5, 5), (9, 5, 5)), (1, 2))
    generator = torch.Generator().manual_seed(seed)
    truth = random_truth(size, number, seed)
    labels = torch.randint(classes, (number,), generator=generator)
    nearest = pairwise(iou, anchors, truth).argmax(1)
    near = truth[nearest] + 0.5 * torch.randn(len(anchors), 6, generator=generator)
    logits = 2 * torch.randn(len(anchors), classes, generator=generator)
    objectness = 2 * torch.randn(len(anchors), generator=generator)
    pairs = candidates(pyramid, truth.tolist())
    data = (near, logits, objectness, truth, labels)
    expected = slow_simota(*[each.tolist() for each in data], pairs)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simota, "PAIRS_AT_ONCE", pairs_at_once)
        found = SimOTA()(near, logits, truth, labels, pyramid, objectness_logits=objectness)
    assert found.tolist() == expected


def test_k_is_cut_and_limited_by_the_candidates() -> None:
    cost = torch.arange(12.0)[None]
    assert (dynamic_k_matching(cost, torch.full((1, 12), 0.39)) >= 0).sum() == 3  # of 3.9
    assert (dynamic_k_matching(cost, torch.zeros(1, 12)) >= 0).sum() == 1
    assert (dynamic_k_matching(cost, torch.ones(1, 12)) >= 0).sum() == 10
    assert dynamic_k_matching(cost[:, :2], torch.ones(1, 2)).tolist() == [0, 0]
    assert dynamic_k_matching(torch.zeros(0, 3), torch.zeros(0, 3)).tolist() == [-1, -1, -1]
    assert dynamic_k_matching(torch.zeros(2, 0), torch.zeros(2, 0)).tolist() == []


def test_nothing_is_assigned_where_there_is_nothing() -> None:
    boxes, logits = predicted()
    nobody = [-1] * 6
    assert SimOTA()(boxes, logits, TRUTH[:0], LABELS[:0], ROW[1]).tolist() == nobody
    point = torch.tensor([[5.0, 1, 5, 1]])
    assert SimOTA()(boxes, logits, point, LABELS[:1], ROW[1]).tolist() == nobody
    huge = torch.tensor([[0.0, 0, 400, 400]])
    assert SimOTA()(boxes, logits, huge, LABELS[:1], ROW[1]).tolist() == nobody
    # beside one with candidates, a true box without any takes none of them, free as they may be
    boxes[1] = torch.tensor([5.0, 0, 11, 4])  # so that true box 0 takes anchor 0 only
    for other in (point, huge):
        both = torch.cat([other, TRUTH[:1]])
        assert SimOTA()(boxes, logits, both, LABELS[[1, 0]], ROW[1]).tolist() == [1] + [-1] * 5


def test_saturated_predictions_and_one_class() -> None:
    boxes, logits = predicted()
    for scale in (1e4, -1e4):
        found = SimOTA()(boxes, torch.full_like(logits[:, :1], scale), TRUTH, 0 * LABELS, ROW[1])
        assert set(found.tolist()) == {-1, 0, 1}
    half = SimOTA()(boxes.half(), logits.half(), TRUTH.half(), LABELS, ROW[1])
    assert half.tolist() == [0, 0, 1, -1, -1, -1]


def test_nothing_is_differentiated() -> None:
    boxes, logits = predicted()
    found = SimOTA()(boxes.requires_grad_(), logits.requires_grad_(), TRUTH, LABELS, ROW[1])
    assert not found.requires_grad
    assert boxes.grad is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"boxes": torch.zeros(5, 4)}, r"boxes: expected the shape \(6, 4\), got \(5, 4\)"),
        ({"class_logits": torch.zeros(5, 2)}, r"class_logits: expected the shape \(6, 2\)"),
        ({"true_boxes": torch.zeros(2, 6)}, r"true_boxes: expected the shape \(2, 4\)"),
        ({"true_labels": LABELS[:1]}, r"true_labels: expected the shape \(2,\)"),
        ({"true_labels": LABELS + 1}, "true_labels: expected class indices below 2"),
        ({"true_labels": LABELS - 1}, "true_labels: expected class indices below 2"),
        ({"objectness_logits": torch.zeros(6, 1)}, r"objectness_logits: expected the shape \(6,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changed: dict[str, Tensor], words: str) -> None:
    boxes, logits = predicted()
    given = {"boxes": boxes, "class_logits": logits, "true_boxes": TRUTH, "true_labels": LABELS}
    with pytest.raises(ValueError, match=words):
        SimOTA()(**{**given, **changed}, pyramid=ROW[1])


@pytest.mark.parametrize(
    "option", [{"iou_weight": -1}, {"top": 0}, {"shape_ratio": 1.0}, {"reach": 1.5}]
)
def test_options_out_of_range_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))}: expected"):
        SimOTA(**option)  # type: ignore[arg-type]
