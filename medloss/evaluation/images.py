"""One record for an image file of any format: voxels, voxel size and place, checked.

Axes are in file order, (x, y, z), for every reader, and the affine leads to RAS+ millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation import values
from medloss.evaluation.errors import CaseError

_LARGEST_COSINE = 0.01


@dataclass(frozen=True, eq=False)
class Image:
    """A label map or the probability maps of several classes, and where they lie.

    Args:
        path: the file.
        array: ``(x, y)`` or ``(x, y, z)`` labels in the file's own integer type, or probabilities
            with the classes as one more, last axis.
        spacing_mm: voxel size along each spatial axis.
        affine: 4x4, voxel index to RAS+ millimetres.
        probabilities: whether ``array`` holds probabilities.
    """

    path: Path
    array: NDArray[Any]
    spacing_mm: tuple[float, ...]
    affine: NDArray[np.float64]
    probabilities: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each spatial axis, in voxels."""
        return self.array.shape[: len(self.spacing_mm)]

    def labels(self) -> NDArray[Any]:
        """The label map: of probabilities the likeliest class, of a single class p >= 0.5."""
        return values.most_likely(self.array) if self.probabilities else self.array


def read_image(path: Path) -> Image:
    """Read an image file of any of ``pairing.SUFFIXES``.

    Raises:
        CaseError: the file cannot be read, contradicts itself, or holds neither whole-number labels
            nor probabilities.
    """
    # The readers take 0.1 to 0.3 s to import, and most studies need one of them.
    try:
        if path.stat().st_size == 0:
            raise CaseError(f"{path} is empty")
        if path.name.lower().endswith((".nii", ".nii.gz")):
            from medloss.evaluation.nifti import read_nifti as read
        else:
            from medloss.evaluation.itk import read_itk as read
        array, affine, dimensions = read(path)
    except OSError as error:
        raise CaseError(f"{path} cannot be read: {error.strerror or error}") from error
    return make_image(path, array, affine, dimensions)


def make_image(
    path: Path, array: NDArray[Any], affine: NDArray[np.float64], dimensions: int
) -> Image:
    """Check what a reader found and settle whether it is labels or probabilities.

    Args:
        path: for the error texts.
        array: ``dimensions`` spatial axes, and perhaps one of classes after them.
        affine: 4x4, RAS+ millimetres.
        dimensions: how many axes are spatial, 2 or 3.

    Raises:
        CaseError: as :func:`read_image`.

    Example:
        >>> image = make_image(Path("a.nii"), np.array([[0.0, 2.0]]), np.diag([1, 3, 1, 1]), 2)
        >>> image.spacing_mm, image.array.dtype
        ((1.0, 3.0), dtype('uint8'))
    """
    if array.size == 0:
        raise CaseError(f"{path} holds no voxels: its shape is {array.shape}")
    if array.dtype.kind not in "biuf":
        raise CaseError(f"{path} holds values of type {array.dtype}, not labels")
    spacing_mm = _spacing_mm(path, affine, dimensions)
    low, high = values.finite_range(path, array)
    if array.ndim > dimensions and array.shape[-1] == 1 and values.is_whole(array):
        array = array[..., 0]  # a label map that was saved with one more axis
    if array.ndim > dimensions:
        values.check_probabilities(path, array, low, high)
        return Image(path, array, spacing_mm, affine, probabilities=True)
    return Image(path, values.whole_numbers(path, array, low, high), spacing_mm, affine)


def _spacing_mm(path: Path, affine: NDArray[np.float64], dimensions: int) -> tuple[float, ...]:
    axes = np.asarray(affine, dtype=np.float64)[:3, :dimensions]
    spacing = np.linalg.norm(axes, axis=0)
    if not np.isfinite(affine).all() or not (spacing > 0).all():
        raise CaseError(f"{path} has an unusable affine: {np.asarray(affine).tolist()}")
    cosines = (axes / spacing).T @ (axes / spacing) - np.eye(dimensions)
    if np.abs(cosines).max() > _LARGEST_COSINE:
        raise CaseError(
            f"{path} has a sheared affine (axes not at right angles), so that distances in "
            f"millimetres do not follow from its voxel size: {np.asarray(affine).tolist()}"
        )
    return tuple(float(size) for size in spacing)
