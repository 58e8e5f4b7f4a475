"""Labels as they come: every dtype of integers, floats and bool, and the number to ignore."""

from __future__ import annotations

import torch
from torch import Tensor

_WIDER = {torch.uint16: torch.int32, torch.uint32: torch.int64}
INDEX = (torch.uint8, torch.int64)
"""Dtypes of class indices that are read as they are."""

UNSIGNED_64 = 1 << 64


def readable(label: Tensor) -> Tensor:
    """The same numbers in a dtype that torch can order; 2⁶³ and more become negative ones.

    Example:
        >>> readable(torch.tensor([1, 65535], dtype=torch.uint16))
        tensor([    1, 65535], dtype=torch.int32)
    """
    if label.dtype == torch.uint64:
        return label.view(torch.int64)
    wider = _WIDER.get(label.dtype)
    return label if wider is None else label.to(wider)


def held(number: int | None, dtype: torch.dtype) -> int | None:
    """A number as :func:`readable` labels hold it, or None where ``dtype`` cannot: none has it.

    A comparison with a scalar casts it to the dtype, where -100 would be 156 for a byte.

    Args:
        number: any.
        dtype: of the labels as they came.

    Example:
        >>> held(255, torch.uint8), held(-100, torch.uint8), held(-100, torch.int8)
        (255, None, -100)
    """
    if number is None:
        return None
    if dtype == torch.bool:
        return number if number in (0, 1) else None
    if dtype.is_floating_point:
        limits = torch.finfo(dtype)
        inside = limits.min <= number <= limits.max
        return number if inside and torch.tensor(number, dtype=dtype).item() == number else None
    bounds = torch.iinfo(dtype)
    if not bounds.min <= number <= bounds.max:
        return None
    return number - UNSIGNED_64 if number >= UNSIGNED_64 // 2 else number


def told(low: float, high: float, dtype: torch.dtype) -> str:
    """Bounds of :func:`readable` labels in words."""
    if dtype == torch.uint64 and low < 0:
        return f"numbers of 2**63 or more, such as {int(low) + UNSIGNED_64:.4g}"
    return f"{low:g} to {high:g}"


def as_index(label: Tensor, classes: int, *, sure: bool) -> Tensor:
    """Class indices as uint8 or int64; what is no class stays none, whatever the dtype.

    Args:
        label: readable, not negative where it is a class.
        classes: how many there are.
        sure: all labels are known to be whole and in range.
    """
    if label.dtype in INDEX:
        return label
    dtype = torch.uint8 if classes < 256 else torch.int64
    if sure or label.dtype == torch.bool:
        return label.to(dtype)
    known = (label >= 0) & (label < classes)
    if label.is_floating_point():
        known &= label == label.round()
    nowhere = torch.full((), 255 if dtype == torch.uint8 else -1, dtype=dtype, device=label.device)
    return torch.where(known, torch.where(known, label, 0).to(dtype), nowhere)


def as_values(label: Tensor, *, mode: str) -> Tensor:
    """The target of independent channels, where out of range is no class unless it is judged."""
    if label.dtype == torch.bool or mode == "sync":
        return label
    if not label.is_floating_point():
        return label == 1
    return label if mode == "late" else torch.where((label < 0) | (label > 1), 0, label)
