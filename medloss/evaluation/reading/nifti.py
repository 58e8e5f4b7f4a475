"""NIfTI 1 and 2, with everything that the format leaves open settled or refused.

Read here and not by nibabel, whose import takes as long as the work on a small case.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.opened import read_file
from medloss.evaluation.reading.stored import (
    DEFLATE_RATIO,
    PATIENT,
    CaseError,
    Stored,
    as_array,
    check_stored,
    voxel_bytes,
)
from medloss.evaluation.reading.voxel_files import Inflating, read_voxels

_FIELDS = {  # name: (type, how many, place in NIfTI-1, type and place in NIfTI-2)
    "dim": ("i2", 8, 40, "i8", 16),
    "datatype": ("i2", 1, 70, "i2", 12),
    "pixdim": ("f4", 8, 76, "f8", 104),
    "vox_offset": ("f4", 1, 108, "i8", 168),
    "scl_slope": ("f4", 1, 112, "f8", 176),
    "scl_inter": ("f4", 1, 116, "f8", 184),
    "xyzt_units": ("u1", 1, 123, "i4", 500),
    "qform_code": ("i2", 1, 252, "i4", 344),
    "sform_code": ("i2", 1, 254, "i4", 348),
    "quatern": ("f4", 3, 256, "f8", 352),
    "qoffset": ("f4", 3, 268, "f8", 376),
    "srow": ("f4", 12, 280, "f8", 400),
}
_SIZES = {348: (344, b"n+1\0"), 540: (4, b"n+2\0")}  # of the header: where its magic is
SHORTEST = min(_SIZES)
"""Bytes of the shorter header, which say whether it is the longer one."""

_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_OTHER_TYPES = {
    1: "1-bit",
    32: "complex64",
    128: "RGB",
    1536: "float128",
    1792: "complex128",
    2048: "complex256",
    2304: "RGBA",
}
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, metre, millimetre, micrometre
_QUATERNION_TOLERANCE = 1e-3
_SPACING_TOLERANCE = 0.01


def read_nifti(path: Path) -> Stored:
    """Voxels in the file's own order and type.

    Where neither the sform nor the qform is set there is a voxel size and no place: every program
    makes up another one.

    Raises:
        CaseError: the file is damaged or contradicts itself.
    """
    content = read_file(path)
    if content.startswith(b"\x1f\x8b"):
        header, stored = _compressed(path, content)
    else:
        header = parse_header(path, content[: header_size(content)])
        voxels = memoryview(content)
        stored = read_voxels(
            path, voxels, header.shape, header.dtype, compressed=False, skip=header.offset
        )
    array, dimensions = _classes_last(path, _scaled(header, stored))
    _check_spacing(path, header.pixdim[:dimensions], header.affine)
    affine = header.affine.copy()
    affine[:3] *= header.mm_per_unit
    return Stored(array, affine, dimensions, space=PATIENT if header.placed else "")


def _compressed(path: Path, content: bytes) -> tuple[NiftiHeader, NDArray[Any]]:
    stream = Inflating(path, content)
    # No byte more than the header, so that the voxels come in one piece and are not copied.
    start = stream.read(SHORTEST)
    start += stream.read(header_size(start) - len(start))
    header = parse_header(path, start)
    size = voxel_bytes(path, header.shape, header.dtype.itemsize)
    check_stored(path, header.offset + size, len(content), DEFLATE_RATIO)
    stream.read(header.offset - len(start))
    return header, as_array(stream.read_last(size), header.shape, header.dtype)


def _scaled(header: NiftiHeader, stored: NDArray[Any]) -> NDArray[Any]:
    if (header.slope, header.inter) == (1, 0):
        return stored
    array: NDArray[Any] = stored.astype(np.float32 if stored.dtype.itemsize <= 2 else np.float64)
    array *= header.slope
    array += header.inter
    return array


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


@dataclass(frozen=True)
class NiftiHeader:
    """What a NIfTI header says.

    Args:
        shape: size along every axis, in the file's order.
        dtype: of the stored numbers, with their byte order.
        offset: where in the file they begin.
        slope: stored numbers are multiplied by it.
        inter: and this is added.
        affine: 4x4, voxel index to the file's unit of length, RAS+; where ``placed`` is not set,
            around the middle of the image.
        pixdim: voxel size along each axis, as stated beside the affine.
        mm_per_unit: unit of length.
        placed: whether the file says where its voxels lie, by an sform or a qform.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float
    affine: NDArray[np.float64]
    pixdim: tuple[float, ...]
    mm_per_unit: float
    placed: bool


