"""Losses written from their formulas in plain torch: what is compared when no library has them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTH = 1e-5


def dice_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over samples and classes of 1 − Dice, plus cross entropy.

    Args:
        logits: (B, C, *spatial).
        labels: (B, 1, *spatial).
    """
    probabilities = logits.softmax(1)
    hot = torch.zeros_like(probabilities).scatter_(1, labels.long(), 1)
    voxels = tuple(range(2, logits.ndim))
    overlap = (probabilities * hot).sum(voxels)
    sizes = probabilities.sum(voxels) + hot.sum(voxels)
    dice = (2 * overlap + SMOOTH) / (sizes + SMOOTH)
    return (1 - dice).mean() + F.cross_entropy(logits, labels[:, 0].long())


def batch_dice_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the mean over foreground classes of Dice pooled over the batch, plus cross entropy.

    Written so as to save memory: the one-hot labels are booleans, and nothing is kept for a
    gradient by the labels.

    Args:
        logits: (B, C, *spatial).
        labels: (B, 1, *spatial).
    """
    index = labels.long()
    pooled = (0, *range(2, logits.ndim))
    with torch.no_grad():
        hot = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
        foreground = hot.scatter_(1, index, True)[:, 1:]
        true_size = foreground.sum(pooled)
    probabilities = logits.softmax(1)[:, 1:]
    overlap = (probabilities * foreground).sum(pooled)
    sizes = probabilities.sum(pooled) + true_size
    dice = (2 * overlap + SMOOTH) / (sizes + SMOOTH).clamp_min(1e-8)
    return F.cross_entropy(logits, index[:, 0]) - dice.mean()
