"""Class sums of the logits that a 1x1x1 convolution makes from features, without these logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medloss.sums import Term, class_sums, class_sums_slopes
from medloss.sums.choice import TRITON
from medloss.sums.engine import request_of
from medloss.sums.request import Request
from medloss.targets import Prepared

SLAB_BYTES = {"cpu": 1 << 23}
"""Logits of one slab: on a CPU they stay in a shared cache."""
SLAB_BYTES_ELSEWHERE = 1 << 27
"""Elsewhere large enough that starting an operation does not count."""


def sums_of_features(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    prepared: Prepared,
    terms: tuple[Term, ...],
    maps: Mapping[str, Tensor],
) -> Tensor:
    """Sums (B, K, C) of W h + b: by the kernels for CUDA devices, else slab by slab.

    Args:
        features: h, (B, F, *spatial).
        weight: W, (C, F, 1, ...).
        bias: b, (C), or None.
        prepared: everything else; its values are logits in shape only.
        terms: what to sum.
        maps: by name.
    """
    values: Tensor
    request, backend = request_of(
        prepared.values, prepared.target, terms, prepared.activation, prepared.mask, maps
    )
    if backend == TRITON:
        from medloss.sums.gpu.fused_head import why_not

        if why_not(weight.flatten(1), prepared.values.dtype) is None:
            values = _SumsByKernels.apply(features, weight, bias, request)  # type: ignore[no-untyped-call]
            return values
    slabs = _Slabs(prepared, terms, maps)
    values = _SumsBySlabs.apply(features, weight, bias, slabs)  # type: ignore[no-untyped-call]
    return values


class _SumsByKernels(torch.autograd.Function):
    """The product within the kernels of the sums."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, request: Request
    ) -> Tensor:
        from medloss.sums.gpu import fused_head

        ctx.save_for_backward(features, weight, bias)
        ctx.request = request
        return fused_head.sums(request, fused_head.Head.of(features, weight, bias))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from medloss.sums.gpu import fused_head

        features, weight, bias = ctx.saved_tensors
        by_features, by_weight, by_bias = fused_head.slopes(
            ctx.request, gradient, fused_head.Head.of(features, weight, bias)
        )
        of_bias = None if bias is None else by_bias.to(bias)
        return by_features, by_weight.view_as(weight).to(weight), of_bias, None


@dataclass(frozen=True)
class _Slabs:
    """Cuts everything but the features into slabs."""

    prepared: Prepared
    terms: tuple[Term, ...]
    maps: Mapping[str, Tensor]

    def __iter__(self) -> Iterator[tuple[int, slice]]:
        values = self.prepared.values
        voxels = values[0, 0].numel()
        room = SLAB_BYTES.get(values.device.type, SLAB_BYTES_ELSEWHERE)
        step = max(1, room // (values.shape[1] * values.itemsize))
        for b in range(len(values)):
            for begin in range(0, voxels, step):
                yield b, slice(begin, begin + step)

    def cut(self, b: int, part: slice) -> dict[str, Any]:
        """Arguments of class sums beside the input."""

        def cut(tensor: Tensor) -> Tensor:
            return tensor.flatten(2)[b : b + 1, :, part]

        mask = self.prepared.mask
        return {
            "target": cut(self.prepared.target),
            "terms": self.terms,
            "activation": self.prepared.activation,
            "mask": None if mask is None else cut(mask),
            "maps": {name: cut(each) for name, each in self.maps.items()},
        }


class _SumsBySlabs(torch.autograd.Function):
    """The product by torch, its slabs to the class sums."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, slabs: _Slabs
    ) -> Tensor:
        ctx.save_for_backward(features, weight, bias)
        ctx.slabs = slabs
        dtype = slabs.prepared.values.dtype
        shape = (len(features), len(slabs.terms), weight.shape[0])
        total = torch.zeros(shape, dtype=torch.float64, device=features.device)
        head = _Product(features, weight, bias, dtype)
        for b, part in slabs:
            total[b] += class_sums(head.logits(b, part), **slabs.cut(b, part)).values[0]
        return total.to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, bias = ctx.saved_tensors
        slabs = ctx.slabs
        head = _Product(features, weight, bias, slabs.prepared.values.dtype)
        by_features = torch.empty_like(features, memory_format=torch.contiguous_format)
        flat = by_features.flatten(2)
        by_weight = torch.zeros_like(head.weight, dtype=torch.float64)
        by_bias = torch.zeros_like(by_weight[:, 0])
        for b, part in slabs:
            others = slabs.cut(b, part)
            slope = class_sums_slopes(gradient[b : b + 1], head.logits(b, part), **others)[0]
            flat[b, :, part] = head.weight.t() @ slope
            own = head.features(b, part)
            if others["mask"] is not None:  # 0 times a NaN would be a NaN
                own = own.where(others["mask"][0] != 0, 0)
            by_weight += slope @ own.t()
            by_bias += slope.sum(1)
        of_bias = None if bias is None else by_bias.to(bias)
        return by_features, by_weight.view_as(weight).to(weight), of_bias, None


class _Product:
    """The 1x1x1 convolution on a slab, in the dtype of the sums."""

    def __init__(
        self, features: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype
    ) -> None:
        self.flat, self.dtype = features.detach().flatten(2), dtype
        self.weight = weight.detach().flatten(1).to(dtype)
        self.bias = None if bias is None else bias.detach().to(dtype)[:, None]

    def features(self, b: int, part: slice) -> Tensor:
        """(F, N)."""
        return self.flat[b, :, part].to(self.dtype)

    def logits(self, b: int, part: slice) -> Tensor:
        """(1, C, N)."""
        z = self.weight @ self.features(b, part)
        return (z if self.bias is None else z.add_(self.bias))[None]
