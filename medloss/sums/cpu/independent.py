"""Kernels for sigmoid and given probabilities: classes do not meet, each row is on its own."""

from __future__ import annotations

from typing import Any

from medloss.sums.cpu import kernel, part, tiles
from medloss.sums.cpu.rows import (
    clear_row,
    complement,
    fill,
    load,
    load_from,
    log_sigmoid,
    logarithm,
    sigmoid,
    store_to,
    target_labels,
    target_row,
    total,
    weight_row,
)
from medloss.sums.cpu.scalars import ONE, ZERO, smallest
from medloss.sums.cpu.terms import add_slopes, add_sums

Array = Any
ROWS = 12
"""Rows of scratch that the kernels need."""


@kernel
def sums(
    x: Any, target: Any, is_index: bool, mask: Array, maps: Any,
    terms: Array, gammas: Any, v_at: int, needs: int, logits: bool,
    blocks: Array, first: int, last: int,
    rows: Array, labels: Array, bins: Array, parts: Array,
) -> bool:  # fmt: skip
    """As the kernel of this name of :mod:`medloss.sums.cpu.exclusive`."""
    classes, size = parts.shape[2] - 1, rows.shape[1]
    w, z, p, q, lp, lq, y, f, row = (
        rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], rows[7], rows[8]
    )  # fmt: skip
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
            _, outside = target_labels(target, is_index, labels, b, s, classes, n)
            strange = strange or outside
            for c in range(classes):
                load_from(x, b, c, s, z, n)
                if len(mask):
                    clear_row(z, w, n)
                _activate(z, logits, needs, p, q, lp, lq, n)
                target_row(target, is_index, labels, b, c, s, y, n)
                add_sums(terms, gammas, maps, b, c, s, p, q, lp, lq, y, w, f, row, out, n)
    return strange


@kernel
def slopes(
    x: Any, target: Any, is_index: bool, mask: Array, maps: Any,
    terms: Array, gammas: Any, v_at: int, needs: int, logits: bool,
    blocks: Array, first: int, last: int,
    rows: Array, labels: Array, gradients: Array, out: Any,
) -> None:  # fmt: skip
    """As the kernel of this name of :mod:`medloss.sums.cpu.exclusive`, by the input."""
    classes, size = gradients.shape[2] - 1, rows.shape[1]
    w, z, p, q, lp, lq, y, f, row = (
        rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], rows[7], rows[8]
    )  # fmt: skip
    by_p, by_lp, by_lq = rows[9], rows[10], rows[11]
    fill(w, ONE, size)
    for block in range(first, last):
        b, begin, end = blocks[block]
        g = gradients[b]
        for s in range(begin, end, size):
            n = min(size, end - s)
            weight_row(mask, b, s, w, n)
            target_labels(target, is_index, labels, b, s, classes, n)
            for c in range(classes):
                load_from(x, b, c, s, z, n)
                if len(mask):
                    clear_row(z, w, n)
                _activate(z, logits, needs, p, q, lp, lq, n)
                target_row(target, is_index, labels, b, c, s, y, n)
                fill(by_p, ZERO, n)
                fill(by_lp, ZERO, n)
                fill(by_lq, ZERO, n)
                add_slopes(
                    terms, gammas, maps, b, c, s, p, q, lp, lq, y, g, f, row, by_p, by_lp, by_lq, n
                )
                if logits:
                    _by_logit(p, q, by_p, by_lp, by_lq, row, n)
                else:
                    _by_probability(p, q, by_p, by_lp, by_lq, row, needs, n)
                store_to(out, b, c, s, row, w, n)


@part
def _activate(
    z: Array, logits: bool, needs: int, p: Array, q: Array, lp: Array, lq: Array, n: int
) -> None:
    if logits:
        sigmoid(z, p, q, lp, n)
        if needs & (tiles.NEED_L | tiles.NEED_M):
            log_sigmoid(z, lp, lq, n)
    else:
        load(z, p, n)
        if needs & tiles.NEED_Q:
            complement(p, q, n)
        if needs & tiles.NEED_L:
            logarithm(p, lp, n)
        if needs & tiles.NEED_M:
            logarithm(q, lq, n)


@part
def _by_logit(
    p: Array, q: Array, by_p: Array, by_lp: Array, by_lq: Array, row: Array, n: int
) -> None:
    for i in range(n):
        row[i] = p[i] * q[i] * by_p[i] + (q[i] * by_lp[i] - p[i] * by_lq[i])


@part
def _by_probability(
    p: Array, q: Array, by_p: Array, by_lp: Array, by_lq: Array, row: Array, needs: int, n: int
) -> None:
    load(by_p, row, n)
    if needs & tiles.NEED_L:
        for i in range(n):
            row[i] += by_lp[i] / p[i] if p[i] >= smallest(p[i]) else ZERO
    if needs & tiles.NEED_M:
        for i in range(n):
            row[i] -= by_lq[i] / q[i] if q[i] >= smallest(q[i]) else ZERO
