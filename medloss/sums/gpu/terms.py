"""Each term of class sums, and its derivative, on tiles of any shape.

A term is the product that its row in :data:`medloss.sums.terms.TERMS` says: its derivatives follow
from those of the factors, at compile time. What it is made of: ``row``, which is the probability p,
its complement q and their logarithms log p and log q; target ``y`` and map ``f``. What a kernel is
compiled for is passed whole, with the number of the term: a string by itself is no argument up to
triton 3.6.
"""

# Triton reads this, not Python: it knows no starred tuples, and takes types from both branches of a
# choice at compile time unless the second is its else.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import triton
import triton.language as tl

from medloss.sums.numeric import KNEE as _KNEE

KNEE = tl.constexpr(_KNEE)


@triton.jit
def value(
    WEIGHTS: tl.constexpr, FACTORS: tl.constexpr, LOGS: tl.constexpr, EXPONENTS: tl.constexpr,
    MAPS: tl.constexpr, k: tl.constexpr, row, y, f,
):  # fmt: skip
    """What the ``k``-th term sums, before the weight of the voxel."""
    weight = _weight(WEIGHTS, k, y)
    product = weight * _factor(FACTORS, EXPONENTS, k, row, y)
    if MAPS[k] >= 0:
        product *= f
    if LOGS[k] != "":
        product *= _minus_log(LOGS, k, row, weight)
    return product


@triton.jit
def add_slopes(
    WEIGHTS: tl.constexpr, FACTORS: tl.constexpr, LOGS: tl.constexpr, EXPONENTS: tl.constexpr,
    MAPS: tl.constexpr, k: tl.constexpr, g, row, y, f, slopes,
):  # fmt: skip
    """Add ``g`` times the ``k``-th term's derivatives by p, log p and log q to the ``slopes``."""
    by_p, by_log_p, by_log_q = slopes
    weight = _weight(WEIGHTS, k, y)
    if LOGS[k] == "":
        by_factor = g * _factor_slope(FACTORS, EXPONENTS, k, row, y) * weight
    else:
        by_log = g * weight * _factor(FACTORS, EXPONENTS, k, row, y)
        by_factor = g * weight * _factor_slope(FACTORS, EXPONENTS, k, row, y)
        by_factor *= _minus_log(LOGS, k, row, weight)
        if MAPS[k] >= 0:
            by_log *= f
        if LOGS[k] == "p":
            by_log_p -= by_log
        else:
            by_log_q -= by_log
    if MAPS[k] >= 0:
        by_factor *= f
    if FACTORS[k] != "1":
        by_p += by_factor
    return by_p, by_log_p, by_log_q


@triton.jit
def _weight(WEIGHTS: tl.constexpr, k: tl.constexpr, y):
    if WEIGHTS[k] == "1":
        return tl.full(y.shape, 1.0, y.dtype)
    elif WEIGHTS[k] == "y":
        return y
    elif WEIGHTS[k] == "y*y":
        return y * y
    else:
        tl.static_assert(WEIGHTS[k] == "1-y")
        return 1.0 - y


@triton.jit
def _minus_log(LOGS: tl.constexpr, k: tl.constexpr, row, weight):
    """−log p or −log q; 0 where it has no weight, as 0 times infinity is no NaN here."""
    if LOGS[k] == "p":
        return tl.where(weight == 0.0, 0.0, -row[2])
    else:
        tl.static_assert(LOGS[k] == "q")
        return tl.where(weight == 0.0, 0.0, -row[3])


@triton.jit
def _factor(FACTORS: tl.constexpr, EXPONENTS: tl.constexpr, k: tl.constexpr, row, y):
    FACTOR: tl.constexpr = FACTORS[k]
    p = row[0]
    if FACTOR == "1":
        return tl.full(p.shape, 1.0, p.dtype)
    elif FACTOR == "p":
        return p
    elif FACTOR == "p*p":
        return p * p
    elif FACTOR == "abs(p-y)":
        return tl.abs(p - y)
    elif FACTOR == "(p-y)**2":
        return (p - y) * (p - y)
    elif FACTOR == "abs(p-y)**e":
        return power(tl.abs(p - y), EXPONENTS[k])
    elif FACTOR == "p**e":
        return power(p, EXPONENTS[k])
    else:
        tl.static_assert(FACTOR == "q**e")
        return power(row[1], EXPONENTS[k])


@triton.jit
def _factor_slope(FACTORS: tl.constexpr, EXPONENTS: tl.constexpr, k: tl.constexpr, row, y):
    """Its derivative by p."""
    FACTOR: tl.constexpr = FACTORS[k]
    p = row[0]
    if FACTOR == "1":
        return tl.zeros(p.shape, p.dtype)
    elif FACTOR == "p":
        return tl.full(p.shape, 1.0, p.dtype)
    elif FACTOR == "p*p":
        return 2.0 * p
    elif FACTOR == "abs(p-y)":
        return sign(p - y)
    elif FACTOR == "(p-y)**2":
        return 2.0 * (p - y)
    elif FACTOR == "abs(p-y)**e":
        return sign(p - y) * power_slope(tl.abs(p - y), EXPONENTS[k])
    elif FACTOR == "p**e":
        return power_slope(p, EXPONENTS[k])
    else:
        tl.static_assert(FACTOR == "q**e")
        return -power_slope(row[1], EXPONENTS[k])


@triton.jit
def power(x, GAMMA: tl.constexpr):
    """As :func:`medloss.sums.numeric.power`."""
    if GAMMA >= 1 or GAMMA == 0:
        return _plain_power(x, GAMMA)
    else:
        steep = _plain_power(tl.where(x > KNEE, x, KNEE), GAMMA)
        return tl.where(x > KNEE, steep, x * KNEE ** (GAMMA - 1))


@triton.jit
def power_slope(x, GAMMA: tl.constexpr):
    """The derivative of :func:`power`."""
    if GAMMA == 0:
        return tl.zeros(x.shape, x.dtype)
    elif GAMMA >= 1:
        return GAMMA * _plain_power(x, GAMMA - 1)
    else:
        steep = GAMMA * _plain_power(tl.where(x > KNEE, x, KNEE), GAMMA - 1)
        return tl.where(x > KNEE, steep, KNEE ** (GAMMA - 1))


@triton.jit
def _plain_power(x, GAMMA: tl.constexpr):
    """``x ** GAMMA`` for x >= 0."""
    if GAMMA == 0:
        return tl.full(x.shape, 1.0, x.dtype)
    elif GAMMA == 1:
        return x
    elif GAMMA == 2:
        return x * x
    else:
        return tl.exp2(GAMMA * tl.log2(x))


@triton.jit
def sign(x):
    """−1, 0 or 1."""
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)
