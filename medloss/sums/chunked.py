"""The backend in plain torch, slab by slab: any device, little memory beside the gradient."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from medloss.runtime.slabs import ELEMENTS, Slab, slabs
from medloss.sums.request import SumsRequest, gradient_like
from medloss.sums.terms import TERMS, Slopes, Term, summand, summand_slopes
from medloss.sums.voxels import Voxels


def sums(request: SumsRequest) -> Tensor:
    """Sums of shape (B, K, C) in ``request.work_dtype``."""
    flat = request.flat()
    shape = (flat.input.shape[0], len(flat.terms), flat.input.shape[1])
    wide = torch.float32 if flat.input.device.type == "mps" else torch.float64
    total = torch.zeros(shape, dtype=wide, device=flat.input.device)
    for b, part in _slabs(flat):
        voxels, mask = _voxels(flat, b, part)
        for k, term in enumerate(flat.terms):
            value = summand(voxels, term)
            total[b, k] += (value if mask is None else value * mask).sum((0, 2))
    return total.to(request.work_dtype)


def slopes(request: SumsRequest, gradient: Tensor) -> Tensor:
    """Gradient by the input for a gradient (B, K, C) of the sums."""
    flat = request.flat()
    out = gradient_like(request.input)
    for b, part in _slabs(flat):
        voxels, mask = _voxels(flat, b, part)
        weights = gradient[b].to(request.work_dtype)[:, None, :, None]
        slope = _by_input(voxels, list(zip(weights, flat.terms, strict=True)))
        out.flatten(2)[b : b + 1, :, part] = slope if mask is None else slope * mask
    return out


def _slabs(flat: SumsRequest) -> Iterator[Slab]:
    batch, classes, voxels = flat.input.shape
    return slabs(batch, voxels, max(1, ELEMENTS.on(flat.input.device) // classes))


def _voxels(flat: SumsRequest, b: int, part: slice) -> tuple[Voxels, Tensor | None]:
    """The voxels of a slab and their weights."""

    def cut(tensor: Tensor) -> Tensor:
        return tensor[b : b + 1, :, part]

    maps = {str(i): cut(each).to(flat.work_dtype) for i, each in enumerate(flat.maps)}
    mask = None if flat.mask is None else cut(flat.mask).to(flat.work_dtype)
    input = cut(flat.input) if mask is None else cut(flat.input).where(mask != 0, 0)
    return Voxels(input, cut(flat.target), flat.activation, maps), mask


def _by_input(x: Voxels, weighted: list[tuple[Tensor, Term]]) -> Tensor:
    """Gradient of a weighted sum of terms by the input, for each voxel and class.

    Args:
        x: the voxels.
        weighted: gradients of the sums, to be spread over voxels, and their terms.
    """
    whole = [torch.zeros_like(x.input) for _ in Slopes._fields]
    for weight, term in weighted:
        for total, slope in zip(whole, summand_slopes(x, term), strict=True):
            if isinstance(slope, Tensor) or slope != 0:
                total += weight * slope
    by_p, by_log_p, by_log_not_p = whole
    if x.activation == "sigmoid":
        return x.p * x.not_p * by_p + x.not_p * by_log_p - x.p * by_log_not_p
    if x.activation == "probabilities":
        return by_p + _over(by_log_p, x.p) - _over(by_log_not_p, x.not_p)
    by_log = x.p * by_p + by_log_p
    if any(TERMS[term.name].log == "q" for _, term in weighted):
        by_log += _by_log_of_others(x, by_log_not_p)
    return by_log - x.p * by_log.sum(1, keepdim=True)


def _by_log_of_others(x: Voxels, by_log_not_p: Tensor) -> Tensor:
    """Derivative by log p of softmax, from that by log(1 − p).

    1 − p of the most probable class is the sum of the others, which share its derivative; taken as
    a difference it would drown in rounding.
    """
    log_not_p = torch.where(x.best, x.log_not_p, 0).sum(1, keepdim=True)
    of_best = torch.where(x.best, by_log_not_p, 0).sum(1, keepdim=True)
    share = (x.log_p - log_not_p.clamp_min(torch.finfo(log_not_p.dtype).min)).exp()
    return torch.where(x.best, 0, share * of_best - x.p * _over(by_log_not_p, x.not_p))


def _over(value: Tensor, probability: Tensor) -> Tensor:
    """0 where the logarithm is held at a finite value."""
    held = probability < torch.finfo(probability.dtype).tiny
    return torch.where(held, 0, value / torch.where(held, 1, probability))
