"""Sizes in mm: what a user may give, what an affine states, and when a size keeps to a limit.

Files and transforms keep an affine in float32, whose columns are 1 ± 3e-8 long where 1 mm is meant,
and 0.8 mm is 0.800000012. Whatever is decided by a size and a limit of the user is decided here, so
that neither this noise nor the rounding of a square root has a say.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any

SLACK = 1e-6
"""Relative difference of two sizes that counts as none: about 30 times the noise of float32 seen in
affines, and less than what lies between two distances on a grid of up to 700 voxels."""

_FLOAT32_NOISE = 2e-7
_DIGITS = 6
"""Decimals of so many digits are what a scanner or a person states."""

SpacingLike = float | Sequence[float] | Sequence[Sequence[float]] | str
"""One number, one per axis, one row per sample, or the word ``"voxel"`` (distances in voxels)."""

Spacing = tuple[tuple[float, ...], ...]
"""Size of a voxel along each axis, for each sample of a batch, in mm."""


def parse_spacing(spacing_mm: Any, *, batch: int, axes: int) -> Spacing:
    """Spacing of each sample along each spatial axis.

    Args:
        spacing_mm: see :data:`SpacingLike`; tensors and arrays count as sequences.
        batch: number of samples.
        axes: number of spatial axes.

    Raises:
        ValueError: another shape, or a value that is not positive and finite.

    Example:
        >>> parse_spacing((0.8, 0.8, 2.5), batch=2, axes=3)
        ((0.8, 0.8, 2.5), (0.8, 0.8, 2.5))
    """
    expected = (
        f"spacing_mm: expected 'voxel', a positive number, {axes} of them, "
        f"or {batch} rows of {axes}, got {spacing_mm!r}"
    )
    if isinstance(spacing_mm, str):
        if spacing_mm != "voxel":
            raise ValueError(expected)
        return ((1.0,) * axes,) * batch
    try:
        rows = spacing_mm.tolist() if hasattr(spacing_mm, "tolist") else spacing_mm
        if isinstance(rows, int | float):
            rows = [rows] * axes
        rows = [row.tolist() if hasattr(row, "tolist") else row for row in rows]
        if all(isinstance(row, int | float) for row in rows):
            rows = [rows] * batch
        parsed = tuple(tuple(float(value) for value in row) for row in rows)
    except TypeError as error:
        raise ValueError(expected) from error
    values = [value for row in parsed for value in row]
    if [len(row) for row in parsed] != [axes] * batch or not all(
        math.isfinite(value) and value > 0 for value in values
    ):
        raise ValueError(expected)
    return parsed


def reach(limit: float) -> float:
    """The largest size that keeps to an upper limit.

    Example:
        >>> 1.0000000149 <= reach(1.0) < 1.00001
        True
    """
    return limit * (1 + SLACK)


def short_of(limit: float) -> float:
    """The smallest size that reaches a lower limit."""
    return limit * (1 - SLACK)


def within(size: Any, limit: float) -> Any:
    """Whether sizes (a number, an array or a tensor; mm, mm² or mm³) are at most a limit.

    Example:
        >>> within(1.0000000149, 1.0), within(1.001, 1.0)
        (True, False)
    """
    return size <= reach(limit)


def below(size: Any, limit: float) -> Any:
    """Whether sizes are less than a limit: a size that equals it is not.

    Example:
        >>> below(0.9999999851, 1.0), below(0.999, 1.0)
        (False, True)
    """
    return size < short_of(limit)


def at_least(size: Any, limit: float) -> Any:
    """Whether sizes are a limit or more.

    Example:
        >>> at_least(19.999999, 20.0), at_least(19.99, 20.0)
        (True, False)
    """
    return size >= short_of(limit)


def snapped(size_mm: float) -> float:
    """The size that an affine states: the length of a column without the noise of float32.

    It is the decimal of up to six digits that float32 cannot tell from it, such as 0.8, or else the
    nearest number that float32 has.

    Example:
        >>> snapped(1.0000000149), snapped(0.800000011920929), snapped(0.68359375)
        (1.0, 0.8, 0.68359375)
    """
    size = float(size_mm)
    if not 0 < size < math.inf:
        return size
    decimal = float(f"{size:.{_DIGITS}g}")
    if abs(decimal - size) <= _FLOAT32_NOISE * size:
        return decimal
    try:
        (single,) = struct.unpack("f", struct.pack("f", size))
    except OverflowError:
        return size
    return float(single) or size


def affine_spacing(rows: Iterable[Any], *, batch: int, axes: int) -> Spacing:
    """Spacing of each sample as the affine of a MetaTensor states it.

    Args:
        rows: the ``pixdim`` of each sample.
        batch: number of samples.
        axes: number of spatial axes.

    Raises:
        ValueError: another number of samples, sizes that are not positive and finite, or more sizes
            than axes: a slice does not say which of the axes of its volume it has lost, unless all
            are equally long.

    Example:
        >>> affine_spacing([(0.800000011920929, 1.0000000149)], batch=1, axes=2)
        ((0.8, 1.0),)
    """
    stated = [[snapped(size) for size in row] for row in rows]
    for row in stated:
        if len(row) > axes and len(set(row)) > 1:
            raise ValueError(
                f"spacing_mm: the affine of the MetaTensor has voxels of {_listed(row)} mm and the "
                f"image {axes} axes; which of them these are is not known: give spacing_mm"
            )
    return parse_spacing([row[:axes] for row in stated], batch=batch, axes=axes)


def _listed(sizes: Iterable[float]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)
