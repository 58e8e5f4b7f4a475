"""Whatever a training loop hands to a loss, made one thing: :class:`Prepared`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from medloss.spacing import Spacing, SpacingLike, parse_spacing, snapped
from medloss.sums import Activation, ClassSums, Term, class_sums, voxel_terms, work_dtype

STORED = (torch.float16, torch.bfloat16)

Target = Tensor | Mapping[str, Any]
"""A label tensor, or a mapping with ``label`` and any of the fields of :class:`Extras`."""


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
    spacing_mm: SpacingLike | None = None
    distance_map: Tensor | None = None
    skeleton: Tensor | None = None
    components: Tensor | None = None


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
        spacing_mm: per sample and axis, or None where nothing says it.
        spacing_was_given: by the caller, rather than read from a MetaTensor.
        extras: the remaining extra inputs, on the input's device.
    """

    values: Tensor
    activation: Activation
    target: Tensor
    raw: Tensor
    label: Tensor
    mask: Tensor | None
    present: Tensor | None
    spacing_mm: Spacing | None
    spacing_was_given: bool
    extras: Extras

    @property
    def input(self) -> Tensor:
        """Values in float32 or float64, 0 in ignored voxels: not even a NaN there has influence."""
        wide = self.values.to(work_dtype(self.values))
        return wide if self.mask is None else torch.where(self.mask > 0, wide, 0)

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

    def sums(
        self, terms: Sequence[str | Term], maps: Mapping[str, Tensor] | None = None
    ) -> ClassSums:
        """:func:`medloss.sums.class_sums` of these inputs."""
        return class_sums(
            self.values,
            self.target,
            terms,
            activation=self.activation,
            mask=self.mask,
            maps=maps,
        )

    def each_voxel(
        self, terms: Sequence[str | Term], maps: Mapping[str, Tensor] | None = None
    ) -> ClassSums:
        """:func:`medloss.sums.voxel_terms` of these inputs."""
        return voxel_terms(
            self.values,
            self.target,
            terms,
            activation=self.activation,
            mask=self.mask,
            maps=maps,
        )


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
        input: (B, C, *spatial), 2D or 3D.
        target: label tensor or mapping.
        extras: given as keywords; the same name in the mapping too is an error.
        activation: a name, or a function that yields probabilities.
        to_onehot_y: the target is declared to hold class indices.
        ignore_index: label, or one-hot channel, of voxels to ignore; for one-hot targets a value
            outside the classes ignores voxels where every channel is 0.

    Raises:
        TypeError: ``input`` or ``target`` is no tensor of a usable dtype.
        ValueError: shapes, labels, probabilities or extras that cannot be meant.
    """
    label, extras = _split(target, extras)
    spacing_mm = spacing_of(extras.spacing_mm, label, input)
    input, label = _plain(input, "input"), _plain(label, "target").to(input.device)
    _check_shapes(input, label, to_onehot_y)
    values = input
    if callable(activation):
        wide = input.to(work_dtype(input))
        values, activation = _plain(activation(wide), "other_act"), "probabilities"
    if activation == "probabilities":
        _check_probabilities(values)
    clean, mask = _target(label, values, ignore_index, to_onehot_y)
    mask = _joined_mask(mask, extras.mask, values)
    return Prepared(
        values=values,
        activation=activation,
        target=clean,
        raw=input,
        label=label,
        mask=mask,
        present=_present(extras.present, values),
        spacing_mm=spacing_mm,
        spacing_was_given=extras.spacing_mm is not None,
        extras=Extras(
            distance_map=_dense(extras.distance_map, "distance_map", values),
            skeleton=_dense(extras.skeleton, "skeleton", values, stays=(*STORED, torch.uint8)),
            components=extras.components,
        ),
    )


def _split(target: Target, extras: Extras) -> tuple[Tensor, Extras]:
    if not isinstance(target, Mapping):
        return target, extras
    names = [field.name for field in fields(Extras)]
    given = {name: getattr(extras, name) for name in names if getattr(extras, name) is not None}
    inside = {key: value for key, value in target.items() if key != "label" and value is not None}
    for key in inside:
        if key not in names:
            near = difflib.get_close_matches(key, ["label", *names], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"target: expected keys out of label, {', '.join(names)}, got {key!r}{hint}"
            )
        if key in given:
            raise ValueError(f"{key}: given twice, as keyword and inside the target mapping")
    if "label" not in target:
        raise ValueError(f"target: expected a mapping with the key 'label', got {sorted(target)}")
    return target["label"], Extras(**given, **inside)


def _plain(tensor: Any, name: str) -> Tensor:
    """The plain tensor inside a MetaTensor or other wrapper, gradient history kept."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(tensor).__name__}")
    if tensor.is_complex():
        raise TypeError(f"{name}: expected real numbers, got {tensor.dtype}")
    if type(tensor) is not Tensor and hasattr(tensor, "as_tensor"):
        plain: Tensor = tensor.as_tensor()
        return plain
    return tensor


