"""Voxel spacing: one meaning of what a user may give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

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
    if isinstance(spacing_mm, str):
        if spacing_mm != "voxel":
            raise _refusal(spacing_mm, batch, axes)
        return ((1.0,) * axes,) * batch
    try:
        rows = _listed(spacing_mm)
        if isinstance(rows, int | float):
            rows = [rows] * axes
        rows = [_listed(row) for row in rows]
        if all(isinstance(row, int | float) for row in rows):
            rows = [rows] * batch
        parsed = tuple(tuple(float(value) for value in row) for row in rows)
    except TypeError as error:
        raise _refusal(spacing_mm, batch, axes) from error
    values = [value for row in parsed for value in row]
    if [len(row) for row in parsed] != [axes] * batch or not all(
        0 < value < math.inf for value in values
    ):
        raise _refusal(spacing_mm, batch, axes)
    return parsed


def _listed(given: Any) -> Any:
    """Tensors and arrays as lists; a compiler's number must not be asked what it has."""
    if isinstance(given, int | float) or not hasattr(given, "tolist"):
        return given
    return given.tolist()


def _refusal(given: Any, batch: int, axes: int) -> ValueError:
    # made only when it is raised: a compiled graph has no words for its numbers
    return ValueError(
        f"spacing_mm: expected 'voxel', a positive number, {axes} of them, "
        f"or {batch} rows of {axes}, got {given!r}"
    )
