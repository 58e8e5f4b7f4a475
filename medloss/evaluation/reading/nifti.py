"""NIfTI 1 and 2 and Analyze 7.5, with everything that they leave open settled or refused.

Read here and not by nibabel, whose import takes as long as the work on a small case.
"""

from __future__ import annotations

import html
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.opened import look_for, open_file
from medloss.evaluation.reading.stored import (
    DEFLATE_RATIO,
    PATIENT,
    CaseError,
    Stored,
    as_array,
    check_stored,
    voxel_bytes,
)
from medloss.evaluation.reading.voxel_files import (
    GZIP,
    LONGEST_HEADER,
    RAW,
    Inflating,
    read_packed,
    read_voxels,
)

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
_FARTHEST_APART = 0.1
_LONGEST_NAME = 1000
_START = 1 << 16


def read_nifti(path: Path) -> Stored:
    """Voxels in the file's own order and type.

    Where neither the sform nor the qform is set there is a voxel size and no place: every program
    makes up another one. Where both are and contradict one another, the sform counts, and it is
    said.

    Raises:
        CaseError: the file is damaged or contradicts itself.
    """
    with open_file(path) as file:
        start, packed = _start(path, file)
        header = parse_header(path, start[: header_size(start)])
        file.seek(0)
        if packed:
            before, voxels = _inflated(path, file, header)
        else:
            before = file.read(min(header.offset, LONGEST_HEADER))
            file.seek(0)
            voxels = read_voxels(path, file, header.shape, header.dtype, skip=header.offset)
    return _stored(path, header, voxels, before)


def read_nifti_pair(path: Path) -> Stored:
    """A header (``.hdr``), of NIfTI or of Analyze 7.5, and the voxels of ``.img`` beside it.

    Analyze 7.5 has a voxel size alone, and does not say which side is left.

    Raises:
        CaseError: as :func:`read_nifti`, or there is not one such file beside it.
    """
    with open_file(path) as file:
        start, packed = _start(path, file)
        header = parse_header(path, start[: header_size(start)], pair=True)
        file.seek(0)
        content = file.read(LONGEST_HEADER)
    if packed:
        content = Inflating(path, content).read(LONGEST_HEADER)
    base = path.name[: path.name.lower().rindex(".hdr")]
    names = [base + suffix for suffix in (".img", ".img.gz", ".IMG")]
    beside = [path.with_name(name) for name in names if look_for(path.with_name(name))]
    if len(beside) != 1:
        found = " and ".join(other.name for other in beside) or f"no {base}.img"
        raise CaseError(f"{path} is the header of voxels in another file, and beside it is {found}")
    with open_file(beside[0]) as file:
        encoding = GZIP if file.read(2) == b"\x1f\x8b" else RAW
        file.seek(0)
        voxels = read_voxels(
            beside[0], file, header.shape, header.dtype, encoding=encoding, skip=header.offset
        )
    return _stored(path, header, voxels, content)


def _start(path: Path, file: BinaryIO) -> tuple[bytes, bool]:
    """The first bytes, with the header, and whether they were compressed."""
    content = file.read(_START)
    if not content.startswith(b"\x1f\x8b"):
        return content, False
    return Inflating(path, content).read(max(_SIZES)), True


def _inflated(path: Path, file: BinaryIO, header: NiftiHeader) -> tuple[bytes, NDArray[Any]]:
    size = voxel_bytes(path, header.shape, header.dtype.itemsize)
    content = read_packed(path, file, header.offset + size)
    check_stored(path, header.offset + size, len(content), DEFLATE_RATIO)
    stream = Inflating(path, content)
    before = stream.read(min(header.offset, LONGEST_HEADER))
    stream.skip(header.offset - len(before))
    # In one piece, which is not copied.
    return before, as_array(stream.read_last(size), header.shape, header.dtype)


