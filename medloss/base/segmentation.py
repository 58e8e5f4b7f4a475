"""The base of all losses: what a training loop calls becomes checked inputs, then a number."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from medloss.base.buffers import kept_precise, load_refusing_others, weights
from medloss.base.kept import KeptForms, options_changed
from medloss.base.options import validated
from medloss.base.targets import Extras, Prepared, Target, prepare
from medloss.objects.spacing import SpacingLike
from medloss.runtime.eager import without_autocast
from medloss.sums import Activation
from medloss.sums.numeric import ratio


@validated
@dataclass(eq=False, repr=False)
class SegmentationLoss(_Loss):
    """Base of all losses; its options have MONAI's names, order and defaults.

    Args:
        include_background: whether class 0 counts; it is dropped after the activation, so the
            other probabilities keep their meaning. A single channel has no background: False has
            no effect on it, with a warning.
        to_onehot_y: accepted for MONAI configs; integer labels are understood without it.
        sigmoid: the input is logits of independent classes.
        softmax: the input is logits of exclusive classes.
        other_act: function that turns the input into probabilities.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        keepdim: with ``"none"``, an axis of 1 for each spatial one, so that values of classes
            (B, C, 1, 1, 1) go with maps of voxels.
        batch: sum over the samples of the batch before the loss is formed; ``"world"`` also over
            all ranks.
        weight: one number, or one for each class that counts.
        smooth_nr: added to numerators.
        smooth_dr: added to denominators.
        ignore_index: label of voxels that are left out.

    Raises:
        ValueError: contradictory or impossible options.
        TypeError: ``other_act`` cannot be called.
    """

    include_background: bool = True
    to_onehot_y: bool = False
    sigmoid: bool = False
    softmax: bool = False
    other_act: Callable[[Tensor], Tensor] | None = None
    _: KW_ONLY
    reduction: Literal["mean", "sum", "none"] = "mean"
    keepdim: bool = False
    batch: bool | Literal["world"] = False
    weight: float | Sequence[float] | Tensor | None = None
    smooth_nr: float = 1e-5
    smooth_dr: float = 1e-5
    ignore_index: int | None = None

    positional: ClassVar[tuple[str, ...]] = (
        "include_background",
        "to_onehot_y",
        "sigmoid",
        "softmax",
        "other_act",
    )
    """Options that may be given by place; those and the order of MONAI's class of that name."""

    renamed: ClassVar[Mapping[str, str]] = {}
    """What to say where an option of MONAI's class of that name is asked for."""

    default_activation: ClassVar[Activation] = "probabilities"
    """What the input is when no activation is asked for."""

    two_channels_equal_one: ClassVar[bool] = False
    """Two softmax channels without background are promised to equal one sigmoid channel."""

    spatial_axes: ClassVar[tuple[int, ...] | None] = None
    """How many of them there may be; None: any number, none too."""

    mask_is_a_weight: ClassVar[bool] = True
    """Whether a voxel of mask 2 counts twice; otherwise its probability would be doubled."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Options are plain attributes: were a torch module registered as a submodule instead, the
        # default on the class would hide it.
        if name in type(self).__dataclass_fields__:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)
        if not name.startswith("_") and name != "training":
            options_changed()

    def __post_init__(self) -> None:
        _Loss.__init__(self, reduction=self.reduction)
        asked = [name for name in ("sigmoid", "softmax") if getattr(self, name)]
        asked += ["other_act"] * (self.other_act is not None)
        if len(asked) > 1:
            raise ValueError(f"{', '.join(asked)}: expected at most one activation, got several")
        if self.other_act is not None and not callable(self.other_act):
            raise TypeError(
                f"other_act: expected a callable or None, got {type(self.other_act).__name__}"
            )
        if self.batch not in (False, True, "world"):
            raise ValueError(f"batch: expected False, True or 'world', got {self.batch!r}")
        self.register_buffer("class_weight", weights(self.weight, "weight"))
        self._kept = KeptForms()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._kept = KeptForms()  # a copy may get other options

    def forward(
        self,
        input: Tensor,
        target: Target,
        *,
        mask: Tensor | None = None,
        present: Tensor | None = None,
        spacing_mm: SpacingLike | Tensor | None = None,
        distance_map: Tensor | None = None,
        skeleton: Tensor | None = None,
        components: Tensor | None = None,
    ) -> Tensor:
        """Value of the loss.

        Args:
            input: (B, C, *spatial) logits or probabilities, 2D or 3D.
            target: integer labels (B, 1, *spatial); one-hot, multi-label or soft
                (B, C, *spatial); or a mapping with ``label`` and any of the keywords below.
            mask: (B, 1, *spatial), voxels of 0 have no influence.
            present: (B, C), which classes were annotated in each sample.
            spacing_mm: size of a voxel; read from a MetaTensor when not given.
            distance_map: (B, C, *spatial), a ready map for boundary losses.
            skeleton: (B, C, *spatial), a ready skeleton for topology losses.
            components: (B, 1, *spatial), numbered instances.

        Returns:
            One tensor: a number, or with ``reduction="none"`` one for each class or voxel.

        Raises:
            ValueError: shapes, labels or values that cannot be meant.
            TypeError: something is no tensor of a usable dtype.
        """
        if (
            mask is None
            and present is None
            and spacing_mm is None
            and distance_map is None
            and skeleton is None
            and components is None
            and not torch.compiler.is_compiling()
        ):
            known = self.of_kept_form(input, target)
            if known is not None:
                return known
        extras = Extras(mask, present, spacing_mm, distance_map, skeleton, components)
        one_channel = isinstance(input, Tensor) and input.ndim > 1 and input.shape[1] == 1
        if one_channel and not torch.compiler.is_compiling():  # which cannot make copies
            return self._value_of_one_channel(input, target, extras)
        return self._value(input, target, extras)

    def _value(self, input: Tensor, target: Target, extras: Extras) -> Tensor:
        device = input.device.type if isinstance(input, Tensor) else "cpu"
        # Sums of a volume overflow half precision, whatever autocast would choose.
        with without_autocast(device):
            value = self.evaluate(self.prepare(input, target, extras))
        if isinstance(input, Tensor) and input.ndim == 2 and value.ndim == 3:
            return value.squeeze(-1)  # the axis that the inputs were given
        return value

    def _value_of_one_channel(self, input: Tensor, target: Target, extras: Extras) -> Tensor:
        """Value where class 0, if it is to be left out, is none; that it is not is told."""
        inside = [each for each in self.modules() if isinstance(each, SegmentationLoss)]
        without = [each for each in inside if not each.include_background]
        loss = _with_class_0(self) if without else self
        value = loss._value(input, target, extras)
        for option, losses in (
            ("to_onehot_y=True", [self] * self.to_onehot_y),
            ("include_background=False", without),
        ):
            if losses:
                warnings.warn(
                    f"{type(losses[0]).__name__}: {option} has no effect on a single channel, "
                    f"which has no background and no other class",
                    stacklevel=3,
                )
        return value

    if TYPE_CHECKING:
        __call__ = forward  # of which torch's modules tell a type checker nothing

    def of_kept_form(self, input: Any, target: Any) -> Tensor | None:
        """Value of the loss where an earlier call settled all about it, or None."""
        return None

    def evaluate(self, prepared: Prepared) -> Tensor:
        """Value of the loss on prepared inputs."""
        self.check(prepared)
        value = self.compute(prepared)
        if self.keepdim and value.ndim:
            value = value.reshape(*value.shape, *[1] * (prepared.values.ndim - value.ndim))
        return value if prepared.sound is None else value * prepared.sound

    def prepare(self, input: Tensor, target: Target, extras: Extras) -> Prepared:
        """Check and unify the inputs under this loss's options."""
        return prepare(
            input,
            target,
            extras,
            activation=self.activation(),
            to_onehot_y=self.to_onehot_y,
            ignore_index=self.ignore_index,
        )

    def activation(self) -> Activation | Callable[[Tensor], Tensor]:
        """How the input becomes probabilities."""
        if self.other_act is not None:
            return self.other_act
        if self.softmax:
            return "softmax"
        return "sigmoid" if self.sigmoid else self.default_activation

    def check(self, prepared: Prepared) -> None:
        """Refuse what makes no sense for this number of classes."""
        spatial = prepared.values.shape[2:]
        if self.spatial_axes is not None and (
            len(spatial) not in self.spatial_axes or not all(spatial)
        ):
            some = " or ".join(map(str, self.spatial_axes))
            raise ValueError(
                f"input: expected {some} spatial axes with voxels for {type(self).__name__}, which "
                f"looks at neighbours or distances, got {list(prepared.raw.shape)}"
            )
        if prepared.values.shape[1] > 1:
            return
        if prepared.activation == "softmax":
            raise ValueError(
                "softmax: over a single channel it is 1 everywhere; use sigmoid=True, "
                "or a network with 2 channels"
            )
        if not self.include_background:
            raise ValueError(
                "include_background: expected True for a single channel, which has no background"
            )

    def is_additive(self, prepared: Prepared) -> bool:
        """Whether the class sums of parts of a volume add up to those of the volume.

        They do where each term of a voxel follows from that voxel and its ready maps. A loss that
        does not say so has no value from parts; one that says so is tried by the contract.
        """
        return False

    def compute(self, prepared: Prepared) -> Tensor:
        """The loss on checked inputs; what a subclass implements."""
        raise TypeError(f"{type(self).__name__}: a loss must define compute()")

    def class_weights(self, classes: int, like: Tensor) -> Tensor | None:
        """Weights of the classes that count, (C,), on the device and in the dtype of ``like``.

        Raises:
            ValueError: their number is not that of the classes.
        """
        weight = self._buffers["class_weight"]
        if weight is None:
            return None
        if weight.ndim == 1 and weight.shape[0] != classes:
            without = "" if self.include_background else " (class 0 is excluded)"
            raise ValueError(
                f"weight: expected {classes} values, one for each class{without}, "
                f"got {weight.shape[0]}"
            )
        return weight.to(like, non_blocking=True).expand(classes)

    def reduce_classes(self, value: Tensor, present: Tensor | None) -> Tensor:
        """Weight the classes and reduce over those that were annotated.

        Args:
            value: (B, C) for the classes that count, or (B, 1) for all of them together.
            present: (B, C), which of them were annotated, or None where all were.
        """
        weight = self.class_weights(value.shape[1], value)
        if weight is not None:
            if value.shape[1] == 1:
                raise ValueError("weight: expected None where a single class counts, got weights")
            value = value * weight
        if present is not None:
            if value.shape[1] == 1:
                present = present.any(1, keepdim=True)
            value = torch.where(present, value, 0)
        if self.reduction == "none":
            return value
        if self.reduction == "sum":
            return value.sum()
        return mean_of(value, present)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SegmentationLoss:
        # model.half() is about the network: a weight of 1e5 would become infinite.
        return kept_precise(self, super()._apply, fn, recurse)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *others: Any, **named: Any
    ) -> None:
        load_refusing_others(self, super()._load_from_state_dict, state_dict, prefix, *others)

    def extra_repr(self) -> str:
        """All options, as the constructor takes them."""
        names = [f.name for f in dataclasses.fields(self)]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


