"""What tensors hold, for the kernels: their memory as arrays, numbers by their bits, the bounds.

Tensors are seen as numpy arrays without a copy where that is possible. numpy has no bfloat16 and
numba no float16: uint16 holds the bits of a bfloat16, int16 those of a float16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import types
from torch import Tensor

from medloss.runtime.compiling import as_bits, as_float
from medloss.sums.cpu import kernel, means
from medloss.sums.cpu.scalars import ROUND

AS_STORED = {torch.bfloat16: torch.uint16, torch.float16: torch.int16, torch.bool: torch.uint8}
LABELS = (torch.uint8, torch.int64)

OWN, BFLOAT16, FLOAT16, BYTE, LONG = range(5)
"""Which of the arrays of a :data:`Stored` holds the tensor; the first is of the work dtype."""

_DTYPES = (None, np.uint16, np.int16, np.uint8, np.int64)
_KINDS = {torch.bfloat16: BFLOAT16, torch.float16: FLOAT16, torch.uint8: BYTE, torch.bool: BYTE}

Stored = tuple[Any, ...]
"""Kind, and an array (B, C, V) for each one: empty but one. So a kernel is compiled once, not once
for each dtype of each tensor."""

_empty = {
    work: tuple(np.zeros((0, 0, 0), dtype or work) for dtype in _DTYPES)
    for work in (np.float32, np.float64)
}


def view(tensor: Tensor) -> npt.NDArray[Any]:
    """The same memory."""
    as_stored = AS_STORED.get(tensor.dtype)
    plain = tensor.detach()
    array: npt.NDArray[Any] = (plain if as_stored is None else plain.view(as_stored)).numpy()
    return array


def stored(tensor: Tensor, work: Any) -> Stored:
    """A tensor (B, C, V); a dtype that the kernels do not read becomes the work dtype."""
    kind = _KINDS.get(tensor.dtype, OWN)
    if kind == OWN:
        tensor = tensor.to(torch.float64 if work is np.float64 else torch.float32)
    return _at(kind, view(tensor), work)


def index(tensor: Tensor, work: Any) -> Stored:
    """Class indices (B, 1, V), contiguous."""
    tensor = (tensor if tensor.dtype in LABELS else tensor.long()).contiguous()
    return _at(BYTE if tensor.dtype == torch.uint8 else LONG, view(tensor), work)


def flat(tensor: Tensor, work: Any) -> Stored:
    """A contiguous tensor (B, C, *spatial) of floats that the kernels read, or of class indices."""
    kind = LONG if tensor.dtype == torch.int64 else _KINDS.get(tensor.dtype, OWN)
    return _at(kind, view(tensor).reshape(*tensor.shape[:2], -1), work)


def _at(kind: int, array: npt.NDArray[Any], work: Any) -> Stored:
    arrays = _empty[work]
    return (kind, *arrays[:kind], array, *arrays[kind + 1 :])


@kernel
def _bounds(values: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
    low, high = values[0], values[0]
    for i in range(values.size):
        low, high = min(low, values[i]), max(high, values[i])
    found[0], found[1] = low, high


def bounds(values: Tensor) -> tuple[Tensor, Tensor]:
    """Both, of a contiguous tensor on the CPU that is not empty.

    Example:
        >>> [each.item() for each in bounds(torch.tensor([[3, -1], [2, 7]]))]
        [-1, 7]
    """
    found = np.empty(2, np.int64)
    _bounds(values.view(-1).numpy(), found)
    low, high = torch.from_numpy(found)
    return low, high


def decode(stored: Any) -> Any:
    """The number in an element."""
    raise NotImplementedError("only inside a kernel")


def encode(value: Any, like: Any) -> Any:
    """The element of the array ``like`` that holds this number, rounded to nearest even."""
    raise NotImplementedError("only inside a kernel")


@means(decode)
def _decode(stored: Any) -> Any:
    def bfloat16(stored: Any) -> Any:
        return as_float(np.int32(stored) << np.int32(16))

    def float16(stored: Any) -> Any:
        bits = np.int32(stored)
        magnitude = (bits & np.int32(0x7FFF)) << np.int32(13)
        value = as_float(magnitude) * np.float32(2.0**112)  # exact, subnormal numbers too
        special = as_float(magnitude | np.int32(0x7F800000))  # infinity and NaN
        value = special if magnitude >= np.int32(0x0F800000) else value
        return -value if bits < 0 else value

    if isinstance(stored, types.Float):
        return lambda stored: stored
    return {types.uint16: bfloat16, types.int16: float16}.get(
        stored, lambda stored: np.float32(stored)
    )


@means(encode)
def _encode(value: Any, like: Any) -> Any:
    def bfloat16(value: Any, like: Any) -> Any:
        bits = as_bits(value)
        bits = (bits + np.int32(0x7FFF) + ((bits >> np.int32(16)) & np.int32(1))) >> np.int32(16)
        return np.uint16(bits) if value == value else np.uint16(0x7FC0)

    def float16(value: Any, like: Any) -> Any:
        magnitude = abs(value)
        bits = as_bits(magnitude)
        rounded = bits + np.int32(0x0FFF) + ((bits >> np.int32(13)) & np.int32(1))
        half = (rounded - np.int32(112 << 23)) >> np.int32(13)
        half = np.int32(0x7C00) if half > np.int32(0x7C00) else half
        # below the smallest normal number one step is 2**-24
        step = as_bits(magnitude * np.float32(2.0**24) + ROUND) & np.int32(0x7FF)
        half = step if magnitude < np.float32(2.0**-14) else half
        half = half if value == value else np.int32(0x7E00)
        sign = (as_bits(value) >> np.int32(16)) & np.int32(0x8000)
        return np.int16(half | sign)

    return {types.uint16: bfloat16, types.int16: float16}.get(like.dtype, lambda value, like: value)
