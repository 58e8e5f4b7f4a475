"""Whatever a training loop hands to a loss, made one thing: :class:`Prepared`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from medloss.base.input_checks import (
    STORED,
    Look,
    checked_components,
    checked_map,
    checked_mask,
    checked_present,
    checked_target,
    mode_for,
    no_probabilities,
    plain_tensor,
)
from medloss.distance.steps import Steps, parsed
from medloss.objects.spacing import SpacingLike, SpacingSource
from medloss.runtime.eager import numbers_may_be_read
from medloss.sums import Activation, ClassSums, Term, class_sums, voxel_terms, work_dtype
from medloss.sums.voxels import Voxels

Target = Tensor | Mapping[str, Any]
"""A label tensor, or a mapping with ``label`` and any of the fields of :class:`Extras`."""


PER_VOXEL = ("mask", "distance_map", "skeleton", "components")
"""Extras that have spatial axes."""


@dataclass(frozen=True)
class Extras:
    """What a loss may be given beside input and label, as keywords or inside a mapping.

    Args:
        mask: (B, 1, *spatial), bool or in [0, 1]; voxels of 0 have no influence at all.
        present: (B, C), which classes were annotated in each sample.
        spacing_mm: size of a voxel.
        distance_map: (B, C, *spatial), a ready map instead of one computed in each step; of 16 bits
            it stays.
        skeleton: (B, C, *spatial); of a byte it stays.
        components: (B, 1, *spatial), numbered instances.
    """

    mask: Tensor | None = None
    present: Tensor | None = None
    spacing_mm: SpacingLike | Tensor | None = None
    distance_map: Tensor | None = None
    skeleton: Tensor | None = None
    components: Tensor | None = None


class ShapeError(ValueError, AssertionError):
    """Input and target do not fit each other; MONAI's losses raise an AssertionError there."""


EXTRAS = tuple(field.name for field in fields(Extras))  # a compiler does not ask a dataclass
_NOTHING_MORE = Extras()


@dataclass(frozen=True)
class Prepared:
    """Input and target as every loss wants them: checked, on one device, with what is ignored.

    Args:
        values: (B, C, *spatial), logits, or probabilities where ``activation`` says so, of the
            dtype given; class sums read it as it is. All else takes :attr:`input`.
        activation: how ``values`` become probabilities.
        target: (B, 1, *spatial) class indices, integers, or (B, C, *spatial) of any dtype.
        raw: the input as it was given, without wrapper, for losses of other libraries.
        label: the label as it was given, likewise.
        mask: (B, 1, *spatial) of the input's dtype, or None where every voxel counts.
        present: (B, C) bool, or None where every class was annotated.
        spacing: who may say the size of a voxel; :attr:`spacing_mm` asks.
        extras: the remaining extra inputs, on the input's device.
        sound: None, or a factor for the value: NaN where a map holds one, or a target or mask that
            was not looked at in time.
    """

    values: Tensor
    activation: Activation
    target: Tensor
    raw: Tensor
    label: Tensor
    mask: Tensor | None
    present: Tensor | None
    spacing: SpacingSource
    extras: Extras
    sound: Tensor | None = None

    @classmethod
    def of_plain(
        cls, values: Tensor, activation: Activation, target: Tensor, mask: Tensor | None = None
    ) -> Prepared:
        """Of tensors that say nothing beside their numbers, which are checked, or need not be."""
        shape = {"batch": values.shape[0], "axes": values.ndim - 2}
        nobody = SpacingSource(None, None, None, **shape)
        return cls(values, activation, target, values, target, mask, None, nobody, _NOTHING_MORE)

    @property
    def spacing_mm(self) -> Steps | None:
        """Size of a voxel per sample and axis, or None where nothing says it.

        Raises:
            ValueError: a MetaTensor no longer says of which axes or samples.
        """
        found: Steps | None = self.spacing.read()
        return found

    @property
    def spacing_was_given(self) -> bool:
        """By the caller, rather than read from a MetaTensor."""
        return self.spacing.given is not None

    @property
    def input(self) -> Tensor:
        """Values in float32 or float64, 0 in ignored voxels: not even a NaN there has influence."""
        wide = self.values.to(work_dtype(self.values))
        return wide if self.mask is None else torch.where(self.mask > 0, wide, 0)

    def probabilities(self) -> Tensor:
        """Of every class, (B, C, *spatial), in the dtype of :attr:`input`, differentiable."""
        return Voxels(self.input, self.target, self.activation, {}).p

    @property
    def is_index(self) -> bool:
        """Whether the target holds class indices."""
        return self.target.shape[1] != self.values.shape[1]

    @property
    def is_exclusive(self) -> bool:
        """Whether a voxel has one class: softmax, or given probabilities of several classes."""
        if self.activation == "softmax":
            return True
        return self.activation == "probabilities" and self.values.shape[1] > 1

    def one_hot(self) -> Tensor:
        """Target of shape (B, C, *spatial), in the input's dtype."""
        dtype = work_dtype(self.values)
        if not self.is_index:
            return self.target.to(dtype)
        classes = torch.arange(self.values.shape[1], device=self.target.device)
        return (self.target == classes.view(1, -1, *[1] * (self.values.ndim - 2))).to(dtype)

    def class_numbers(self) -> Tensor:
        """Class indices to look things up with, int64 from 0 to C; C where there is no class."""
        classes = self.values.shape[1]
        known = (self.target >= 0) & (self.target < classes)
        return torch.where(known, self.target.long(), classes)

    def sums(
        self, terms: Sequence[str | Term], maps: Mapping[str, Tensor] | None = None
    ) -> ClassSums:
        """:func:`medloss.sums.class_sums` of these inputs."""
        given = self.values, self.target, terms
        return class_sums(*given, activation=self.activation, mask=self.mask, maps=maps)

    def each_voxel(
        self, terms: Sequence[str | Term], maps: Mapping[str, Tensor] | None = None
    ) -> ClassSums:
        """:func:`medloss.sums.voxel_terms` of these inputs."""
        given = self.values, self.target, terms
        return voxel_terms(*given, activation=self.activation, mask=self.mask, maps=maps)


