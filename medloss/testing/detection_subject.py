"""A part of a detector under test: how to build it, and small boxes, images and networks for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from medloss.offers.host import Offer
from medloss.offers.records import Detection

CHANNELS = {"classification": 2, "box_regression": 6}
"""Outputs of the network for each anchor: two classes in 3D."""


class Boxes(NamedTuple):
    """Predicted and true boxes, pair by pair."""

    predicted: Tensor
    true: Tensor


class DetectionSubject:
    """A part of a detector that is held to the contract.

    Args:
        offer: the part.
        options: of the class, beside those of the record's example and instead of them.
    """

    def __init__(self, offer: Offer[Detection], options: Mapping[str, Any]) -> None:
        self.offer = offer
        self.record = offer.record
        self.given = dict(options)
        example = {**offer.record.example, **options}
        # "@network" is a reference to another part of a config; detectors get their parts below.
        self.options = {k: v for k, v in example.items() if not str(v).startswith("@")}

    @cached_property
    def target(self) -> Any:
        """The class."""
        return self.offer.load()

    def build(self, **options: Any) -> Any:
        """The part with the example's options; a detector with a small 3D network."""
        parts = (_network(), _anchors()) if self.record.role == "detector" else ()
        return self.target(*parts, **{**self.options, **options})


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
