"""The backend in plain torch, slab by slab: any device, little memory beside the gradient."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from medloss.runtime.slabs import ELEMENTS, Slab, slabs
from medloss.sums.derivatives import by_input
from medloss.sums.reference import SUMMANDS, Voxels
from medloss.sums.request import Request, gradient_like


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
    return slabs(batch, voxels, max(1, ELEMENTS.on(flat.input.device) // classes))


def _voxels(flat: Request, b: int, part: slice) -> tuple[Voxels, Tensor | None]:
    """The voxels of a slab and their weights."""

    def cut(tensor: Tensor) -> Tensor:
        return tensor[b : b + 1, :, part]

    maps = {str(i): cut(each).to(flat.work_dtype) for i, each in enumerate(flat.maps)}
    mask = None if flat.mask is None else cut(flat.mask).to(flat.work_dtype)
    input = cut(flat.input) if mask is None else cut(flat.input).where(mask != 0, 0)
    return Voxels(input, cut(flat.target), flat.activation, maps), mask