def prepare(
    input: Tensor,
    target: Target,
    extras: Extras,
    *,
    activation: Activation | Callable[[Tensor], Tensor],
    to_onehot_y: bool = False,
    ignore_index: int | None = None,
) -> Prepared:
    """Check and unify what a loss was called with.

    Args:
        input: (B, C, *spatial), any number of spatial axes; without one, an axis of 1 is added.
        target: label tensor or mapping; integers may be without their channel, (B, *spatial).
        extras: given as keywords; the same name in the mapping too is an error.
        activation: a name, or a function that yields probabilities.
        to_onehot_y: the target is declared to hold class indices.
        ignore_index: label, or one-hot channel, of voxels to ignore; for one-hot targets a value
            outside the classes ignores voxels where every channel is 0. A label that the target's
            dtype cannot hold is nowhere.

    Raises:
        TypeError: ``input`` or ``target`` is no tensor of a usable dtype.
        ValueError: shapes, labels, probabilities or extras that cannot be meant.
    """
    label, extras = _split(target, extras)
    meta = label, input
    input, label = plain_tensor(input, "input"), plain_tensor(label, "target").to(input.device)
    label = with_channel(label, input)

    _check_order(input, label, activation)
    _check_shapes(input, label, to_onehot_y)
    if input.ndim == 2:
        input, label, extras = input[..., None], label[..., None], _with_an_axis(extras)
    look = Look(input.device)
    batch, axes = input.shape[0], input.ndim - 2
    given: Steps | None = None
    if extras.spacing_mm is not None:
        given = parsed(extras.spacing_mm, batch=batch, axes=axes)
    mask = checked_mask(extras.mask, input, look)
    clean, ignored = checked_target(label, input, ignore_index, mask, look)
    if ignored is not None:
        mask = ignored.to(work_dtype(input)) if mask is None else mask * ignored
    values = input
    if callable(activation):
        wide = input.to(work_dtype(input))
        if mask is not None:  # nor has a NaN there any influence on the gradient
            wide = torch.where(mask > 0, wide, 0)
        values, activation = plain_tensor(activation(wide), "other_act"), "probabilities"
        if values.shape != input.shape:
            raise ValueError(f"other_act: expected {list(input.shape)}, got {list(values.shape)}")
    if activation == "probabilities":
        counted = values if mask is None else torch.where(mask > 0, values.detach(), 0)
        look.at(counted, no_probabilities)
    present = checked_present(extras.present, values, look)
    components = checked_components(extras.components, values, mask, look)
    return Prepared(
        values=values,
        activation=activation,
        target=clean,
        raw=input,
        label=label,
        mask=mask,
        present=present,
        spacing=SpacingSource(given, *meta, batch=batch, axes=axes),
        extras=Extras(
            distance_map=checked_map(extras.distance_map, "distance_map", values, mask, look),
            skeleton=checked_map(
                extras.skeleton, "skeleton", values, mask, look, stays=(*STORED, torch.uint8)
            ),
            components=components,
        ),
        sound=look.finish(),
    )


