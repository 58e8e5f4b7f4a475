"""What the voxels of a file may hold: labels, or probabilities of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.errors import CaseError

MAX_LABELS = 2000
"""More different values than this in a label map mean that the file is a picture, not labels."""

ROUNDING = 0.05
"""How far the probabilities of one voxel may sum from 1: 8-bit files round each of them."""

_LARGEST_COUNTED = 1 << 16
_PIECE = 1 << 20


def most_likely(probabilities: NDArray[Any]) -> NDArray[Any]:
    """Index of the largest class along the last axis; the lowest index where they are equal.

    A single class is foreground where it is at least 0.5.

    Example:
        >>> most_likely(np.array([[0.2, 0.8], [0.5, 0.5]]))
        array([1, 0], dtype=uint8)
    """
    classes = probabilities.shape[-1]
    if classes == 1:
        return (probabilities[..., 0] >= 0.5).astype(np.uint8)
    # numpy's argmax would answer in int64 and in C order: eight times the memory, and slower to
    # compare with the other map, which lies in the file's order.
    best = probabilities[..., 0].copy(order="K")
    labels = np.zeros_like(best, dtype=np.min_scalar_type(classes - 1))
    for index in range(1, classes):
        better = probabilities[..., index] > best
        labels[better] = index
        np.copyto(best, probabilities[..., index], where=better)
    return labels


def present_labels(label_map: NDArray[Any]) -> tuple[int, ...]:
    """Every non-zero label of a map of whole numbers of at least 0.

    Example:
        >>> present_labels(np.array([0, 7, 7, 2], dtype=np.uint8))
        (2, 7)
    """
    values = label_map.ravel(order="K")
    if not values.size or values.max() > _LARGEST_COUNTED:
        return tuple(int(label) for label in np.unique(values) if label)
    # In pieces: numpy counts in int64, which would be eight times the memory of a byte map.
    counts = np.zeros(int(values.max()) + 1, dtype=np.int64)
    for start in range(0, len(values), _PIECE):
        counts += np.bincount(values[start : start + _PIECE], minlength=len(counts))
    return tuple(int(label) for label in np.flatnonzero(counts) if label)


def finite_range(path: Path, array: NDArray[Any]) -> tuple[float, float]:
    """Smallest and largest value.

    Raises:
        CaseError: a value is NaN or infinite.
    """
    with np.errstate(invalid="ignore"):
        low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        raise CaseError(f"{path} holds values that are NaN or infinite")
    return low, high


def is_whole(array: NDArray[Any]) -> bool:
    """Whether every value is a whole number, of whatever type."""
    return array.dtype.kind != "f" or bool((array == np.trunc(array)).all())


def whole_numbers(path: Path, array: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Labels in their own integer type, or in the narrowest one if they are floats.

    Args:
        path: for the error texts.
        array: labels.
        low: smallest value.
        high: largest value.

    Raises:
        CaseError: they are no labels.
    """
    if low < 0:
        raise CaseError(f"{path} holds the label {low:g}; labels are at least 0")
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    elif array.dtype.kind == "f":
        if high >= 2**31:
            raise CaseError(f"{path} holds the label {high:g}, which is too large")
        narrow = array.astype(np.min_scalar_type(int(high)))
        wrong = narrow != array
        if wrong.any():
            raise CaseError(
                f"{path} holds the value {array[wrong][0]:g}; labels are whole numbers, and "
                f"probabilities need an axis of classes after the spatial ones"
            )
        array = narrow
    if high > MAX_LABELS and len(present_labels(array)) > MAX_LABELS:
        raise CaseError(
            f"{path} holds more than {MAX_LABELS} different values; is it a picture, not labels?"
        )
    return array


def check_probabilities(path: Path, array: NDArray[Any], low: float, high: float) -> None:
    """Raise unless the last axis holds probabilities of classes that exclude one another.

    Raises:
        CaseError: values outside 0 to 1, or sums other than 1.
    """
    count = array.shape[-1]
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise CaseError(
            f"{path} has {count} channels and is read as probabilities, but holds values from "
            f"{low:g} to {high:g}"
        )
    if count == 1:
        return
    total = array.sum(axis=-1, dtype=np.float32)
    low, high = float(total.min()), float(total.max())
    if max(1 - low, high - 1) > ROUNDING:
        raise CaseError(
            f"{path} has {count} channels, whose sum in a voxel lies between {low:g} and {high:g} "
            f"and should be 1: save overlapping regions as one file each"
        )
