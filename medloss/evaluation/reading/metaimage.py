"""MetaImage (.mha, .mhd), read strictly.

ITK would take 1 mm where the file has no voxel size, and of damaged compressed voxels whatever was
in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.opened import open_file
from medloss.evaluation.reading.stored import PATIENT, CaseError, Stored
from medloss.evaluation.reading.voxel_files import (
    ASCII,
    RAW,
    ZLIB,
    file_names,
    numbers,
    read_files,
    read_header,
    read_lines,
    read_voxels,
    whole_numbers,
)

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # of 4 bytes on every machine
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_TURNED = ("TransformMatrix", "Rotation", "Orientation")
_MOVED = ("Offset", "Position", "Origin")
_END = rb"^ElementDataFile[ \t]*=[ \t]*[^\r\n]*(\r?\n|\Z)"
_LONGEST_HEADER = 1 << 20
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_metaimage(path: Path) -> Stored:
    """Voxels with the classes last, and whether the file says where they lie.

    It does with an origin and directions; ITK would take 0 and the axes of the patient.

    Raises:
        CaseError: the file is damaged, or leaves open what the numbers depend on.
    """
    with open_file(path) as file:
        text, complete = read_header(file, _END, _LONGEST_HEADER)
        if not complete:
            raise CaseError(f"{path} is not a MetaImage file")
        fields = _fields(text)
        shape = whole_numbers(path, "DimSize", fields.get("DimSize", ""))
        axes, channels = len(shape), _one(path, fields, "ElementNumberOfChannels", 1, least=1)
        if axes not in (2, 3, 4) or (axes == 4 and channels > 1):
            raise CaseError(f"{path} has {axes} axes; expected 2 or 3, and one of classes at most")
        whole = (channels, *shape) if channels > 1 else shape
        array = _voxels(path, fields, file, whole)
    if channels > 1:
        array = np.moveaxis(array, 0, -1)
    placed = any(name in fields for name in _TURNED) and any(name in fields for name in _MOVED)
    space = PATIENT if placed else ""
    sizes = _sizes(path, fields, axes)
    affine = _affine(path, fields, axes, sizes)
    return Stored(array, affine, len(sizes), space=space, stated_mm=tuple(sizes.tolist()))


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.split("\n"))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _voxels(
    path: Path, fields: dict[str, str], file: BinaryIO, shape: tuple[int, ...]
) -> NDArray[Any]:
    kind = fields.get("ElementType", "").removesuffix("_ARRAY")
    if kind not in _TYPES:
        raise CaseError(f"{path} holds values of type {kind[:40]!r}, not labels")
    big = _true(fields, "BinaryDataByteOrderMSB") or _true(fields, "ElementByteOrderMSB")
    dtype = np.dtype((">" if big else "<") + _TYPES[kind])
    packed, is_text = _true(fields, "CompressedData"), not _true(fields, "BinaryData", True)
    if packed and is_text:
        raise CaseError(f"{path} is damaged: its voxels are both text and compressed")
    encoding = ZLIB if packed else ASCII if is_text else RAW
    name, skip = fields["ElementDataFile"], _one(path, fields, "HeaderSize", 0, least=-1)
    if name.lower() == "local":
        return read_voxels(path, file, shape, dtype, encoding=encoding)
    lines = read_lines(file) if name.startswith("LIST") else []
    names, axes = file_names(path, name, lines, len(shape))
    return read_files(path, names, shape, dtype, axes, encoding=encoding, skip=skip)


def _sizes(path: Path, fields: dict[str, str], axes: int) -> NDArray[np.float64]:
    spacing = fields.get("ElementSpacing", fields.get("ElementSize"))
    if spacing is None:
        raise CaseError(f"{path} states no voxel size (ElementSpacing)")
    return numbers(path, "ElementSpacing", spacing, axes)[:3]


def _affine(
    path: Path, fields: dict[str, str], axes: int, sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    space = len(sizes)
    affine = np.eye(4)
    for name in _TURNED:
        if name in fields:
            matrix = numbers(path, name, fields[name], axes * axes).reshape(axes, axes)
            affine[:space, :space] = matrix.T[:space, :space]  # axis after axis
            break
    affine[:space, :space] *= sizes
    for name in _MOVED:
        if name in fields:
            affine[:space, 3] = numbers(path, name, fields[name], axes)[:space]
            break
    return _LPS @ affine


def _one(path: Path, fields: dict[str, str], name: str, default: int, *, least: int) -> int:
    if name not in fields:
        return default
    found = whole_numbers(path, name, fields[name])
    if len(found) != 1 or found[0] < least:
        raise CaseError(f"{path} is damaged: {name} is {fields[name][:100]!r}")
    return found[0]


def _true(fields: dict[str, str], name: str, default: bool = False) -> bool:
    return fields[name].lower() in ("true", "1") if name in fields else default
