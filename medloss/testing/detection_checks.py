"""What parts of detectors must do: box losses at the corners of boxes, detectors in MONAI."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from medloss.offers.records import ROLES, Detection
from medloss.testing.registry import ContractSubject, contract, copies, demand, demand_refused

CHANNELS = {"classification": 2, "box_regression": 6}
"""Outputs of the network for each anchor: two classes in 3D."""


class Boxes(NamedTuple):
    """Predicted and true boxes, pair by pair."""

    predicted: Tensor
    true: Tensor


class DetectionSubject(ContractSubject[Detection]):
    """A part of a detector that is held to the contract."""

    def build(self, **options: Any) -> Any:
        """The part with the example's options; a detector with a small 3D network."""
        parts = (_network(), _anchors()) if self.record.role == "detector" else ()
        # "@network" is a reference to another part of a config; detectors get their parts here
        example = {k: v for k, v in self.options.items() if not str(v).startswith("@")}
        return self.target(*parts, **{**example, **options})


def random_boxes(number: int = 8, *, axes: int = 3, seed: int = 0) -> Boxes:
    """Boxes that overlap in part: float64 corners, the lower ones first."""
    generator = torch.Generator().manual_seed(seed)
    low, sizes, moves, growths = torch.rand(
        4, number, axes, dtype=torch.float64, generator=generator
    )
    sizes = 2 + 4 * sizes
    true = torch.cat([low, low + sizes], 1)
    start = low + moves - 0.5
    return Boxes(torch.cat([start, start + sizes * (0.5 + growths)], 1), true)


def degenerate_boxes(axes: int = 3) -> dict[str, Boxes]:
    """Boxes without volume, and pairs that share nothing."""
    zero, one = torch.zeros(1, axes), torch.ones(1, axes)
    flat = one.clone()
    flat[:, 0] = 0
    box, point, plane = (torch.cat([zero, size], 1) for size in (one, zero, flat))
    return {
        "a point and a box": Boxes(point, box),
        "a box and a point": Boxes(box, point),
        "two points in one place": Boxes(point, point),
        "two points apart": Boxes(point, point + 3),
        "a plane and a box": Boxes(plane, box),
        "the same plane twice": Boxes(plane, plane),
        "boxes far apart": Boxes(box, box + 1000),
        "boxes that touch": Boxes(box, box + 1),
        "corners in the wrong order": Boxes(torch.cat([one, zero], 1), box),
    }


def scene() -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Two volumes, one with two objects and one with none."""
    images = torch.rand(2, 1, 16, 16, 8, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[2.0, 2, 1, 8, 8, 7], [9, 7, 0, 15, 14, 6]])
    return images, [
        {"boxes": boxes, "labels": torch.tensor([0, 1])},
        {"boxes": boxes[:0], "labels": torch.tensor([], dtype=torch.long)},
    ]


class _Network(nn.Module):
    """One convolution: what MONAI's detectors expect of a network, and no more."""

    spatial_dims, num_classes, num_anchors, size_divisible = 3, CHANNELS["classification"], 1, 4
    cls_key, box_reg_key = tuple(CHANNELS)

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {key: nn.Conv3d(1, channels, 4, stride=4) for key, channels in CHANNELS.items()}
        )

    def forward(self, images: Tensor) -> dict[str, list[Tensor]]:
        return {key: [head(images)] for key, head in self.heads.items()}


def _network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _Network()


def _anchors() -> Any:
    from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape

    return AnchorGeneratorWithAnchorShape((1,), ((6, 6, 6),))


@contract(*ROLES, excusable=False)
def part_copies_and_pickles(subject: DetectionSubject) -> None:
    """A deep copy and a pickle are built alike.

    Detectors are copied for averaged weights and pickled for worker processes.
    """
    part = subject.build()
    for name, other in copies(part).items():
        demand(repr(other) == repr(part), f"{name} is {other!r}, not {part!r}")


@contract("box_loss")
def perfect_box_is_zero(subject: DetectionSubject) -> None:
    """A box that is predicted exactly has the loss 0, and any other has more."""
    loss = subject.build(reduction="none")
    for axes in (2, 3):
        predicted, true = random_boxes(axes=axes)
        exact, other = loss(true, true), loss(predicted, true)
        largest = float(exact.abs().max())
        demand(largest < 1e-6, f"exact boxes in {axes}D have losses of up to {largest:.3g}")
        demand(bool((other > exact).all()), f"another box in {axes}D costs no more than the exact")


@contract("box_loss", excusable=False)
def no_boxes_are_zero(subject: DetectionSubject) -> None:
    """Without boxes the loss is 0, not NaN, and in the graph of the network.

    A batch without objects is common; one NaN ends a training run.
    """
    for reduction in ("mean", "sum"):
        predicted = torch.zeros(0, 6, requires_grad=True)
        value = subject.build(reduction=reduction)(predicted, torch.zeros(0, 6))
        demand(float(value.detach()) == 0, f"with {reduction} it is {value}")
        demand(value.requires_grad, f"with {reduction} it has no gradient")
        torch.autograd.grad(value, predicted)


