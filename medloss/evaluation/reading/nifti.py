"""NIfTI 1 and 2, with everything that the format leaves open settled or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.errors import CaseError
from medloss.evaluation.reading.inflate import Inflating
from medloss.evaluation.reading.limits import DEFLATE_RATIO, check_stored, voxel_bytes
from medloss.evaluation.reading.nifti_header import SHORTEST, NiftiHeader, header_size, parse_header
from medloss.evaluation.reading.opened import read_file
from medloss.evaluation.reading.stored import PATIENT, Stored

_SPACING_TOLERANCE = 0.01


def read_nifti(path: Path) -> tuple[NDArray[Any], NDArray[np.float64], int]:
    """Array in the file's own order and type, affine in RAS+ millimetres, number of spatial axes.

    Raises:
        CaseError: the file is damaged or contradicts itself.
    """
    return load_nifti(path)[:3]


def load_nifti(path: Path) -> Stored:
    """The same, and whether the file says where its voxels lie.

    Where neither the sform nor the qform is set there is a voxel size and no place: every program
    makes up another one.

    Raises:
        CaseError: the file is damaged or contradicts itself.
    """
    content = read_file(path)
    if content.startswith(b"\x1f\x8b"):
        header, voxels = _compressed(path, content)
    else:
        header = parse_header(path, content[: header_size(content)])
        size = voxel_bytes(path, header.shape, header.dtype.itemsize)
        check_stored(path, size, max(0, len(content) - header.offset))
        voxels = memoryview(content)[header.offset : header.offset + size]
    stored = np.frombuffer(voxels, header.dtype).reshape(header.shape, order="F")
    array, dimensions = _classes_last(path, _values(header, stored))
    _check_spacing(path, header.pixdim[:dimensions], header.affine)
    affine = header.affine.copy()
    affine[:3] *= header.mm_per_unit
    return Stored(array, affine, dimensions, space=PATIENT if header.placed else "")


def _compressed(path: Path, content: bytes) -> tuple[NiftiHeader, memoryview]:
    stream = Inflating(path, content)
    # No byte more than the header, so that the voxels come in one piece and are not copied.
    start = stream.read(SHORTEST)
    start += stream.read(header_size(start) - len(start))
    header = parse_header(path, start)
    size = voxel_bytes(path, header.shape, header.dtype.itemsize)
    check_stored(path, header.offset + size, len(content), DEFLATE_RATIO)
    stream.read(header.offset - len(start))
    voxels = stream.read(size)
    check_stored(path, size, len(voxels))
    stream.finish()
    return header, memoryview(voxels)


def _values(header: NiftiHeader, stored: NDArray[Any]) -> NDArray[Any]:
    if (header.slope, header.inter) != (1, 0):
        dtype = np.float32 if stored.dtype.itemsize <= 2 else np.float64
        array: NDArray[Any] = stored.astype(dtype)
        array *= header.slope
        array += header.inter
        return array
    return stored.astype(stored.dtype.newbyteorder("="), copy=False)


def _classes_last(path: Path, array: NDArray[Any]) -> tuple[NDArray[Any], int]:
    if array.ndim == 5 and array.shape[3] == 1:
        array = array[:, :, :, 0]  # how the format stores vectors: no time, then the components
    if array.ndim not in (2, 3, 4):
        raise CaseError(f"{path} has {array.ndim} axes; expected 2 or 3, or 4 with classes last")
    return array, min(array.ndim, 3)


def _check_spacing(path: Path, stated: tuple[float, ...], affine: NDArray[np.float64]) -> None:
    """The header says the voxel size twice; distances must not depend on which one is read."""
    if not all(length > 0 for length in stated):
        raise CaseError(f"{path} states no voxel size: pixdim is {_listed(stated)}")
    placed = tuple(float(x) for x in np.linalg.norm(affine[:3, : len(stated)], axis=0))
    if not np.allclose(placed, stated, rtol=_SPACING_TOLERANCE, atol=0):
        raise CaseError(
            f"{path} contradicts itself: the voxel size is {_listed(stated)} by pixdim and "
            f"{_listed(placed)} by the affine"
        )


def _listed(sizes: tuple[float, ...]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)