def _stored(path: Path, header: NiftiHeader, voxels: NDArray[Any], before: bytes) -> Stored:
    array, dimensions = _classes_last(path, _scaled(header, voxels))
    _check_spacing(path, header.pixdim[:dimensions], header.affine)
    affine = header.affine.copy()
    affine[:3] *= header.mm_per_unit
    space = PATIENT if header.placed else ""
    stated = tuple(size * header.mm_per_unit for size in header.pixdim[:dimensions])
    names = _names(before)
    return Stored(array, affine, dimensions, header.note, space, names=names, stated_mm=stated)


def _names(before: bytes) -> dict[int, str]:
    """Of labels, by the XML table that TotalSegmentator and the Workbench write into a header."""
    found: dict[int, str] = {}
    for piece in before.split(b"<Label ")[1:]:
        attributes, _, text = piece.partition(b">")
        key = re.search(rb"""\bKey=["'](\d{1,9})["']""", attributes[:1000])
        name = text.partition(b"</Label>")[0].strip()
        name = name.removeprefix(b"<![CDATA[").removesuffix(b"]]>")
        if key and name and len(name) <= _LONGEST_NAME:
            found[int(key[1])] = html.unescape(name.decode("utf-8", "replace")).strip()
    found.pop(0, None)
    return found


def _scaled(header: NiftiHeader, stored: NDArray[Any]) -> NDArray[Any]:
    if (header.slope, header.inter) == (1, 0):
        return stored
    array: NDArray[Any] = stored.astype(np.float32 if stored.dtype.itemsize <= 2 else np.float64)
    array *= header.slope
    array += header.inter
    return array


def _classes_last(path: Path, array: NDArray[Any]) -> tuple[NDArray[Any], int]:
    while array.ndim > 4 and array.shape[-1] == 1:
        array = array[..., 0]
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
        note: where these two contradict one another.
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
    note: str = ""


def parse_header(path: Path, content: bytes, *, pair: bool = False) -> NiftiHeader:
    """Read the header at the beginning of ``content``.

    Args:
        path: for the error texts.
        content: the header.
        pair: whether it is a file of its own, and may be that of Analyze 7.5.

    Raises:
        CaseError: it is none, or says what cannot be.
    """
    order, size = _order_and_size(content)
    place, magic = _SIZES.get(size, (0, b"?"))
    found = content[place : place + 4]
    apart = b"ni" + magic[2:]
    if found == apart and not pair:
        raise CaseError(f"{path} keeps its voxels in another file (.img); save it as one file")
    if found == magic and pair:
        raise CaseError(f"{path} is a NIfTI file of one piece; call it .nii")
    analyze = pair and size == 348 and found[:1] not in (b"n", b"N")
    if len(content) < size or (found != (apart if pair else magic) and not analyze):
        raise CaseError(f"{path} is not a NIfTI {'header' if pair else 'file'}")
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
    if not (0 if pair else size) <= offset < 2**40 or offset != int(offset):
        raise CaseError(f"{path} is damaged: its voxels begin at byte {offset:g}")
    slope, inter = float(fields["scl_slope"]), float(fields["scl_inter"])
    if analyze:
        if slope not in (0, 1):
            raise CaseError(
                f"{path} scales its voxels by {slope:g}, which Analyze 7.5 leaves to each program; "
                f"save it as NIfTI"
            )
        slope = 0.0
    if slope == 0 or not np.isfinite(slope):
        slope, inter = 1.0, 0.0  # as the format says: not scaled
    if not np.isfinite(inter):
        raise CaseError(f"{path} is damaged: its voxels are shifted by {inter}")
    shape = _shape(sizes[:axes])
    pixdim = np.abs(np.asarray(fields["pixdim"], dtype=np.float64))
    placed = not analyze and bool(fields["sform_code"] > 0 or fields["qform_code"] > 0)
    return NiftiHeader(
        shape=shape,
        dtype=np.dtype(order + _TYPES[code]),
        offset=int(offset),
        slope=slope,
        inter=inter,
        affine=_affine(path, fields, shape) if placed else _around_the_middle(fields, shape),
        pixdim=tuple(float(length) for length in pixdim[1 : axes + 1]),
        mm_per_unit=1.0 if analyze else _MM_PER_UNIT.get(int(fields["xyzt_units"]) % 8, 1.0),
        placed=placed,
        note=_contradiction(path, fields, shape) if placed else "",
    )


