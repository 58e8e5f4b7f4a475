"""One record for an image file of any format: voxels, voxel size and place, checked.

Axes are in file order, (x, y, z), for every reader, and the affine leads to RAS+ millimetres.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.inputs import values
from medloss.evaluation.inputs.pairing import is_link
from medloss.evaluation.reading.errors import CaseError
from medloss.evaluation.reading.stored import PATIENT
from medloss.objects.spacing import snapped

Channels = Literal["exclusive", "independent"]
"""Whether one class of a stack excludes the others, or each is a class of its own."""

_LARGEST_COSINE = 0.01
_FARTHEST_MM, _SHORTEST_MM = 1e9, 1e-9


@dataclass(frozen=True, eq=False)
class Image:
    """A label map or the probability maps of several classes, and where they lie.

    Args:
        path: the file.
        array: ``(x, y)`` or ``(x, y, z)`` labels in the file's own integer type, or probabilities
            with the classes as one more, last axis.
        spacing_mm: voxel size along each spatial axis.
        affine: 4x4, voxel index to RAS+ millimetres.
        probabilities: whether ``array`` has the classes as its last axis.
        independent: whether those are classes of their own, which may overlap: channel 0 is label
            1. Otherwise one class excludes the others and channel 0 is the background.
        note: what the user should know of how the file was read, else empty.
        space: what ``affine`` leads into: the patient's, a space of the file's own, or empty where
            the file does not say where its voxels lie: then ``affine`` has the voxel size alone.
    """

    path: Path
    array: NDArray[Any]
    spacing_mm: tuple[float, ...]
    affine: NDArray[np.float64]
    probabilities: bool = False
    independent: bool = False
    note: str = ""
    space: str = PATIENT

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each spatial axis, in voxels."""
        return self.array.shape[: len(self.spacing_mm)]

    def labels(self) -> NDArray[Any]:
        """The label map: of probabilities the likeliest class, of a single class p >= 0.5.

        Raises:
            CaseError: the classes are independent and have no common label map.
        """
        if self.independent:
            raise CaseError(f"{self.path} holds classes of their own, not one label map")
        return values.most_likely(self.array) if self.probabilities else self.array


# Numbers of damaged headers may overflow on the way; what they lead to is checked.
@np.errstate(over="ignore", invalid="ignore")
def read_image(path: Path, *, channels: Channels | None = None, grid: Image | None = None) -> Image:
    """Read an image file of any of ``pairing.SUFFIXES``, or nnU-Net's ``.npz`` of probabilities.

    Args:
        path: the file.
        channels: what the classes of a fourth axis are; by default exclusive.
        grid: where the voxels of a ``.npz`` lie that has no image of its name beside it.

    Raises:
        CaseError: the file cannot be read, contradicts itself, or holds neither whole-number labels
            nor probabilities.
    """
    name = path.name.lower()
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size == 0:
            raise CaseError(f"{path} is empty")
        if name.endswith(".npz"):
            from medloss.evaluation.reading.npz import load_npz

            stored = load_npz(path, grid)
        elif name.endswith((".nii", ".nii.gz")):
            from medloss.evaluation.reading.nifti import load_nifti

            stored = load_nifti(path)
        elif name.endswith((".nrrd", ".nhdr")):
            from medloss.evaluation.reading.nrrd import load_nrrd

            stored = load_nrrd(path)
        else:
            from medloss.evaluation.reading.metaimage import load_metaimage

            stored = load_metaimage(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and is_link(path):
            raise CaseError(f"{path} is a link that leads nowhere") from error
        raise CaseError(f"{path} cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise CaseError(f"{path} takes more memory than there is") from error
    return make_image(path, *stored, channels=channels)


def make_image(
    path: Path,
    array: NDArray[Any],
    affine: NDArray[np.float64],
    dimensions: int,
    note: str = "",
    space: str = PATIENT,
    *,
    channels: Channels | None = None,
) -> Image:
    """Check what a reader found and settle whether it is labels or probabilities.

    Args:
        path: for the error texts.
        array: ``dimensions`` spatial axes, and perhaps one of classes after them.
        affine: 4x4, RAS+ millimetres.
        dimensions: how many axes are spatial, 2 or 3.
        note: of the reader.
        space: what the affine leads into.
        channels: as :func:`read_image`.

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
        exclude = values.channels_exclude(path, array, low, high, channels)
        return Image(path, array, spacing_mm, affine, True, not exclude, note, space)
    array = values.whole_numbers(path, array, low, high)
    return Image(path, array, spacing_mm, affine, note=note, space=space)


def _spacing_mm(path: Path, affine: NDArray[np.float64], dimensions: int) -> tuple[float, ...]:
    affine = np.asarray(affine, dtype=np.float64)
    axes = affine[:3, :dimensions]
    sound = bool((np.abs(affine) < _FARTHEST_MM).all())  # NaN is not
    spacing = np.linalg.norm(axes, axis=0) if sound else np.zeros(dimensions)
    if not (spacing > _SHORTEST_MM).all():
        raise CaseError(f"{path} has an unusable affine: {affine.tolist()}")
    cosines = (axes / spacing).T @ (axes / spacing) - np.eye(dimensions)
    if np.abs(cosines).max() > _LARGEST_COSINE:
        raise CaseError(
            f"{path} has a sheared affine (axes not at right angles), so that distances in "
            f"millimetres do not follow from its voxel size: {affine.tolist()}"
        )
    return tuple(map(snapped, spacing))
