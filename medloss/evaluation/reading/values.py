"""What the voxels of a file may hold: labels, or probabilities of classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.stored import CaseError

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
        return likely(probabilities[..., 0])
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


def recode(label_map: NDArray[Any], changes: Mapping[int, int], *, keep: bool) -> NDArray[Any]:
    """A label map with other labels, in the same memory order.

    Args:
        label_map: whole numbers of at least 0.
        changes: new labels by old ones.
        keep: whether labels without a new one stay as they are, or become 0.

    Example:
        >>> recode(np.array([0, 1, 2, 3], dtype=np.uint8), {2: 1, 1: 2}, keep=True)
        array([0, 2, 1, 3], dtype=uint8)
        >>> recode(np.array([0, 1, 2, 3], dtype=np.uint8), {2: 1, 3: 1}, keep=False)
        array([0, 0, 1, 1], dtype=uint8)
    """
    high = int(label_map.max())
    new = [*(changes[old] for old in changes if old <= high), high if keep else 0]
    out = np.empty_like(label_map, dtype=np.min_scalar_type(max(new)), subok=False)
    flat, flat_out = label_map.ravel(order="K"), out.ravel(order="K")
    if high > _LARGEST_COUNTED:
        flat_out[:] = flat if keep else 0
        for old, label in changes.items():
            flat_out[flat == old] = label
        return out
    table = np.arange(high + 1) if keep else np.zeros(high + 1, dtype=np.int64)
    for old, label in changes.items():
        if old <= high:
            table[old] = label
    table = table.astype(out.dtype)
    for start in range(0, len(flat), _PIECE):  # numpy makes eight bytes of each index
        part = slice(start, start + _PIECE)
        np.take(table, flat[part], out=flat_out[part], mode="clip")
    return out


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
    if high >= 2**63 and array.dtype.kind == "u":
        raise CaseError(f"{path} holds the label {array.max()}; labels are less than 2^63")
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


def channels_exclude(
    path: Path, array: NDArray[Any], low: float, high: float, asked: str | None = None
) -> bool:
    """Whether the classes of the last axis exclude one another: if not told, they have to.

    Their probabilities sum to 1 in every voxel. Other sums do not prove that each channel is a
    class of its own: in one-hot channels with a hole, channel 0 is still the background.

    Args:
        path: for the error texts.
        array: with at least one channel.
        low: smallest value.
        high: largest value.
        asked: ``"exclusive"`` or ``"independent"`` where the user says which.

    Raises:
        CaseError: values outside 0 to 1, or sums that do not fit.
    """
    count = array.shape[-1]
    if low < -ROUNDING or high > 1 + ROUNDING:
        hint = "; is it a time series, or several label maps?" if is_whole(array) else ""
        raise CaseError(
            f"{path} has {count} channels and is read as probabilities, but holds values from "
            f"{low:g} to {high:g}{hint}"
        )
    if asked == "independent":
        return False
    if count == 1:
        return True
    total = array.sum(axis=-1, dtype=np.float32)
    low, high = float(total.min()), float(total.max())
    if max(1 - low, high - 1) <= ROUNDING:
        return True
    hint = "" if asked else "; if each channel is a class of its own, say --channels independent"
    raise CaseError(
        f"{path} has {count} channels, whose sum in a voxel lies between {low:g} and {high:g} and "
        f"should be 1{hint}"
    )


def likely(channel: NDArray[Any]) -> NDArray[np.uint8]:
    """Where a class of its own is: at a probability of at least 0.5.

    Example:
        >>> likely(np.array([0.4, 0.5]))
        array([0, 1], dtype=uint8)
    """
    return (channel >= 0.5).view(np.uint8)
