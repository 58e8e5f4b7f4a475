"""A small network and images for tests of detectors; named in bundle configs by dotted path."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Targets = list[dict[str, Tensor]]


class Features(nn.Module):
    """Two levels of features, at strides 4 and 8."""

    out_channels = 8

    def __init__(self, axes: int = 3) -> None:
        super().__init__()
        self.axes = axes
        self.mix = nn.Conv3d(1, 8, 1) if axes == 3 else nn.Conv2d(1, 8, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        pool = nn.functional.avg_pool3d if self.axes == 3 else nn.functional.avg_pool2d
        fine = self.mix(pool(images, 4))
        return [fine, pool(fine, 2)]


def scene(axes: int = 3) -> tuple[Tensor, Targets]:
    """Two images, one with two objects of two classes and one with none."""
    images = torch.rand(2, 1, *[16] * axes, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[2.0] * axes + [8.0] * axes, [6.0] * axes + [15.0] * axes])
    first = {"boxes": boxes, "labels": torch.tensor([0, 1])}
    return images, [first, {"boxes": boxes[:0], "labels": torch.zeros(0, dtype=torch.long)}]
