"""A volume that comes in slabs, at the voxels of another grid with parallel axes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_PARALLEL = 0.01
"""How far, in voxels, the far end of an axis may leave the axis that it should be parallel to."""

_PIECE_BYTES = 1 << 27
"""Target grids may be much finer than the source: a piece takes no more, or one row."""

_WHOLE = 1e-4
"""A place this near to the middle of a voxel, in voxels, is that voxel."""


@dataclass(frozen=True)
class GridPiece:
    r"""Finished voxels of the target grid.

    Args:
        where: their index in its spatial axes.
        values: (C, \*spatial) of these voxels.
    """

    where: tuple[slice, ...]
    values: Tensor


class OntoGrid:
    """Interpolates slabs along the first axis of a source grid at the voxels of a target grid.

    Between voxels the values are linear along each axis, so that probabilities still sum to 1. A
    voxel of the target whose middle lies in no voxel of the source gets ``outside``.

    Args:
        matrix: index of the target to index of the source, homogeneous.
        source: size of the source grid.
        target: size of the target grid.
        outside: value of each channel beyond the source.
        nearest: take the nearest voxel instead.

    Raises:
        ValueError: the axes of the grids are not parallel.

    Example:
        >>> flip = np.array([[-1.0, 3.0], [0.0, 1.0]])
        >>> onto = OntoGrid(flip, (4,), (4,), outside=(0.0,))
        >>> pieces = [*onto.add(torch.tensor([[0.0, 1]])), *onto.add(torch.tensor([[2.0, 3]]))]
        >>> [(piece.where, piece.values.tolist()) for piece in pieces]
        [((slice(2, 4, None),), [[1.0, 0.0]]), ((slice(0, 2, None),), [[3.0, 2.0]])]
    """

    def __init__(
        self,
        matrix: NDArray[np.float64],
        source: Sequence[int],
        target: Sequence[int],
        *,
        outside: Sequence[float],
        nearest: bool = False,
    ) -> None:
        steps = np.asarray(matrix, dtype=np.float64)[: len(source), : len(target)]
        # axis of the target that runs along each axis of the source
        self.along = [int(axis) for axis in np.abs(steps).argmax(1)]
        across = np.abs(steps) * (np.array(target) - 1)
        across[np.arange(len(source)), self.along] = 0
        if sorted(self.along) != list(range(len(target))) or (across > _PARALLEL).any():
            raise ValueError(
                f"matrix: expected grids with parallel axes, got {np.round(steps, 4).tolist()}"
            )
        self.target, self.outside = tuple(target), torch.tensor(outside)
        self.rows, *self.others = (
            _axis(steps[s, t] * np.arange(target[t]) + matrix[s, -1], source[s], nearest)
            for s, t in enumerate(self.along)
        )
        self.end = 0
        self.last: Tensor | None = None

    def add(self, slab: Tensor) -> Iterator[GridPiece]:
        r"""The voxels of the target for which these are the last rows that they need.

        Args:
            slab: (C, rows, \*others), right behind those before; it is read at once.
        """
        before, self.end = self.end, self.end + slab.shape[1]
        start = before
        if self.last is not None:
            slab, start = torch.cat([self.last, slab], 1), start - 1
        if self.rows.blends:
            self.last = slab[:, -1:].clone()
        found = np.flatnonzero((self.rows.upper >= before) & (self.rows.upper < self.end))
        across = math.prod(self.target) // len(self.rows.lower)
        room = max(1, _PIECE_BYTES // (slab.shape[0] * across * slab.itemsize))
        for at in range(0, len(found), room):
            part = slice(int(found[at]), int(found[min(at + room, len(found)) - 1]) + 1)
            yield self._piece(slab, start, part)

    def _piece(self, slab: Tensor, start: int, part: slice) -> GridPiece:
        axes = (self.rows.cut(part, start), *self.others)
        for number, axis in enumerate(axes):
            slab = axis.take(slab, number + 1)
        outside = self.outside.to(slab).view(-1, *[1] * len(axes))
        for number, axis in enumerate(axes):
            if not axis.inside.all():
                shape = [1] * slab.ndim
                shape[number + 1] = -1
                inside = torch.from_numpy(axis.inside).to(slab.device).view(shape)
                slab = torch.where(inside, slab, outside)
        where = [slice(None)] * len(axes)
        where[self.along[0]] = part
        order = [self.along.index(axis) + 1 for axis in range(len(axes))]
        return GridPiece(tuple(where), slab.permute(0, *order))


@dataclass(frozen=True, eq=False)
class _Axis:
    """For each voxel along an axis of the target: the two of the source around it."""

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    share: NDArray[np.float64]
    inside: NDArray[np.bool_]

    @property
    def blends(self) -> bool:
        """Whether any voxel of the target is a mixture of two."""
        return bool((self.lower != self.upper).any())

    def cut(self, part: slice, start: int) -> _Axis:
        """A part of the target, of a source of which the first rows are gone."""
        cut = _Axis(self.lower[part], self.upper[part], self.share[part], self.inside[part])
        return dataclasses.replace(cut, lower=cut.lower - start, upper=cut.upper - start)

    def take(self, values: Tensor, dim: int) -> Tensor:
        """Values along an axis of the target from those along the axis of the source."""
        low = values.index_select(dim, torch.from_numpy(self.lower).to(values.device))
        if not self.blends:
            return low
        shape = [1] * values.ndim
        shape[dim] = -1
        share = torch.from_numpy(self.share).to(values).view(shape)
        high = values.index_select(dim, torch.from_numpy(self.upper).to(values.device))
        return torch.lerp(low, high, share)


def _axis(places: NDArray[np.float64], size: int, nearest: bool) -> _Axis:
    inside = (places >= -0.5 - _WHOLE) & (places <= size - 0.5 + _WHOLE)
    places = places.clip(0, size - 1)
    whole = np.rint(places)
    places = np.where(nearest | (np.abs(places - whole) <= _WHOLE), whole, places)
    lower = np.floor(places)
    return _Axis(lower.astype(np.int64), np.ceil(places).astype(np.int64), places - lower, inside)
