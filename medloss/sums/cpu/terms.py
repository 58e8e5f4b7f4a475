"""Each term of class sums as a loop over one row, and its derivative.

The rows: ``p``, ``q`` = 1 − p, ``l`` = log p, ``m`` = log(1 − p), target ``y``, map ``f``. Which of
them a request needs is known beforehand; the others may hold anything. Each term has one loop of
its own, as has its derivative: made of its factors (:data:`medloss.sums.terms.TERMS`) it would take
a loop for each of them.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from medloss.sums.cpu.compiling import part
from medloss.sums.cpu.rows import dot, fill, load, map_row, power, power_slope
from medloss.sums.cpu.scalars import ONE, ZERO
from medloss.sums.terms import TERMS

Array = Any
CODES = {name: code for code, name in enumerate(TERMS)}
"""Terms by number, since kernels know no strings."""

_fields: Any = namedtuple
IS: Any = _fields("IS", CODES)(**CODES)
"""The same for the kernels: ``IS.focal``."""


@part
def add_sums(
    terms: Array, gammas: Any, maps: Any, b: int, c: int, s: int,
    p: Array, q: Array, l: Array, m: Array, y: Array, w: Array,  # noqa: E741
    f: Array, row: Array, out: Array, n: int,
) -> None:  # fmt: skip
    """Add each term's sum over the voxels of a class to ``out``; ``f`` and ``row`` are scratch."""
    for k in range(len(terms)):
        map_row(maps, terms[k, 2], b, c, s, f, n)
        value_row(terms[k, 0], gammas, k, p, q, l, m, y, maps, f, row, n)
        out[terms[k, 1], c] += dot(row, w, n)


@part
def add_slopes(
    terms: Array, gammas: Any, maps: Any, b: int, c: int, s: int,
    p: Array, q: Array, l: Array, m: Array, y: Array, g: Array,  # noqa: E741
    f: Array, row: Array, by_p: Array, by_l: Array, by_m: Array, n: int,
) -> None:  # fmt: skip
    """Add derivatives by p, log p and log(1 − p) of Σ g S, of the voxels of a class."""
    for k in range(len(terms)):
        map_row(maps, terms[k, 2], b, c, s, f, n)
        add_slope(
            terms[k, 0], gammas, k, g[terms[k, 1], c],
            p, q, l, m, y, maps, f, by_p, by_l, by_m, row, n,
        )  # fmt: skip


@part
def value_row(
    code: int, gammas: Any, k: int, p: Array, q: Array, l: Array, m: Array,  # noqa: E741
    y: Array, maps: Any, f: Array, row: Array, n: int,
) -> None:  # fmt: skip
    """What the term sums, before the weight of the voxel; ``gammas[k]`` is its exponent.

    Without ``gammas`` there are no terms with an exponent, without ``maps`` none with a map: what
    they take is not compiled then.
    """
    if code == IS.v:
        fill(row, ONE, n)
    elif code == IS.p:
        for i in range(n):
            row[i] = p[i]
    elif code == IS.pp:
        for i in range(n):
            row[i] = p[i] * p[i]
    elif code == IS.tt:
        for i in range(n):
            row[i] = y[i] * y[i]
    elif code == IS.l1:
        for i in range(n):
            row[i] = abs(p[i] - y[i])
    elif code == IS.sqt:
        for i in range(n):
            row[i] = (p[i] - y[i]) * (p[i] - y[i]) * y[i]
    elif code == IS.ce_neg:
        for i in range(n):
            row[i] = (y[i] - ONE) * m[i] if y[i] != ONE else ZERO
    elif code == IS.nlog:
        for i in range(n):
            row[i] = -l[i]
    else:
        value_row_of_true_class(code, gammas, k, p, q, l, y, row, n)
    if gammas is not None:
        if code == IS.power:
            for i in range(n):
                row[i] = abs(p[i] - y[i])
            power(row, gammas[k], n)
        elif code == IS.focal_neg:
            load(p, row, n)
            power(row, gammas[k], n)
            for i in range(n):
                row[i] *= (y[i] - ONE) * m[i] if y[i] != ONE else ZERO
    if maps is not None:
        if code == IS.map:
            for i in range(n):
                row[i] = p[i] * f[i]
        elif code == IS.map2:
            for i in range(n):
                row[i] = (p[i] - y[i]) * (p[i] - y[i]) * f[i]
        elif code == IS.tp_map:
            for i in range(n):
                row[i] = p[i] * y[i] * f[i]
        elif code == IS.t_map:
            for i in range(n):
                row[i] = y[i] * f[i]


