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

THRESHOLD = 0.5
"""From which probability on a class is there, unless the user says another one."""

WHOLE = 1e-5
"""How far a label may be from a whole number, as a share of it above 1."""

_PICTURE_VALUES = 20
_PICTURE_NEGATIVE = 100
_PICTURE_SLICES = 64
_PICTURE_EQUAL = 2 / 3
"""A map of so many values is a picture where fewer neighbours than this share are equal: of label
maps nine in ten and more are, of pictures half and fewer."""

_LARGEST_COUNTED = 1 << 16
_PIECE = 1 << 20


def most_likely(probabilities: NDArray[Any], threshold: float = THRESHOLD) -> NDArray[Any]:
    """Index of the largest class along the last axis; the lowest index where they are equal.

    A single class is foreground where it is at least the threshold.

    Example:
        >>> most_likely(np.array([[0.2, 0.8], [0.5, 0.5]]))
        array([1, 0], dtype=uint8)
    """
    classes = probabilities.shape[-1]
    if classes == 1:
        return likely(probabilities[..., 0], threshold)
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
    return tuple(label_counts(label_map))


def label_counts(label_map: NDArray[Any]) -> dict[int, int]:
    """How many voxels each non-zero label of a map of whole numbers of at least 0 has.

    Example:
        >>> label_counts(np.array([0, 7, 7, 2], dtype=np.uint8))
        {2: 1, 7: 2}
    """
    values = label_map.ravel(order="K")
    if not values.size or values.max() > _LARGEST_COUNTED:
        labels, numbers = np.unique(values, return_counts=True)
        return {int(label): int(n) for label, n in zip(labels, numbers, strict=True) if label}
    # In pieces: numpy counts in int64, which would be eight times the memory of a byte map.
    counts = np.zeros(int(values.max()) + 1, dtype=np.int64)
    for start in range(0, len(values), _PIECE):
        counts += np.bincount(values[start : start + _PIECE], minlength=len(counts))
    return {int(label): int(counts[label]) for label in np.flatnonzero(counts) if label}


def joint_counts(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.int64]:
    """How many voxels have each pair of labels of two maps of one shape.

    Args:
        one: whole numbers of at least 0, and none so large that no table has room for all pairs.
        other: likewise.

    Example:
        >>> joint_counts(np.array([0, 1, 1]), np.array([0, 2, 1]))
        array([[1, 0, 0],
               [0, 1, 1]])
    """
    width = int(other.max()) + 1
    counts = np.zeros((int(one.max()) + 1) * width, dtype=np.int64)
    first, second = one.ravel(order="K"), other.ravel(order="K")
    if one.strides != other.strides:
        first, second = one.ravel(), other.ravel()
    for start in range(0, len(first), _PIECE):
        part = slice(start, start + _PIECE)
        pairs = first[part].astype(np.int64) * width + second[part]
        counts += np.bincount(pairs, minlength=len(counts))
    return counts.reshape(-1, width)


def recode(label_map: NDArray[Any], changes: Mapping[int, int], *, keep: bool) -> NDArray[Any]:
    """A label map with other labels, in the same memory order.

    Args:
        label_map: whole numbers.
        changes: new labels by old ones.
        keep: whether labels without a new one stay as they are, or become 0.

    Example:
        >>> recode(np.array([0, 1, 2, 3], dtype=np.uint8), {2: 1, 1: 2}, keep=True)
        array([0, 2, 1, 3], dtype=uint8)
        >>> recode(np.array([0, 1, 2, 3], dtype=np.uint8), {2: 1, 3: 1}, keep=False)
        array([0, 0, 1, 1], dtype=uint8)
    """
    low, high = int(label_map.min()), int(label_map.max())
    new = [*(changes[old] for old in changes if old <= high), high if keep else 0]
    dtype = np.min_scalar_type(max(new))
    if keep and low < 0 and not changes.keys() >= set(np.unique(label_map[label_map < 0]).tolist()):
        dtype = np.result_type(dtype, label_map.dtype)  # some stay negative
    out = np.empty_like(label_map, dtype=dtype, subok=False)
    flat, flat_out = label_map.ravel(order="K"), out.ravel(order="K")
    if high > _LARGEST_COUNTED or low < 0:
        flat_out[:] = (flat if low >= 0 or dtype.kind == "i" else flat.clip(0)) if keep else 0
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
    """Whether every value is a whole number up to rounding, of whatever type."""
    if array.dtype.kind != "f":
        return True
    whole = np.rint(array)
    return bool((np.abs(array - whole) <= WHOLE * np.maximum(1, np.abs(whole))).all())


def is_chance(array: NDArray[Any], low: float, high: float) -> bool:
    """Whether values are probabilities rather than labels: fractions from 0 to 1."""
    if array.dtype.kind != "f" or low < -ROUNDING or high > 1 + ROUNDING:
        return False
    return bool((np.abs(array - np.rint(array)) > WHOLE).any())


