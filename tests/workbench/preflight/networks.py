"""Networks with an activation of their own."""

from __future__ import annotations

from torch import Tensor, nn


class Activated(nn.Module):
    """A convolution whose output is probabilities already."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(1, 3, 3, padding=1)
        self.activation = activation

    def forward(self, image: Tensor) -> Tensor:
        logits = self.convolution(image)
        return logits.softmax(1) if self.activation == "softmax" else logits.sigmoid()
