"""Where MONAI lays the windows of a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from monai.data.utils import dense_patch_slices
from monai.utils import PytorchPadMode, ensure_tuple_rep, fall_back_tuple, look_up_option
from torch import Tensor


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
