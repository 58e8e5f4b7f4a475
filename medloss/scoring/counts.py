"""How many voxels two label maps agree on: one pass for all classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLAB_VOXELS = 1 << 20
"""Voxels that are looked at together: the working memory is a few times this, not a volume."""


@dataclass(frozen=True)
class Counts:
    """Voxels of one class in one case.

    Args:
        tp: in the reference and in the prediction.
        fp: in the prediction only.
        fn: in the reference only.
        tn: in neither.
    """

    tp: int
    fp: int
    fn: int
    tn: int

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
    """Counts of every label, from one joint histogram of both maps.

    Args:
        reference: label map, integers or bool, any shape.
        prediction: label map of the same shape.
        labels: classes to count; one that occurs in neither map has counts of zero.

    Example:
        >>> count_classes(np.array([0, 1, 1]), np.array([1, 1, 1]), labels=[1])
        {1: Counts(tp=2, fp=1, fn=0, tn=0)}
    """
    labels = tuple(labels)
    if _fit_in_a_byte(reference) and _fit_in_a_byte(prediction):
        classes, joint = np.arange(256), _joint_bytes(reference, prediction)
    else:
        classes = np.unique(np.array(labels, dtype=np.int64))
        joint = _joint_chosen(reference, prediction, classes)
    index = {int(label): row for row, label in enumerate(classes)}
    in_reference, in_prediction = joint.sum(axis=1), joint.sum(axis=0)
    counts = {}
    for label in labels:
        row = index.get(label)
        both, one, other = (
            (0, 0, 0)
            if row is None
            else (int(joint[row, row]), int(in_reference[row]), int(in_prediction[row]))
        )
        rest = reference.size - one - other + both
        counts[label] = Counts(tp=both, fp=other - both, fn=one - both, tn=rest)
    return counts


def _fit_in_a_byte(array: NDArray[Any]) -> bool:
    if array.dtype.kind == "b" or array.dtype == np.uint8 or array.size == 0:
        return True
    return bool(array.min() >= 0 and array.max() <= 255)


def _joint_bytes(reference: NDArray[Any], prediction: NDArray[Any]) -> NDArray[np.int64]:
    """Joint histogram (256, 256) of maps whose values fit in a byte."""
    joint = np.zeros(1 << 16, dtype=np.int64)
    for rows, columns in _slabs(reference, prediction):
        code = np.left_shift(rows, 8, dtype=np.uint16, casting="unsafe")
        np.bitwise_or(code, columns, out=code, casting="unsafe")
        joint += np.bincount(code.ravel(), minlength=len(joint))
    return joint.reshape(256, 256)


def _joint_chosen(
    reference: NDArray[Any], prediction: NDArray[Any], classes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Joint histogram of the chosen classes, with one more row and column for all other values."""
    side = len(classes) + 1
    joint = np.zeros(side * side, dtype=np.int64)
    for rows, columns in _slabs(reference, prediction):
        code = _position(rows, classes) * side + _position(columns, classes)
        joint += np.bincount(code.ravel(), minlength=len(joint))
    return joint.reshape(side, side)


def _position(values: NDArray[Any], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of each value among the sorted classes, ``len(classes)`` for any other value."""
    if not len(classes):
        return np.zeros(values.shape, dtype=np.int64)
    index = np.searchsorted(classes, values).astype(np.int64, copy=False)
    found = classes[np.minimum(index, len(classes) - 1)] == values
    return np.where(found, index, len(classes))


def _slabs(*arrays: NDArray[Any]) -> Any:
    """Pieces of equal place of all arrays along their first axis, of about ``SLAB_VOXELS``."""
    first = arrays[0]
    if first.ndim == 0 or first.size == 0:
        yield from [arrays] if first.size else []
        return
    rows = max(1, SLAB_VOXELS * len(first) // first.size)
    for start in range(0, len(first), rows):
        yield tuple(array[start : start + rows] for array in arrays)
