"""Softmax kernels: class sums, and their gradient by the logits.

``trues`` lists the terms that only the true class of a voxel adds to (rows: code, position among
the sums, map or -1), ``others`` those that every class adds to (likewise), ``mapped`` the Σpφ where
there is nothing else that every class adds to but Σp; ``p_at`` is the position of Σp or -1,
``v_at`` that of Σ1; ``needs`` the bits of :mod:`medloss.sums.cpu.tiles`. ``both`` is
one tile, or two where ``others`` needs the logits beside their exponentials. One row and
column more than classes takes labels that are no class.
"""

from __future__ import annotations

from typing import Any

from medloss.sums.cpu import complement_of_best as other_classes
from medloss.sums.cpu import kernel, part, tiles
from medloss.sums.cpu.rows import (
    add_scaled,
    complement,
    dot,
    fill,
    load_from,
    map_of_labels,
    multiply,
    store_to,
    target_labels,
    target_row,
    total,
    weight_row,
)
from medloss.sums.cpu.scalars import ONE, ZERO, smallest
from medloss.sums.cpu.stored import OWN
from medloss.sums.cpu.terms import (
    add_slope_of_true_class,
    add_slopes,
    add_sums,
    value_row_of_true_class,
)
from medloss.sums.cpu.tiles import NEED_M, NEED_TRUE_L

Array = Any
ROWS = 21
"""Rows of scratch that the kernels need."""


@kernel
def sums(
    x: Any, target: Any, is_index: bool, mask: Array, maps: Any,
    trues: Array, true_gammas: Any, others: Any, other_gammas: Any, mapped: Any,
    p_at: int, v_at: int, needs: int,
    blocks: Array, first: int, last: int,
    both: Array, rows: Array, labels: Array, bins: Array, parts: Array,
) -> bool:  # fmt: skip
    """Add the sums over some blocks to ``parts`` (terms, C + 1) each; whether a label is no class.

    A block is a sample, its first voxel and the one after the last.
    """
    classes, size = both.shape[1] - 1, both.shape[2]
    tile, kept = both[0], both[-1]
    norms, w, highest = rows[:3], rows[3], rows[4]
    p, q, lp, lq, y, f, row = rows[5], rows[6], rows[7], rows[8], rows[9], rows[10], rows[11]
    best, of_best = rows[12], rows[13]
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
            same, outside = target_labels(target, is_index, labels, b, s, classes, n)
            strange = strange or outside
            tiles.load_tile(x, b, s, n, kept, highest)
            tiles.clear_tile(mask, w, kept, highest, n)
            if needs & NEED_TRUE_L:
                tiles.pick_from_tile(kept, labels, lp, n)
            tiles.exponentials(both, highest, norms, needs, n)
            if others is not None:
                other_classes.prepare(needs, kept, highest, norms[2], best, row, of_best, n)
            if len(trues):
                _true_class(tile, norms, highest, labels, needs, p, q, lp, n)
                read, some = -1, False
                for k in range(len(trues)):  # each is linear in y, which here is the weight
                    weight = w
                    if maps is not None:
                        if trues[k, 2] >= 0:
                            if trues[k, 2] != read:
                                read = trues[k, 2]
                                some = map_of_labels(maps[read], classes, b, s, labels, same, y, n)
                                multiply(y, w, n)
                            if not some:
                                norm = total(norms[1], n)
                                if norm == norm:  # of logits that are not a number it is none
                                    continue
                            weight = y
                    value_row_of_true_class(trues[k, 0], true_gammas, k, p, q, lp, weight, row, n)
                    tiles.add_by_class(row, labels, same, classes, bins, out[trues[k, 1]], n)
            if others is not None:
                for c in range(classes):
                    tiles.softmax_rows(tile[c], kept[c], highest, norms, needs, q, lp, lq, n)
                    if needs & NEED_M:
                        other_classes.put(q, lq, best, of_best, c, n)
                    target_row(target, is_index, labels, b, c, s, y, n)
                    add_sums(
                        others, other_gammas, maps, b, c, s,
                        tile[c], q, lp, lq, y, w, f, row, out, n,
                    )  # fmt: skip
                    if p_at >= 0:
                        out[p_at, c] += dot(tile[c], w, n)
            else:
                multiply(norms[1], w, n)
                if p_at >= 0:
                    for c in range(classes):
                        out[p_at, c] += dot(tile[c], norms[1], n)
                if maps is not None:
                    for k in range(len(mapped)):
                        for c in range(classes):
                            load_from(maps[mapped[k, 2]], b, c, s, f, n)
                            out[mapped[k, 1], c] += _dot_map(tile[c], norms[1], f, n)
    return strange


