"""Sizes in mm: what a user may give, what an affine states, and when a size keeps to a limit.

Files and transforms keep an affine in float32, whose columns are 1 ± 3e-8 long where 1 mm is meant,
and 0.8 mm is 0.800000012. Whatever is decided by a size and a limit of the user is decided here, so
that neither this noise nor the rounding of a square root has a say.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

SLACK = 1e-6
"""Relative difference of two sizes that counts as none: about 30 times the noise of float32 seen in
affines, and less than what lies between two distances on a grid of up to 700 voxels."""

_FLOAT32_NOISE = 2e-7
_COSINES = 1e-5
_DIGITS = 6
"""Decimals of so many digits are what a scanner or a person states."""

SpacingLike = float | Sequence[float] | Sequence[Sequence[float]] | str
"""One number, one per axis, one row per sample, or the word ``"voxel"`` (distances in voxels)."""

Spacing = tuple[tuple[float, ...], ...]
"""Size of a voxel along each axis, for each sample of a batch, in mm."""


def parse_spacing(spacing_mm: Any, *, batch: int, axes: int) -> Spacing:
    """Spacing of each sample along each spatial axis.

    Args:
        spacing_mm: see :data:`SpacingLike`; tensors and arrays count as sequences.
        batch: number of samples.
        axes: number of spatial axes.

    Raises:
        ValueError: another shape, or a value that is not positive and finite.

    Example:
        >>> parse_spacing((0.8, 0.8, 2.5), batch=2, axes=3)
        ((0.8, 0.8, 2.5), (0.8, 0.8, 2.5))
    """
    if isinstance(spacing_mm, str):
        if spacing_mm != "voxel":
            raise _refusal(spacing_mm, batch, axes)
        return ((1.0,) * axes,) * batch
    try:
        rows = _listed(spacing_mm)
        if _is_number(rows):
            rows = [rows] * axes
        rows = [_listed(row) for row in rows]
        if all(_is_number(row) for row in rows):
            rows = [rows] * batch
        if not all(_is_number(value) for row in rows for value in row):
            raise _refusal(spacing_mm, batch, axes)
        parsed = tuple(tuple(float(value) for value in row) for row in rows)
    except TypeError as error:
        raise _refusal(spacing_mm, batch, axes) from error
    values = [value for row in parsed for value in row]
    if [len(row) for row in parsed] != [axes] * batch or not all(
        0 < value < math.inf for value in values
    ):
        raise _refusal(spacing_mm, batch, axes)
    return parsed


def _listed(given: Any) -> Any:
    """Tensors and arrays as lists; a compiler's number must not be asked what it has."""
    if isinstance(given, (int, float)) or not hasattr(given, "tolist"):
        return given
    return given.tolist()


def _refusal(given: Any, batch: int, axes: int) -> ValueError:
    # made only when it is raised: a compiled graph has no words for its numbers
    return ValueError(
        f"spacing_mm: expected 'voxel', a positive number, {axes} of them, "
        f"or {batch} rows of {axes}, got {given!r}"
    )


def _is_number(value: Any) -> bool:
    if not isinstance(value, (int, float)) and getattr(value, "ndim", 1) == 0:
        value = value.item()
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def reach(limit: float) -> float:
    """The largest size that keeps to an upper limit.

    Example:
        >>> 1.0000000149 <= reach(1.0) < 1.00001
        True
    """
    return limit * (1 + SLACK)


def short_of(limit: float) -> float:
    """The smallest size that reaches a lower limit."""
    return limit * (1 - SLACK)


def within(size: Any, limit: float) -> Any:
    """Whether sizes (a number, an array or a tensor; mm, mm² or mm³) are at most a limit.

    Example:
        >>> within(1.0000000149, 1.0), within(1.001, 1.0)
        (True, False)
    """
    return size <= reach(limit)


def below(size: Any, limit: float) -> Any:
    """Whether sizes are less than a limit: a size that equals it is not.

    Example:
        >>> below(0.9999999851, 1.0), below(0.999, 1.0)
        (False, True)
    """
    return size < short_of(limit)


def at_least(size: Any, limit: float) -> Any:
    """Whether sizes are a limit or more.

    Example:
        >>> at_least(19.999999, 20.0), at_least(19.99, 20.0)
        (True, False)
    """
    return size >= short_of(limit)


def snapped(size_mm: float) -> float:
    """The size that an affine states: the length of a column without the noise of float32.

    It is the decimal of up to six digits that float32 cannot tell from it, such as 0.8, or else the
    nearest number that float32 has.

    Example:
        >>> snapped(1.0000000149), snapped(0.800000011920929), snapped(0.68359375)
        (1.0, 0.8, 0.68359375)
    """
    size = float(size_mm)
    if not 0 < size < math.inf:
        return size
    decimal = float(f"{size:.{_DIGITS}g}")
    if abs(decimal - size) <= _FLOAT32_NOISE * size:
        return decimal
    try:
        (single,) = struct.unpack("f", struct.pack("f", size))
    except OverflowError:
        return size
    return float(single) or size


