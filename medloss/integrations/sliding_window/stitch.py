"""Overlapping windows become rows of a volume, in memory for as many rows as a window has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medloss.integrations.sliding_window.windows import Windows

_GROUP_BYTES = 1 << 24
"""So much of a window is weighed at a time."""


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
