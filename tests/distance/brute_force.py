"""Distances by comparing every voxel with every other one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def brute_force(
    mask: np.ndarray,
    spacing_mm: Sequence[float],
    radius: float,
    shift: Sequence[float] | None = None,
) -> np.ndarray:
    """From every True voxel to every False one, each a box of half-width ``radius`` voxels."""
    grid = np.argwhere(np.ones_like(mask)).reshape(*mask.shape, mask.ndim)
    inside, outside = grid[mask] + (shift or 0.0), grid[~mask]
    out = np.zeros(mask.shape)
    if not len(outside):
        out[mask] = np.inf
    elif len(inside):
        away = np.maximum(np.abs(inside[:, None] - outside[None]) - radius, 0)
        out[mask] = np.sqrt(((away * np.asarray(spacing_mm)) ** 2).sum(-1).min(1))
    return out


def blobs(shape: tuple[int, ...], share: float, seed: int = 0) -> Tensor:
    """Masks (B, C, H, W, D) of smooth objects that have this share of the voxels."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(*shape, generator=generator)
    pool = torch.nn.functional.avg_pool3d(noise, 3, 1, 1)
    return pool > pool.flatten().kthvalue(int((1 - share) * pool.numel())).values
