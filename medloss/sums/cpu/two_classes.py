"""Softmax kernels for two classes and labels: a sigmoid of the difference of the logits.

One exponential gives both probabilities, and the gradient by one logit is minus that by the other.
Tables are those of :mod:`medloss.sums.cpu.exclusive`; ``pp_at`` is the position of Σp² or -1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medloss.sums.cpu import kernel, part
from medloss.sums.cpu.rows import (
    clear_row,
    fill,
    load_from,
    store_to,
    target_labels,
    total,
    weight_row,
)
from medloss.sums.cpu.scalars import ONE, ZERO, exp, log1p
from medloss.sums.cpu.stored import OWN
from medloss.sums.cpu.terms import IS, add_slope_of_true_class, value_row_of_true_class
from medloss.sums.cpu.tiles import NEED_Q, NEED_TRUE_L, add_by_class

Array = Any
ROWS = 14
"""Rows of scratch that the kernels need."""
LONGEST = 2048
"""Voxels of a tile, whose rows stay in the nearest cache."""
INFINITE, NOT_A_NUMBER = np.float32(np.inf), np.float32(np.nan)


@kernel
def sums(
    x: Any, target: Any, is_index: bool, mask: Array, maps: Any,
    trues: Array, gammas: Any, p_at: int, pp_at: int, v_at: int, needs: int,
    blocks: Array, first: int, last: int,
    rows: Array, labels: Array, bins: Array, parts: Array,
) -> bool:  # fmt: skip
    """As the kernel of this name of :mod:`medloss.sums.cpu.exclusive`."""
    size = rows.shape[1]
    w, margin, e, p, q, lp, row = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6]
    fill(w, ONE, size)
    strange = False
    for block in range(first, last):
        b, begin, end = blocks[block]
        out = parts[block]
        for s in range(begin, end, size):
            n = min(size, end - s)
            weight_row(mask, b, s, w, n)
            if v_at >= 0:
                out[v_at, 0] += total(w, n)
            same, outside = target_labels(target, is_index, labels, b, s, 2, n)
            strange = strange or outside
            _margins(x, mask, w, b, s, rows[7], rows[8], margin, n)
            p0, p1, tp0, tp1, t0, t1 = _region(margin, labels, w, e, n)
            if p_at >= 0:
                out[p_at, 0] += p0
                out[p_at, 1] += p1
            if pp_at >= 0:
                pp0, pp1 = _squares(margin, e, w, n)
                out[pp_at, 0] += pp0
                out[pp_at, 1] += pp1
            if needs:
                _of_true_class(margin, e, labels, needs, p, q, lp, n)
            for k in range(len(trues)):
                at = trues[k, 1]
                if trues[k, 0] == IS.tp:
                    out[at, 0] += tp0
                    out[at, 1] += tp1
                elif trues[k, 0] == IS.t:
                    out[at, 0] += t0
                    out[at, 1] += t1
                else:
                    value_row_of_true_class(trues[k, 0], gammas, k, p, q, lp, w, row, n)
                    add_by_class(row, labels, same, 2, bins, out[at], n)
    return strange


@kernel
def slopes(
    x: Any, target: Any, is_index: bool, mask: Array, maps: Any,
    trues: Array, gammas: Any, p_at: int, pp_at: int, v_at: int, needs: int,
    blocks: Array, first: int, last: int,
    rows: Array, labels: Array, gradients: Array, out: Any,
) -> None:  # fmt: skip
    """As the kernel of this name of :mod:`medloss.sums.cpu.exclusive`."""
    size = rows.shape[1]
    w, margin, e, p, q, lp, row = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6]
    y, by_p, by_lp, of_true, ones = rows[9], rows[10], rows[11], rows[12], rows[13]
    fill(w, ONE, size)
    fill(ones, ONE, size)
    fill(of_true, ZERO, size)
    one = gradients.dtype.type(1)
    nothing = gradients.dtype.type(0)
    for block in range(first, last):
        b, begin, end = blocks[block]
        g = gradients[b]
        by_p0, by_p1 = (g[p_at, 0], g[p_at, 1]) if p_at >= 0 else (nothing, nothing)
        by_pp0, by_pp1 = (g[pp_at, 0], g[pp_at, 1]) if pp_at >= 0 else (nothing, nothing)
        by_tp0, by_tp1 = nothing, nothing
        logs = False
        for k in range(len(trues)):
            if trues[k, 0] == IS.tp:
                by_tp0 += g[trues[k, 1], 0]
                by_tp1 += g[trues[k, 1], 1]
            else:
                logs = True
        for s in range(begin, end, size):
            n = min(size, end - s)
            weight_row(mask, b, s, w, n)
            target_labels(target, is_index, labels, b, s, 2, n)
            _margins(x, mask, w, b, s, rows[7], rows[8], margin, n)
            _exponentials(margin, e, n)
            if logs:
                _of_true_class(margin, e, labels, needs | NEED_Q, p, q, lp, n)
                fill(by_p, ZERO, n)
                fill(by_lp, ZERO, n)
                for k in range(len(trues)):
                    if trues[k, 0] != IS.tp:
                        _pick(g[trues[k, 1]], labels, y, n)
                        add_slope_of_true_class(
                            trues[k, 0], gammas, k, one, q, lp, y, by_p, by_lp, row, n
                        )
                _by_margin(p, q, by_p, by_lp, of_true, n)
            if out[0] == OWN:
                _finish(
                    margin, e, labels, w, of_true, by_p0, by_p1, by_pp0, by_pp1, by_tp0, by_tp1,
                    out[1][b, 0, s : s + n], out[1][b, 1, s : s + n], n,
                )  # fmt: skip
            else:
                _finish(
                    margin, e, labels, w, of_true, by_p0, by_p1, by_pp0, by_pp1, by_tp0, by_tp1,
                    row, y, n,
                )  # fmt: skip
                store_to(out, b, 0, s, row, ones, n)
                store_to(out, b, 1, s, y, ones, n)


@part
def _margins(
    x: Any, mask: Array, w: Array, b: int, s: int, low: Array, high: Array, margin: Array, n: int
) -> None:
    """Logit of class 1 minus that of class 0; no number where one is infinite, as in softmax."""
    if x[0] == OWN:
        _difference(x[1][b, 0, s : s + n], x[1][b, 1, s : s + n], margin, n)
    else:
        load_from(x, b, 0, s, low, n)
        load_from(x, b, 1, s, high, n)
        _difference(low, high, margin, n)
    if len(mask):
        clear_row(margin, w, n)


@part
def _difference(low: Array, high: Array, margin: Array, n: int) -> None:
    for i in range(n):
        difference = high[i] - low[i]
        infinite = (low[i] == INFINITE) | (high[i] == INFINITE)
        margin[i] = NOT_A_NUMBER if infinite else difference


@part
def _exponentials(margin: Array, e: Array, n: int) -> None:
    for i in range(n):
        e[i] = exp(-abs(margin[i]))


@part
def _region(margin: Array, labels: Array, w: Array, e: Array, n: int) -> Any:
    """Σp, Σpy and Σy of both classes; the exponentials stay in ``e``."""
    zero = margin.dtype.type(0)
    p0, p1, tp0, tp1, t0, t1 = zero, zero, zero, zero, zero, zero
    for i in range(n):
        e[i] = exp(-abs(margin[i]))
        larger = w[i] / (ONE + e[i])
        smaller = e[i] * larger
        second = smaller if margin[i] < ZERO else larger
        first = larger if margin[i] < ZERO else smaller
        p0 += first
        p1 += second
        tp0 += first if labels[i] == 0 else ZERO
        tp1 += second if labels[i] == 1 else ZERO
        t0 += w[i] if labels[i] == 0 else ZERO
        t1 += w[i] if labels[i] == 1 else ZERO
    return p0, p1, tp0, tp1, t0, t1


@part
def _squares(margin: Array, e: Array, w: Array, n: int) -> Any:
    """Σp² of both classes."""
    zero = margin.dtype.type(0)
    pp0, pp1 = zero, zero
    for i in range(n):
        larger = ONE / (ONE + e[i])
        smaller = e[i] * larger
        second = smaller if margin[i] < ZERO else larger
        first = larger if margin[i] < ZERO else smaller
        pp0 += w[i] * (first * first)
        pp1 += w[i] * (second * second)
    return pp0, pp1


@part
def _of_true_class(
    margin: Array, e: Array, labels: Array, needs: int, p: Array, q: Array, lp: Array, n: int
) -> None:
    """p, 1 − p and log p of the class of the label, each to full relative precision."""
    for i in range(n):
        own = margin[i] if labels[i] == 1 else -margin[i]
        larger = ONE / (ONE + e[i])
        smaller = e[i] * larger
        p[i] = smaller if own < ZERO else larger
        q[i] = larger if own < ZERO else smaller
    if needs & NEED_TRUE_L:
        for i in range(n):
            own = margin[i] if labels[i] == 1 else -margin[i]
            lp[i] = min(own, ZERO) - log1p(e[i])


@part
def _by_margin(p: Array, q: Array, by_p: Array, by_lp: Array, row: Array, n: int) -> None:
    for i in range(n):
        row[i] = (by_lp[i] + by_p[i] * p[i]) * q[i]


@part
def _pick(table: Array, labels: Array, row: Array, n: int) -> None:
    low, high = table[0], table[1]
    for i in range(n):
        row[i] = high if labels[i] == 1 else (low if labels[i] == 0 else ZERO)


@part
def _finish(
    margin: Array, e: Array, labels: Array, w: Array, of_true: Array,
    by_p0: Any, by_p1: Any, by_pp0: Any, by_pp1: Any, by_tp0: Any, by_tp1: Any,
    low: Array, high: Array, n: int,
) -> None:  # fmt: skip
    """Both gradients: p₀p₁ (∂/∂p₁ − ∂/∂p₀), and what the label's class adds beside its p."""
    by_p, by_pp0, by_pp1 = by_p1 - by_p0, by_pp0 + by_pp0, by_pp1 + by_pp1
    for i in range(n):
        larger = ONE / (ONE + e[i])
        smaller = e[i] * larger
        second = smaller if margin[i] < ZERO else larger
        first = larger if margin[i] < ZERO else smaller
        slope = by_p + (by_pp1 * second - by_pp0 * first)
        slope += by_tp1 if labels[i] == 1 else ZERO
        slope -= by_tp0 if labels[i] == 0 else ZERO
        beside = of_true[i] if labels[i] == 1 else -of_true[i]
        value = w[i] * (larger * smaller * slope + beside)
        low[i] = -value
        high[i] = value
