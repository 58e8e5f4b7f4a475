"""What is known of one case: two label maps and the facts that metrics are made of, each once."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.scoring.boxes import Box, label_boxes
from medloss.scoring.counts import Counts, count_classes
from medloss.scoring.status import Status
from medloss.scoring.surfaces import SurfaceDistances, check_definition, surface_distances
from medloss.spacing import parse_spacing


class Case:
    """Reference and prediction of one case; every fact is computed when asked for, and once.

    Args:
        reference: label map, 2D or 3D, integers or bool.
        prediction: label map of the same shape.
        labels: classes that can be asked for; they need not occur.
        spacing_mm: size of a voxel along each axis, one number for all axes, or ``"voxel"`` for
            distances in voxels. Without it there are counts but no distances.
        definition: preset of the surfaces, see :data:`medloss.scoring.DEFINITIONS`.
        annotated: the labels that were annotated in this case, all by default.

    Raises:
        TypeError: a map that does not hold integers or bool.
        ValueError: shapes, spacing, labels or definition that do not fit.

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
        definition: str = "deepmind",
        annotated: Collection[int] | None = None,
    ) -> None:
        reference = _label_map("reference", reference)
        prediction = _label_map("prediction", prediction)
        if prediction.shape != reference.shape:
            raise ValueError(
                f"prediction: expected the shape of the reference {reference.shape}, "
                f"got {prediction.shape}"
            )
        check_definition(definition)
        self.labels = tuple(labels)
        self.definition = definition
        self.annotated = None if annotated is None else frozenset(annotated)
        self.shape = reference.shape
        self.spacing_mm = None
        if spacing_mm is not None:
            (self.spacing_mm,) = parse_spacing(spacing_mm, batch=1, axes=reference.ndim)
        # Files hold the first axis fastest, numpy's loops run fastest along the last one. Turned
        # round, views of such maps have the same facts.
        self._turned = reference.flags.f_contiguous
        self._maps = (reference.T, prediction.T) if self._turned else (reference, prediction)
        self._surfaces: dict[int, SurfaceDistances] = {}

    @property
    def diagonal_mm(self) -> float:
        """Diagonal of the image: the norm of shape times spacing.

        Raises:
            ValueError: the case has no spacing.
        """
        return math.hypot(*(n * mm for n, mm in zip(self.shape, self._spacing(), strict=True)))

    def counts(self, label: int) -> Counts:
        """Voxels of a class that both maps, one of them or none have."""
        return self._counts[self._known(label)]

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
        spacing = self._spacing()[::-1] if self._turned else self._spacing()
        if self._known(label) not in self._surfaces:
            # Within the box of the class the rest of the image is as empty as what lies outside.
            reference, prediction = (m[self._box(label)] == label for m in self._maps)
            self._surfaces[label] = surface_distances(
                reference, prediction, spacing, definition=self.definition
            )
        return self._surfaces[label]

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
    def _counts(self) -> dict[int, Counts]:
        return count_classes(*self._maps, self.labels)

    @cached_property
    def _boxes(self) -> dict[int, Box]:
        return label_boxes(self._maps, [c for c in self.labels if self._occurs(c)])

    def _box(self, label: int) -> Box:
        return self._boxes.get(label, (slice(0, 0),) * len(self.shape))

    def _occurs(self, label: int) -> bool:
        counts = self.counts(label)
        return bool(counts.reference or counts.prediction)

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
