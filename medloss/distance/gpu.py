"""Exact distances on CUDA devices, by Triton kernels: no copy to the host, and no wait for it.

Along the last axis two scans of whole lines find the nearest voxel of the other kind; along each
other axis ``d²(i) = min_k d²(k) + cost(i − k)`` is taken for tiles of neighbouring lines. A tile
whose distances are short tries offsets, nearest first, until the next cost alone exceeds them all.
One with longer distances goes from block to block of as many places as it has itself, outwards, and
into those alone whose least square can still be less, plus the cost of the way there: how far away
the nearest object is makes little difference.

Squares are sums of the same costs as in the other backends, added in another order: distances in
float32 are equal to 2e-7 of their value, to the last bit where the squares are whole numbers below
2^24, as in voxel units. The memory is that of the result, of one map and a sixteenth more as
scratch, and of a byte for each voxel if the mask is not contiguous.

Between the passes a voxel holds the square of its distance so far, with a minus in front where the
mask is True. To a voxel of the other kind a source counts as 0, so that one pass carries the
distances of both kinds; a 0, which has no sign, is one to either.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from medloss.distance.separable import Measurement
from medloss.sums.gpu.backend import FUSED, on_device_of

SCANNED = 1 << 10
"""Voxels that a program of the scan has, if its line is not longer."""

TALL, WIDE, STEP = 16, 64, 4
"""Places and lines of a tile, and offsets between two looks at its largest distance."""

WARPS, MOST_WARPS = 4, 16


def distances(asked: Measurement) -> Tensor:
    """As :func:`medloss.distance.separable.distances`."""
    mask, dtype, skip = asked.mask, asked.dtype, asked.skip
    classes, *spatial = mask.shape[1:]
    out = asked.result()
    kinds, counted = mask.contiguous().view(torch.uint8), out[:, skip:]
    scratch = torch.empty_like(kinds, dtype=dtype) if max(spatial[:-1]) > 1 else counted
    moved = asked.shift or [0.0] * len(spatial)
    with on_device_of(mask):
        for part, row in _runs(asked.spacing_mm):
            costs = list(_costs(spatial, row, asked.radius, moved, dtype, mask.device))
            factors = asked.inside, asked.outside
            _transform(kinds[part], counted[part], scratch[part], costs, skip + classes, factors)
    return out


def _runs(rows: Sequence[Sequence[float]]) -> Iterator[tuple[slice, Sequence[float]]]:
    """Neighbouring samples of the same spacing, which are measured together."""
    start = 0
    for row, same in itertools.groupby(rows, key=tuple):
        stop = start + len(list(same))
        yield slice(start, stop), row
        start = stop


def _costs(
    spatial: Sequence[int],
    row: Sequence[float],
    radius: float,
    shift: Sequence[float],
    dtype: torch.dtype,
    device: torch.device,
) -> Iterator[Tensor]:
    """What each offset adds to a square, last axis first; rounded once, as on the CPU."""
    for length, step, moved in zip(spatial[::-1], row[::-1], shift[::-1], strict=True):
        offsets = torch.arange(1 - length, length, dtype=torch.float64, device=device)
        away = (offsets - moved).abs_().sub_(radius).clamp_min_(0).mul_(step)
        yield away.square_().to(dtype)


def _transform(
    kinds: Tensor,
    out: Tensor,
    scratch: Tensor,
    costs: Sequence[Tensor],
    out_channels: int,
    factors: tuple[int, int],
) -> None:
    """Distances of some samples of one spacing, by a pass for each axis."""
    batch, classes, *spatial = kinds.shape
    axes = [axis for axis in range(len(spatial) - 2, -1, -1) if spatial[axis] > 1]
    here, there = (out, out_channels), (scratch, classes)
    if len(axes) % 2:  # so that the last pass ends in the result
        here, there = there, here
    length = spatial[-1]
    width = triton.next_power_of_2(length)
    lines = kinds.numel() // length
    together = max(1, SCANNED // width)
    scan_lines[(triton.cdiv(lines, together),)](
        kinds,
        here[0],
        costs[0],
        lines,
        math.prod(spatial[:-1]),
        length,
        classes,
        here[1],
        *factors,
        LAST=not axes,
        LINES=together,
        WIDTH=width,
        num_warps=min(max(WARPS, width // 256), MOST_WARPS),
        **FUSED,
    )
    for axis in axes:
        length, inner = spatial[axis], math.prod(spatial[axis + 1 :])
        lanes = math.prod(spatial) // length
        group = 4 if inner % 4 == 0 else 1
        tiles = triton.cdiv(length, TALL)
        programs = tiles * triton.cdiv(lanes, WIDE) * batch * classes
        least = out.new_empty(batch * classes * tiles * lanes)
        sizes = length, inner // group, lanes // group, classes, here[1]
        fixed = {"GROUP": group, "TALL": TALL, "WIDE": WIDE, "num_warps": WARPS, **FUSED}
        least_of_blocks[(programs,)](here[0], least, *sizes, tiles, **fixed)
        carry[(programs,)](
            here[0],
            there[0],
            least,
            costs[len(spatial) - 1 - axis],
            *sizes,
            there[1],
            tiles,
            *factors,
            LAST=axis == axes[-1],
            STEP=STEP,
            **fixed,
        )
        here, there = there, here


_SIZES = ("length", "groups", "lane_groups", "channels", "source_channels", "out_channels", "tiles")


@triton.jit
def _larger(a, b):
    return tl.maximum(a, b)


@triton.jit
def _smaller(a, b):
    return tl.minimum(a, b)


@triton.jit
def _root(squared):
    """Square root, rounded to nearest."""
    return tl.sqrt(squared) if squared.dtype == tl.float64 else tl.sqrt_rn(squared)


@triton.jit
def _finished(squared, inside, INSIDE: tl.constexpr, OUTSIDE: tl.constexpr):
    """Distances times their factors; 0 where that is 0, even if the distance is infinite."""
    distance = _root(squared)
    of_inside = distance * INSIDE if INSIDE != 0 else tl.zeros_like(distance)
    of_outside = distance * OUTSIDE if OUTSIDE != 0 else tl.zeros_like(distance)
    return tl.where(inside, of_inside, of_outside)


@triton.jit(do_not_specialize=["lines", "lines_of_map", "length", "channels", "out_channels"])
def scan_lines(
    kinds,
    out,
    costs,
    lines,
    lines_of_map,
    length,
    channels,
    out_channels,
    INSIDE: tl.constexpr,
    OUTSIDE: tl.constexpr,
    LAST: tl.constexpr,
    LINES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Along the last axis: to the nearest voxel of the other kind, by two scans of whole lines.

    The ``costs`` of an axis are those of the offsets from ``1 - length`` to ``length - 1``.
    """
    line = tl.program_id(0).to(tl.int64) * LINES + tl.arange(0, LINES)
    x = tl.arange(0, WIDTH)[None, :]
    here = kinds + line[:, None] * length + x
    real = (line < lines)[:, None]
    has_next = real & (x + 1 < length)
    kind = tl.load(here, mask=real & (x < length), other=0)
    following = tl.load(here + 1, mask=has_next, other=0)
    preceding = tl.load(here - 1, mask=real & (x > 0) & (x < length), other=0)
    begins = real & (x > 0) & (x < length) & (kind != preceding)
    ends = has_next & (kind != following)
    # Where the run of equal voxels begins, and where the next one does; far away if nowhere.
    start = tl.associative_scan(tl.where(begins, x, -2 * WIDTH), 1, _larger)
    stop = tl.associative_scan(tl.where(ends, x + 1, 3 * WIDTH), 1, _smaller, reverse=True)
    before, after = x - start + 1, stop - x
    middle = costs + length - 1
    infinite = float("inf")
    to_left = tl.load(middle - before, mask=before < length, other=infinite)
    to_right = tl.load(middle + after, mask=after < length, other=infinite)
    squared, inside = tl.minimum(to_left, to_right), kind != 0
    if LAST:
        result = _finished(squared, inside, INSIDE, OUTSIDE)
    else:
        result = tl.where(inside, -squared, squared)
    number = line // lines_of_map
    sample = number // channels
    place = sample * out_channels + number - sample * channels
    where = (place * lines_of_map + line - number * lines_of_map)[:, None] * length + x
    tl.store(out + where, result, mask=real & (x < length))


