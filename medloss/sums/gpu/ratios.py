"""Losses that are ratios of class sums, in one program: what follows the pass over the voxels.

The algebra on the sums (B, C) is little work, but as operations of torch, forward and backward,
some fifty launches, which takes longer than the voxels of a patch. One program adds up the parts
of all others, evaluates every ratio and writes the value, and the slopes that the backward pass
takes, in float64.
"""

# Triton reads this, not Python: it knows no starred tuples, and takes types from both branches of a
# choice at compile time unless the second is its else.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment, var-annotated"

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from medloss.sums.gpu.backend import FUSED, on_device_of, parts_of
from medloss.sums.request import SumsRequest
from medloss.sums.terms import Term, as_term

if TYPE_CHECKING:
    from medloss.sums.ratios import Ratio

WARPS = 32
"""As many as there can be: what one program reads at a time is all that is under way."""
ELEMENTS = 1 << 13
"""Numbers of parts that the program reads at once."""
MOST_READS = 4
"""So often; of more parts, torch takes the sum with all of the device first: one launch more."""
LEAST = 1e-30
"""Of a number that is not 0: in float32 there is also what rounding it to float32 has lost."""
MOST_CELLS = 1 << 12
"""Samples times classes, padded to powers of two, that a program holds."""


class Evaluated(NamedTuple):
    """A weighted sum of ratios, on the device.

    Args:
        value: in the dtype of the sums as they are handed on.
        by_sums: the gradient by the sums (B, K, C), likewise.
        sums: (B, K, C), float64.
    """

    value: Tensor
    by_sums: Tensor
    sums: Tensor


def serves(input: Tensor, parts: Sequence[tuple[float, Ratio]]) -> bool:
    """Whether a program holds the sums of an input, and can be given the numbers of ratios."""
    samples, lanes = _padded(*input.shape[:2])
    mixed = any(ratio.volume_exponent is not None for _, ratio in parts)  # no kernel weighs classes
    return samples * lanes <= MOST_CELLS and not mixed and _are_given(tuple(parts))


@lru_cache(maxsize=256)
def _are_given(parts: tuple[tuple[float, Ratio], ...]) -> bool:
    """Whether two numbers in float32 make each of the numbers, none too small or too large."""
    numbers = {
        abs(number)
        for weight, ratio in parts
        for number in (
            weight,
            *(ratio.smooth or ()),
            *(factor for _, factor in (*ratio.above, *ratio.below)),
        )
    }
    return all(LEAST <= number <= 1 / LEAST for number in numbers - {0.0})


def evaluated(
    request: SumsRequest, terms: tuple[Term, ...], parts: Sequence[tuple[float, Ratio]]
) -> Evaluated:
    """Two launches: the sums of the request, and what the ratios of them are.

    Args:
        request: what to sum.
        terms: of the request, by their names.
        parts: weights and ratios.
    """
    return of_partial(parts_of(request), request.work_dtype, terms, parts)


