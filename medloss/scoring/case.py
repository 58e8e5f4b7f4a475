"""What is known of one case: two label maps and the facts that metrics are made of, each once."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.scoring.counts import Counts, class_counts
from medloss.scoring.maps import LabelMaps
from medloss.scoring.presets import find_preset
from medloss.scoring.status import Status
from medloss.scoring.surface.distances import SurfaceDistances
from medloss.scoring.surfaces import class_surfaces
from medloss.spacing import parse_spacing


class Case:
    """Reference and prediction of one case; every fact is computed when asked for, and once.

    Args:
        reference: label map, 2D or 3D, integers or bool.
        prediction: label map of the same shape.
        labels: classes that can be asked for; they need not occur.
        spacing_mm: size of a voxel along each axis, one number for all axes, or ``"voxel"`` for
            distances in voxels. Without it there are counts but no distances.
        preset: definition of the surface metrics, see :data:`medloss.scoring.PRESETS`.
        annotated: the labels that were annotated in this case, all by default.
        ignored: where it is true, voxels do not count, and neither do surface elements that are
            made of such a voxel; surfaces themselves are those of the whole maps.

    Raises:
        TypeError: a map that does not hold integers or bool.
        ValueError: shapes, spacing, labels or preset that do not fit.

    Example:
        >>> reference = np.zeros((4, 4), dtype=np.uint8)
        >>> reference[1:3, 1:3] = 2
        >>> case = Case(reference, np.roll(reference, 1, axis=0), labels=[1, 2], spacing_mm=0.5)
        >>> case.counts(2)
        Counts(tp=2, fp=2, fn=2, tn=10)
        >>> float(case.surfaces(2).reference_mm[-1])
        0.5
        >>> case.status(1)
        <Status.BOTH_EMPTY: 'both_empty'>
    """

    def __init__(
        self,
        reference: NDArray[Any],
        prediction: NDArray[Any],
        *,
        labels: Collection[int],
        spacing_mm: float | Sequence[float] | str | None = None,
        preset: str = "deepmind",
        annotated: Collection[int] | None = None,
        ignored: NDArray[Any] | None = None,
    ) -> None:
        reference = _label_map("reference", reference)
        prediction = _label_map("prediction", prediction)
        if prediction.shape != reference.shape:
            raise ValueError(
                f"prediction: expected the shape of the reference {reference.shape}, "
                f"got {prediction.shape}"
            )
        if ignored is not None and np.shape(ignored) != reference.shape:
            raise ValueError(
                f"ignored: expected the shape of the reference {reference.shape}, "
                f"got {np.shape(ignored)}"
            )
        self.preset = find_preset(preset).name
        self.labels = tuple(labels)
        self.annotated = None if annotated is None else frozenset(annotated)
        self.shape = reference.shape
        self.spacing_mm = None
        if spacing_mm is not None:
            (self.spacing_mm,) = parse_spacing(spacing_mm, batch=1, axes=reference.ndim)
        self._given = (reference, prediction, ignored)
        self._counts: dict[int, Counts] = {}

    @property
    def diagonal_mm(self) -> float:
        """Diagonal of the image: the norm of shape times spacing.

        Raises:
            ValueError: the case has no spacing.
        """
        return math.hypot(*(n * mm for n, mm in zip(self.shape, self._spacing(), strict=True)))

    def counts(self, label: int) -> Counts:
        """Voxels of a class that both maps, one of them or none have."""
        if label not in self._counts:
            volume = None if self.spacing_mm is None else math.prod(self.spacing_mm)
            self._counts[label] = class_counts(self._maps, self._known(label), volume)
        return self._counts[label]

    def status(self, label: int) -> Status:
        """Whether a class occurs in both maps, in one or in none, or was not annotated."""
        if self.annotated is not None and self._known(label) not in self.annotated:
            return Status.NOT_ANNOTATED
        counts = self.counts(label)
        if counts.reference:
            return Status.OK if counts.prediction else Status.MISSED
        return Status.SPURIOUS if counts.prediction else Status.BOTH_EMPTY

    def surfaces(self, label: int) -> SurfaceDistances:
        """Distances between the two surfaces of a class.

        Raises:
            ValueError: the case has no spacing.
        """
        self._spacing()
        return self._surfaces[self._known(label)]

    def fact(self, name: str, label: int) -> Any:
        """A fact by the name that metric records use, such as ``"counts"``.

        Raises:
            ValueError: no such fact.
        """
        facts = {"counts": self.counts, "surfaces": self.surfaces}
        if name not in facts:
            raise ValueError(f"fact: expected {' or '.join(facts)}, got {name!r}")
        return facts[name](label)

    @cached_property
    def _maps(self) -> LabelMaps:
        reference, prediction, ignored = self._given
        return LabelMaps(reference, prediction, self.labels, ignored)

    @cached_property
    def _surfaces(self) -> dict[int, SurfaceDistances]:
        return class_surfaces(self._maps, self.labels, self._spacing(), self.preset)

    def _known(self, label: int) -> int:
        if label not in self.labels:
            raise ValueError(f"label: expected one of {list(self.labels)}, got {label!r}")
        return label

    def _spacing(self) -> tuple[float, ...]:
        if self.spacing_mm is None:
            raise ValueError(
                "spacing_mm: distances need the size of a voxel; give one number of mm for each "
                "axis, or 'voxel' for distances in voxels"
            )
        return self.spacing_mm


def _label_map(name: str, array: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(array)
    if array.dtype.kind not in "biu":
        raise TypeError(f"{name}: expected integers or bool, got {array.dtype}")
    if array.ndim not in (2, 3):
        raise ValueError(f"{name}: expected a 2D or 3D label map, got shape {array.shape}")
    return array
