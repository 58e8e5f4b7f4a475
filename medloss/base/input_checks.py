"""What a loss reads beside its input, checked: shape and dtype at once, values in one look."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.base.value_checks import Judge, Look
from medloss.objects.labels import as_index, as_values, held, readable, told
from medloss.sums import work_dtype

STORED = (torch.float16, torch.bfloat16)
"""Dtypes in which maps are read as they are."""


def plain_tensor(tensor: Any, name: str) -> Tensor:
    """The plain tensor inside a MetaTensor or other wrapper, gradient history kept."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(tensor).__name__}")
    if tensor.is_complex():
        raise TypeError(f"{name}: expected real numbers, got {tensor.dtype}")
    if type(tensor) is not Tensor and hasattr(tensor, "as_tensor"):
        plain: Tensor = tensor.as_tensor()
        return plain
    return tensor


def no_probabilities(low: float, high: float) -> str | None:
    """What is wrong with values from ``low`` to ``high`` as probabilities, or None."""
    if low < 0 or high > 1:  # a NaN is not judged: it comes out as NaN, as that of a logit does
        return (
            f"input: expected probabilities in [0, 1], got values in [{low:.4g}, {high:.4g}]; "
            f"for logits pass softmax=True (exclusive classes) or sigmoid=True"
        )
    return None


def checked_target(
    label: Tensor, values: Tensor, ignore_index: int | None, mask: Tensor | None, look: Look
) -> tuple[Tensor, Tensor | None]:
    """The target and, where something is ignored, which voxels are not."""
    classes, came = values.shape[1], label.dtype
    label = readable(label)
    ignored = _ignored(label, came, classes, ignore_index)
    counts = ignored
    if mask is not None:
        counts = mask != 0 if ignored is None else ignored & (mask != 0)
    kept = label
    if counts is not None and came != torch.bool:
        kept = torch.where(counts, label, torch.zeros_like(label))
    if label.shape[1] > 1 or classes == 1:
        why = (
            "a single class holds values in [0, 1]"
            if classes == 1
            else "a target with one channel for each class holds values in [0, 1]"
        )
        look.at(kept, _out_of_range(1, why, came))
        return as_values(kept, mode=look.mode), ignored
    look.at(kept, _out_of_range(classes - 1, f"the input has {classes} classes", came))
    if kept.is_floating_point() and look.mode != "off":
        look.at((kept - kept.round()).abs(), _fractions)
    return as_index(kept, classes, sure=look.sure), ignored


def _ignored(
    label: Tensor, came: torch.dtype, classes: int, ignore_index: int | None
) -> Tensor | None:
    """(B, 1, *spatial) bool, the voxels that are not to be ignored."""
    if ignore_index is None:
        return None
    if label.shape[1] == 1:
        number = held(ignore_index, came)
        return None if number is None else label != number
    # A NaN is not ignored.
    if 0 <= ignore_index < classes:
        return ~(label[:, ignore_index : ignore_index + 1] > 0.5)
    return (label != 0).any(1, keepdim=True)


def _out_of_range(highest: int, why: str, came: torch.dtype) -> Judge:
    def judge(low: float, high: float) -> str | None:
        if low >= 0 and high <= highest:
            return None
        return (
            f"target: expected labels from 0 to {highest} ({why}), got {told(low, high, came)}; "
            f"pass ignore_index for voxels to leave out"
        )

    return judge


def _fractions(low: float, high: float) -> str | None:
    if high == 0:
        return None
    return (
        "target: expected whole class indices in one channel, got fractions; "
        "soft labels need one channel for each class"
    )


def checked_mask(given: Tensor | None, values: Tensor, look: Look) -> Tensor | None:
    """The mask in the dtype that is computed in, values in [0, 1]."""
    if given is None:
        return None
    mask = _of_each_voxel(given, "mask", values)
    look.at(mask, _no_weights)
    return mask.to(work_dtype(values))


def _of_each_voxel(given: Any, name: str, values: Tensor) -> Tensor:
    """(B, 1, *spatial), on the device of the input."""
    found = readable(plain_tensor(given, name).to(values.device))
    expected = [values.shape[0], 1, *values.shape[2:]]
    if list(found.shape) != expected:
        raise ValueError(f"{name}: expected {expected}, got {list(found.shape)}")
    return found


def _no_weights(low: float, high: float) -> str | None:
    if low >= 0 and high <= 1:
        return None
    return f"mask: expected values in [0, 1], got {low:g} to {high:g}"


def checked_present(present: Any, values: Tensor, look: Look) -> Tensor | None:
    """Which classes were annotated, (B, C) bool."""
    if present is None:
        return None
    annotated = readable(torch.as_tensor(present, device=values.device))
    expected = list(values.shape[:2])
    if list(annotated.shape) != expected:
        raise ValueError(f"present: expected {expected}, got {list(annotated.shape)}")
    if annotated.is_floating_point() and look.mode != "off":
        look.at((annotated - annotated.round()).abs(), _no_flags)
    look.at(annotated, _no_flags)
    return annotated.bool()


def _no_flags(low: float, high: float) -> str | None:
    if low in (0, 1) and high in (0, 1):
        return None
    return f"present: expected booleans, or 0 and 1, got {low:g} to {high:g}"


def checked_components(
    given: Any, values: Tensor, mask: Tensor | None, look: Look
) -> Tensor | None:
    """Numbers of objects, (B, 1, *spatial) int64, 0 where voxels do not count."""
    if given is None:
        return None
    numbers = _of_each_voxel(given, "components", values)
    if mask is not None:
        numbers = torch.where(mask != 0, numbers, torch.zeros_like(numbers))
    look.at(numbers, _no_numbers)
    if numbers.is_floating_point():
        look.at((numbers - numbers.round()).abs(), lambda _, high: _no_numbers(0, -high))
    return numbers.long()


def _no_numbers(low: float, high: float) -> str | None:
    if low >= 0 and high >= 0:
        return None
    whole = "components: expected whole numbers, from 1 on for objects and 0 elsewhere"
    if low < 0:
        return f"components: expected numbers of at least 0, got {low:g} ({whole})"
    return f"{whole}, got others"


def checked_map(
    given: Tensor | None,
    name: str,
    values: Tensor,
    mask: Tensor | None,
    look: Look,
    stays: tuple[torch.dtype, ...] = STORED,
) -> Tensor | None:
    """A ready map of the shape of the input, 0 where voxels do not count."""
    if given is None:
        return None
    plain = plain_tensor(given, name).to(values.device)
    if plain.dtype not in stays:  # the sums read those as they are
        plain = plain.to(work_dtype(values))
    if plain.shape != values.shape:
        raise ValueError(f"{name}: expected {list(values.shape)}, got {list(plain.shape)}")
    if mask is not None and plain.is_floating_point():  # nor has a NaN there any influence
        plain = torch.where(mask != 0, plain, 0)
    look.for_nan(plain)
    return plain
