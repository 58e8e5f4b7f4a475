"""Two cohorts, each with another class annotated: who learns both classes, and who does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import medloss

STEPS = 100
COHORTS = (2, 10)
"""Cases with class 1 annotated, and cases with class 2 annotated; both are in every image."""


def blobs(cases: int, axes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images with two balls, one of middle and one of high intensity; labels of both."""
    generator = torch.Generator().manual_seed(seed)
    size = 20 if axes == 2 else 10
    grid = torch.stack(torch.meshgrid(*[torch.arange(size)] * axes, indexing="ij"))
    labels = torch.zeros(cases, 1, *[size] * axes, dtype=torch.long)
    for case in labels[:, 0]:
        for label in (1, 2):
            # one in either half, so that they do not overlap
            middle = size / 8 + torch.rand(axes, generator=generator) * size * 3 / 4
            middle[0] = size * (0.25 if label == 1 else 0.75)
            square = (grid - middle.view(-1, *[1] * axes)).square().sum(0)
            case[square < (size / 5) ** 2] = label
    flipped = torch.rand(cases, generator=generator) < 0.5
    labels[flipped] = labels[flipped].flip(2)
    noise = 0.1 * torch.randn(labels.shape, generator=generator)
    return 0.5 * labels + noise, labels


def network(axes: int) -> nn.Module:
    torch.manual_seed(0)
    convolution: Any = nn.Conv2d if axes == 2 else nn.Conv3d
    return nn.Sequential(
        convolution(1, 8, 3, padding=1), nn.ReLU(),
        convolution(8, 8, 3, padding=1), nn.ReLU(),
        convolution(8, 3, 1),
    )  # fmt: skip


def dice_after_training(loss: Any, axes: int, *, with_present: bool) -> tuple[float, float]:
    """Dice of classes 1 and 2 on new images, all annotated."""
    image, label = blobs(sum(COHORTS), axes, seed=0)
    known = torch.ones(sum(COHORTS), 3, dtype=torch.bool)
    known[: COHORTS[0], 2] = known[COHORTS[0] :, 1] = False
    partial = torch.where(known.gather(1, label.flatten(1)).view_as(label), label, 0)
    target: Any = {"label": partial, "present": known} if with_present else partial
    model = network(axes)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(model(image), target).backward()
        optimizer.step()
    image, label = blobs(8, axes, seed=1)
    with torch.no_grad():
        found = model(image).argmax(1, keepdim=True)
    first, second = (
        float(2 * ((found == c) & (label == c)).sum() / ((found == c).sum() + (label == c).sum()))
        for c in (1, 2)
    )
    return first, second


@pytest.mark.parametrize("axes", [2, 3])
def test_unannotated_is_not_background(axes: int) -> None:
    naive = medloss.loss("dice_ce", softmax=True)
    for with_present in (False, True):  # under softmax a class left out alone is not enough
        first, second = dice_after_training(naive, axes, with_present=with_present)
        assert first < 0.4
        assert second > 0.8
    exclusion = {"name": "exclusion", "unannotated_only": True}
    for options in (
        {"name": "marginal", "loss": "dice_ce"},
        {"name": "compound", "terms": ["marginal", exclusion]},
    ):
        loss = medloss.loss(**options, softmax=True)
        first, second = dice_after_training(loss, axes, with_present=True)
        assert first > 0.75
        assert second > 0.85