def whole_numbers(
    path: Path,
    array: NDArray[Any],
    low: float,
    high: float,
    *,
    signed: bool = False,
    instances: bool = False,
) -> tuple[NDArray[Any], str]:
    """Labels in their own integer type, or in the narrowest one if they are floats, and a note.

    Args:
        path: for the error texts.
        array: labels.
        low: smallest value.
        high: largest value.
        signed: whether some may be negative, which are changed later.
        instances: whether there may be any number of different ones.

    Raises:
        CaseError: they are no labels.
    """
    note = ""
    if high >= 2**63 and array.dtype.kind == "u":
        raise CaseError(f"{path} holds the label {array.max()}; labels are less than 2^63")
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    elif array.dtype.kind == "f":
        if max(high, -low) >= 2**31:
            raise CaseError(f"{path} holds the label {high:g}, which is too large")
        narrow = array.astype(_narrowest(low, high))
        if (narrow != array).any():
            whole = np.rint(array)
            off = np.abs(array - whole)
            wrong = off > WHOLE * np.maximum(1, np.abs(whole))
            if wrong.any():
                raise CaseError(_no_labels(path, float(array[wrong][0]), low, high))
            low, high = float(whole.min()), float(whole.max())
            narrow = whole.astype(_narrowest(low, high))
            note = (
                f"{path.name}: values up to {float(off.max()):.2g} beside whole numbers are taken "
                f"for these"
            )
        array = narrow
    several = high > MAX_LABELS or low < 0
    count = len(np.unique(array)) if several and not instances else 0
    if count > MAX_LABELS or (low < 0 and count > _PICTURE_NEGATIVE):
        raise CaseError(
            f"{path} holds {count} different values from {low:g} to {high:g}; is it a picture, not "
            f"labels?{_named_as_image(path)}"
            + ("" if low < 0 else " A map whose every value is an object is read by --instances")
        )
    if low < 0 and not signed:
        raise CaseError(
            f"{path} holds the label {low:g}; labels are at least 0, and --remap {low:g}=0 makes "
            f"it background"
        )
    return array, note


def _narrowest(low: float, high: float) -> np.dtype[Any]:
    """The smallest type that holds what is whole between two numbers."""
    if low > -1:
        return np.min_scalar_type(int(high))
    return np.result_type(np.min_scalar_type(int(low)), np.min_scalar_type(-int(high) - 1))


def _no_labels(path: Path, value: float, low: float, high: float) -> str:
    start = f"{path} holds the value {value:g}; labels are whole numbers, and probabilities"
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return f"{start} of one class are read with --threshold 0.5"
    return (
        f"{start} need an axis of classes after the spatial ones; is it a picture?"
        f"{_named_as_image(path)}"
    )


def _named_as_image(path: Path) -> str:
    """What the name of a file adds: nnU-Net's images end in the number of their modality."""
    name = path.name.partition(".")[0]
    if name[-5:-4] == "_" and name[-4:].isdigit():
        return f" Its name ends in {name[-5:]}, as those of nnU-Net's images do."
    return ""


def check_labels(path: Path, array: NDArray[Any]) -> None:
    """Raise if a map whose labels nobody has chosen looks like a grey picture.

    Labels come in regions: of two neighbours that have one, most have the same. A picture has many
    values and few equal neighbours.

    Raises:
        CaseError: it does.

    Example:
        >>> rows = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)
        >>> check_labels(Path("a.png"), rows)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        medloss.evaluation.reading.stored.CaseError: a.png looks like a picture, not labels: ...
        >>> check_labels(Path("a.png"), rows.repeat(4, axis=0).repeat(4, axis=1))
    """
    if int(array.max()) < _PICTURE_VALUES:
        return
    # Slices along the axis that is slowest in memory; some of them tell what all would.
    slices = array if array.flags.c_contiguous else array.T
    slices = slices[:: max(1, len(slices) // _PICTURE_SLICES)]
    if len(present_labels(slices)) < _PICTURE_VALUES:
        return
    equal = both = 0
    for plane in slices:
        one, other = plane[..., 1:], plane[..., :-1]
        inside = (one != 0) & (other != 0)
        both += int(np.count_nonzero(inside))
        equal += int(np.count_nonzero(inside & (one == other)))
    if both and equal < _PICTURE_EQUAL * both:
        raise CaseError(
            f"{path} looks like a picture, not labels: it holds {len(present_labels(array))} "
            f"values, and of neighbours "
            f"{100 * equal / both:.0f} % have the same; if they are labels, say which to score "
            f"with --labels.{_named_as_image(path)}"
        )


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


def likely(channel: NDArray[Any], threshold: float = THRESHOLD) -> NDArray[np.uint8]:
    """Where a class of its own is: at a probability of at least the threshold.

    Example:
        >>> likely(np.array([0.4, 0.5]))
        array([0, 1], dtype=uint8)
    """
    return (channel >= threshold).view(np.uint8)
