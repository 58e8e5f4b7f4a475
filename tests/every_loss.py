"""Every loss on offer, with what it must be given, on one small scene."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import medloss

WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "lovasz_softmax by histogram": ("lovasz_softmax", {"softmax": True, "method": "histogram"}),
    "hausdorff_erosion as it is": ("hausdorff_erosion", {"softmax": True, "normalize": False}),
    "l1_ace in soft bins": ("l1_ace", {"softmax": True, "binning": "soft"}),
    "region_size as divergence": ("region_size", {"softmax": True, "difference": "kl"}),
    "cells by inverse size": ("cc_dice_ce", {"softmax": True, "size_exponent": 0.5}),
    "topk of the batch": ("topk_cross_entropy", {"sigmoid": True, "batch": True}),
    "blob of another loss": ("blob", {"softmax": True, "loss": "cl_dice"}),
    "compound of much": (
        "compound",
        {
            "softmax": True,
            "terms": ["dice", {"name": "focal", "gamma": 1.5}, "boundary", "dice_topk"],
            "weights": [1, 0.5, 0.1, 2],
        },
    ),
}
"""Other ways through some of them."""
OFFERED = {record.name: record for record in medloss.list_losses()}
NAMES = [*OFFERED, *WAYS]


def built(name: str) -> nn.Module:
    """A loss of :data:`NAMES`."""
    of, options = WAYS[name] if name in WAYS else (name, dict(OFFERED[name].example))
    return medloss.loss(of, **options)


def scene(seed: int = 0) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Logits in float64, labels, and extras; the objects are thick enough for every loss."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(1, 3, 5, 6, generator=generator, dtype=torch.float64)
    z[:, 0] += 2  # too little of the objects is found, so that errors are thick
    y = torch.zeros(1, 1, 5, 6, dtype=torch.long)
    y[:, 0, 1:4, 1:4] = 1
    y[:, 0, 2:5, 4:] = 2
    skeleton = (y == torch.arange(3).view(1, 3, 1, 1)).double()
    return z, y, {"spacing_mm": (1.0, 1.5), "skeleton": skeleton}
