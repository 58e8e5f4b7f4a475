"""What is known of one class in one case beside its surfaces and lesions.

How many voxels two maps agree on, and how much of the centre lines of one lies in the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medloss.scoring.inputs import known_labels, label_map
from medloss.scoring.maps import ClassMasks, LabelMaps, Mask
from medloss.scoring.presets import Status


@dataclass(frozen=True)
class Counts:
    """Voxels of one class in one case.

    Args:
        tp: in the reference and in the prediction.
        fp: in the prediction only.
        fn: in the reference only.
        tn: in neither.
        voxel_mm3: volume of a voxel, in 2D its area in mm²; ``None`` if it is not known.
    """

    tp: int
    fp: int
    fn: int
    tn: int
    voxel_mm3: float | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, found: Iterable[Any], voxels: int, voxel_mm3: float | None = None) -> Counts:
        """From the voxels of the reference, the prediction, both, and the image."""
        reference, prediction, both = (int(n) for n in found)
        rest = voxels - reference - prediction + both
        return cls(both, prediction - both, reference - both, rest, voxel_mm3)

    @property
    def reference(self) -> int:
        """Voxels of the class in the reference."""
        return self.tp + self.fn

    @property
    def prediction(self) -> int:
        """Voxels of the class in the prediction."""
        return self.tp + self.fp

    @property
    def voxels(self) -> int:
        """Voxels of the image."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def status(self) -> Status:
        """Whether the class occurs in both maps, in one or in none."""
        if self.tp or self.fn:
            return Status.OK if self.tp or self.fp else Status.MISSED
        return Status.SPURIOUS if self.fp else Status.BOTH_EMPTY


class CodedMaps(Protocol):
    """Two label maps in codes, wherever they are."""

    codes: dict[int, int]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Voxels of each code that the reference, the prediction and both have, (3, codes)."""

    @property
    def confused(self) -> NDArray[np.int64] | None:
        """Voxels by the places of both labels, where they differ; ``None`` for too many labels."""

    @property
    def voxels(self) -> int:
        """Voxels that count."""


def count_classes(
    reference: NDArray[Any], prediction: NDArray[Any], labels: Iterable[int]
) -> dict[int, Counts]:
    """Counts of every label, from one pass over both maps.

    Args:
        reference: label map, integers or bool, 2D or 3D.
        prediction: label map of the same shape.
        labels: classes to count; one that occurs in neither map has counts of zero.

    Example:
        >>> import numpy as np
        >>> count_classes(np.array([[0, 1, 1]]), np.array([[1, 1, 1]]), labels=[1])[1].fp
        1
    """
    labels = known_labels(labels)
    maps = LabelMaps(
        label_map("reference", reference),
        label_map("prediction", prediction),
        labels,
    )
    return {label: class_counts(maps, label) for label in labels}


def class_counts(maps: CodedMaps, label: int, voxel_mm3: float | None = None) -> Counts:
    """Counts of a label that the maps were made for."""
    return Counts.of(maps.counts[:, maps.codes[label]].tolist(), maps.voxels, voxel_mm3)


@dataclass(frozen=True)
class Skeletons:
    """Voxels of the centre lines of a class in one case.

    Args:
        reference: of the centre lines of the reference.
        reference_found: of these, in the mask of the prediction.
        prediction: of the centre lines of the prediction.
        prediction_right: of these, in the mask of the reference.
        plain: the same of lines as they were thinned, of which an object may have none.
    """

    reference: int
    reference_found: int
    prediction: int
    prediction_right: int
    plain: Skeletons | None = field(default=None, repr=False)


def skeleton_overlap(masks: ClassMasks) -> Skeletons:
    """Thin both masks of a class and count.

    Centre lines are those of the whole masks; voxels of them that are ignored do not count.

    Raises:
        ImportError: scikit-image is not installed.
    """
    reference = _count(masks.reference, masks.prediction, masks.ignored)
    prediction = _count(masks.prediction, masks.reference, masks.ignored)
    whole, plain = ((*one, *other) for one, other in zip(reference, prediction, strict=True))
    return Skeletons(*whole, Skeletons(*plain))


def _count(
    mask: Mask, other: Mask, ignored: Mask | None
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Voxels of the lines of every object, and of those that thinning leaves; and in the other."""
    if not mask.any():
        return (0, 0), (0, 0)
    from medloss.objects.skeletons import of_every_object, thinned  # loads scipy's images

    plain = thinned(mask)

    def counts(line: Mask) -> tuple[int, int]:
        counted = line if ignored is None else line & ~ignored
        return int(np.count_nonzero(counted)), int(np.count_nonzero(counted & other))

    return counts(of_every_object(mask, plain)), counts(plain)
