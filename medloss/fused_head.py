"""The last 1x1x1 convolution and the loss as one, so that the logits never exist in full."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from medloss.base import SegmentationLoss
from medloss.sums import ClassSums, Term, class_sums, class_sums_slopes
from medloss.sums.terms import as_terms, work_dtype
from medloss.targets import Extras, Prepared, Target

SLAB_BYTES = {"cpu": 1 << 23}
"""Logits of one slab: on a CPU they stay in a shared cache."""
SLAB_BYTES_ELSEWHERE = 1 << 27
"""Elsewhere large enough that starting an operation does not count."""


class FusedHead(nn.Module):
    """A network's final 1x1x1 convolution, together with a loss on class sums.

    Formula:
        z = W h + b for the features h of each voxel, then the loss of z; slab by slab, with the
        slab of z made again in the backward.

    It takes the place of the convolution and has its ``state_dict``. In evaluation mode it is the
    convolution: logits come out. In training mode the features pass through it unchanged, and
    :meth:`loss` takes them in place of logits. Value and gradients, of features, weight and bias
    too, are those of the convolution followed by the loss. Memory beside the gradient of the
    features does not grow with the number of classes.

    Args:
        convolution: ``Conv2d`` or ``Conv3d`` with a kernel of 1; its parameters are taken over.
        loss: with ``softmax=True`` or ``sigmoid=True``, a function of class sums: region losses,
            cross entropy, focal, and compounds of such. It is not part of the ``state_dict``.

    Shapes:
        features (B, F, *spatial); logits (B, C, *spatial).

    Raises:
        TypeError: ``convolution`` or ``loss`` is something else.
        ValueError: a convolution that mixes voxels, or a loss without activation.

    Example:
        >>> import medloss
        >>> convolution = nn.Conv3d(8, 3, kernel_size=1)
        >>> head = FusedHead(convolution, medloss.loss("dice_ce", softmax=True))
        >>> features, labels = torch.randn(1, 8, 4, 4, 4), torch.randint(0, 3, (1, 1, 4, 4, 4))
        >>> fused = head.loss(head(features), labels)
        >>> plain = medloss.loss("dice_ce", softmax=True)(convolution(features), labels)
        >>> torch.allclose(fused, plain)
        True
        >>> head.eval()(features).shape
        torch.Size([1, 3, 4, 4, 4])
    """

    criterion: SegmentationLoss

    def __init__(self, convolution: nn.Conv2d | nn.Conv3d, loss: SegmentationLoss) -> None:
        super().__init__()
        if not isinstance(convolution, nn.Conv2d | nn.Conv3d):
            raise TypeError(
                f"convolution: expected Conv2d or Conv3d, got {type(convolution).__name__}"
            )
        sides = (*convolution.kernel_size, *convolution.stride)
        if set(sides) != {1} or convolution.groups != 1 or convolution.padding not in _NO_PADDING:
            raise ValueError(
                f"convolution: expected a kernel and stride of 1, one group and no padding, "
                f"got {convolution}"
            )
        if not isinstance(loss, SegmentationLoss):
            raise TypeError(f"loss: expected a loss of medloss, got {type(loss).__name__}")
        if loss.activation() not in ("softmax", "sigmoid"):
            raise ValueError("loss: expected softmax=True or sigmoid=True, since it meets logits")
        self.weight, self.bias = convolution.weight, convolution.bias
        # not as a submodule, so that the state_dict stays that of the convolution
        object.__setattr__(self, "criterion", loss)

    def forward(self, features: Tensor) -> Tensor:
        """Features in training mode, logits in evaluation mode."""
        if self.training:
            return features
        convolve = torch.conv3d if self.weight.ndim == 5 else torch.conv2d
        return convolve(features, self.weight, self.bias)

    def loss(self, features: Tensor, target: Target, **extras: Any) -> Tensor:
        """The loss of the logits that these features would give.

        Args:
            features: (B, F, *spatial), what :meth:`forward` returns in training mode.
            target: as every loss takes it.
            **extras: mask, present, spacing_mm and so on, likewise.

        Raises:
            TypeError: ``features`` is no tensor of floating-point numbers.
            ValueError: shapes that do not fit, or a loss that needs the logits of all voxels.
        """
        classes, channels = self.weight.shape[:2]
        if not isinstance(features, Tensor) or not features.is_floating_point():
            raise TypeError("features: expected a tensor of floating-point numbers")
        if features.ndim != self.weight.ndim or features.shape[1] != channels:
            axes = ", ".join("HWD"[: self.weight.ndim - 2])
            raise ValueError(
                f"features: expected (B, {channels}, {axes}), got {list(features.shape)}; in "
                f"evaluation mode the head returns logits, which the plain loss takes"
            )
        features = features.as_tensor() if hasattr(features, "as_tensor") else features
        # logits in shape only: one number, seen from every voxel
        shape = (features.shape[0], classes, *features.shape[2:])
        dtype = torch.promote_types(features.dtype, self.weight.dtype)
        shadow = features.new_zeros((), dtype=work_dtype(features.new_empty(0, dtype=dtype)))
        with torch.autocast(features.device.type, enabled=False):
            prepared = self.criterion.prepare(shadow.expand(shape), target, Extras(**extras))
            fields = {f.name: getattr(prepared, f.name) for f in dataclasses.fields(prepared)}
            return self.criterion.evaluate(_FromFeatures(**fields, head=self, features=features))


_NO_PADDING = ((0, 0), (0, 0, 0), "valid", "same")


@dataclass(frozen=True, kw_only=True)
class _FromFeatures(Prepared):
    """Inputs of a loss whose logits are made from features when they are summed."""

    head: FusedHead
    features: Tensor

    @property
    def input(self) -> Tensor:
        """What the logits never are."""
        raise ValueError(
            f"loss: {type(self.head.criterion).__name__} with these options needs the logits of "
            f"every voxel, expected a function of class sums"
        )

    def sums(
        self, terms: Sequence[str | Term], maps: Mapping[str, Tensor] | None = None
    ) -> ClassSums:
        """Class sums, slab by slab."""
        wanted, maps = as_terms(terms), maps or {}
        slabs = _Slabs(self, wanted, maps)
        values: Tensor = _SumsOfFeatures.apply(  # type: ignore[no-untyped-call]
            self.features, self.head.weight, self.head.bias, slabs
        )
        return ClassSums(values, wanted)

    def each_voxel(
        self, terms: Sequence[str | Term], maps: Mapping[str, Tensor] | None = None
    ) -> ClassSums:
        """Refused: that would be logits in full."""
        return ClassSums(self.input, as_terms(terms))


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


class _SumsOfFeatures(torch.autograd.Function):
    """Class sums of W h + b."""

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
        head = _Product(features, weight, bias, ctx.slabs.prepared.values.dtype)
        by_features = torch.empty_like(features, memory_format=torch.contiguous_format)
        flat = by_features.flatten(2)
        by_weight = torch.zeros_like(head.weight, dtype=torch.float64)
        by_bias = torch.zeros_like(by_weight[:, 0])
        for b, part in ctx.slabs:
            slope = class_sums_slopes(
                gradient[b : b + 1], head.logits(b, part), **ctx.slabs.cut(b, part)
            )[0]
            flat[b, :, part] = head.weight.t() @ slope
            by_weight += slope @ head.features(b, part).t()
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
