"""What label maps, masks, labels and probabilities may be: looked at here, once, for every metric.

Maps may be numpy arrays of any byte order and memory order, or tensors; torch is not imported for
arrays. What passes is of a type that both numpy and torch compare and sort by value.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-3
"""How far a mask's 0 and 1 and a label may be off: that of a half-precision 1."""

PROBABILITY_ROUNDING = 0.05
"""How far interpolation may lead out of the range of a probability, which is then cut off."""

NO_LABEL = -(2**63)
"""What a voxel of 2^63 or more is made: no label that can be asked for."""


def takes_number(annotation: Any) -> bool:
    """Whether an option is a number, or may be: then it may have a value for each label instead.

    Example:
        >>> [takes_number(kind) for kind in (float, "float | None", "bool", "Binning")]
        [True, True, False, False]
    """
    return annotation in (int, float) or str(annotation).partition(" ")[0] in ("int", "float")


def is_tensor(array: Any) -> bool:
    """Without importing torch, which who has a tensor has done."""
    return "torch" in sys.modules and isinstance(array, sys.modules["torch"].Tensor)


def to_array(given: Any) -> Any:
    """A tensor as a numpy array on the host; anything else as it is."""
    return given.detach().cpu().numpy() if is_tensor(given) else given


def label_map(name: str, given: Any) -> Any:
    """A label map of a type that everything here computes with.

    Args:
        name: of the argument.
        given: array or tensor of integers or bool, 2D or 3D.

    Raises:
        TypeError: another type.
        ValueError: neither 2D nor 3D.

    Example:
        >>> label_map("reference", np.array([[7, 2**64 - 1]], dtype=">u8"))
        array([[                   7, -9223372036854775808]])
    """
    whole: Any = given if is_tensor(given) else np.asarray(given)
    if is_tensor(whole):
        good = not (whole.is_floating_point() or whole.is_complex() or whole.is_quantized)
    else:
        good = whole.dtype.kind in "biu"
    if not good:
        raise TypeError(f"{name}: expected integers or bool, got {whole.dtype}")
    if whole.ndim not in (2, 3):
        raise ValueError(f"{name}: expected a 2D or 3D label map, got shape {tuple(whole.shape)}")
    return signed(whole)


def signed(whole: Any) -> Any:
    """Integers that compare with any label by value: uint64 as int64, native bytes.

    Whatever int64 does not hold is :data:`NO_LABEL`. torch hardly computes with unsigned types
    above a byte: tensors of these become signed too.
    """
    if is_tensor(whole):
        from medloss.objects.labels import readable  # which imports torch, as the tensor has

        wide = readable(whole)
        return wide.where(wide >= 0, NO_LABEL) if str(whole.dtype) == "torch.uint64" else wide
    native = whole if whole.dtype.isnative else whole.astype(whole.dtype.newbyteorder("="))
    if native.dtype == np.uint64:
        bits = native.view(np.int64)
        return np.where(bits < 0, NO_LABEL, bits) if bits.size and bits.min() < 0 else bits
    return native


def known_labels(labels: Iterable[Any]) -> tuple[int, ...]:
    """Labels that can be asked for, as whole numbers.

    Raises:
        ValueError: one that is no whole number of 64 bits.

    Example:
        >>> known_labels(np.array([1, 2], dtype=np.uint8))
        (1, 2)
    """
    whole = []
    for label in labels:
        try:
            whole.append(operator.index(label))
        except TypeError as error:
            raise ValueError(f"labels: expected whole numbers, got {label!r}") from error
        if not NO_LABEL < whole[-1] < -NO_LABEL:
            raise ValueError(f"labels: expected numbers within 2^63, got {label!r}")
    return tuple(whole)


def mask_of(name: str, given: Any) -> NDArray[np.bool_]:
    """A mask: bool, integers that are 0 or not, or floats that are 0 or 1 up to rounding.

    Raises:
        TypeError: another type.
        ValueError: other floats, NaN among them.

    Example:
        >>> mask_of("mask", np.array([0.0, 0.9999999]))
        array([False,  True])
    """
    array = np.asarray(to_array(given))
    if array.dtype.kind in "biu":
        return array if array.dtype.kind == "b" else array != 0
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: expected numbers or bool, got {array.dtype}")
    mask: NDArray[np.bool_] = array > 0.5
    if not (np.abs(array - mask) <= ROUNDING).all():  # NaN is not
        raise ValueError(
            f"{name}: expected 0 and 1, got values from {array.min()!r} to {array.max()!r}"
        )
    return mask


def left_out(name: str, given: Any, shape: tuple[int, ...]) -> Any:
    """Where voxels do not count, checked: of the shape of the maps, without NaN.

    Raises:
        ValueError: another shape, or a NaN.
    """
    array = given if is_tensor(given) else np.asarray(given)
    if tuple(array.shape) != shape:
        raise ValueError(
            f"{name}: expected the shape of the reference {shape}, got {tuple(array.shape)}"
        )
    if bool((array != array).any()):
        raise ValueError(f"{name}: expected true or false for each voxel, got NaN")
    return array != 0


def probabilities_of(label: int, given: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Probabilities of one class; their range is looked at when they are read.

    Raises:
        TypeError: no real numbers.
        ValueError: another shape.
    """
    array = np.asarray(to_array(given))
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"probabilities: expected real numbers, got {array.dtype} for label {label}"
        )
    if array.shape != shape:
        raise ValueError(
            f"probabilities: expected the shape of the reference {shape}, got {array.shape} for "
            f"label {label}"
        )
    return array


def in_range(name: str, chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities with what rounding led out of 0 to 1 cut off; NaN stays NaN.

    Raises:
        ValueError: values that are no probabilities.
    """
    low, high = -PROBABILITY_ROUNDING, 1 + PROBABILITY_ROUNDING
    if ((chances < low) | (chances > high)).any():
        raise ValueError(
            f"{name}: expected probabilities from 0 to 1, got values from "
            f"{np.nanmin(chances):g} to {np.nanmax(chances):g}"
        )
    return chances.clip(0, 1)
