"""exp and log inside the kernels.

numba's wheels bring no vectorised exp or log, so float32 has its own, made of operations that the
compiler turns into vector instructions; float64 takes the mathematics library's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from medloss.runtime.compiling import as_bits, as_float
from medloss.sums.cpu import exact_part, means

LOWEST = np.float32(-87.0)
LOG2_E = np.float32(1.4426950408889634)
# Adding 1.5 * 2**23 rounds to a whole number and leaves it in the low bits.
ROUND = np.float32(12582912.0)
# 2**f for |f| <= 1/2; relative error 9e-8
E1 = np.float32(0.6931470036506653)
E2 = np.float32(0.24022242426872253)
E3 = np.float32(0.05550733581185341)
E4 = np.float32(0.009671512991189957)
E5 = np.float32(0.001326472731307149)
# log(1 + f) = f + f**2 (L0 + L1 f + ...) for sqrt(1/2) <= 1 + f <= sqrt(2); relative error 3e-8
L0 = np.float32(-0.49999991059303284)
L1 = np.float32(0.33333951234817505)
L2 = np.float32(-0.25001755356788635)
L3 = np.float32(0.19962072372436523)
L4 = np.float32(-0.16570508480072021)
L5 = np.float32(0.14917975664138794)
L6 = np.float32(-0.14307525753974915)
L7 = np.float32(0.08734840899705887)
LOG_2 = np.float32(0.6931471805599453)
TINY = np.float32(1.1754944e-38)
ONE = np.float32(1)
ZERO = np.float32(0)
HALF = np.float32(0.5)
SQRT_2 = np.float32(1.4142135623730951)
EXPONENT_OF_SQRT_HALF = np.int32(0x3F3504F3)


def exp(x: Any) -> Any:
    """The exponential of x <= 0; float32 stays where it is at -87."""
    raise NotImplementedError("only inside a kernel")


def log(x: Any) -> Any:
    """The logarithm, held at that of the smallest normal number."""
    raise NotImplementedError("only inside a kernel")


def smallest(x: Any) -> Any:
    """The smallest normal number of x's dtype."""
    raise NotImplementedError("only inside a kernel")


def log1p(x: Any) -> Any:
    """The logarithm of 1 + x for 0 <= x <= 1, to full relative precision."""
    raise NotImplementedError("only inside a kernel")


@means(smallest)
def _smallest(x: Any) -> Any:
    tiny = TINY if x == types.float32 else float(np.finfo(np.float64).tiny)
    return lambda x: tiny


@means(exp)
def _exp(x: Any) -> Any:
    def single(x: Any) -> Any:
        x = LOWEST if x < LOWEST else x  # written so that a NaN passes
        shifted = x * LOG2_E + ROUND
        f = x * LOG2_E - (shifted - ROUND)
        power = ((((E5 * f + E4) * f + E3) * f + E2) * f + E1) * f + ONE
        return power * as_float((as_bits(shifted) << np.int32(23)) + np.int32(0x3F800000))

    return single if x == types.float32 else lambda x: math.exp(x)


@means(log)
def _log(x: Any) -> Any:
    def single(x: Any) -> Any:
        x = TINY if x < TINY else x
        offset = as_bits(x) - EXPONENT_OF_SQRT_HALF
        exponent = offset >> np.int32(23)
        f = as_float((offset & np.int32(0x7FFFFF)) + EXPONENT_OF_SQRT_HALF) - ONE
        # x == x keeps a NaN, whose bits the arithmetic above would take for a number
        return (_log_near_one(f) + np.float32(exponent) * LOG_2) if x == x else x

    def double(x: Any) -> Any:
        return math.log(smallest(x) if x < smallest(x) else x)

    return single if x == types.float32 else double


@means(log1p)
def _log1p(x: Any) -> Any:
    def single(x: Any) -> Any:
        large = x > SQRT_2 - ONE
        f = (x - ONE) * HALF if large else x
        return _log_near_one(f) + (LOG_2 if large else ZERO)

    return single if x == types.float32 else lambda x: math.log1p(x)


@exact_part
def _log_near_one(f: Any) -> Any:
    p = ((((((L7 * f + L6) * f + L5) * f + L4) * f + L3) * f + L2) * f + L1) * f + L0
    return f * f * p + f