def _split(target: Target, extras: Extras) -> tuple[Tensor, Extras]:
    if not isinstance(target, Mapping):
        return target, extras
    given = {name: getattr(extras, name) for name in EXTRAS if getattr(extras, name) is not None}
    inside = {key: value for key, value in target.items() if key != "label" and value is not None}
    for key in inside:
        if key not in EXTRAS:
            near = difflib.get_close_matches(key, ["label", *EXTRAS], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"target: expected keys out of label, {', '.join(EXTRAS)}, got {key!r}{hint}"
            )
        if key in given:
            raise ValueError(f"{key}: given twice, as keyword and inside the target mapping")
    if "label" not in target:
        raise ValueError(f"target: expected a mapping with the key 'label', got {sorted(target)}")
    return target["label"], Extras(**given, **inside)


def _with_an_axis(extras: Extras) -> Extras:
    given = {name: getattr(extras, name) for name in EXTRAS}
    for name in PER_VOXEL:
        if isinstance(given[name], Tensor):
            given[name] = given[name][..., None]
    return Extras(**given)


def with_channel(label: Tensor, input: Tensor) -> Tensor:
    """Integers (B, *spatial), as torch's cross entropy has them, as (B, 1, *spatial)."""
    bare = label.ndim == input.ndim - 1 and label.shape[:1] == input.shape[:1]
    bare = bare and not (label.is_floating_point() or label.is_complex())
    return label[:, None] if bare and label.shape[1:] == input.shape[2:] else label


_LOOKED_AT = 256
"""Voxels that tell whether an input may be a label."""


def _check_order(
    input: Tensor, label: Tensor, activation: Activation | Callable[[Tensor], Tensor]
) -> None:
    """Raise if input and target are surely exchanged, as libraries with another order have them.

    Raises:
        ValueError: the target alone has a gradient; or the input holds labels and the target none.
    """
    if input.requires_grad:  # no label
        return
    if label.requires_grad and torch.is_grad_enabled():
        why = "the target has a gradient and the input has none"
    elif (
        label.is_floating_point()
        and input.shape == label.shape
        and not callable(activation)
        and activation != "probabilities"
        and mode_for(input.device) == "sync"  # elsewhere looking would wait
        and numbers_may_be_read(input, label)
        and _are_labels(input)
        and not _are_labels(label)
    ):
        why = "the input holds nothing but 0 and 1 where logits belong, and the target fractions"
    else:
        return
    raise ValueError(
        f"input and target are exchanged: {why}; expected loss(input, target), with what the "
        f"network gives as input and the label as target"
    )


def _are_labels(values: Tensor) -> bool:
    """Whether these are one-hot labels, or a mask; a few values tell most that are not."""
    if not values.numel() or values.ndim < 3:
        return False
    some = values.detach().flatten(2)[:1, :, :_LOOKED_AT]
    if not bool(((some == 0) | (some == 1)).all()):
        return False
    whole = values.detach()
    if not bool(((whole == 0) | (whole == 1)).all()):
        return False
    if values.shape[1] > 1:
        return bool((whole.sum(1) == 1).all())
    return bool(whole.any()) and not bool(whole.all())  # a constant is what a network begins with


def _check_shapes(input: Tensor, label: Tensor, to_onehot_y: bool) -> None:
    if input.ndim < 2:
        raise ValueError(f"input: expected (B, C, *spatial), got {list(input.shape)}")
    if not input.is_floating_point():
        raise TypeError(
            f"input: expected floating-point logits or probabilities, got {input.dtype}"
            + ("; input comes first and target second" if label.is_floating_point() else "")
        )
    batch, classes, *spatial = input.shape
    channels = (1,) if to_onehot_y or classes == 1 else (1, classes)
    if label.ndim != input.ndim and input.ndim not in (4, 5):
        raise ValueError(
            f"input: expected (B, C, H, W) or (B, C, H, W, D), or as many axes as the target, "
            f"got {list(input.shape)} beside {list(label.shape)}"
        )
    # Size by size: torch's compiler finds no list of sizes, which it does not know, in another.
    fits = label.ndim == input.ndim and label.shape[0] == batch
    fits = (
        fits and label.shape[2:] == input.shape[2:] and any(label.shape[1] == n for n in channels)
    )
    if not fits:
        expected = " or ".join(str([batch, n, *spatial]) for n in channels)
        why = " (to_onehot_y=True)" if to_onehot_y else ""
        first = "; input comes first and target second: loss(input, target)"
        may_be_exchanged = label.is_floating_point() and label.shape[1:2] > input.shape[1:2]
        raise ShapeError(
            f"target: expected {expected} to match input {list(input.shape)}{why}, "
            f"got {list(label.shape)}{first if may_be_exchanged else ''}"
        )