@kernel
def slopes(
    x: Any, target: Any, is_index: bool, mask: Array, maps: Any,
    trues: Array, true_gammas: Any, others: Any, other_gammas: Any, mapped: Any,
    p_at: int, v_at: int, needs: int,
    blocks: Array, first: int, last: int,
    both: Array, rows: Array, labels: Array, gradients: Array, out: Any,
) -> None:  # fmt: skip
    """Write the gradient of Σ g S by the logits, for ``gradients`` g (terms, C + 1) of each sample.

    With A = ∂/∂log p it is A − p Σ A, the sum over classes.
    """
    classes, size = both.shape[1] - 1, both.shape[2]
    tile, kept = both[0], both[-1]
    norms, w, highest = rows[:3], rows[3], rows[4]
    p, q, lp, lq, y, f, row = rows[5], rows[6], rows[7], rows[8], rows[9], rows[10], rows[11]
    best, of_best, rest, by_rest = rows[12], rows[13], rows[14], rows[15]
    by_p, by_lp, by_lq, summed, of_true = rows[16], rows[17], rows[18], rows[19], rows[20]
    one = gradients.dtype.type(1)
    fill(w, ONE, size)
    for block in range(first, last):
        b, begin, end = blocks[block]
        g = gradients[b]
        for s in range(begin, end, size):
            n = min(size, end - s)
            weight_row(mask, b, s, w, n)
            same, _ = target_labels(target, is_index, labels, b, s, classes, n)
            tiles.load_tile(x, b, s, n, kept, highest)
            tiles.clear_tile(mask, w, kept, highest, n)
            if needs & NEED_TRUE_L:
                tiles.pick_from_tile(kept, labels, lp, n)
            tiles.exponentials(both, highest, norms, needs, n)
            if others is not None:
                other_classes.prepare(needs, kept, highest, norms[2], best, row, of_best, n)
                fill(rest, ZERO, n)
                fill(by_rest, ZERO, n)
            fill(summed, ZERO, n)
            fill(of_true, ZERO, n)
            if len(trues):
                _true_class(tile, norms, highest, labels, needs, p, q, lp, n)
                fill(by_p, ZERO, n)
                fill(by_lp, ZERO, n)
                for k in range(len(trues)):  # each is linear in y, which here is the gradient
                    tiles.pick(g[trues[k, 1]], labels, y, n)
                    if maps is not None:
                        if trues[k, 2] >= 0:
                            read = maps[trues[k, 2]]
                            if not map_of_labels(read, classes, b, s, labels, same, f, n):
                                continue
                            multiply(y, f, n)
                    add_slope_of_true_class(
                        trues[k, 0], true_gammas, k, one, q, lp, y, by_p, by_lp, row, n
                    )
                add_scaled(of_true, by_lp, one, n)
                multiply(by_p, p, n)
                add_scaled(of_true, by_p, one, n)
            if others is not None:
                for c in range(classes):
                    tiles.softmax_rows(tile[c], kept[c], highest, norms, needs, q, lp, lq, n)
                    if needs & NEED_M:
                        other_classes.put(q, lq, best, of_best, c, n)
                    target_row(target, is_index, labels, b, c, s, y, n)
                    fill(by_p, g[p_at, c] if p_at >= 0 else ZERO * one, n)
                    fill(by_lp, ZERO, n)
                    fill(by_lq, ZERO, n)
                    add_slopes(
                        others, other_gammas, maps, b, c, s,
                        tile[c], q, lp, lq, y, g, f, row, by_p, by_lp, by_lq, n,
                    )  # fmt: skip
                    _by_log_p(tile[c], by_p, by_lp, kept[c], n)
                    if needs & NEED_M:
                        other_classes.by_log_p(
                            tile[c], q, by_lq, best, rest, by_rest, c, smallest(one), kept[c], n
                        )
                    add_scaled(summed, kept[c], one, n)
                if needs & NEED_M:
                    for c in range(classes):
                        other_classes.spread(kept[c], tile[c], best, rest, by_rest, summed, c, n)
                add_scaled(summed, of_true, one, n)
                for c in range(classes):
                    _finish(kept[c], tile[c], summed, of_true, labels, c, row, n)
                    store_to(out, b, c, s, row, w, n)
            else:
                if p_at >= 0:
                    for c in range(classes):
                        add_scaled(summed, tile[c], g[p_at, c], n)
                if maps is not None:
                    for k in range(len(mapped)):
                        for c in range(classes):
                            load_from(maps[mapped[k, 2]], b, c, s, f, n)
                            _add_product(summed, tile[c], f, g[mapped[k, 1], c], n)
                _scale(summed, norms[1], of_true, w, n)
                fill(w, ONE, n)  # it is in all three now
                for c in range(classes):
                    slope = g[p_at, c] if p_at >= 0 else ZERO * one
                    if maps is not None:
                        fill(by_p, slope, n)
                        for k in range(len(mapped)):
                            load_from(maps[mapped[k, 2]], b, c, s, f, n)
                            add_scaled(by_p, f, g[mapped[k, 1], c], n)
                        _of_class_mapped(
                            row, tile[c], by_p, norms[1], summed, of_true, labels, c, n
                        )
                        store_to(out, b, c, s, row, w, n)
                    elif out[0] == OWN:
                        _of_class(
                            out[1][b, c, s : s + n],
                            tile[c], slope, norms[1], summed, of_true, labels, c, n,
                        )  # fmt: skip
                    else:
                        _of_class(row, tile[c], slope, norms[1], summed, of_true, labels, c, n)
                        store_to(out, b, c, s, row, w, n)


