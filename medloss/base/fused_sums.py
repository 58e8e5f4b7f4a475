"""Class sums of the logits that a 1x1x1 convolution makes from features, without these logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from medloss.base.targets import Prepared
from medloss.runtime import slabs
from medloss.runtime.eager import evaluate
from medloss.runtime.operators import operator
from medloss.sums import Term, operators
from medloss.sums.choice import REFERENCE, TRITON
from medloss.sums.engine import form_of
from medloss.sums.form import Form
from medloss.sums.request import Request


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
    form, _ = form_of(
        prepared.values, prepared.target, terms, prepared.activation, prepared.mask, maps
    )
    tensors = (features, weight, bias, prepared.target, prepared.mask, *maps.values())
    fused = Fused(form, prepared.values.dtype)
    return fused.plain(*tensors) if form.backend == REFERENCE else evaluate(fused, *tensors)


@dataclass(frozen=True)
class Fused:
    """The sums from features, weight, bias or None, target, mask or None, and maps.

    Args:
        form: of the class sums.
        dtype: of the logits, in which the product is taken.
    """

    differentiable: ClassVar[int] = 3

    form: Form
    dtype: torch.dtype

    def value(self, *tensors: Any) -> Tensor:
        """Without the logits."""
        with torch.autocast(tensors[0].device.type, enabled=False):
            if self._by_kernels(tensors[1]):
                from medloss.sums.gpu import fused_head

                return fused_head.sums(self._request(tensors), fused_head.Head.of(*tensors[:3]))
            features, weight, bias, *_ = tensors
            head = _Product(features, weight, bias, self.dtype)
            shape = (len(tensors[0]), len(self.form.terms), len(head.weight))
            total = torch.zeros(shape, dtype=torch.float64, device=tensors[0].device)
            for b, part in self._slabs(tensors):
                total[b] += self.form.value(head.logits(b, part), *_cut(tensors, b, part))[0]
            return total.to(self.dtype)

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor | None, ...]:
        """Gradient by features, weight and bias, the logits made again."""
        features, weight, bias, *_ = tensors
        with torch.autocast(features.device.type, enabled=False):
            if self._by_kernels(weight):
                from medloss.sums.gpu import fused_head

                own = fused_head.Head.of(features, weight, bias)
                found = fused_head.slopes(self._request(tensors), gradient, own)
            else:
                found = self._slopes_of_slabs(gradient, tensors)
        by_features, by_weight, by_bias = found
        of_bias = None if bias is None else by_bias.to(bias)
        return by_features, by_weight.view_as(weight).to(weight), of_bias

    def plain(self, *tensors: Any) -> Tensor:
        """From logits in full."""
        features, weight, bias, target, mask, *maps = tensors
        with torch.autocast(features.device.type, enabled=False):
            if mask is not None:  # 0 times a NaN would be a NaN
                features = features.where(mask != 0, 0)
            z = weight.flatten(1).to(self.dtype) @ features.flatten(2).to(self.dtype)
            z = z if bias is None else z + bias.to(self.dtype)[:, None]
            return self.form.plain(z.unflatten(2, features.shape[2:]), target, mask, *maps)

    def recorded(self, *tensors: Any) -> Tensor:
        """As an operator."""
        options = operators.options(self.form)
        return _operator(*tensors[:5], list(tensors[5:]), *options, self.dtype)

    def _by_kernels(self, weight: Tensor) -> bool:
        """Whether the product is taken within the kernels of the sums."""
        if self.form.backend != TRITON:
            return False
        from medloss.sums.gpu.fused_head import why_not

        return why_not(weight.flatten(1), self.dtype) is None

    def _request(self, tensors: Sequence[Any]) -> Request:
        """With logits in shape only: one number, seen from every voxel."""
        features, weight, _, *others = tensors
        shape = (len(features), len(weight), *features.shape[2:])
        shadow = features.new_zeros((), dtype=self.dtype).expand(shape)
        return self.form.request(shadow, *others)

    def _slabs(self, tensors: Sequence[Any]) -> Iterator[slabs.Slab]:
        features, weight, *_ = tensors
        voxels = features[0, 0].numel()
        step = slabs.BYTES.on(features.device) // (len(weight) * self.dtype.itemsize)
        return slabs.slabs(len(features), voxels, max(1, step))

    def _slopes_of_slabs(
        self, gradient: Tensor, tensors: Sequence[Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        features, weight, bias, *_ = tensors
        head = _Product(features, weight, bias, self.dtype)
        by_features = torch.empty_like(features, memory_format=torch.contiguous_format)
        flat = by_features.flatten(2)
        by_weight = torch.zeros_like(head.weight, dtype=torch.float64)
        by_bias = torch.zeros_like(by_weight[:, 0])
        for b, part in self._slabs(tensors):
            others = _cut(tensors, b, part)
            slope = self.form.slopes(gradient[b : b + 1], head.logits(b, part), *others)[0][0]
            flat[b, :, part] = head.weight.t() @ slope
            own = head.features(b, part)
            if others[1] is not None:  # 0 times a NaN would be a NaN
                own = own.where(others[1][0] != 0, 0)
            by_weight += slope @ own.t()
            by_bias += slope.sum(1)
        return by_features, by_weight, by_bias


def _cut(tensors: Sequence[Any], b: int, part: slice) -> list[Any]:
    """Target, mask and maps of a slab."""
    return [None if t is None else t.flatten(2)[b : b + 1, :, part] for t in tensors[3:]]


def _fake(features: Tensor, weight: Tensor, *rest: Any) -> Tensor:
    *_, names, _parameters, _activation, _backend, dtype = rest
    return features.new_empty((len(features), len(names), len(weight)), dtype=dtype)


def _of_options(*options: Any) -> Fused:
    *form, dtype = options
    return Fused(operators.form_of(*form), dtype)


_operator = operator(
    "medloss::class_sums_of_features",
    "Tensor features, Tensor weight, Tensor? bias, Tensor target, Tensor? mask, Tensor[] maps",
    f"{operators.OPTIONS}, ScalarType dtype",
    of=_of_options,
    fake=_fake,
)


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
