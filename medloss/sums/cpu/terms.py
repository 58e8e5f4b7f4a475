"""Each term of class sums as a loop over one row, and its derivative.

The rows: ``p``, ``q`` = 1 − p, ``l`` = log p, ``m`` = log(1 − p), target ``y``, map ``f``. Which of
them a request needs is known beforehand (:data:`NEEDS`); the others may hold anything.
"""

from __future__ import annotations

from typing import Any

from medloss.sums.cpu import part
from medloss.sums.cpu.rows import fill, load, power, power_slope
from medloss.sums.cpu.scalars import ONE, ZERO

Array = Any

CODES = {
    name: code
    for code, name in enumerate(
        (
            *("v", "p", "t", "tp", "pp", "tt", "l1", "power", "sqt", "ce", "ce_neg", "nlog"),
            *("focal", "focal_neg", "map", "map2", "tp_map", "t_map"),
        )
    )
}
"""Terms by number, since kernels know no strings."""

NEEDS = {"ce": "l", "nlog": "l", "focal": "ql", "ce_neg": "qm", "focal_neg": "qm"}
"""Rows beyond p, y and map from which a term and its derivative are made."""

CONSTANT = ("v", "t", "tt", "t_map")
"""Terms without the probability: no gradient."""

OF_TRUE_CLASS = {"t": "t", "tp": "tp", "tt": "t", "ce": "ce", "focal": "focal"}
"""Terms that with class indices only the true class of a voxel adds to, made linear in y."""

MAPPED_OF_TRUE_CLASS = {"tp_map": "tp", "t_map": "t"}
"""Such terms with a map, as the same without it, of voxels that weigh as much as the map says."""


@part
def value_row(
    code: int,
    gammas: Any,
    k: int,
    p: Array,
    q: Array,
    l: Array,  # noqa: E741
    m: Array,
    y: Array,
    maps: Any,
    f: Array,
    row: Array,
    n: int,
) -> None:
    """What the term sums, before the weight of the voxel; ``gammas[k]`` is its exponent.

    Without ``gammas`` there are no terms with an exponent, without ``maps`` none with a map: what
    they take is not compiled then.
    """
    if code == 0:
        fill(row, ONE, n)
    elif code == 1:
        for i in range(n):
            row[i] = p[i]
    elif code == 4:
        for i in range(n):
            row[i] = p[i] * p[i]
    elif code == 5:
        for i in range(n):
            row[i] = y[i] * y[i]
    elif code == 6:
        for i in range(n):
            row[i] = abs(p[i] - y[i])
    elif code == 8:
        for i in range(n):
            row[i] = (p[i] - y[i]) * (p[i] - y[i]) * y[i]
    elif code == 10:
        for i in range(n):
            row[i] = (y[i] - ONE) * m[i] if y[i] != ONE else ZERO
    elif code == 11:
        for i in range(n):
            row[i] = -l[i]
    else:
        value_row_of_true_class(code, gammas, k, p, q, l, y, row, n)
    if gammas is not None:
        if code == 7:
            for i in range(n):
                row[i] = abs(p[i] - y[i])
            power(row, gammas[k], n)
        elif code == 13:
            load(p, row, n)
            power(row, gammas[k], n)
            for i in range(n):
                row[i] *= (y[i] - ONE) * m[i] if y[i] != ONE else ZERO
    if maps is not None:
        if code == 14:
            for i in range(n):
                row[i] = p[i] * f[i]
        elif code == 15:
            for i in range(n):
                row[i] = (p[i] - y[i]) * (p[i] - y[i]) * f[i]
        elif code == 16:
            for i in range(n):
                row[i] = p[i] * y[i] * f[i]
        elif code == 17:
            for i in range(n):
                row[i] = y[i] * f[i]


@part
def value_row_of_true_class(
    code: int,
    gammas: Any,
    k: int,
    p: Array,
    q: Array,
    l: Array,  # noqa: E741
    y: Array,
    row: Array,
    n: int,
) -> None:
    """As :func:`value_row`, for the terms that are linear in y."""
    if code == 2:
        for i in range(n):
            row[i] = y[i]
    elif code == 3:
        for i in range(n):
            row[i] = p[i] * y[i]
    elif code == 9:
        for i in range(n):
            row[i] = -y[i] * l[i] if y[i] != ZERO else ZERO  # 0 times infinity is no NaN here
    if gammas is not None:
        if code == 12:
            load(q, row, n)
            power(row, gammas[k], n)
            for i in range(n):
                row[i] *= -y[i] * l[i] if y[i] != ZERO else ZERO


@part
def add_slope(
    code: int,
    gammas: Any,
    k: int,
    g: Any,
    p: Array,
    q: Array,
    l: Array,  # noqa: E741
    m: Array,
    y: Array,
    maps: Any,
    f: Array,
    by_p: Array,
    by_l: Array,
    by_m: Array,
    row: Array,
    n: int,
) -> None:
    """Add ``g`` times the term's derivatives by p, log p and log(1 − p); ``row`` is scratch."""
    twice = g + g
    if code == 1:
        for i in range(n):
            by_p[i] += g
    elif code == 4:
        for i in range(n):
            by_p[i] += twice * p[i]
    elif code == 6:
        for i in range(n):
            d = p[i] - y[i]
            by_p[i] += g if d > ZERO else (-g if d < ZERO else ZERO)
    elif code == 8:
        for i in range(n):
            by_p[i] += twice * (p[i] - y[i]) * y[i]
    elif code == 10:
        for i in range(n):
            by_m[i] += g * (y[i] - ONE)
    elif code == 11:
        for i in range(n):
            by_l[i] -= g
    else:
        add_slope_of_true_class(code, gammas, k, g, q, l, y, by_p, by_l, row, n)
    if gammas is not None:
        if code == 7:
            for i in range(n):
                row[i] = abs(p[i] - y[i])
            power_slope(row, gammas[k], n)
            for i in range(n):
                d = p[i] - y[i]
                by_p[i] += g * (row[i] if d > ZERO else (-row[i] if d < ZERO else ZERO))
        elif code == 13:
            load(p, row, n)
            power(row, gammas[k], n)
            for i in range(n):
                by_m[i] += g * (y[i] - ONE) * row[i]
            load(p, row, n)
            power_slope(row, gammas[k], n)
            for i in range(n):
                by_p[i] += g * (y[i] - ONE) * row[i] * m[i] if y[i] != ONE else ZERO
    if maps is not None:
        if code == 14:
            for i in range(n):
                by_p[i] += g * f[i]
        elif code == 15:
            for i in range(n):
                by_p[i] += twice * (p[i] - y[i]) * f[i]
        elif code == 16:
            for i in range(n):
                by_p[i] += g * y[i] * f[i]


@part
def add_slope_of_true_class(
    code: int,
    gammas: Any,
    k: int,
    g: Any,
    q: Array,
    l: Array,  # noqa: E741
    y: Array,
    by_p: Array,
    by_l: Array,
    row: Array,
    n: int,
) -> None:
    """As :func:`add_slope`, for the terms that are linear in y."""
    if code == 3:
        for i in range(n):
            by_p[i] += g * y[i]
    elif code == 9:
        for i in range(n):
            by_l[i] -= g * y[i]
    if gammas is not None:
        if code == 12:
            load(q, row, n)
            power(row, gammas[k], n)
            for i in range(n):
                by_l[i] -= g * y[i] * row[i]
            load(q, row, n)
            power_slope(row, gammas[k], n)
            for i in range(n):
                by_p[i] += g * y[i] * row[i] * l[i] if y[i] != ZERO else ZERO
