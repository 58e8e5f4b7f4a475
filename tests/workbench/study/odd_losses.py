"""Losses that no study should be without: they break."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NanAfter(nn.Module):
    """Cross entropy that is no number from a step on."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        self.left -= 1
        label = torch.as_tensor(target)[:, 0].long()
        value = nn.functional.cross_entropy(input, label)
        return value * float("nan") if self.left < 0 else value


class Raises(nn.Module):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        raise RuntimeError("this loss cannot be computed")


class OnlyBackground(nn.Module):
    """Teaches a network to see background everywhere."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return -1000 * input[:, 0].mean() + 1000 * input[:, 1:].mean()
