"""NIfTI 1 and 2, with everything that the format leaves open settled or refused."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from medloss.evaluation.errors import CaseError

_KINDS = {348: nibabel.Nifti1Image, 540: nibabel.Nifti2Image}
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, metre, millimetre, micrometre
_SPACING_TOLERANCE = 0.01


def read_nifti(path: Path) -> tuple[NDArray[Any], NDArray[np.float64], int]:
    """Array, affine in RAS+ millimetres, and the number of spatial axes.

    Raises:
        CaseError: the file is damaged or contradicts itself.
    """
    content = _content(path)
    kind = _KINDS.get(_header_size(content))
    if kind is None:
        raise CaseError(f"{path} is not a NIfTI file")
    try:
        # nibabel repairs odd headers and prints what it did; what matters is checked below.
        with LoggingOutputSuppressor():
            stated = kind.header_class.from_fileobj(io.BytesIO(content), check=False)
            image = kind.from_bytes(content)
            _check_length(path, image, len(content))
            array = _values(image)
    except (
        ImageFileError,
        HeaderDataError,
        WrapStructError,
        OSError,
        OverflowError,
        ValueError,
    ) as error:
        if isinstance(error, CaseError):
            raise
        raise CaseError(f"{path} is a damaged NIfTI file: {_one_line(error)}") from error
    array, dimensions = _classes_last(path, array)
    affine = np.asarray(image.affine, dtype=np.float64).copy()
    _check_spacing(path, np.abs(stated["pixdim"][1 : dimensions + 1]), affine)
    affine[:3] *= _MM_PER_UNIT.get(int(stated["xyzt_units"]) % 8, 1.0)
    return array, affine, dimensions


def _content(path: Path) -> bytes:
    """All bytes of the file: reading a gzip stream to its end is what checks its checksum."""
    content = path.read_bytes()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except EOFError as error:
        raise CaseError(f"{path} is truncated: its gzip stream has no end") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CaseError(f"{path} is damaged: {_one_line(error)}") from error


def _header_size(content: bytes) -> int:
    sizes = (int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big"))
    return next((size for size in sizes if size in _KINDS), 0)


def _check_length(path: Path, image: Any, length: int) -> None:
    proxy = image.dataobj
    voxels = 1
    for size in proxy.shape:
        voxels *= int(size)
    expected = int(proxy.offset) + voxels * int(proxy.dtype.itemsize)
    if length < expected:
        raise CaseError(f"{path} is truncated: {length} bytes where its header says {expected}")


def _values(image: Any) -> NDArray[Any]:
    proxy = image.dataobj
    scaled = (proxy.slope, proxy.inter) != (1, 0)
    array: NDArray[Any] = np.asarray(proxy, dtype=np.float32) if scaled else proxy.get_unscaled()
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _classes_last(path: Path, array: NDArray[Any]) -> tuple[NDArray[Any], int]:
    if array.ndim == 5 and array.shape[3] == 1:
        array = array[:, :, :, 0]  # how the format stores vectors: no time, then the components
    if array.ndim not in (2, 3, 4):
        raise CaseError(f"{path} has {array.ndim} axes; expected 2 or 3, or 4 with classes last")
    return array, min(array.ndim, 3)


def _check_spacing(path: Path, stated: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """The header says the voxel size twice; distances must not depend on which one is read."""
    if not (stated > 0).all():
        raise CaseError(f"{path} states no voxel size: pixdim is {_listed(stated)}")
    placed = np.linalg.norm(affine[:3, : len(stated)], axis=0)
    if not np.allclose(placed, stated, rtol=_SPACING_TOLERANCE, atol=0):
        raise CaseError(
            f"{path} contradicts itself: the voxel size is {_listed(stated)} by pixdim and "
            f"{_listed(placed)} by the affine"
        )


def _listed(sizes: NDArray[Any]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
