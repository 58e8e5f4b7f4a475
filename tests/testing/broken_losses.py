"""One loss for each check of the contract, broken so that this check fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from monai.data import MetaTensor
from testing.good_losses import GoodLoss
from torch import Tensor, nn

from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term


def doubled(when: Callable[[Prepared], bool]) -> Callable[[GoodLoss, Prepared], Tensor]:
    """A ``compute`` that doubles the loss in some cases."""

    def compute(self: GoodLoss, prepared: Prepared) -> Tensor:
        value = GoodLoss.compute(self, prepared)
        return 2 * value if when(prepared) else value

    return compute


def weighted(ramp: Callable[[Prepared], Tensor]) -> Callable[[GoodLoss, Prepared], Tensor]:
    """A ``compute`` in which voxels have weights."""

    def compute(self: GoodLoss, prepared: Prepared) -> Tensor:
        mask = ramp(prepared) if prepared.mask is None else prepared.mask * ramp(prepared)
        return GoodLoss.compute(self, replace(prepared, mask=mask))

    return compute


def index(prepared: Prepared, axis: int) -> Tensor:
    shape = prepared.input.shape
    along = torch.arange(shape[axis]).view(-1, *[1] * (len(shape) - axis - 1))
    return along.expand(shape[0], 1, *shape[2:]).to(prepared.input)


class NoSectionLoss(GoodLoss):
    __doc__ = str(GoodLoss.__doc__).replace("Range:", "Range of")


class NoWordLoss(GoodLoss):
    __doc__ = str(GoodLoss.__doc__)

    def __init__(self, *, silent: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.silent = silent

    def extra_repr(self) -> str:
        return f"options=..., silent={self.silent}"


class WrongExampleLoss(GoodLoss):
    __doc__ = str(GoodLoss.__doc__).replace("        0.2\n", "        0.3\n")


class TrainableLoss(GoodLoss):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.balance = nn.Parameter(torch.zeros(()))


class SilentReprLoss(GoodLoss):
    def extra_repr(self) -> str:
        return f"softmax={self.softmax}"


class UnpicklableLoss(GoodLoss):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.closure = lambda x: x


class ForgetfulCopyLoss(GoodLoss):
    def __deepcopy__(self, memo: Any) -> GoodLoss:
        return type(self)(softmax=self.softmax, sigmoid=self.sigmoid)


class LenientLoss(GoodLoss):
    def __post_init__(self) -> None:
        self.sigmoid = self.sigmoid and not self.softmax
        super().__post_init__()


class MaskDroppingLoss(GoodLoss):
    def forward(self, input: Tensor, target: Any, **extras: Any) -> Tensor:
        if isinstance(target, Mapping):
            target = {key: value for key, value in target.items() if key != "mask"}
        return super().forward(input, target, **extras)


class WrappedLoss(GoodLoss):
    def forward(self, input: Tensor, target: Any, **extras: Any) -> Tensor:
        value = super().forward(input, target, **extras)
        return MetaTensor(value) if isinstance(input, MetaTensor) else value


class BroadcastingLoss(GoodLoss):
    def forward(self, input: Tensor, target: Any, **extras: Any) -> Tensor:
        if isinstance(target, Tensor) and target.ndim == input.ndim - 2:
            target = target[:, None, None].expand(-1, 1, *input.shape[2:])
        return super().forward(input, target, **extras)


class GuessingLoss(GoodLoss):
    def activation(self) -> Any:
        asked = super().activation()
        return "sigmoid" if asked == "probabilities" else asked


class OverflowingLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        return super().compute(prepared) + 0 * (prepared.input / 100).exp().mean()


class HalfSumsLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        p = prepared.one_hot().detach()
        factor = p.to(prepared.raw.dtype).sum() / p.sum().clamp_min(1)
        return super().compute(prepared) * factor


class HalfValueLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        return super().compute(prepared).to(prepared.raw.dtype)


class DetachedFactorLoss(GoodLoss):
    def per_class(self, s: ClassSums) -> Tensor:
        value = super().per_class(s)
        return value * value.detach()


class WrongSignLoss(GoodLoss):
    def per_class(self, s: ClassSums) -> Tensor:
        return -super().per_class(s)


class DrawingLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        torch.rand(())
        return super().compute(prepared)


class OverwritingLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        value = super().compute(prepared)
        if not prepared.raw.requires_grad:
            prepared.raw.zero_()
        return value


class FloatLabelLoss(GoodLoss):
    compute = doubled(lambda x: x.label.is_floating_point() and x.label.shape[1] == 1)


class BatchSizeLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        return super().compute(prepared) * prepared.input.shape[0]


class FlatNoneLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        value = super().compute(prepared)
        return value.mean(1) if self.reduction == "none" else value


class MaskedLabelLoss(GoodLoss):
    compute = doubled(lambda x: x.mask is not None and not x.label[..., 4:].any())


class MaskedNaNLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        return super().compute(prepared) + 0 * prepared.raw.mean()


class CountsMaskedLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        value = super().compute(prepared)
        return value if prepared.mask is None else value * prepared.mask.mean()


class IgnoresNothingLoss(GoodLoss):
    def prepare(self, input: Any, target: Any, extras: Any) -> Prepared:
        if self.ignore_index is not None and isinstance(target, Tensor):
            target = torch.where(target == self.ignore_index, 0, target)
        return super().prepare(input, target, extras)


class ConstantLoss(GoodLoss):
    def per_class(self, s: ClassSums) -> Tensor:
        return super().per_class(s) + 0.5


class KnowsAllLoss(GoodLoss):
    def prepare(self, input: Any, target: Any, extras: Any) -> Prepared:
        return replace(super().prepare(input, target, extras), present=None)


class CornerLoss(GoodLoss):
    compute = weighted(lambda x: sum(index(x, axis) for axis in range(2, x.input.ndim)))


class FirstAxisLoss(GoodLoss):
    compute = weighted(lambda x: 1 + (index(x, 2) - (x.input.shape[2] - 1) / 2).abs())


class ContiguousLoss(GoodLoss):
    compute = doubled(
        lambda x: (
            x.raw.ndim == 5
            and x.raw.is_contiguous(memory_format=torch.channels_last_3d)
            and not x.raw.is_contiguous()
        )
    )


class VolumeLoss(GoodLoss):
    compute = doubled(lambda x: x.input.ndim == 4)


class BoastingLoss(GoodLoss):
    compute = doubled(lambda x: x.activation == "softmax")


class SizeLoss(GoodLoss):  # whose sums do not add up: the size of the object is one of them
    def is_additive(self, prepared: Prepared) -> bool:
        return True

    def terms(self) -> tuple[str | Term, ...]:
        return (*super().terms(), Term("t_map", "size"))

    def maps(self, prepared: Prepared) -> dict[str, Tensor]:
        g = prepared.one_hot() if prepared.mask is None else prepared.one_hot() * prepared.mask
        size = g.flatten(2).sum(2).view(*g.shape[:2], *[1] * (g.ndim - 2))
        return {"size": size.expand_as(g)}

    def per_class(self, s: ClassSums) -> Tensor:
        return super().per_class(s) * (1 + s.t_map / (1 + s.t_map))


class CompiledLoss(GoodLoss):
    compute = doubled(lambda x: torch.compiler.is_compiling())


class HostLoss(GoodLoss):
    compute = doubled(lambda x: bool(x.target.sum().item() < 0))


class RoundedLoss(GoodLoss):
    def forward(self, input: Tensor, target: Any, **extras: Any) -> Tensor:
        value = super().forward(input, target, **extras)
        return value.bfloat16().float() if torch.is_autocast_enabled("cpu") else value


class UntrainableLoss(GoodLoss):
    def forward(self, input: Tensor, target: Any, **extras: Any) -> Tensor:
        kept = input.detach() if torch.is_autocast_enabled("cpu") else input
        return super().forward(kept, target, **extras)


class OneHotMeanLoss(GoodLoss):
    compute = doubled(lambda x: x.is_index and x.present is not None)


class MaskForgetsPresentLoss(GoodLoss):
    def prepare(self, input: Any, target: Any, extras: Any) -> Prepared:
        prepared = super().prepare(input, target, extras)
        return prepared if self.ignore_index is None else replace(prepared, present=None)


class WeightedMaskLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        value = super().compute(prepared)
        return value if prepared.mask is None or self.weight is None else 2 * value


class ForegroundPresentLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        value = super().compute(prepared)
        return value if prepared.present is None or self.include_background else 2 * value


class DividesByAllLoss(GoodLoss):
    def reduce_classes(self, value: Tensor, present: Tensor | None) -> Tensor:
        reduced = super().reduce_classes(value, present)
        if self.reduction != "mean" or self.weight is None or present is None:
            return reduced
        return reduced * present.sum() / present.numel()


class MaskedStridesLoss(GoodLoss):
    compute = doubled(lambda x: x.mask is not None and not x.raw.is_contiguous())


class SumOfMeansLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        value = super().compute(prepared)
        if self.reduction != "sum" or self.batch is not False:
            return value
        return value / prepared.input.shape[0]


class FourAxesLoss(GoodLoss):
    compute = doubled(lambda x: x.raw.ndim == 6)


class OnlyAloneLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        value = super().compute(prepared)
        return value if self.scale == 1 else 2 * value


class HealthyNaNLoss(GoodLoss):
    def per_class(self, s: ClassSums) -> Tensor:
        value = super().per_class(s)
        return torch.where(value > 0, value, 0)


class RaisesAtHugeLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        if ((prepared.raw.abs() > 1e200) & prepared.raw.isfinite()).any():
            raise OverflowError("math range error")
        return super().compute(prepared)


class TimesZeroLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        return super().compute(prepared) + (0 * prepared.input).sum()


class WrappedSentinelLoss(GoodLoss):
    def prepare(self, input: Any, target: Any, extras: Any) -> Prepared:
        said = self.ignore_index
        if said is not None and isinstance(target, Tensor) and target.dtype == torch.uint8:
            self.ignore_index = said % 256
        try:
            return super().prepare(input, target, extras)
        finally:
            self.ignore_index = said


class WrappedLabelLoss(GoodLoss):
    def prepare(self, input: Any, target: Any, extras: Any) -> Prepared:
        if isinstance(target, Tensor) and target.dtype == torch.int16 and (target > 255).any():
            target = target.to(torch.uint8)
        return super().prepare(input, target, extras)


class MeanOfNothingLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        value = super().compute(prepared)
        return value if prepared.raw.numel() else value + prepared.raw.mean()


class _Straight(torch.autograd.Function):
    """Unchanged, with a second derivative that is not there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient + (x - x.detach())


class BentTwiceLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        return _Straight.apply(super().compute(prepared))


KEPT: list[Tensor] = []


class KeepsGraphLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        value = super().compute(prepared)
        KEPT[:] = [value.detach(), prepared.raw]
        return value


class LocalWorldLoss(GoodLoss):
    def compute(self, prepared: Prepared) -> Tensor:
        value = super().compute(prepared)
        return value + 0.1 * prepared.input.mean() if self.batch == "world" else value