@contract("box_loss", excusable=False)
def degenerate_boxes_are_finite(subject: DetectionSubject) -> None:
    """Value and gradient are finite for points, planes, and boxes far apart, in any precision."""
    for axes in (2, 3):
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            for what, boxes in degenerate_boxes(axes).items():
                value, gradient = _value_and_gradient(subject.build(), boxes, dtype)
                finite = bool(value.isfinite()) and bool(gradient.isfinite().all())
                demand(finite, f"{what} in {axes}D and {dtype} give {value} and {gradient}")


@contract("box_loss")
def scale_and_place_change_nothing(subject: DetectionSubject) -> None:
    """Boxes that are all enlarged, moved, or turned to another order of axes have the same loss.

    Voxel sizes and cropping must not decide what is learnt.
    """
    loss, (predicted, true) = subject.build(), random_boxes()
    expected = loss(predicted, true)
    for what, boxes in _moved(predicted, true):
        demand(
            torch.allclose(loss(*boxes), expected, rtol=1e-6),
            f"{what} have {float(loss(*boxes)):.8g}, and {float(expected):.8g} before",
        )


@contract("box_loss")
def reductions_agree_on_boxes(subject: DetectionSubject) -> None:
    """``none`` gives one value a pair, ``mean`` their mean, ``sum`` their sum."""
    boxes = random_boxes()
    each = subject.build(reduction="none")(*boxes)
    demand(tuple(each.shape) == (len(boxes.true),), f"none gives the shape {tuple(each.shape)}")
    for reduction, expected in (("mean", each.mean()), ("sum", each.sum())):
        value = subject.build(reduction=reduction)(*boxes)
        demand(torch.allclose(value, expected), f"{reduction} gives {value}, expected {expected}")


@contract("box_loss", excusable=False)
def boxes_in_half_are_computed_in_single(subject: DetectionSubject) -> None:
    """Boxes in float16 and bfloat16 have the loss of the same numbers in float32."""
    loss = subject.build()
    for dtype in (torch.float16, torch.bfloat16):
        half = Boxes(*[(50 * boxes).to(dtype) for boxes in random_boxes()])
        value, expected = loss(*half).float(), loss(half.predicted.float(), half.true.float())
        same = torch.allclose(value, expected, rtol=1e-5)
        demand(same, f"{dtype} gives {value}, float32 {expected}")


@contract("box_loss", excusable=False)
def wrong_boxes_are_refused(subject: DetectionSubject) -> None:
    """Shapes that are no pairs of boxes raise, and the error names the argument.

    Broadcasting makes a wrong shape a wrong number.
    """
    box = torch.tensor([[0.0, 0, 0, 1, 1, 1]])
    wrong: tuple[tuple[str, Any, Any], ...] = (
        ("input", box[:, :5], box[:, :5]),
        ("input", box.numpy(), box),
        ("target", box, box.expand(2, 6)),
        ("target", box, box[:, :4]),
    )
    for name, predicted, true in wrong:
        demand_refused(
            functools.partial(subject.build(), predicted, true),
            name,
            f"a wrong {name} is refused without naming it",
            f"a wrong {name} is accepted",
        )


@contract("detector", excusable=False)
def detector_trains_in_monai(subject: DetectionSubject) -> None:
    """In training it returns finite losses by name, and all weights get a gradient.

    Also from a batch in which no image has an object.
    """
    images, targets = scene()
    for what, given in (("objects", targets), ("no objects", [targets[1]] * 2)):
        detector = subject.build().train()
        losses = detector(images, [dict(target) for target in given])
        demand(isinstance(losses, dict) and losses, f"with {what} it returns {type(losses)}")
        total = torch.stack(list(losses.values())).sum()
        demand(bool(total.isfinite()), f"with {what} the losses are {losses}")
        names, weights = zip(*detector.named_parameters(), strict=True)
        gradients = torch.autograd.grad(total, weights, allow_unused=True)
        for name, gradient in zip(names, gradients, strict=True):
            finite = gradient is not None and bool(gradient.isfinite().all())
            demand(finite, f"with {what} the gradient of {name} is missing or not finite")


@contract("detector", excusable=False)
def detector_detects_in_monai(subject: DetectionSubject) -> None:
    """In evaluation it returns boxes, labels and scores for each image."""
    images, _ = scene()
    with torch.no_grad():
        found = subject.build().eval()(images)
    demand(isinstance(found, list) and len(found) == len(images), f"it returns {type(found)}")
    for each in found:
        keys = {"boxes", "labels", "labels_scores"}
        demand(keys <= each.keys(), f"it returns {', '.join(each)}")


def _value_and_gradient(loss: Any, boxes: Boxes, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    predicted = boxes.predicted.to(dtype).requires_grad_()
    value = loss(predicted, boxes.true.to(dtype))
    (gradient,) = torch.autograd.grad(value, predicted)
    return value.detach(), gradient


def _moved(predicted: Tensor, true: Tensor) -> Iterator[tuple[str, Boxes]]:
    yield "boxes of 8 times the size", Boxes(8 * predicted, 8 * true)
    yield "boxes of a hundredth of the size", Boxes(predicted / 100, true / 100)
    yield "boxes moved by 100", Boxes(predicted + 100, true + 100)
    turn = [2, 0, 1, 5, 3, 4]
    yield "boxes with the last axis first", Boxes(predicted[:, turn], true[:, turn])
