"""Exact distances on CUDA devices, by Triton kernels: no copy to the host, and no wait for it.

Along the last axis two scans of whole lines find the nearest voxel of the other kind; along each
other axis ``d²(i) = min_k d²(k) + cost(i − k)`` is taken for tiles of neighbouring lines, nearest
offsets first, until the next cost alone exceeds every distance of the tile. Tiles without anything
finite look for the places that hold some. At worst, objects at both ends of an empty line, that is
two operations for each voxel and each place of the line.

Squares are sums of the same costs as in the other backends, added in another order: distances in
float32 are equal to 2e-7 of their value, to the last bit where the squares are whole numbers below
2^24, as in voxel units. The memory is that of the result, of one map more as scratch, and of a byte
for each voxel if the mask is not contiguous.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
import triton
from torch import Tensor

from medloss.distance.kernels import carry, scan_lines
from medloss.sums.gpu.backend import FUSED, on_device_of

SCANNED = 1 << 10
"""Voxels that a program of the scan has, if its line is not longer."""

TALL, WIDE, STEP = 16, 64, 4
"""Places and lines of a tile, and offsets between two looks at its largest distance."""

WARPS, MOST_WARPS = 4, 16


def distances(
    mask: Tensor,
    spacing_mm: Sequence[Sequence[float]],
    *,
    radius: float,
    inside: int,
    outside: int,
    skip: int,
    dtype: torch.dtype,
    shift: Sequence[float] = (),
) -> Tensor:
    """As :func:`medloss.distance.separable.distances`."""
    batch, classes, *spatial = mask.shape
    out = torch.empty((batch, skip + classes, *spatial), dtype=dtype, device=mask.device)
    out[:, :skip] = 0
    kinds, counted = mask.contiguous().view(torch.uint8), out[:, skip:]
    scratch = torch.empty_like(kinds, dtype=dtype) if max(spatial[:-1]) > 1 else counted
    moved = shift or [0.0] * len(spatial)
    with on_device_of(mask):
        for part, row in _runs(spacing_mm):
            costs = list(_costs(spatial, row, radius, moved, dtype, mask.device))
            _transform(
                kinds[part], counted[part], scratch[part], costs, skip + classes, (inside, outside)
            )
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
        carry[(tiles * triton.cdiv(lanes, WIDE) * batch * classes,)](
            here[0],
            there[0],
            costs[len(spatial) - 1 - axis],
            length,
            inner // group,
            lanes // group,
            classes,
            here[1],
            there[1],
            tiles,
            *factors,
            LAST=axis == axes[-1],
            GROUP=group,
            TALL=TALL,
            WIDE=WIDE,
            STEP=STEP,
            num_warps=WARPS,
            **FUSED,
        )
        here, there = there, here
