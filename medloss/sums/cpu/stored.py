"""Numbers as tensors store them: uint16 holds the bits of a bfloat16, int16 those of a float16."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from medloss.runtime.compiling import as_bits, as_float
from medloss.sums.cpu import means
from medloss.sums.cpu.scalars import ROUND


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
