"""How many voxels two label maps agree on: one pass for all classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from medloss.scoring.inputs import known_labels, label_map
from medloss.scoring.maps import LabelMaps

if TYPE_CHECKING:
    from medloss.scoring.tensors import TensorMaps


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


def class_counts(
    maps: LabelMaps | TensorMaps, label: int, voxel_mm3: float | None = None
) -> Counts:
    """Counts of a label that the maps were made for."""
    reference, prediction, both = (int(n) for n in maps.counts[:, maps.codes[label]])
    rest = maps.voxels - reference - prediction + both
    return Counts(both, prediction - both, reference - both, rest, voxel_mm3)