def of_partial(
    partial: Tensor,
    dtype: torch.dtype,
    terms: tuple[Term, ...],
    parts: Sequence[tuple[float, Ratio]],
) -> Evaluated:
    """One launch: the ratios of the sums that programs found, (B, programs, K, C).

    Args:
        partial: float64.
        dtype: of the sums as they are handed on.
        terms: as for :func:`evaluated`.
        parts: likewise.
    """
    batch, _, rows, classes = partial.shape
    cells = rows * classes
    choices, numbers = _told(tuple(parts), terms, batch, classes)
    width = min(ELEMENTS, int(triton.next_power_of_2(cells)))
    together = ELEMENTS // width
    reads = batch * -(-cells // width) * -(-partial.shape[1] // together)
    if reads > MOST_READS:
        partial = partial.sum(1, keepdim=True)
    programs = partial.shape[1]
    totals = partial[:, 0] if programs == 1 else partial.new_empty(batch, rows, classes)
    value = partial.new_empty((), dtype=dtype)
    by_sums = partial.new_empty((batch, rows, classes), dtype=dtype)
    samples, lanes = _padded(batch, classes)
    with on_device_of(partial):
        ratios_kernel[(1,)](
            partial, totals, value, by_sums, numbers, batch, programs, **choices,
            TERMS=rows, CLASSES=classes, SAMPLES=samples, LANES=lanes, ROWS=together, WIDTH=width,
            ADD=programs > 1, num_warps=WARPS, **FUSED,
        )  # fmt: skip
    return Evaluated(value, by_sums, totals)


def _padded(batch: int, classes: int) -> tuple[int, int]:
    return int(triton.next_power_of_2(batch)), int(triton.next_power_of_2(classes))


@lru_cache(maxsize=256)
def _told(
    parts: tuple[tuple[float, Ratio], ...], terms: tuple[Term, ...], batch: int, classes: int
) -> tuple[dict[str, Any], tuple[float, ...]]:
    """What the kernel is compiled for, which is what there is, and the numbers that it is given.

    Of each ratio these are its weight, how many values it is the mean of, what smooths it, and the
    factors of its terms. A number reaches a kernel in float32: it is two, the second of which is
    what the first lost.
    """
    numbers: list[float] = []
    above: list[int] = []
    below: list[int] = []
    starts = []
    for weight, ratio in parts:
        starts.append(len(numbers))
        size = (1 if ratio.batch else batch) * (classes - ratio.first)
        numbers += [weight, size, *(ratio.smooth or (0.0, 0.0))]
        for linear, places in ((ratio.above, above), (ratio.below, below)):
            factors: dict[int, float] = {}
            for key, factor in linear:
                row = terms.index(as_term(key))
                factors[row] = factors.get(row, 0.0) + factor
            for row in range(len(terms)):
                places.append(len(numbers) if row in factors else -1)
                numbers += [factors[row]] if row in factors else []
    ratios = [ratio for _, ratio in parts]
    choices = {
        "STARTS": tuple(starts),
        "ABOVE": tuple(above),
        "BELOW": tuple(below),
        "SMOOTH": tuple(ratio.smooth is not None for ratio in ratios),
        "FIRST": tuple(ratio.first for ratio in ratios),
        "BATCH": tuple(ratio.batch for ratio in ratios),
    }
    exact = np.array(numbers)
    rounded = exact.astype(np.float32).astype(np.float64)
    lost = np.where(np.isfinite(rounded), exact - rounded, 0)
    return choices, tuple(np.stack([rounded, lost], 1).ravel().tolist())


@triton.jit(do_not_specialize=["batch", "programs"])
def ratios_kernel(
    partial, totals, value, by_sums, numbers, batch, programs,
    STARTS: tl.constexpr, ABOVE: tl.constexpr, BELOW: tl.constexpr, SMOOTH: tl.constexpr,
    FIRST: tl.constexpr, BATCH: tl.constexpr,
    TERMS: tl.constexpr, CLASSES: tl.constexpr, SAMPLES: tl.constexpr, LANES: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, ADD: tl.constexpr,
):  # fmt: skip
    """Write value, gradient by the sums, and the sums, from parts of sums.

    Args:
        partial: (B, programs, terms, classes), float64, like totals.
        totals: (B, terms, classes), written if ``ADD``; else the parts are the whole.
        value: the weighted sum of the ratios.
        by_sums: (B, terms, classes), of the dtype of value.
        numbers: of the ratios, each as the sum of two.
        batch: B.
        programs: that had a part.
        STARTS: where the numbers of each ratio begin.
        ABOVE: (ratios, terms), flat, where the factor above is, −1 if there is none.
        BELOW: likewise.
        SMOOTH: whether a ratio is the mean of 1 − above / below, else Σ above / Σ below.
        FIRST: the first class that counts.
        BATCH: whether samples are added up first.
        TERMS: number of terms.
        CLASSES: and of classes.
        SAMPLES: B padded to a power of two.
        LANES: classes likewise.
        ROWS: programs whose parts are read at once.
        WIDTH: terms and classes likewise.
        ADD: whether there are parts to add up.
    """
    RATIOS: tl.constexpr = len(STARTS)
    if ADD:
        _add_up(partial, totals, batch, programs, TERMS * CLASSES, ROWS, WIDTH)
        tl.debug_barrier()  # other threads read what these have written
    b, c = tl.arange(0, SAMPLES)[:, None], tl.arange(0, LANES)[None, :]
    real = (b < batch) & (c < CLASSES)
    sums = ()
    backgrounds = ()
    by = ()
    for k in tl.static_range(TERMS):
        sums = sums + (tl.load(totals + (b * TERMS + k) * CLASSES + c, mask=real, other=0.0),)
        of_first = tl.load(totals + (b * TERMS + k) * CLASSES, mask=b < batch, other=0.0)
        backgrounds = backgrounds + (tl.where(of_first == of_first, 0.0, of_first),)  # a NaN stays
        by = by + (tl.zeros([SAMPLES, LANES], tl.float64),)

    total = tl.zeros([1, 1], tl.float64)
    corner = tl.zeros([1, 1], tl.int32)
    for r in tl.static_range(RATIOS):
        inside = real & (c >= FIRST[r])
        weight = number(numbers, STARTS[r])
        top = linear(sums, backgrounds, numbers, ABOVE, r, TERMS, FIRST[r] > 0, inside)
        bottom = linear(sums, backgrounds, numbers, BELOW, r, TERMS, FIRST[r] > 0, inside)
        shown = inside
        if BATCH[r]:
            top = tl.broadcast_to(tl.sum(top, 0)[None, :], [SAMPLES, LANES])
            bottom = tl.broadcast_to(tl.sum(bottom, 0)[None, :], [SAMPLES, LANES])
            shown = inside & (b == 0)
        if SMOOTH[r]:
            below = tl.where(inside, bottom + number(numbers, STARTS[r] + 3), 1.0)
            quotient = (top + number(numbers, STARTS[r] + 2)) / below
            size = number(numbers, STARTS[r] + 1)
            own = _whole(1.0 - quotient, shown) / size
            by_top = -(weight / size / below)
            by_bottom = quotient * (weight / size / below)
        else:
            whole = _whole(bottom, shown)
            own = _whole(top, shown)
            nothing = (whole == 0.0) & (own == own)
            divisor = tl.where(nothing, 1.0, whole)
            own = tl.where(nothing, 0.0, own / divisor)
            share = tl.where(nothing, 0.0, weight / divisor)
            by_top = tl.zeros([SAMPLES, LANES], tl.float64) + share
            by_bottom = by_top
        added = ()
        for k in tl.static_range(TERMS):
            slope = by[k]
            if ABOVE[r * TERMS + k] >= 0:
                slope += tl.where(inside, by_top * number(numbers, ABOVE[r * TERMS + k]), 0.0)
            if SMOOTH[r] and (BELOW[r * TERMS + k] >= 0):
                slope += tl.where(inside, by_bottom * number(numbers, BELOW[r * TERMS + k]), 0.0)
            added = added + (slope,)
        by = added
        total += weight * own

    tl.store(value + corner, total.to(value.dtype.element_ty))
    for k in tl.static_range(TERMS):
        at = by_sums + (b * TERMS + k) * CLASSES + c
        tl.store(at, by[k].to(by_sums.dtype.element_ty), mask=real)


@triton.jit
def _add_up(
    partial, totals, batch, programs, CELLS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr
):
    """Write (B, cells), the sums of (B, programs, cells), always in the same order."""
    for b in range(batch):
        for start in range(0, CELLS, WIDTH):
            cell = start + tl.arange(0, WIDTH)
            added = tl.zeros([ROWS, WIDTH], tl.float64)
            for first in range(0, programs, ROWS):
                row = first + tl.arange(0, ROWS)
                # a mask of rows would have each thread wait for one number after the other
                real = tl.minimum(row, programs - 1)
                at = (b * programs + real)[:, None] * CELLS + cell[None, :]
                found = tl.load(partial + at, mask=(cell < CELLS)[None, :], other=0.0)
                added += tl.where((row < programs)[:, None], found, 0.0)
            tl.store(totals + b * CELLS + cell, tl.sum(added, 0), mask=cell < CELLS)


@triton.jit
def _whole(tile, shown):
    """Sum over what is shown, (1, 1)."""
    return tl.sum(tl.sum(tl.where(shown, tile, 0.0), 1)[None, :], 1)[:, None]


@triton.jit
def number(numbers, AT: tl.constexpr):
    """One of the numbers, (1, 1)."""
    return (tl.zeros([1, 1], tl.float64) + numbers[2 * AT]) + numbers[2 * AT + 1]


@triton.jit
def linear(
    sums, backgrounds, numbers, PLACES: tl.constexpr, r: tl.constexpr, TERMS: tl.constexpr,
    CUT: tl.constexpr, inside,
):  # fmt: skip
    """Sums times factors, of each sample and class, 0 outside; a NaN of a cut background stays."""
    form = tl.zeros(sums[0].shape, tl.float64)
    for k in tl.static_range(TERMS):
        if PLACES[r * TERMS + k] >= 0:
            counted = sums[k]
            if CUT:
                counted = counted + backgrounds[k]
            form += counted * number(numbers, PLACES[r * TERMS + k])
    return tl.where(inside, form, 0.0)