M = TypeVar("M", bound=nn.Module)


def _with_class_0(module: M) -> M:
    """The loss and those inside it as copies in which class 0 counts, all else being shared."""
    if not any(isinstance(each, SegmentationLoss) for each in module.modules()):
        return module
    made = copy.copy(module)
    parts = {k: v if v is None else _with_class_0(v) for k, v in module._modules.items()}
    made.__dict__["_modules"] = parts
    if isinstance(module, SegmentationLoss):
        # past the setter, as nothing that is known of the loss changes
        made.__dict__.update(include_background=True, _kept=module._kept)
    return made


OLD_NAMES = {"y_pred": "input", "y_true": "target", "inputs": "input", "targets": "target"}


class OldNames(SegmentationLoss):
    """Takes the names of input and target of some losses of MONAI too; the last base of a class."""

    def forward(self, *both: Any, **named: Any) -> Tensor:
        """Value of the loss."""
        for old, new in OLD_NAMES.items():
            if old in named:
                if new in named:
                    raise TypeError(f"{old}: it is {new}; expected one of them")
                named[new] = named.pop(old)
        return super().forward(*both, **named)


def mean_of(value: Tensor, counts: Tensor | None = None) -> Tensor:
    """The mean of what counts; of nothing it is 0, with gradient 0.

    An empty batch, one without a voxel that counts or a class that was annotated: a loss has
    nothing to say about it, and a NaN would end the training.

    Args:
        value: of any shape, 0 where it does not count.
        counts: bool, of the same shape, or None where all does.
    """
    number = value.new_tensor(value.numel()) if counts is None else counts.sum().to(value)
    return ratio(value.sum(), number)