@triton.jit
def tile_of(
    length, groups, lane_groups, channels, source_channels, tiles,
    GROUP: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """What a program has of the source: some places on the axis, and neighbouring lines.

    Sizes come in groups of lines that are contiguous, so that memory is read in vectors. Lines that
    there are not are others of the map.

    Returns:
        Number of the tile on its lines; of the map; where the map begins; which lines, and which of
        them there are; where they begin, (1, lines).
    """
    inner, lanes = groups * GROUP, lane_groups * GROUP  # voxels between places; lines of a map
    blocks = tl.cdiv(lanes, WIDE)
    program = tl.program_id(0)
    tile, rest = program % tiles, program // tiles
    number, block = (rest // blocks).to(tl.int64), rest % blocks
    sample = number // channels
    first = (sample * source_channels + number - sample * channels) * (lanes.to(tl.int64) * length)
    lane = block * WIDE + tl.arange(0, WIDE)
    real = lane < lanes
    lane = tl.where(real, lane, lane % GROUP)
    where = (lane // inner) * (length * inner) + lane % inner
    where = tl.max_contiguous(tl.multiple_of(where, GROUP), GROUP)[None, :]
    return tile, number, first, lane, real, where


@triton.jit(do_not_specialize=_SIZES)
def least_of_blocks(
    source, least, length, groups, lane_groups, channels, source_channels, tiles,
    GROUP: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Write the least square of each block of ``TALL`` places of a line, (maps, tiles, lines).

    With the sign of its kind; 0, which is both, where a block has voxels of both kinds.
    """
    inner, lanes = groups * GROUP, lane_groups * GROUP
    tile, number, first, lane, real, where = tile_of(
        length, groups, lane_groups, channels, source_channels, tiles, GROUP, TALL, WIDE
    )
    place = tl.minimum(tile * TALL + tl.arange(0, TALL), length - 1)[:, None]
    own = tl.load(source + first + where + place * inner)
    lowest, highest = tl.min(own, 0), tl.max(own, 0)
    found = tl.where(lowest > 0, lowest, tl.where(highest < 0, highest, 0.0))
    tl.store(least + (number * tiles + tile) * lanes + lane, found, mask=real)


@triton.jit(do_not_specialize=_SIZES)
def carry(
    source, out, least, costs,
    length, groups, lane_groups, channels, source_channels, out_channels, tiles,
    INSIDE: tl.constexpr, OUTSIDE: tl.constexpr, LAST: tl.constexpr,
    GROUP: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """Along another axis: the minimum over offsets k of ``source[i + k] + cost[k]``, exactly.

    What is left out is no less than what was found, so that the result has the bits of a minimum
    over all offsets: a sum of rounded numbers is no less than that of smaller ones. Beyond the ends
    the last voxel is taken at a larger cost than its own, which changes no minimum.
    """
    inner, lanes = groups * GROUP, lane_groups * GROUP
    tile, number, first, lane, real, where = tile_of(
        length, groups, lane_groups, channels, source_channels, tiles, GROUP, TALL, WIDE
    )
    read = source + first
    place = tile * TALL + tl.arange(0, TALL)
    inner_place = tl.minimum(place, length - 1)
    own = tl.load(read + where + (inner_place * inner)[:, None])
    inside = own < 0
    sign = tl.where(inside, -1.0, 1.0).to(own.dtype)
    best = tl.abs(own)
    if INSIDE == 0:
        best = tl.where(inside, 0.0, best)
    if OUTSIDE == 0:
        best = tl.where(inside, best, 0.0)
    worst = tl.max(best)

    middle = costs + length - 1
    most = length - 1
    reach = tl.minimum(TALL, most)
    if worst <= tl.minimum(tl.load(middle + reach), tl.load(middle - reach)):  # by offsets
        k = tl.minimum(1, most)
        going = (k > 0) & (_cheapest(middle, k, most) < worst)
        while going:
            for n in tl.static_range(STEP):
                offset = tl.minimum(k + n, most)
                after = tl.minimum(place + offset, most)
                before = tl.maximum(inner_place - offset, 0)
                from_after = tl.load(read + where + (after * inner)[:, None])
                from_before = tl.load(read + where + (before * inner)[:, None])
                best = _least(best, sign, from_after, tl.load(middle + offset))
                best = _least(best, sign, from_before, tl.load(middle - offset))
            worst = tl.max(best)
            k += STEP
            going = (k <= most) & (_cheapest(middle, k, most) < worst)
    else:  # by blocks
        away = 0
        bounds = least + number * tiles * lanes + lane
        going = worst > 0
        while going:
            for side in tl.static_range(2):
                block = tile + away if side == 0 else tile - away
                start = block * TALL
                if (block >= 0) & (block < tiles) & ((side == 0) | (away > 0)):
                    last = tl.minimum(start + TALL, length) - 1
                    nearest = tl.minimum(tl.maximum(inner_place, start), last)
                    way = tl.load(middle + nearest - inner_place)[:, None]
                    bound = tl.load(bounds + block.to(tl.int64) * lanes)[None, :]
                    lowest = tl.maximum(sign * bound + way, way)
                    if tl.max((lowest < best).to(tl.int32)) > 0:
                        for n in range(TALL):
                            there = tl.minimum(start + n, last)
                            value = tl.load(read + where + there * inner)
                            cost = tl.load(middle + there - inner_place)[:, None]
                            best = _least(best, sign, value, cost)
            worst = tl.max(best)
            away += 1
            # the least way to a block of this number: from the edge of the tile
            near = tl.minimum((away - 1) * TALL + 1, most)
            going = (away < tiles) & (_cheapest(middle, near, most) < worst)

    if LAST:
        result = _finished(best, inside, INSIDE, OUTSIDE)
    else:
        result = tl.where(inside, -best, best)
        if INSIDE == 0:
            result = tl.where(inside, own, result)
        if OUTSIDE == 0:
            result = tl.where(inside, result, own)
    sample = number // channels
    channel = number - sample * channels
    written = out + (sample * out_channels + channel) * (lanes.to(tl.int64) * length)
    here = where + (place * inner)[:, None]
    tl.store(written + here, result, mask=(place < length)[:, None] & real[None, :])


@triton.jit
def _cheapest(middle, offset, most):
    """The cost of an offset, to the side where it is less."""
    near = tl.minimum(offset, most)
    return tl.minimum(tl.load(middle + near), tl.load(middle - near))


@triton.jit
def _least(best, sign, source, cost):
    """What is less by another voxel: of the same kind |source| + cost, of the other the cost."""
    return tl.minimum(best, tl.maximum(sign * source + cost, cost))
