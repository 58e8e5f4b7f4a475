"""The objects of the reference, each with its cell: what is nearer to it than to any other one."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medloss.objects.cells import nearest_objects
from medloss.objects.component_runs import Runs, as_rows, component_runs, object_runs, voxels_of
from medloss.scoring.facts import Counts, class_counts
from medloss.scoring.lesions import Connectivity, joined_along
from medloss.scoring.maps import MOST_CODES, LabelMaps
from medloss.scoring.surface.distances import SurfaceDistances
from medloss.scoring.surfaces import class_surfaces

Unit = Literal["mm", "voxels"]
"""What the distances that decide on cells are in."""


class Cells:
    """Both masks of a class, cut into the cells of the reference's objects: once for each way.

    Args:
        reference: mask, 2D or 3D, or the number of the object of each voxel, 0 outside, where the
            objects are known.
        prediction: mask of the same shape.
        ignored: voxels that do not count. An object that lies there altogether is none.
        spacing_mm: size of a voxel along each axis; ``None`` if it is not known.
        preset: definition of the surface metrics.
        turned: whether the axes are those of the image in reverse. The first of two objects in the
            order of the image's voxels has what is equally near to both.
        missed_mm: what an infinite value of an object counts; NaN is not at all.
        whole: gives the distances between the surfaces of the whole masks, where they are known:
            those of the only cell.

    Example:
        >>> reference = np.array([[1, 1, 0, 0, 0, 1]], dtype=bool)
        >>> prediction = np.array([[0, 1, 1, 0, 0, 0]], dtype=bool)
        >>> Cells(reference, prediction, spacing_mm=(1.0, 1.0)).counts()
        [Counts(tp=1, fp=1, fn=1, tn=3), Counts(tp=0, fp=0, fn=1, tn=5)]
    """

    def __init__(
        self,
        reference: NDArray[Any],
        prediction: NDArray[np.bool_],
        ignored: NDArray[np.bool_] | None = None,
        spacing_mm: Sequence[float] | None = None,
        preset: str = "deepmind",
        *,
        turned: bool = False,
        missed_mm: float = math.inf,
        whole: Callable[[], SurfaceDistances] | None = None,
    ) -> None:
        self._masks = reference, prediction, ignored
        self._spacing_mm, self._preset, self._turned = spacing_mm, preset, turned
        self._missed_mm, self._whole = missed_mm, whole
        self._cut: dict[tuple[str, str], LabelMaps] = {}
        self._surfaces: dict[tuple[str, str], list[SurfaceDistances]] = {}

    def under(self, missed_mm: float) -> Cells:
        """The same, of which an infinite value of an object counts so much."""
        other = copy.copy(self)
        other._missed_mm = missed_mm
        return other

    def counts(
        self, *, connectivity: Connectivity = "corners", cells_in: Unit = "mm"
    ) -> list[Counts]:
        """Voxels of each object and of what is predicted in its cell.

        Without an object in the reference there is one cell, with all of the prediction.

        Args:
            connectivity: across what the voxels of an object are joined, as of
                :meth:`medloss.scoring.Components.lesions`.
            cells_in: distances that decide on the cells, in ``"mm"`` or in ``"voxels"``.

        Raises:
            ValueError: other words, or mm where the size of a voxel is not known.
        """
        maps = self._maps(connectivity, cells_in)
        return [class_counts(maps, label) for label in maps.codes]

    def surfaces(
        self, *, connectivity: Connectivity = "corners", cells_in: Unit = "mm"
    ) -> list[SurfaceDistances]:
        """Distances between the surfaces of each object and of what is predicted in its cell.

        What is predicted ends with the cell: where it is cut off there is surface.

        Args:
            connectivity: as of :meth:`counts`.
            cells_in: as of :meth:`counts`.

        Raises:
            ValueError: other words, or the size of a voxel is not known.
        """
        key = connectivity, cells_in
        if key not in self._surfaces:
            maps, spacing_mm = self._maps(connectivity, cells_in), self._known_spacing()
            if len(maps.codes) == 1 and self._whole is not None and not maps.any_ignored:
                self._surfaces[key] = [self._whole()]
            else:
                found = class_surfaces(maps, tuple(maps.codes), spacing_mm, self._preset)
                self._surfaces[key] = [*found.values()]
        return self._surfaces[key]

    def mean(self, values: Iterable[float]) -> float:
        """Mean of the values of the objects; NaN if none counts."""
        known = [self._missed_mm if math.isinf(value) else value for value in values]
        known = [value for value in known if not math.isnan(value)]
        return math.fsum(known) / len(known) if known else math.nan

    def _maps(self, connectivity: Connectivity, cells_in: Unit) -> LabelMaps:
        """Objects by their numbers, and the prediction by those of the nearest."""
        steps = joined_along(connectivity)
        if cells_in not in get_args(Unit):
            raise ValueError(f"cells_in: expected mm or voxels, got {cells_in!r}")
        if (connectivity, cells_in) not in self._cut:
            _, prediction, ignored = self._masks
            runs = self._objects(steps)
            if runs.count >= MOST_CODES:
                raise ValueError(
                    f"objects: expected fewer than {MOST_CODES} in the reference, got {runs.count}"
                )
            numbers = runs.painted().reshape(prediction.shape)
            found: NDArray[Any] = prediction
            if runs.count > 1:
                step = self._known_spacing() if cells_in == "mm" else (1.0,) * prediction.ndim
                found = np.where(prediction, nearest_objects(numbers, step, prediction), 0)
            labels = range(1, max(runs.count, 1) + 1)
            kind = np.min_scalar_type(runs.count)
            maps = LabelMaps(numbers.astype(kind), found.astype(kind), labels, ignored)
            self._cut[connectivity, cells_in] = maps
        return self._cut[connectivity, cells_in]

    def _objects(self, steps: int) -> Runs:
        """The objects of the reference that have voxels that count, in order."""
        reference, _, ignored = self._masks
        if reference.dtype.kind == "b":
            runs = component_runs(reference, steps)
            order = runs.beginnings(reverse=self._turned)
        else:
            runs = object_runs(reference)  # in the order of their numbers
            order = np.arange(runs.count)
        rows = None if ignored is None else as_rows(ignored)
        order = order[voxels_of(runs, runs.number, runs.count, rows)[order] > 0]
        place = np.full(runs.count, -1, np.int32)
        place[order] = np.arange(len(order))
        return replace(runs, number=place[runs.number])

    def _known_spacing(self) -> Sequence[float]:
        if self._spacing_mm is None:
            raise ValueError(
                "spacing_mm: cells in mm need the size of a voxel; give one number of mm for each "
                "axis, or ask for cells_in=voxels"
            )
        return self._spacing_mm