@part
def _true_class(
    tile: Array, norms: Array, highest: Array, labels: Array, needs: int,
    p: Array, q: Array, lp: Array, n: int,
) -> None:  # fmt: skip
    tiles.pick_from_tile(tile, labels, p, n)
    multiply(p, norms[1], n)
    complement(p, q, n)
    if needs & NEED_TRUE_L:
        tiles.log_softmax(lp, highest, norms[2], n)


@part
def _dot_map(e: Array, inverse: Array, f: Array, n: int) -> Any:
    result = e.dtype.type(0)
    for i in range(n):
        result += e[i] * inverse[i] * f[i]
    return result


@part
def _add_product(row: Array, e: Array, f: Array, factor: Any, n: int) -> None:
    for i in range(n):
        row[i] += factor * e[i] * f[i]


@part
def _by_log_p(p: Array, by_p: Array, by_lp: Array, row: Array, n: int) -> None:
    for i in range(n):
        row[i] = p[i] * by_p[i] + by_lp[i]


@part
def _finish(
    a: Array, p: Array, summed: Array, of_true: Array, labels: Array, c: int, row: Array, n: int
) -> None:
    label = labels.dtype.type(c)
    for i in range(n):
        row[i] = (a[i] - p[i] * summed[i]) + (of_true[i] if labels[i] == label else ZERO)


@part
def _scale(summed: Array, inverse: Array, of_true: Array, w: Array, n: int) -> None:
    for i in range(n):
        whole = summed[i] * inverse[i] + of_true[i]
        inverse[i] *= w[i]
        summed[i] = whole * inverse[i]
        of_true[i] *= w[i]


@part
def _of_class(
    row: Array, e: Array, slope: Any, inverse: Array, summed: Array,
    of_true: Array, labels: Array, c: int, n: int,
) -> None:  # fmt: skip
    label = labels.dtype.type(c)
    for i in range(n):
        value = e[i] * (slope * inverse[i] - summed[i])
        row[i] = value + (of_true[i] if labels[i] == label else ZERO)


@part
def _of_class_mapped(
    row: Array, e: Array, slopes: Array, inverse: Array, summed: Array,
    of_true: Array, labels: Array, c: int, n: int,
) -> None:  # fmt: skip
    label = labels.dtype.type(c)
    for i in range(n):
        value = e[i] * (slopes[i] * inverse[i] - summed[i])
        row[i] = value + (of_true[i] if labels[i] == label else ZERO)
