"""The two kernels: sums over voxels, and their gradient by the input.

A term has weight, factor and logarithm (:class:`medloss.sums.terms.Summand`), an exponent, a map by
its number and a place among the sums, known at compile time. The first ``TRUES`` terms are those
that only the true class of a voxel adds to, where the target holds indices of exclusive classes:
they are computed once for a voxel. The others are computed for each class of each voxel. ``LOG_P``
and ``LOG_Q`` say whether any of these has a slope by log p, and whether any needs log(1 − p).
``PADDED`` is 0 without a head; a tuple that holds a None is not asked whether it is one, which not
every triton can.
"""

# Triton reads this, not Python: it knows no starred tuples, and takes types from both branches of a
# choice at compile time unless the second is its else.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import triton
import triton.language as tl

from medloss.sums.gpu.activations import (
    activate,
    exponent,
    over,
    over_classes,
    row_of,
    softmax_row,
)
from medloss.sums.gpu.head import (
    load_voxels,
    nothing_yet,
    of_labels,
    store_head,
    through_head,
)
from medloss.sums.gpu.terms import add_slopes, value
from medloss.sums.gpu.voxels import (
    is_class,
    load_labelled,
    load_target,
    load_tile,
    store_tile,
)


@triton.jit(do_not_specialize=["programs"])
def class_sums_kernel(
    x, head, target, mask, maps, partial, voxels, programs,
    WEIGHTS: tl.constexpr, FACTORS: tl.constexpr, LOGS: tl.constexpr, EXPONENTS: tl.constexpr,
    MAPS: tl.constexpr, PLACES: tl.constexpr,
    TRUES: tl.constexpr, LOG_Q: tl.constexpr,
    ACTIVATION: tl.constexpr, INDEX: tl.constexpr, FEATURES: tl.constexpr, PADDED: tl.constexpr,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr, FOLD: tl.constexpr,
    DOUBLE: tl.constexpr,
):  # fmt: skip
    """Write what each program finds, (B, programs, terms, classes).

    ``DOUBLE`` is whether to compute in float64, which ``partial`` is in any case. With a ``head``,
    ``x`` are features: :mod:`medloss.sums.gpu.head`.
    """
    TERMS: tl.constexpr = len(FACTORS)
    LOTS: tl.constexpr = (CLASSES + ROWS - 1) // ROWS
    DTYPE: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    SOFTMAX: tl.constexpr = ACTIVATION == "softmax"
    b = (tl.program_id(0) // programs).to(tl.int64)
    program = (tl.program_id(0) % programs).to(tl.int64)
    sums = ()
    for _ in tl.static_range(LOTS * TERMS):
        sums = sums + (tl.zeros([ROWS, VOXELS // FOLD], DTYPE),)

    for start in range(program * VOXELS, voxels, programs.to(tl.int64) * VOXELS):
        left, w, labels, z, _h = load_voxels(
            x, head, target, mask, b, start, voxels, DTYPE, INDEX, SOFTMAX,
            FEATURES, PADDED, CLASSES, ROWS, VOXELS,
        )  # fmt: skip
        tiles, found = activate(z, ACTIVATION, LOG_Q)
        if SOFTMAX:
            share = w / found[1]
        own = ()
        if TRUES > 0:
            row = row_of_labels(x, z, w, labels, found, b, start, PADDED, VOXELS)
            one = tl.full([ROWS, VOXELS], 1.0, DTYPE)
            for k in tl.static_range(TRUES):
                f = one
                if MAPS[k] >= 0:
                    f = load_labelled(maps[MAPS[k]], w, labels, b, start, VOXELS)
                own = own + (value(WEIGHTS, FACTORS, LOGS, EXPONENTS, MAPS, k, row, one, f),)

        added = ()
        for i in tl.static_range(LOTS):
            if TRUES > 0:
                weighted = tl.where(is_class(labels, i, ROWS), w, 0.0)
            for k in tl.static_range(TRUES):
                summand = weighted
                if (FACTORS[k] != "1") or ((LOGS[k] != "") or (MAPS[k] >= 0)):
                    summand = weighted * own[k]
                added = added + (sums[i * TERMS + k] + fold(summand, FOLD),)
            if TERMS > TRUES:
                row = row_of(i, tiles, found, ACTIVATION, LOG_Q)
                y = load_target(
                    target, labels, b, start, left, i, DTYPE, INDEX, CLASSES, ROWS, VOXELS
                )
            for k in tl.static_range(TRUES, TERMS):
                of_p = (WEIGHTS[k] == "1") and (FACTORS[k] == "p")
                if (SOFTMAX and of_p) and ((LOGS[k] == "") and (MAPS[k] < 0)):  # without making p
                    summand = found[0][i] * share
                else:
                    f = y
                    if MAPS[k] >= 0:
                        map = maps[MAPS[k]]
                        f = load_tile(map, b, start, left, i, CLASSES, ROWS, VOXELS).to(DTYPE)
                    summand = value(WEIGHTS, FACTORS, LOGS, EXPONENTS, MAPS, k, row, y, f) * w
                added = added + (sums[i * TERMS + k] + fold(summand, FOLD),)
        sums = added

    first = partial + tl.program_id(0).to(tl.int64) * (TERMS * CLASSES)
    for i in tl.static_range(LOTS):
        classes = tl.arange(0, ROWS) + i * ROWS
        for k in tl.static_range(TERMS):
            at = first + PLACES[k] * CLASSES + classes
            tl.store(at, tl.sum(sums[i * TERMS + k], 1), mask=classes < CLASSES)


@triton.jit
def row_of_labels(x, z, w, labels, found, b, start, PADDED: tl.constexpr, VOXELS: tl.constexpr):
    """p, 1 − p and log p of the class that each label names."""
    if PADDED > 0:
        labelled = of_labels(z, labels)
    else:
        labelled = load_labelled(x, w, labels, b, start, VOXELS)
    scaled = exponent(labelled, found[2])
    return softmax_row(scaled, tl.exp2(scaled), found[1])


@triton.jit
def fold(tile, FOLD: tl.constexpr):
    """Add up every ``FOLD`` voxels, which one thread holds."""
    ROWS: tl.constexpr = tile.shape[0]
    PARTS: tl.constexpr = tile.shape[1] // FOLD
    return tl.sum(tl.reshape(tile, [ROWS, PARTS, FOLD]), 2)


@triton.jit(do_not_specialize=["programs"])
def class_sums_slopes_kernel(
    x, head, target, mask, maps, gradient, out, by_head, voxels, programs,
    WEIGHTS: tl.constexpr, FACTORS: tl.constexpr, LOGS: tl.constexpr, EXPONENTS: tl.constexpr,
    MAPS: tl.constexpr, PLACES: tl.constexpr,
    TRUES: tl.constexpr, LOG_P: tl.constexpr, LOG_Q: tl.constexpr,
    ACTIVATION: tl.constexpr, INDEX: tl.constexpr, FEATURES: tl.constexpr, PADDED: tl.constexpr,
    SUMS: tl.constexpr, CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """Write the gradient of Σ g S by the input, for gradients g (B, sums, classes) of the sums.

    Under softmax, with A = ∂/∂log p, it is A − p Σ A, the sum over classes. With a ``head`` the
    gradient is by the features, and ``by_head`` takes those of the head, of each program.
    """
    LOTS: tl.constexpr = (CLASSES + ROWS - 1) // ROWS
    DTYPE: tl.constexpr = gradient.dtype.element_ty
    TERMS: tl.constexpr = len(FACTORS)
    SOFTMAX: tl.constexpr = ACTIVATION == "softmax"
    b = (tl.program_id(0) // programs).to(tl.int64)
    program = (tl.program_id(0) % programs).to(tl.int64)
    g = gradient + b * (SUMS * CLASSES)
    if PADDED > 0:
        by_weight, by_bias = nothing_yet(LOTS, ROWS, PADDED, DTYPE)

    for start in range(program * VOXELS, voxels, programs.to(tl.int64) * VOXELS):
        left, w, labels, z, h = load_voxels(
            x, head, target, mask, b, start, voxels, DTYPE, INDEX, SOFTMAX,
            FEATURES, PADDED, CLASSES, ROWS, VOXELS,
        )  # fmt: skip
        tiles, found = activate(z, ACTIVATION, LOG_Q)

        if TRUES > 0:
            row = row_of_labels(x, z, w, labels, found, b, start, PADDED, VOXELS)
            one, zero = tl.full([ROWS, VOXELS], 1.0, DTYPE), tl.zeros([ROWS, VOXELS], DTYPE)
            slopes = (zero, zero, zero)
            for k in tl.static_range(TRUES):
                f = one
                if MAPS[k] >= 0:
                    f = load_labelled(maps[MAPS[k]], w, labels, b, start, VOXELS)
                own = tl.load(g + PLACES[k] * CLASSES + labels, mask=labels >= 0, other=0.0)
                slopes = add_slopes(
                    WEIGHTS, FACTORS, LOGS, EXPONENTS, MAPS, k, own, row, one, f, slopes
                )
            of_true = row[0] * slopes[0] + slopes[1]  # A of the true class

        by_z = ()
        ps = ()
        by_ps = ()
        by_logs = ()
        parts = ()
        of_bests = ()
        for i in tl.static_range(LOTS):
            row = row_of(i, tiles, found, ACTIVATION, LOG_Q)
            zero = tl.zeros([ROWS, VOXELS], DTYPE)
            slopes = (zero, zero, zero)
            classes = tl.arange(0, ROWS) + i * ROWS
            if TERMS > TRUES:
                y = load_target(
                    target, labels, b, start, left, i, DTYPE, INDEX, CLASSES, ROWS, VOXELS
                )
            for k in tl.static_range(TRUES, TERMS):
                f = y
                if MAPS[k] >= 0:
                    map = maps[MAPS[k]]
                    f = load_tile(map, b, start, left, i, CLASSES, ROWS, VOXELS).to(DTYPE)
                at = g + PLACES[k] * CLASSES + classes
                own = tl.load(at, mask=classes < CLASSES, other=0.0)[:, None]
                slopes = add_slopes(
                    WEIGHTS, FACTORS, LOGS, EXPONENTS, MAPS, k, own, row, y, f, slopes
                )
            p, q, _, _ = row
            by_p, by_log_p, by_log_q = slopes
            if SOFTMAX:
                if LOG_Q:
                    is_best = is_class(found[3], i, ROWS)
                    of_bests = of_bests + (tl.where(is_best, by_log_q, 0.0),)
                    by_log_p -= tl.where(is_best, 0.0, p * by_log_q / q)
                part = p * by_p
                if LOG_P or LOG_Q:
                    part += by_log_p
                if (i + 1) * ROWS > CLASSES:
                    part = tl.where((classes < CLASSES)[:, None], part, 0.0)
                ps = ps + (p,)
                by_ps = by_ps + (by_p,)
                by_logs = by_logs + (by_log_p,)
                parts = parts + (part,)
            else:
                if ACTIVATION == "sigmoid":
                    slope = p * q * by_p
                    if LOG_P:
                        slope += q * by_log_p
                    if LOG_Q:
                        slope -= p * by_log_q
                else:
                    slope = by_p
                    if LOG_P:
                        slope += over(by_log_p, p)
                    if LOG_Q:
                        slope -= over(by_log_q, q)
                if mask is not None or PADDED > 0:
                    slope *= w
                if PADDED > 0:
                    by_z = by_z + (slope,)
                else:
                    store_tile(out, slope, b, start, left, i, CLASSES, ROWS, VOXELS)

        if SOFTMAX:
            whole = tl.zeros([1, VOXELS], DTYPE)
            if TERMS > TRUES:
                whole = over_classes(parts)[None, :]
            if TRUES > 0:
                whole = whole + of_true
            if LOG_Q and CLASSES > 1:  # the slope by log(1 − p) of the most probable class
                of_best = over_classes(of_bests)[None, :]
                whole = whole + of_best
            for i in tl.static_range(LOTS):
                slope = ps[i] * (by_ps[i] - whole)
                if LOG_P or LOG_Q:
                    slope += by_logs[i]
                if LOG_Q and CLASSES > 1:  # is shared by the others
                    power = tl.exp2(tiles[i] - found[4])
                    share = tl.where(tiles[i] == float("-inf"), 0.0, power) * of_best
                    slope += tl.where(is_class(found[3], i, ROWS), 0.0, share)
                if TRUES > 0:
                    slope += tl.where(is_class(labels, i, ROWS), of_true, 0.0)
                if mask is not None or PADDED > 0:
                    slope *= w
                if PADDED > 0:
                    by_z = by_z + (slope,)
                else:
                    store_tile(out, slope, b, start, left, i, CLASSES, ROWS, VOXELS)

        if PADDED > 0:
            by_weight, by_bias = through_head(
                by_z, head, h, by_weight, by_bias, out, b, start, left,
                FEATURES, PADDED, CLASSES, VOXELS,
            )  # fmt: skip

    if PADDED > 0:
        first = by_head + tl.program_id(0).to(tl.int64) * (CLASSES * (FEATURES + 1))
        store_head(by_weight, by_bias, first, FEATURES, PADDED, CLASSES)