def spacing_of(given: SpacingLike | None, label: Any, input: Any) -> Spacing | None:
    """Size of a voxel: from the caller, else from the MetaTensor of the label, else of the input.

    Args:
        given: what the caller said.
        label: (B, ..., *spatial).
        input: (B, C, *spatial).
    """
    if not isinstance(input, Tensor):
        return None
    batch, axes = input.shape[0], input.ndim - 2
    if given is not None:
        return parse_spacing(given, batch=batch, axes=axes)
    for tensor in (label, input):
        pixdim = getattr(tensor, "pixdim", None)
        if pixdim is not None:
            rows = list(pixdim) if getattr(tensor, "is_batch", False) else [pixdim] * batch
            sizes = [[snapped(size) for size in list(row)[:axes]] for row in rows]
            return parse_spacing(sizes, batch=batch, axes=axes)
    return None


def _check_shapes(input: Tensor, label: Tensor, to_onehot_y: bool) -> None:
    if input.ndim not in (4, 5):
        raise ValueError(
            f"input: expected (B, C, H, W) or (B, C, H, W, D), got {list(input.shape)}"
        )
    if not input.is_floating_point():
        raise TypeError(
            f"input: expected floating-point logits or probabilities, got {input.dtype}"
        )
    batch, classes, *spatial = input.shape
    index, dense = [batch, 1, *spatial], [batch, classes, *spatial]
    allowed = [index] if to_onehot_y or classes == 1 else [index, dense]
    if list(label.shape) not in allowed:
        expected = " or ".join(str(shape) for shape in allowed)
        why = " (to_onehot_y=True)" if to_onehot_y else ""
        raise ValueError(
            f"target: expected {expected} to match input {list(input.shape)}{why}, "
            f"got {list(label.shape)}"
        )


def _check_probabilities(values: Tensor) -> None:
    if torch.compiler.is_compiling():  # a check of values would break the graph
        return
    low, high = (bound.item() for bound in values.detach().aminmax())
    if low < 0 or high > 1:
        raise ValueError(
            f"input: expected probabilities in [0, 1], got values in [{low:.4g}, {high:.4g}]; "
            f"for logits pass softmax=True (exclusive classes) or sigmoid=True"
        )


def _target(
    label: Tensor, values: Tensor, ignore_index: int | None, to_onehot_y: bool
) -> tuple[Tensor, Tensor | None]:
    """The target and, where something is ignored, its mask."""
    classes = values.shape[1]
    if label.shape[1] == 1:
        mask = None if ignore_index is None else (label != ignore_index)
        kept = label if mask is None else torch.where(mask, label, torch.zeros_like(label))
        if classes == 1:
            _check_range(kept, 1, "a single class holds values in [0, 1]")
            return kept, mask
        _check_range(kept, classes - 1, f"the input has {classes} classes")
        if kept.is_floating_point():
            _check_whole(kept)
        return _index(kept, classes), mask
    _check_range(label, 1, "a target with one channel for each class holds values in [0, 1]")
    if ignore_index is None:
        return label, None
    if 0 <= ignore_index < classes:
        return label, label[:, ignore_index : ignore_index + 1] <= 0.5
    return label, (label > 0).any(1, keepdim=True)


def _index(label: Tensor, classes: int) -> Tensor:
    """Class indices as integers; a byte each where they were no integers and it is enough."""
    if label.dtype in (torch.uint8, torch.int64):
        return label
    return label.to(torch.uint8 if classes < 256 else torch.int64)


def _check_range(label: Tensor, highest: int, why: str) -> None:
    if torch.compiler.is_compiling() or label.numel() == 0 or label.dtype == torch.bool:
        return
    low, high = (bound.item() for bound in label.aminmax())
    if low < 0 or high > highest:
        raise ValueError(
            f"target: expected labels from 0 to {highest} ({why}), got {low:g} to {high:g}; "
            f"pass ignore_index for voxels to leave out"
        )


def _check_whole(label: Tensor) -> None:
    if not torch.compiler.is_compiling() and not bool((label == label.round()).all()):
        raise ValueError(
            "target: expected whole class indices in one channel, got fractions; "
            "soft labels need one channel for each class"
        )


def _joined_mask(ignored: Tensor | None, given: Tensor | None, values: Tensor) -> Tensor | None:
    if given is None:
        return None if ignored is None else ignored.to(work_dtype(values))
    mask = _plain(given, "mask").to(values.device, work_dtype(values))
    expected = [values.shape[0], 1, *values.shape[2:]]
    if list(mask.shape) != expected:
        raise ValueError(f"mask: expected {expected}, got {list(mask.shape)}")
    if not torch.compiler.is_compiling() and not bool(((mask >= 0) & (mask <= 1)).all()):
        raise ValueError("mask: expected values in [0, 1], got others")
    return mask if ignored is None else mask * ignored


def _present(present: Any, values: Tensor) -> Tensor | None:
    if present is None:
        return None
    annotated = torch.as_tensor(present, device=values.device)
    expected = list(values.shape[:2])
    if list(annotated.shape) != expected:
        raise ValueError(f"present: expected {expected}, got {list(annotated.shape)}")
    return annotated.bool()


def _dense(
    given: Tensor | None, name: str, values: Tensor, stays: tuple[torch.dtype, ...] = STORED
) -> Tensor | None:
    if given is None:
        return None
    plain = _plain(given, name).to(values.device)
    if plain.dtype not in stays:  # the sums read those as they are
        plain = plain.to(work_dtype(values))
    if plain.shape != values.shape:
        raise ValueError(f"{name}: expected {list(values.shape)}, got {list(plain.shape)}")
    return plain