def same_size(length_mm: float, stated_mm: float) -> bool:
    """Whether a column of an affine has the length that is stated beside it, but for rounding.

    Direction cosines in decimal text or float32 make it up to 1e-5 longer or shorter; what is
    stated then is what was meant.

    Example:
        >>> same_size(0.800004, 0.8), same_size(0.80001, 0.8)
        (True, False)
    """
    return abs(length_mm - stated_mm) <= _COSINES * stated_mm


def affine_spacing(rows: Iterable[Any], *, batch: int, axes: int) -> Spacing:
    """Spacing of each sample as the affine of a MetaTensor states it.

    Args:
        rows: the ``pixdim`` of each sample.
        batch: number of samples.
        axes: number of spatial axes.

    Raises:
        ValueError: another number of samples, sizes that are not positive and finite, or more sizes
            than axes: a slice does not say which of the axes of its volume it has lost, unless all
            are equally long.

    Example:
        >>> affine_spacing([(0.800000011920929, 1.0000000149)], batch=1, axes=2)
        ((0.8, 1.0),)
    """
    return parse_spacing([_of_axes(row, axes) for row in rows], batch=batch, axes=axes)


def meta_spacing(tensor: Any, *, batch: int, axes: int) -> Spacing | None:
    """What a MetaTensor says of each sample, or None where the tensor is none.

    MONAI keeps the affine of the whole volume through indexing, and the affines of a batch through
    whatever is done to its samples: what no longer follows from them is refused, unless all
    candidates are equal.

    Args:
        tensor: batch first.
        batch: number of samples.
        axes: number of spatial axes.

    Raises:
        ValueError: it cannot be known which sizes belong to these axes, or to these samples.
    """
    if getattr(tensor, "pixdim", None) is None:
        return None
    several = bool(getattr(tensor, "is_batch", False))
    pixdim = list(tensor.pixdim) if several else [tensor.pixdim]
    affines = list(tensor.affine) if several else _affines(tensor.affine, batch)
    if len(pixdim) != len(affines):  # one row, out of a batch of several
        pixdim = [affine[:-1, :-1].square().sum(0).sqrt() for affine in affines]
    rows = [_of_axes(row, axes) for row in pixdim]
    if not (several and len(rows) == batch) and any(not _close(rows[0], row) for row in rows[1:]):
        raise ValueError(
            f"spacing_mm: expected it as argument: the MetaTensor has the sizes {rows} of another "
            f"batch, and does not tell which of them belong to these {batch} samples"
        )
    return parse_spacing(rows if len(rows) == batch else [rows[0]] * batch, batch=batch, axes=axes)


def _affines(affine: Any, batch: int) -> list[Any]:
    """The affine; with the others of its batch where it was taken out of one by an index.

    ``y[[1, 0]]`` of a batch is left with the affine of one sample: a row of the stack of all.
    """
    rows, rest = divmod(affine.untyped_storage().nbytes(), max(1, affine.nbytes))
    if batch == 1 or rows < 2 or rest or not affine.is_contiguous():
        return [affine]
    n = affine.shape[0]
    return list(affine.as_strided((rows, n, n), (n * n, n, 1), 0))


def _of_axes(sizes: Iterable[Any], axes: int) -> list[float]:
    """Sizes along the axes that there are, of those of the volume."""
    stated = [snapped(size) for size in sizes]
    if len(stated) > axes and len(set(stated)) > 1:
        raise ValueError(
            f"spacing_mm: the affine of the MetaTensor has voxels of "
            f"{' x '.join(f'{size:g}' for size in stated)} mm and the image {axes} axes; which of "
            f"them these are is not known: give spacing_mm (SqueezeDim of MONAI keeps an affine of "
            f"those that are left)"
        )
    return stated[:axes]


def _close(one: Sequence[float], other: Sequence[float]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(math.isclose(a, b, rel_tol=SLACK) for a, b in pairs)


@dataclass(frozen=True)
class SpacingSource:
    """Who may say the size of a voxel; asked when a loss needs it, and not before.

    Args:
        given: what the caller said, parsed, or None; in a compiled graph it may be a tensor.
        label: (B, ..., *spatial), asked first.
        input: (B, C, *spatial).
        batch: number of samples.
        axes: number of spatial axes.
        sample: one of them, where only that is meant.
    """

    given: Any
    label: Any
    input: Any
    batch: int
    axes: int
    sample: int | None = None

    def read(self) -> Any:
        """The spacing, or None where nothing says it.

        Raises:
            ValueError: what says it does not say of which axes or samples, or both disagree.
        """
        found = self.given
        if found is None:
            shape = {"batch": self.batch, "axes": self.axes}
            found = meta_spacing(self.label, **shape)
            if found is None:
                found = meta_spacing(self.input, **shape)
            else:
                self._agreed(found)
        return found if found is None or self.sample is None else (found[self.sample],)

    def _agreed(self, found: Spacing) -> None:
        try:
            other = meta_spacing(self.input, batch=self.batch, axes=self.axes)
        except ValueError:  # what the input cannot tell, the label can
            return
        if other is not None and not all(map(_close, found, other)):
            raise ValueError(
                f"spacing_mm: expected it as argument: the MetaTensor of the target says {found}, "
                f"that of the input {other}"
            )

    def of_sample(self, sample: int) -> SpacingSource:
        """The same, of one sample."""
        return replace(self, sample=sample)
