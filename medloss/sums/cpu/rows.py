"""Loops over one row: the voxels of one class within one tile, all of it in a near cache.

Each loop is a small function on one-dimensional arrays because that is what the compiler turns
into vector instructions; loops inside a larger kernel, or with two indices, stay scalar.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medloss.sums.cpu import part
from medloss.sums.cpu.scalars import ONE, ZERO, exp, log, log1p
from medloss.sums.cpu.stored import decode, encode
from medloss.sums.cpu.views import BFLOAT16, FLOAT16, OWN
from medloss.sums.numeric import KNEE

Array = Any


@part
def load(source: Array, row: Array, n: int) -> None:
    """Copy, from whatever dtype."""
    for i in range(n):
        row[i] = decode(source[i])


@part
def store(target: Array, row: Array, weight: Array, n: int) -> None:
    """Weight, and copy to whatever dtype."""
    for i in range(n):
        target[i] = encode(row[i] * weight[i], target)


@part
def load_from(stored: Any, b: int, c: int, s: int, row: Array, n: int) -> None:
    """Copy the voxels of a class from a tensor of any dtype, see :mod:`medloss.sums.cpu.views`."""
    if stored[0] == OWN:
        load(stored[1][b, c, s : s + n], row, n)
    else:
        load_converted(stored, b, c, s, row, n)


@part
def load_converted(stored: Any, b: int, c: int, s: int, row: Array, n: int) -> None:
    """The same from another dtype than that of the row."""
    kind, _, bfloat16, float16, byte, _ = stored
    if kind == BFLOAT16:
        load(bfloat16[b, c, s : s + n], row, n)
    elif kind == FLOAT16:
        load(float16[b, c, s : s + n], row, n)
    else:
        load(byte[b, c, s : s + n], row, n)


@part
def store_to(stored: Any, b: int, c: int, s: int, row: Array, weight: Array, n: int) -> None:
    """Weight, and copy to the voxels of a class of a floating tensor of any dtype."""
    kind, own, bfloat16, float16, _, _ = stored
    if kind == OWN:
        store(own[b, c, s : s + n], row, weight, n)
    elif kind == BFLOAT16:
        store(bfloat16[b, c, s : s + n], row, weight, n)
    else:
        store(float16[b, c, s : s + n], row, weight, n)


@part
def fill(row: Array, value: Any, n: int) -> None:
    """One value."""
    for i in range(n):
        row[i] = value


@part
def dot(a: Array, b: Array, n: int) -> Any:
    """Σ a b."""
    result = a.dtype.type(0)
    for i in range(n):
        result += a[i] * b[i]
    return result


@part
def total(a: Array, n: int) -> Any:
    """Σ a."""
    result = a.dtype.type(0)
    for i in range(n):
        result += a[i]
    return result


@part
def multiply(a: Array, b: Array, n: int) -> None:
    """Into ``a``: a b."""
    for i in range(n):
        a[i] *= b[i]


@part
def add_scaled(a: Array, b: Array, factor: Any, n: int) -> None:
    """Into ``a``: a + factor b."""
    for i in range(n):
        a[i] += factor * b[i]


@part
def complement(p: Array, q: Array, n: int) -> None:
    """Into ``q``: 1 − p, or 0 where rounding has left p above 1."""
    for i in range(n):
        difference = ONE - p[i]
        q[i] = ZERO if difference < ZERO else difference


@part
def logarithm(p: Array, row: Array, n: int) -> None:
    """Into ``row``: log p, finite at 0."""
    for i in range(n):
        row[i] = log(p[i])


@part
def sigmoid(x: Array, p: Array, q: Array, lp: Array, n: int) -> None:
    """p, 1 − p and their logarithms, each to full relative precision."""
    for i in range(n):
        lp[i] = exp(-abs(x[i]))
    for i in range(n):
        larger = ONE / (ONE + lp[i])
        smaller = lp[i] * larger
        p[i] = smaller if x[i] < ZERO else larger
        q[i] = larger if x[i] < ZERO else smaller


@part
def log_sigmoid(x: Array, lp: Array, lq: Array, n: int) -> None:
    """Logarithms of p and 1 − p, after :func:`sigmoid` has left exp(−|x|) in ``lp``."""
    for i in range(n):
        u = log1p(lp[i])
        lp[i] = min(x[i], ZERO) - u
        lq[i] = -max(x[i], ZERO) - u


@part
def power(row: Array, exponent: Any, n: int) -> None:
    """To an exponent, for values >= 0, as :func:`medloss.sums.numeric.power`."""
    if exponent == 2:
        for i in range(n):
            row[i] *= row[i]
    elif exponent == 0:
        fill(row, ONE, n)
    elif exponent < 1:
        knee = row.dtype.type(KNEE)
        slope = np.exp(np.log(knee) * (exponent - ONE))
        for i in range(n):
            row[i] = exp(exponent * log(row[i])) if row[i] > knee else row[i] * slope
    elif exponent > 1:
        for i in range(n):
            row[i] = exp(exponent * log(row[i])) if row[i] > ZERO else row[i]


@part
def power_slope(row: Array, exponent: Any, n: int) -> None:
    """To the derivative of :func:`power`."""
    if exponent == 2:
        for i in range(n):
            row[i] += row[i]
    elif exponent == 1 or exponent == 0:
        fill(row, exponent, n)
    elif exponent < 1:
        knee = row.dtype.type(KNEE)
        log_knee = np.log(knee)
        slope = np.exp(log_knee * (exponent - ONE))
        for i in range(n):  # in two factors, since exp takes no positive argument
            falling = exponent * slope * exp((exponent - ONE) * (log(row[i]) - log_knee))
            row[i] = falling if row[i] > knee else slope
    else:
        for i in range(n):
            row[i] = exponent * exp((exponent - ONE) * log(row[i])) if row[i] > ZERO else row[i]