@part
def value_row_of_true_class(
    code: int, gammas: Any, k: int, p: Array, q: Array, l: Array, y: Array,  # noqa: E741
    row: Array, n: int,
) -> None:  # fmt: skip
    """As :func:`value_row`, for the terms that are linear in y."""
    if code == IS.t:
        for i in range(n):
            row[i] = y[i]
    elif code == IS.tp:
        for i in range(n):
            row[i] = p[i] * y[i]
    elif code == IS.ce:
        for i in range(n):
            row[i] = -y[i] * l[i] if y[i] != ZERO else ZERO  # 0 times infinity is no NaN here
    if gammas is not None:
        if code == IS.focal:
            load(q, row, n)
            power(row, gammas[k], n)
            for i in range(n):
                row[i] *= -y[i] * l[i] if y[i] != ZERO else ZERO


@part
def add_slope(
    code: int, gammas: Any, k: int, g: Any, p: Array, q: Array, l: Array, m: Array,  # noqa: E741
    y: Array, maps: Any, f: Array, by_p: Array, by_l: Array, by_m: Array,
    row: Array, n: int,
) -> None:  # fmt: skip
    """Add ``g`` times the term's derivatives by p, log p and log(1 − p); ``row`` is scratch."""
    twice = g + g
    if code == IS.p:
        for i in range(n):
            by_p[i] += g
    elif code == IS.pp:
        for i in range(n):
            by_p[i] += twice * p[i]
    elif code == IS.l1:
        for i in range(n):
            d = p[i] - y[i]
            by_p[i] += g if d > ZERO else (-g if d < ZERO else ZERO)
    elif code == IS.sqt:
        for i in range(n):
            by_p[i] += twice * (p[i] - y[i]) * y[i]
    elif code == IS.ce_neg:
        for i in range(n):
            by_m[i] += g * (y[i] - ONE)
    elif code == IS.nlog:
        for i in range(n):
            by_l[i] -= g
    else:
        add_slope_of_true_class(code, gammas, k, g, q, l, y, by_p, by_l, row, n)
    if gammas is not None:
        if code == IS.power:
            for i in range(n):
                row[i] = abs(p[i] - y[i])
            power_slope(row, gammas[k], n)
            for i in range(n):
                d = p[i] - y[i]
                by_p[i] += g * (row[i] if d > ZERO else (-row[i] if d < ZERO else ZERO))
        elif code == IS.focal_neg:
            load(p, row, n)
            power(row, gammas[k], n)
            for i in range(n):
                by_m[i] += g * (y[i] - ONE) * row[i]
            load(p, row, n)
            power_slope(row, gammas[k], n)
            for i in range(n):
                by_p[i] += g * (y[i] - ONE) * row[i] * m[i] if y[i] != ONE else ZERO
    if maps is not None:
        if code == IS.map:
            for i in range(n):
                by_p[i] += g * f[i]
        elif code == IS.map2:
            for i in range(n):
                by_p[i] += twice * (p[i] - y[i]) * f[i]
        elif code == IS.tp_map:
            for i in range(n):
                by_p[i] += g * y[i] * f[i]


@part
def add_slope_of_true_class(
    code: int, gammas: Any, k: int, g: Any, q: Array, l: Array, y: Array,  # noqa: E741
    by_p: Array, by_l: Array, row: Array, n: int,
) -> None:  # fmt: skip
    """As :func:`add_slope`, for the terms that are linear in y."""
    if code == IS.tp:
        for i in range(n):
            by_p[i] += g * y[i]
    elif code == IS.ce:
        for i in range(n):
            by_l[i] -= g * y[i]
    if gammas is not None:
        if code == IS.focal:
            load(q, row, n)
            power(row, gammas[k], n)
            for i in range(n):
                by_l[i] -= g * y[i] * row[i]
            load(q, row, n)
            power_slope(row, gammas[k], n)
            for i in range(n):
                by_p[i] += g * y[i] * row[i] * l[i] if y[i] != ZERO else ZERO
