"""Exact distances on the CPU: compiled loops over planes, on a few threads of our own.

Along the first axis two scans count the steps to the nearest voxel of the other kind. Along the
others the minimum over k of d²(k) + cost(|i − k|) is taken in long vectors: nearest offsets first,
only among lines that hold anything finite (the box of the sites), until the next cost alone exceeds
every distance of the line. On lines of up to several hundred voxels this is quicker than a search
for the lower envelope of parabolas, which goes one voxel at a time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from medloss.distance.separable import Measurement
from medloss.runtime.compiling import FAST, Loops
from medloss.runtime.threads import run

Array = Any

COLUMNS = 2048
"""Columns of a block of the first pass: a row of them stays in the fastest cache."""

OFFSETS = 4
"""Offsets tried at a time."""

# "nnan": distances are never NaN; infinite they may be.
_loops = Loops("distances", fastmath=FAST | {"nnan"})
_kernel, _part = _loops.kernel, _loops.part


def distances(asked: Measurement) -> Tensor:
    """As :func:`medloss.distance.separable.distances`, without a shift."""
    if any(asked.shift):
        raise ValueError(f"shift: expected 0 along every axis, got {list(asked.shift)}")
    mask, radius, skip = asked.mask, asked.radius, asked.skip
    batch, classes, *spatial = mask.shape
    # An image is a stack of lines, so that the quick first pass serves one of its two axes.
    shape = tuple(spatial) if len(spatial) == 3 else (spatial[0], 1, spatial[1])
    out = asked.result()
    if not mask.numel():
        return out
    kinds = mask.contiguous().numpy().reshape(batch, classes, *shape)
    volumes = out.numpy().reshape(batch, skip + classes, *shape)[:, skip:]
    number = volumes.dtype.type
    steps = [tuple(row) if len(row) == 3 else (row[0], 1.0, row[1]) for row in asked.spacing_mm]
    costs = [
        [_costs(n, s, radius, number) for n, s in zip(shape, row, strict=True)] for row in steps
    ]
    columns = math.prod(shape[1:])
    chunks = -(-columns // COLUMNS)
    factors = asked.inside, asked.outside

    def first(block: int) -> None:
        b, c, chunk = np.unravel_index(block, (batch, classes, chunks))
        start = int(chunk) * COLUMNS
        lines = volumes[b, c].reshape(shape[0], columns)
        of_kind = kinds[b, c].reshape(shape[0], columns)
        stop = min(columns, start + COLUMNS)
        _scan(of_kind, lines, start, stop, number(radius), number(steps[b][0]))

    def others(block: int) -> None:
        b, c, i = np.unravel_index(block, (batch, classes, shape[0]))
        bits = np.zeros(1, np.int32 if number is np.float32 else np.int64)
        _plane(kinds[b, c, i], volumes[b, c, i], costs[b][1], costs[b][2], *factors, bits)

    run(batch * classes * chunks, first)
    run(batch * classes * shape[0], others)
    return out


def _costs(length: int, step: float, radius: float, number: Any) -> Array:
    """What each offset adds to a squared distance; some offsets more than there are."""
    away = np.maximum(np.arange(length + OFFSETS) - radius, 0) * step
    with np.errstate(over="ignore"):  # of a voxel without end
        return (away**2).astype(number)


@_kernel
def _scan(kinds: Array, out: Array, start: int, stop: int, radius: Any, step: Any) -> None:
    """Squared distance along axis 0, for some columns, to the nearest voxel of the other kind."""
    width = stop - start
    from_true = np.full(width, np.inf, out.dtype)
    from_false = np.full(width, np.inf, out.dtype)
    for i in range(kinds.shape[0]):
        _step(kinds[i, start:stop], from_true, from_false)
        _other(kinds[i, start:stop], from_true, from_false, out[i, start:stop])
    from_true[:] = np.inf
    from_false[:] = np.inf
    for i in range(kinds.shape[0] - 1, -1, -1):
        _step(kinds[i, start:stop], from_true, from_false)
        _nearer(kinds[i, start:stop], from_true, from_false, out[i, start:stop], radius, step)


@_part
def _step(kinds: Array, from_true: Array, from_false: Array) -> None:
    zero, one = from_true.dtype.type(0), from_true.dtype.type(1)
    for x in range(len(kinds)):
        from_true[x] = zero if kinds[x] else from_true[x] + one
        from_false[x] = from_false[x] + one if kinds[x] else zero


@_part
def _other(kinds: Array, from_true: Array, from_false: Array, out: Array) -> None:
    for x in range(len(kinds)):
        out[x] = from_false[x] if kinds[x] else from_true[x]


@_part
def _nearer(
    kinds: Array, from_true: Array, from_false: Array, out: Array, radius: Any, step: Any
) -> None:
    for x in range(len(kinds)):
        steps = from_false[x] if kinds[x] else from_true[x]
        steps = steps if steps < out[x] else out[x]
        away = (steps - radius) * step
        out[x] = away * away


@_kernel
def _plane(
    kinds: Array, plane: Array, cost_1: Array, cost_2: Array, inside: int, outside: int, bits: Array
) -> None:
    """Carry squared distances along both axes of a plane; then take the root."""
    n1, n2 = plane.shape
    # One line more, infinite, stands for those beyond the ends.
    source = np.full((n1 + 1, n2), np.inf, plane.dtype)
    lowered = np.empty((n1, n2), plane.dtype)
    turned = np.full((n2 + 1, n1), np.inf, plane.dtype)
    result = np.empty((n2, n1), plane.dtype)
    for kind in (True, False):
        factor = plane.dtype.type(inside if kind else outside)
        if factor == 0:
            _clear(kinds, plane, kind)
        elif _read(kinds, plane, source, kind):
            _lower(source, lowered, cost_1, bits)
            _turn(lowered, turned)
            _lower(turned, result, cost_2, bits)
            _write(kinds, result, plane, kind, factor)


@_part
def _clear(kinds: Array, plane: Array, kind: bool) -> None:
    for j in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            plane[j, x] = plane.dtype.type(0) if kinds[j, x] == kind else plane[j, x]


@_part
def _read(kinds: Array, plane: Array, source: Array, kind: bool) -> bool:
    """Distances of one kind, 0 at the other, the sites; whether the kind is there at all."""
    zero = plane.dtype.type(0)
    there = False
    for j in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            own = kinds[j, x] == kind
            source[j, x] = plane[j, x] if own else zero
            there |= own
    return there


@_part
def _write(kinds: Array, result: Array, plane: Array, kind: bool, factor: Any) -> None:
    for j in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            distance = factor * np.sqrt(result[x, j])
            plane[j, x] = distance if kinds[j, x] == kind else plane[j, x]


@_part
def _turn(plane: Array, turned: Array) -> None:
    for x in range(plane.shape[1]):
        for j in range(plane.shape[0]):
            turned[x, j] = plane[j, x]


@_part
def _lower(source: Array, out: Array, cost: Array, bits: Array) -> None:
    """Minimum over the lines i of ``source[i] + cost[|i − j|]`` for each line j."""
    n = out.shape[0]
    # Floats of at least 0 are in the order of their bits, whose largest is found in vectors.
    source_bits, out_bits = source.view(bits.dtype), out.view(bits.dtype)
    infinite = source_bits[n, 0]
    low, high = n, -1
    for i in range(n):
        if _smallest(source_bits, i) < infinite:
            low, high = min(low, i), i
    for j in range(n):
        _copy(source, out, j)
        last = max(j - low, high - j)
        k = max(1, low - j, j - high)
        while k <= last:
            bits[0] = _largest(out_bits, j)
            if cost[k] >= bits.view(cost.dtype)[0]:
                break
            _four(source, out, j, k, low, high, cost)
            k += OFFSETS


@_part
def _four(source: Array, out: Array, j: int, k: int, low: int, high: int, cost: Array) -> None:
    """Try the offsets from k to k + 3 on both sides."""
    a0, b0 = _ends(j, k, low, high, len(out))
    a1, b1 = _ends(j, k + 1, low, high, len(out))
    a2, b2 = _ends(j, k + 2, low, high, len(out))
    a3, b3 = _ends(j, k + 3, low, high, len(out))
    c0, c1, c2, c3 = cost[k], cost[k + 1], cost[k + 2], cost[k + 3]
    for x in range(out.shape[1]):
        first = min(min(source[a0, x], source[b0, x]) + c0, min(source[a1, x], source[b1, x]) + c1)
        last = min(min(source[a2, x], source[b2, x]) + c2, min(source[a3, x], source[b3, x]) + c3)
        out[j, x] = min(out[j, x], min(first, last))


@_part
def _ends(j: int, k: int, low: int, high: int, beyond: int) -> tuple[int, int]:
    before, after = j - k, j + k
    return (
        before if low <= before <= high else beyond,
        after if low <= after <= high else beyond,
    )


@_part
def _copy(source: Array, out: Array, j: int) -> None:
    for x in range(out.shape[1]):
        out[j, x] = source[j, x]


@_part
def _largest(lines: Array, j: int) -> Any:
    largest = lines[j, 0]
    for x in range(lines.shape[1]):
        largest = max(largest, lines[j, x])
    return largest


@_part
def _smallest(lines: Array, j: int) -> Any:
    smallest = lines[j, 0]
    for x in range(lines.shape[1]):
        smallest = min(smallest, lines[j, x])
    return smallest