def _shape(sizes: list[int]) -> tuple[int, ...]:
    """Some programs leave sizes at 0 behind the axes that they use."""
    used = max((axis for axis, size in enumerate(sizes) if size != 0), default=-1) + 1
    return (*sizes[:used], *[1] * (len(sizes) - used)) if used else tuple(sizes)


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
    """By the sform, else by the quaternion."""
    return _by_sform(fields) if fields["sform_code"] > 0 else _by_qform(path, fields)


def _by_sform(fields: Any) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3] = np.reshape(fields["srow"], (3, 4))
    return affine


def _by_qform(path: Path, fields: Any) -> NDArray[np.float64]:
    affine = np.eye(4)
    lengths = np.abs(np.asarray(fields["pixdim"], dtype=np.float64))[1:4]
    mirrored = -1.0 if fields["pixdim"][0] == -1 else 1.0
    turned = _rotation(path, fields["quatern"])
    affine[:3, :3] = turned * (lengths * (1.0, 1.0, mirrored))
    affine[:3, 3] = fields["qoffset"]
    return affine


def _around_the_middle(fields: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """As nibabel has it where a file says no place."""
    affine = np.eye(4)
    lengths = np.abs(np.asarray(fields["pixdim"], dtype=np.float64))[1:4]
    axes = min(len(shape), 3)
    lengths[0] *= -1
    lengths[axes:] = 1.0
    affine[:3, :3] = np.diag(lengths)
    affine[:axes, 3] = -(np.array(shape[:axes]) - 1) / 2 * lengths[:axes]
    return affine


def _contradiction(path: Path, fields: Any, shape: tuple[int, ...]) -> str:
    """How far apart the same voxel lies by the two transforms, where it is far."""
    if not (fields["sform_code"] > 0 and fields["qform_code"] > 0):
        return ""
    try:
        apart = _by_sform(fields)[:3] - _by_qform(path, fields)[:3]
    except CaseError:
        return "its qform is no rotation; the sform counts"
    ends = [(0, size - 1) for size in shape[:3]] + [(0,)] * (3 - len(shape))
    corners = np.array([(*corner, 1) for corner in itertools.product(*ends)], dtype=np.float64)
    lengths = np.abs(np.asarray(fields["pixdim"], dtype=np.float64))[1 : min(len(shape), 3) + 1]
    voxels = float(np.linalg.norm(corners @ apart.T, axis=1).max() / max(lengths.min(), 1e-9))
    if not voxels > _FARTHEST_APART:
        return ""
    return (
        f"the sform and the qform of {path.name} place the same voxel up to {voxels:.3g} voxels "
        f"apart; the sform counts"
    )


def _rotation(path: Path, stored: NDArray[Any]) -> NDArray[np.float64]:
    """Matrix of the unit quaternion whose real part, at least 0, is not stored."""
    quaternion = np.asarray(stored, dtype=np.float64)
    norm = float(quaternion @ quaternion)
    if not norm <= 1 + _QUATERNION_TOLERANCE:
        raise CaseError(f"{path} is damaged: its quaternion {quaternion.tolist()} is no rotation")
    b, c, d = quaternion / max(np.sqrt(norm), 1.0)
    square = 1.0 - (b * b + c * c + d * d)
    # What the rounding of the other three leaves is no turn.
    a = 0.0 if square < 3 * np.finfo(stored.dtype).eps else np.sqrt(square)
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
