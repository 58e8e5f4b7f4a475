"""Each term of class sums, and its derivative, on tiles of any shape.

What a term is made of: ``row``, which is the probability p, its complement q and their logarithms
log p and log q; target ``y`` and map ``f``. Names and exponents are known at compile time, so that
a kernel holds the terms that are asked for and nothing else. They are passed whole, with the number
of the term: a string by itself is no argument up to triton 3.6.
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
def value(NAMES: tl.constexpr, EXPONENTS: tl.constexpr, k: tl.constexpr, row, y, f):
    """What the ``k``-th term sums, before the weight of the voxel."""
    NAME: tl.constexpr = NAMES[k]
    GAMMA: tl.constexpr = EXPONENTS[k]
    p, q, log_p, log_q = row
    if NAME == "v":
        return tl.full(p.shape, 1.0, p.dtype)
    elif NAME == "p":
        return p
    elif NAME == "t":
        return y
    elif NAME == "tp":
        return p * y
    elif NAME == "pp":
        return p * p
    elif NAME == "tt":
        return y * y
    elif NAME == "l1":
        return tl.abs(p - y)
    elif NAME == "power":
        return power(tl.abs(p - y), GAMMA)
    elif NAME == "sqt":
        return (p - y) * (p - y) * y
    elif NAME == "ce":
        return -y * tl.where(y == 0.0, 0.0, log_p)  # 0 times infinity is no NaN here
    elif NAME == "ce_neg":
        return (y - 1.0) * tl.where(y == 1.0, 0.0, log_q)
    elif NAME == "nlog":
        return -log_p
    elif NAME == "focal":
        return -y * power(q, GAMMA) * tl.where(y == 0.0, 0.0, log_p)
    elif NAME == "focal_neg":
        return (y - 1.0) * power(p, GAMMA) * tl.where(y == 1.0, 0.0, log_q)
    elif NAME == "map":
        return p * f
    elif NAME == "map2":
        return (p - y) * (p - y) * f
    elif NAME == "tp_map":
        return p * y * f
    else:
        tl.static_assert(NAME == "t_map")
        return y * f


@triton.jit
def add_slopes(NAMES: tl.constexpr, EXPONENTS: tl.constexpr, k: tl.constexpr, g, row, y, f, slopes):
    """Add ``g`` times the ``k``-th term's derivatives by p, log p and log q to the ``slopes``."""
    NAME: tl.constexpr = NAMES[k]
    GAMMA: tl.constexpr = EXPONENTS[k]
    p, q, log_p, log_q = row
    by_p, by_log_p, by_log_q = slopes
    if NAME == "p":
        by_p += g
    elif NAME == "tp":
        by_p += g * y
    elif NAME == "pp":
        by_p += 2.0 * g * p
    elif NAME == "l1":
        by_p += g * sign(p - y)
    elif NAME == "power":
        by_p += g * sign(p - y) * power_slope(tl.abs(p - y), GAMMA)
    elif NAME == "sqt":
        by_p += 2.0 * g * (p - y) * y
    elif NAME == "ce":
        by_log_p -= g * y
    elif NAME == "ce_neg":
        by_log_q += g * (y - 1.0)
    elif NAME == "nlog":
        by_log_p -= g
    elif NAME == "focal":
        by_log_p -= g * y * power(q, GAMMA)
        by_p += g * y * power_slope(q, GAMMA) * tl.where(y == 0.0, 0.0, log_p)
    elif NAME == "focal_neg":
        by_log_q += g * (y - 1.0) * power(p, GAMMA)
        by_p += g * (y - 1.0) * power_slope(p, GAMMA) * tl.where(y == 1.0, 0.0, log_q)
    elif NAME == "map":
        by_p += g * f
    elif NAME == "map2":
        by_p += 2.0 * g * (p - y) * f
    else:
        tl.static_assert(NAME == "tp_map")
        by_p += g * y * f
    return by_p, by_log_p, by_log_q


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
