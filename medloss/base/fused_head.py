"""The last 1x1x1 convolution and the loss as one, so that the logits never exist in full."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medloss.base import SegmentationLoss
from medloss.base.targets import Extras, Prepared, Target
from medloss.runtime import slabs
from medloss.runtime.eager import evaluate
from medloss.runtime.operators import operator
from medloss.sums import ClassSums, Term, work_dtype
from medloss.sums.choice import REFERENCE, TRITON
from medloss.sums.engine import Form, form_in_words, form_of
from medloss.sums.request import SumsRequest
from medloss.sums.terms import as_terms


class FusedHead(nn.Module):
    """A network's final 1x1x1 convolution, together with a loss on class sums.

    Formula:
        z = W h + b for the features h of each voxel, then the loss of z; tile by tile, with z made
        again in the backward.

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
        """Class sums of W h + b: by the kernels for CUDA devices, else slab by slab."""
        wanted, maps = as_terms(terms), maps or {}
        form, _ = form_of(self.values, self.target, wanted, self.activation, self.mask, maps)
        layer = self.features, self.head.weight, self.head.bias
        tensors = (*layer, self.target, self.mask, *maps.values())
        fused = Fused(form, self.values.dtype)
        plain = form.backend == REFERENCE
        sums = fused.plain(*tensors) if plain else evaluate(fused, *tensors)
        return ClassSums(sums.unbind(1), wanted)

    def each_voxel(
        self, terms: Sequence[str | Term], maps: Mapping[str, Tensor] | None = None
    ) -> ClassSums:
        """Refused: that would be logits in full."""
        return ClassSums(self.input, as_terms(terms))


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
                from medloss.sums.gpu import backend
                from medloss.sums.gpu.head import Head
                from medloss.sums.gpu.residence import NoRoomError

                with suppress(NoRoomError):
                    return backend.sums(self._request(tensors), Head.of(*tensors[:3]))
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
            found = self._slopes_of_kernels(gradient, tensors)
            if found is None:
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
        return _operator(*tensors[:5], list(tensors[5:]), self.form.told, self.dtype)

    def _by_kernels(self, weight: Tensor) -> bool:
        """Whether the product is taken within the kernels of the sums."""
        if self.form.backend != TRITON:
            return False
        from medloss.sums.gpu.head import why_not

        return why_not(weight.flatten(1), self.dtype) is None

    def _slopes_of_kernels(
        self, gradient: Tensor, tensors: Sequence[Any]
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        if not self._by_kernels(tensors[1]):
            return None
        from medloss.sums.gpu import backend
        from medloss.sums.gpu.head import Head
        from medloss.sums.gpu.residence import NoRoomError

        try:
            own = Head.of(*tensors[:3])
            return backend.slopes_of_head(self._request(tensors), gradient, own)
        except NoRoomError:
            return None

    def _request(self, tensors: Sequence[Any]) -> SumsRequest:
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
    *_, told, dtype = rest
    terms = len(form_in_words(told).terms)
    return features.new_empty((len(features), terms, len(weight)), dtype=dtype)


def _of_words(told: str, dtype: torch.dtype) -> Fused:
    return Fused(form_in_words(told), dtype)


_operator = operator(
    "medloss::class_sums_of_features",
    "Tensor features, Tensor weight, Tensor? bias, Tensor target, Tensor? mask, Tensor[] maps",
    "str form, ScalarType dtype",
    of=_of_words,
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
