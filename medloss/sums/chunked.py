"""The backend in plain torch, slab by slab: any device, little memory beside the gradient."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from medloss.sums.derivatives import by_input
from medloss.sums.reference import SUMMANDS, Voxels
from medloss.sums.request import Request, gradient_like

SLAB = {"cpu": 1 << 18}
"""Elements of a slab: on a CPU its temporaries stay in cache."""
SLAB_ELSEWHERE = 1 << 22
"""Elsewhere large enough that starting an operation does not count."""

Slab = tuple[int, slice]


def sums(request: Request) -> Tensor:
    """Sums of shape (B, K, C) in ``request.work_dtype``."""
    flat = request.flat()
    shape = (flat.input.shape[0], len(flat.terms), flat.input.shape[1])
    wide = torch.float32 if flat.input.device.type == "mps" else torch.float64
    total = torch.zeros(shape, dtype=wide, device=flat.input.device)
    for b, part in _slabs(flat):
        voxels, mask = _voxels(flat, b, part)
        for k, term in enumerate(flat.terms):
            value = SUMMANDS[term.name](voxels, term)
            total[b, k] += (value if mask is None else value * mask).sum((0, 2))
    return total.to(request.work_dtype)


def slopes(request: Request, gradient: Tensor) -> Tensor:
    """Gradient by the input for a gradient (B, K, C) of the sums."""
    flat = request.flat()
    out = gradient_like(request.input)
    for b, part in _slabs(flat):
        voxels, mask = _voxels(flat, b, part)
        weights = gradient[b].to(request.work_dtype)[:, None, :, None]
        slope = by_input(voxels, list(zip(weights, flat.terms, strict=True)))
        out.flatten(2)[b : b + 1, :, part] = slope if mask is None else slope * mask
    return out


def _slabs(flat: Request) -> Iterator[Slab]:
    batch, classes, voxels = flat.input.shape
    step = max(1, SLAB.get(flat.input.device.type, SLAB_ELSEWHERE) // classes)
    for b in range(batch):
        for begin in range(0, voxels, step):
            yield b, slice(begin, begin + step)


def _voxels(flat: Request, b: int, part: slice) -> tuple[Voxels, Tensor | None]:
    """The voxels of a slab and their weights."""

    def cut(tensor: Tensor) -> Tensor:
        return tensor[b : b + 1, :, part]

    maps = {str(i): cut(each).to(flat.work_dtype) for i, each in enumerate(flat.maps)}
    mask = None if flat.mask is None else cut(flat.mask).to(flat.work_dtype)
    input = cut(flat.input) if mask is None else cut(flat.input).where(mask != 0, 0)
    return Voxels(input, cut(flat.target), flat.activation, maps), mask
