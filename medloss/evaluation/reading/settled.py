"""What a file leaves open and the user says: the size of its voxels, and which axis is which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medloss.evaluation.reading.stored import CaseError, Rule, Stored, by
from medloss.objects.spacing import snapped, within

AXES = "xyz"
"""Columns, rows and slices: the axes of every image, and of sizes unless told otherwise."""

SPACING_TOLERANCE = 0.001
"""Largest difference of two voxel sizes that are one, as a share of the voxel size."""


@dataclass(frozen=True)
class Told:
    """What the user says of the files that do not say it themselves.

    Args:
        spacing_mm: voxel size along each of ``axes``, or along x, y and z where those are not
            given; empty for nothing.
        axes: what the axes of an array are, in its order, such as ``"zyx"``; ``c`` is the one of
            the classes. Empty for nothing.
        contours: whether voxels are in whose centres lie on the line of a contour.
        spacing_from: the file that says this voxel size of those that state none; empty where it is
            the user, whom no file may contradict.
    """

    spacing_mm: tuple[float, ...] = ()
    axes: str = ""
    contours: Rule = "inclusive"
    spacing_from: str = ""


NOTHING_TOLD = Told()


def parse_told(spacing: str | None, axes: str | None) -> Told:
    """What two options say.

    Args:
        spacing: ``0.8,0.8,2.5``.
        axes: ``zyx``, ``yx``, ``czyx``.

    Raises:
        ValueError: the texts have another form, or do not fit together.

    Example:
        >>> parse_told("3, 1.5, 2", "zyx")
        Told(spacing_mm=(3.0, 1.5, 2.0), axes='zyx', contours='inclusive', spacing_from='')
    """
    order = (axes or "").strip().lower()
    wrong = set(order) - set(AXES + "c") or len(set(order)) < len(order)
    if axes is not None and (wrong or not {"x", "y"} <= set(order)):
        raise ValueError(f"--axes: expected letters such as zyx, yx or czyx, got {axes!r}")
    sizes: tuple[float, ...] = ()
    if spacing is not None:
        try:
            sizes = tuple(float(word) for word in spacing.split(","))
        except ValueError:
            sizes = (np.nan,)
        spatial = len(order.replace("c", "")) if order else len(sizes)
        if not all(0 < size < np.inf for size in sizes) or len(sizes) not in {2, 3} & {spatial}:
            count = spatial if order else "2 or 3"
            raise ValueError(
                f"--spacing: expected {count} sizes in mm such as 0.8,0.8,2.5, got {spacing!r}"
            )
    return Told(sizes, order)


def settled(path: Path, stored: Stored, told: Told) -> Stored:
    """The voxels with their axes as x, y and z, and with a size.

    Args:
        path: for the error texts.
        stored: what the file holds.
        told: what the user says.

    Raises:
        CaseError: the file leaves something open that nobody says, or states another size.
    """
    if not stored.ordered:
        stored = _ordered(path, stored, told.axes)
    count = stored.dimensions
    lengths = np.linalg.norm(stored.affine[:3, :count], axis=0)
    if told.spacing_mm and (np.isnan(lengths).any() or not told.spacing_from):
        order = told.axes.replace("c", "") or AXES[: len(told.spacing_mm)]
        if len(order) != count:
            raise CaseError(f"{path} has {count} spatial axes; --spacing has {len(order)} sizes")
        sizes = [told.spacing_mm[order.index(axis)] for axis in AXES[:count]]
        affine = stored.affine.copy()
        for axis, (stated, said) in enumerate(zip(lengths, sizes, strict=True)):
            if np.isnan(stated):
                affine[:, axis] = 0
                affine[axis, axis] = said
            elif not told.spacing_from and not within(abs(stated - said) / said, SPACING_TOLERANCE):
                raise CaseError(
                    f"{path} states a voxel size of {by_mm(lengths)} mm, and --spacing says "
                    f"{by_mm(sizes)}"
                )
        taken = told.spacing_from and f"voxel size of {path.name} from {told.spacing_from}"
        note = "; ".join(filter(None, (stored.note, taken)))
        return stored._replace(affine=affine, note=note)
    if np.isnan(lengths).any():
        raise CaseError(
            f"{path} does not state the size of its voxels; say it in mm, such as --spacing "
            f"{'0.8,0.8' if count == 2 else '0.8,0.8,2.5'} (along {', '.join(AXES[:count])})"
        )
    return stored


def _ordered(path: Path, stored: Stored, axes: str) -> Stored:
    array = stored.array
    if not axes:
        raise CaseError(
            f"{path} does not say which of its {array.ndim} axes ({by(array.shape)}) is which; say "
            f"it, such as --axes {'yx' if array.ndim == 2 else 'zyx'}"
        )
    if len(axes) != array.ndim:
        raise CaseError(
            f"{path} has {array.ndim} axes ({by(array.shape)}), and --axes {axes} names {len(axes)}"
        )
    order = [axes.index(letter) for letter in AXES + "c" if letter in axes]
    spatial = [axis for axis in order if axes[axis] != "c"]
    before = axes.replace("c", "")
    affine = np.eye(4)
    for axis, old in enumerate(spatial):
        place = before.index(axes[old])
        affine[axis, axis] = stored.affine[place, place]
    return stored._replace(
        array=array.transpose(order),
        affine=affine,
        dimensions=len(spatial),
        ordered=True,
        stated_mm=(),
    )


def by_mm(sizes: object) -> str:
    """Sizes as text, without the noise of float32."""
    return " x ".join(f"{snapped(size):g}" for size in np.asarray(sizes).tolist())
