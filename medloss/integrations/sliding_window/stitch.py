"""Overlapping windows, laid where MONAI lays them, become rows of a volume.

In memory for as many rows as a window has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from monai.data.utils import dense_patch_slices
from monai.utils import PytorchPadMode, ensure_tuple_rep, fall_back_tuple, look_up_option
from torch import Tensor

_GROUP_BYTES = 1 << 24
"""So much of a window is weighed at a time."""


@dataclass(frozen=True)
class Windows:
    """Windows over a volume that is padded where it is smaller than one of them.

    Args:
        volume: size of the volume.
        size: size of the padded volume.
        roi: size of a window.
        before: padding before the first voxel of each axis; the rest is behind the last one.
        slices: of each window, in the padded volume, the first axis outermost.
    """

    volume: tuple[int, ...]
    size: tuple[int, ...]
    roi: tuple[int, ...]
    before: tuple[int, ...]
    slices: tuple[tuple[slice, ...], ...]

    @property
    def inner(self) -> tuple[slice, ...]:
        """The volume within the padded one."""
        return tuple(slice(b, b + n) for b, n in zip(self.before, self.volume, strict=True))

    def pad(self, inputs: Tensor, mode: PytorchPadMode | str, value: float) -> Tensor:
        """The volume with its padding, (B, C, *size)."""
        padding: list[int] = []
        for volume, size, before in zip(self.volume, self.size, self.before, strict=True):
            padding = [before, size - volume - before, *padding]  # torch begins with the last axis
        if not any(padding):
            return inputs
        return F.pad(inputs, padding, mode=look_up_option(mode, PytorchPadMode).value, value=value)


def lay_windows(
    volume: Sequence[int], roi_size: Sequence[int] | int, overlap: Sequence[float] | float
) -> Windows:
    """Lay windows as ``monai.inferers.sliding_window_inference`` does.

    Args:
        volume: size of the volume.
        roi_size: of a window; an axis of -1 or None is as long as the volume.
        overlap: share of a window that the next one covers too, in [0, 1).

    Raises:
        ValueError: ``roi_size`` for another number of axes, or an overlap out of range.

    Example:
        >>> [each[0].start for each in lay_windows((20, 8), (8, 8), 0.25).slices]
        [0, 6, 12]
    """
    volume = tuple(volume)
    if isinstance(roi_size, Sequence) and len(roi_size) != len(volume):
        raise ValueError(
            f"roi_size: expected {len(volume)} numbers for a volume of {list(volume)}, "
            f"got {list(roi_size)}"
        )
    overlaps = ensure_tuple_rep(overlap, len(volume))
    if not all(0 <= each < 1 for each in overlaps):
        raise ValueError(f"overlap: expected numbers in [0, 1), got {overlap!r}")
    roi = tuple(int(n) for n in fall_back_tuple(roi_size, volume))
    size = tuple(map(max, volume, roi))
    steps = [
        window if window == whole else max(1, int(window * (1 - share)))
        for window, whole, share in zip(roi, size, overlaps, strict=True)
    ]
    return Windows(
        volume=volume,
        size=size,
        roi=roi,
        before=tuple((n - m) // 2 for n, m in zip(size, volume, strict=True)),
        slices=tuple(
            tuple(slice(int(s.start), int(s.stop)) for s in each)
            for each in dense_patch_slices(size, roi, steps)
        ),
    )


@dataclass(frozen=True)
class Rows:
    """Finished rows of a stitched volume: a slab along its first spatial axis.

    Args:
        sample: number of the volume in the batch.
        where: its rows, in the volume.
        values: (1, C, rows, ...), weighted means of what the windows gave; overwritten as soon as
            the next rows are asked for.
    """

    sample: int
    where: slice
    values: Tensor


def finished_rows(
    padded: Tensor,
    windows: Windows,
    importance: Tensor,
    predict: Callable[[Tensor, list[tuple[slice, ...]]], Any],
    sw_batch_size: int,
    device: torch.device,
) -> Iterator[Rows]:
    r"""Run the windows in MONAI's order and batches, and give rows as soon as they are finished.

    Args:
        padded: (B, C, \*size), as ``windows`` pads it; sums have its dtype.
        windows: where they lie.
        importance: weight of each voxel of a window, (1, \*roi).
        predict: gives (N, classes, \*roi) for N windows and where each was cut.
        sw_batch_size: N, but for the last windows.
        device: where rows are stitched.

    Raises:
        TypeError: ``predict`` gives no tensor.
        ValueError: one of another shape.
    """
    stitcher: RowStitcher | None = None
    places = [(b, where) for b in range(len(padded)) for where in windows.slices]
    for begin in range(0, len(places), sw_batch_size):
        batch = places[begin : begin + sw_batch_size]
        cut = [(slice(b, b + 1), slice(None), *where) for b, where in batch]
        parts = [padded[each] for each in cut]
        found = predict(torch.cat(parts) if sw_batch_size > 1 else parts[0], cut)
        _check_output(found, len(batch), windows.roi)
        if stitcher is None:
            stitcher = RowStitcher(windows, importance, found.shape[1], padded.dtype, device)
        for number, (sample, where) in enumerate(batch):
            yield from stitcher.before(sample, where[0].start)
            stitcher.add(where, found[number].to(device))
        del found  # the next windows need the memory
    if stitcher is not None:
        yield from stitcher.end()


class RowStitcher:
    r"""Adds windows, the first axis outermost, and hands out rows that no later window touches.

    The order of additions in a voxel is that of the windows, as in MONAI's stitching, so that the
    result has the same bits.

    Args:
        windows: where they lie.
        importance: weight of each voxel of a window, (1, \*roi).
        classes: channels of what the windows give.
        dtype: of the sums.
        device: of the sums.
    """

    def __init__(
        self,
        windows: Windows,
        importance: Tensor,
        classes: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.windows, self.importance = windows, importance.to(device)
        self.equal = bool((self.importance == 1).all())
        self.depth = windows.roi[0]
        shape = (self.depth, *windows.size[1:])
        # rings of planes: plane n of the volume is plane n modulo depth
        self.sums = torch.zeros((classes, *shape), dtype=dtype, device=device)
        self.weights = torch.zeros((1, *shape), dtype=dtype, device=device)
        self.sample, self.first = 0, 0

    def before(self, sample: int, plane: int) -> Iterator[Rows]:
        """Finish the planes before this one of this sample."""
        if sample != self.sample:
            yield from self._finish(self.windows.size[0])
            self.sample, self.first = sample, 0
        yield from self._finish(plane)

    def end(self) -> Iterator[Rows]:
        """Finish what is left."""
        yield from self._finish(self.windows.size[0])

    def add(self, where: tuple[slice, ...], values: Tensor) -> None:
        r"""Add a window, (C, \*roi)."""
        begin = where[0].start % self.depth
        split = self.depth - begin
        rest = where[1:]
        for ring, window in (
            (slice(begin, None), slice(None, split)),
            (slice(None, begin), slice(split, None)),
        ):
            weight = self.importance[:, window]
            self.weights[:, ring, *rest] += weight
            if self.equal:
                self.sums[:, ring, *rest] += values[:, window]
                continue
            for channels in self._groups(values):
                part = values[channels, window]
                # weighed in the dtype of the network, as MONAI does it
                self.sums[channels, ring, *rest] += (part * weight).to(part.dtype)

    def _groups(self, values: Tensor) -> Iterator[slice]:
        """Channels of which a second window is no burden."""
        step = max(1, _GROUP_BYTES * len(values) // (values.numel() * values.itemsize))
        for begin in range(0, len(values), step):
            yield slice(begin, begin + step)

    def _finish(self, until: int) -> Iterator[Rows]:
        first_row, *others = self.windows.inner
        while self.first < until:
            begin = self.first % self.depth
            count = min(until - self.first, self.depth - begin)
            ring = slice(begin, begin + count)
            # rows of the volume among these planes, some of which may be padding
            start = max(self.first, first_row.start)
            stop = min(self.first + count, first_row.stop)
            if start < stop:
                kept = slice(start - self.first, stop - self.first)
                done = self.sums[:, ring].div_(self.weights[:, ring])
                where = slice(start - first_row.start, stop - first_row.start)
                yield Rows(self.sample, where, done[None, :, kept, *others])
            self.sums[:, ring] = 0
            self.weights[:, ring] = 0
            self.first += count


def _check_output(found: Any, number: int, roi: tuple[int, ...]) -> None:
    if not isinstance(found, Tensor):
        raise TypeError(
            f"network: expected one tensor for its windows, got {type(found).__name__}; wrap the "
            f"network so that it returns the one that is scored"
        )
    if found.ndim != len(roi) + 2 or found.shape[0] != number or tuple(found.shape[2:]) != roi:
        raise ValueError(
            f"network: expected {[number, 'classes', *roi]} for {number} windows, "
            f"got {list(found.shape)}"
        )
