"""Which anchors may answer for a true box: those of its shape, in the cells around its centre."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from medloss_detection.boxes import at_least_float32, check_boxes


class Grid(NamedTuple):
    """The cells of one feature level.

    Args:
        first: index of the level's first anchor.
        shape: number of cells along each axis.
        origin: (d,), centre of the first cell.
        stride: (d,), distance of neighbouring centres.
        sizes: (A, d), sizes of the anchors of each cell.
        last: (d,), index of the last cell along each axis.
        jumps: (d,), how far apart in order two neighbouring cells are.
    """

    first: int
    shape: tuple[int, ...]
    origin: Tensor
    stride: Tensor
    sizes: Tensor
    last: Tensor
    jumps: Tensor


class Candidates(NamedTuple):
    """Pairs of a true box and an anchor that may answer for it.

    Args:
        truth: (P,), indices of true boxes.
        anchor: (P,), indices of anchors.
    """

    truth: Tensor
    anchor: Tensor


@dataclass(frozen=True)
class AnchorPyramid:
    """The grids of anchors that MONAI's ``AnchorGenerator`` lays over the levels of features.

    Args:
        levels: from the first to the last anchor.
        number: of all anchors.
    """

    levels: tuple[Grid, ...]
    number: int

    @classmethod
    def of(
        cls, anchors: Tensor, locations_per_level: Sequence[int], anchors_per_location: int
    ) -> AnchorPyramid:
        """Read the grids from the anchors of an image.

        Args:
            anchors: (N, 4) or (N, 6) corners, level after level, cell after cell with the last
                axis fastest, and in each cell anchor after anchor.
            locations_per_level: number of cells of each level.
            anchors_per_location: number A of anchors in each cell.

        Raises:
            TypeError: ``anchors`` is no tensor.
            ValueError: the anchors are not laid out like this.

        Example:
            >>> from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
            >>> generator = AnchorGeneratorWithAnchorShape((1,), ((4, 4), (8, 4)))
            >>> anchors = generator(torch.zeros(1, 1, 16, 8), [torch.zeros(1, 1, 4, 2)])[0]
            >>> AnchorPyramid.of(anchors, [8], 2).levels[0].shape
            (4, 2)
        """
        check_boxes("anchors", anchors)
        number = sum(locations_per_level) * anchors_per_location
        if anchors.ndim != 2 or anchors.shape[0] != number:
            raise ValueError(
                f"anchors: expected {number} boxes, {anchors_per_location} for each of "
                f"{list(locations_per_level)} cells, got {tuple(anchors.shape)}"
            )
        levels, first = [], 0
        for locations in locations_per_level:
            end = first + locations * anchors_per_location
            cells = at_least_float32(anchors[first:end]).view(locations, -1, anchors.shape[-1])
            levels.append(_grid(cells, first))
            first = end
        return cls(tuple(levels), number)

    @property
    def anchors_per_level(self) -> tuple[int, ...]:
        """Number of anchors of each level."""
        return tuple(math.prod(grid.shape) * len(grid.sizes) for grid in self.levels)

    def candidates(
        self, boxes: Tensor, *, shape_ratio: float = 4.0, reach: float = 0.5
    ) -> Candidates:
        """Anchors of about the shape of a box, in the cell of its centre and in near neighbours.

        An anchor fits if no side of it is ``shape_ratio`` times as long or as short as that of the
        box. A neighbouring cell along an axis is near if the centre is less than ``reach`` cells
        from it: 0.5 gives the nearer of the two, so up to 2 neighbours in 2D and 3 in 3D.

        Args:
            boxes: (M, 4) or (M, 6), true boxes. Those of size 0 have no candidates.
            shape_ratio: above 1.
            reach: in [0, 1].

        Source:
            YOLOv7, Wang 2022, arXiv:2207.02696.
        """
        low, high = at_least_float32(boxes).chunk(2, -1)
        found = [self._of_level(grid, low, high, shape_ratio, reach) for grid in self.levels]
        truth, anchor = (torch.cat(each) for each in zip(*found, strict=True))
        return Candidates(truth, anchor)

    def _of_level(
        self, grid: Grid, low: Tensor, high: Tensor, shape_ratio: float, reach: float
    ) -> tuple[Tensor, Tensor]:
        place = ((low + high) / 2 - grid.origin) / grid.stride + 0.5
        own = place.floor().long().clamp_min(0).minimum(grid.last)
        within = place - own  # where in its cell the centre lies, in [0, 1) inside the image
        steps = torch.eye(len(grid.shape), dtype=torch.long, device=low.device)
        cells = own[:, None] + torch.cat([0 * steps[:1], -steps, steps])  # (M, 1 + 2d, d)
        before, after = (within < reach) & (own > 0), (within > 1 - reach) & (own < grid.last)
        is_cell = torch.cat([torch.ones_like(before[:, :1]), before, after], 1)
        sides = (high - low)[:, None] / grid.sizes
        fits = torch.maximum(sides, 1 / sides).amax(-1) < shape_ratio  # (M, A)
        truth, cell, anchor = (is_cell[:, :, None] & fits[:, None]).nonzero(as_tuple=True)
        location = (cells * grid.jumps).sum(-1)[truth, cell]
        return truth, grid.first + location * len(grid.sizes) + anchor


def _grid(cells: Tensor, first: int) -> Grid:
    """The grid behind the anchors (L, A, 2d) of one level."""
    low, high = cells.chunk(2, -1)
    centres = (low + high)[:, 0] / 2
    axes = [torch.unique(centre) for centre in centres.unbind(-1)]
    shape = tuple(len(axis) for axis in axes)
    sizes = high[0] - low[0]
    if math.prod(shape) == len(cells):
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)[:, None]
        rebuilt = torch.cat([grid - sizes / 2, grid + sizes / 2], -1)
        if torch.allclose(rebuilt, cells, rtol=1e-4, atol=1e-2):
            origin = torch.stack([axis[0] for axis in axes])
            # Along an axis with a single cell there are no neighbours, and any stride will do.
            spans = [(axis[-1] - axis[0]) / max(len(axis) - 1, 1) for axis in axes]
            stride = torch.stack(spans)
            return Grid(
                first,
                shape,
                origin,
                stride.where(stride > 0, 1),
                sizes,
                last=torch.tensor(shape, device=cells.device) - 1,
                jumps=torch.tensor(
                    [math.prod(shape[axis + 1 :]) for axis in range(len(shape))],
                    device=cells.device,
                ),
            )
    raise ValueError(
        "anchors: expected a grid of cells with the same anchors in each, the last axis fastest, "
        "as MONAI's AnchorGenerator lays them out with indexing='ij'"
    )