def parse_header(path: Path, content: bytes) -> NiftiHeader:
    """Read the header at the beginning of ``content``.

    Raises:
        CaseError: it is none, or says what cannot be.
    """
    order, size = _order_and_size(content)
    place, magic = _SIZES.get(size, (0, b"?"))
    if content[place : place + 4] == b"ni1\0" and size == 348:
        raise CaseError(f"{path} keeps its voxels in another file (.img); save it as one file")
    if len(content) < size or content[place : place + 4] != magic:
        raise CaseError(f"{path} is not a NIfTI file")
    fields = _fields(content, order, size)
    axes, *sizes = (int(n) for n in fields["dim"])
    if not 1 <= axes <= 7:
        raise CaseError(f"{path} is damaged: its header says {axes} axes")
    code = int(fields["datatype"])
    if code not in _TYPES:
        kind = _OTHER_TYPES.get(code, f"number {code}")
        raise CaseError(f"{path} holds values of type {kind}, not labels")
    offset = float(fields["vox_offset"])
    # Before its voxels a file of one piece has the header and four bytes more.
    if not size <= offset < 2**40 or offset != int(offset):
        raise CaseError(f"{path} is damaged: its voxels begin at byte {offset:g}")
    slope, inter = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        slope, inter = 1.0, 0.0  # as the format says: not scaled
    if not np.isfinite(inter):
        raise CaseError(f"{path} is damaged: its voxels are shifted by {inter}")
    shape = tuple(sizes[:axes])
    pixdim = np.abs(np.asarray(fields["pixdim"], dtype=np.float64))
    return NiftiHeader(
        shape=shape,
        dtype=np.dtype(order + _TYPES[code]),
        offset=int(offset),
        slope=slope,
        inter=inter,
        affine=_affine(path, fields, shape),
        pixdim=tuple(float(length) for length in pixdim[1 : axes + 1]),
        mm_per_unit=_MM_PER_UNIT.get(int(fields["xyzt_units"]) % 8, 1.0),
        placed=bool(fields["sform_code"] > 0 or fields["qform_code"] > 0),
    )


def header_size(content: bytes) -> int:
    """Bytes of the header that begins so, ``SHORTEST`` where it is none."""
    return _order_and_size(content)[1] or SHORTEST


def _order_and_size(content: bytes) -> tuple[str, int]:
    orders: tuple[tuple[str, Literal["little", "big"]], ...] = (("<", "little"), (">", "big"))
    for order, name in orders:
        size = int.from_bytes(content[:4], name)
        if size in _SIZES:
            return order, size
    return "<", 0


def _fields(content: bytes, order: str, size: int) -> Any:
    names, formats, offsets = [], [], []
    for name, (kind, count, place, kind_2, place_2) in _FIELDS.items():
        names.append(name)
        formats.append((order + (kind if size == 348 else kind_2), (count,) if count > 1 else ()))
        offsets.append(place if size == 348 else place_2)
    dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})
    return np.frombuffer(content, dtype, count=1)[0]


def _affine(path: Path, fields: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """By the sform, else by the quaternion, else around the middle, as nibabel has it."""
    affine = np.eye(4)
    lengths = np.abs(np.asarray(fields["pixdim"], dtype=np.float64))[1:4]
    if fields["sform_code"] > 0:
        affine[:3] = np.reshape(fields["srow"], (3, 4))
    elif fields["qform_code"] > 0:
        mirrored = -1.0 if fields["pixdim"][0] == -1 else 1.0
        turned = _rotation(path, np.asarray(fields["quatern"], dtype=np.float64))
        affine[:3, :3] = turned * (lengths * (1.0, 1.0, mirrored))
        affine[:3, 3] = fields["qoffset"]
    else:
        axes = min(len(shape), 3)
        lengths[0] *= -1
        lengths[axes:] = 1.0
        affine[:3, :3] = np.diag(lengths)
        affine[:axes, 3] = -(np.array(shape[:axes]) - 1) / 2 * lengths[:axes]
    return affine


def _rotation(path: Path, quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix of the unit quaternion whose real part, at least 0, is not stored."""
    norm = float(quaternion @ quaternion)
    if not norm <= 1 + _QUATERNION_TOLERANCE:
        raise CaseError(f"{path} is damaged: its quaternion {quaternion.tolist()} is no rotation")
    b, c, d = quaternion / max(np.sqrt(norm), 1.0)
    a = np.sqrt(max(1.0 - (b * b + c * c + d * d), 0.0))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
