"""NRRD, read strictly: what the format leaves open and the numbers depend on is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.opened import read_file
from medloss.evaluation.reading.stored import PATIENT, CaseError, Stored
from medloss.evaluation.reading.voxel_files import (
    LONGEST_HEADER,
    check_one_file,
    numbers,
    read_beside,
    read_voxels,
    whole_numbers,
)

_TYPES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, "
    "int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
_TYPE_OF = {alias: code for code, aliases in _TYPES.items() for alias in aliases.split(", ")}
_RAS = ("right-anterior-superior", "ras")
_LAS = ("left-anterior-superior", "las")
_LPS = ("left-posterior-superior", "lps")
_DOMAIN = ("domain", "space", "time", "???", "none")
_MILLIMETRES = ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "", "???")


def read_nrrd(path: Path) -> Stored:
    """Voxels with the classes last, and what space they lie in as far as the file says it.

    It is the patient's where the file names one of those spaces and says directions and origin in
    it. ITK takes any other space for left-posterior-superior, and what is missing for 0.

    Raises:
        CaseError: the file is damaged, or leaves open what the numbers depend on.
    """
    content = read_file(path)
    if not content.startswith(b"NRRD"):
        raise CaseError(f"{path} is not an NRRD file")
    end = re.search(rb"\r?\n\r?\n", content[:LONGEST_HEADER])
    text = content[: end.start() if end else LONGEST_HEADER].decode("latin-1")
    pairs = re.findall(r"^([^#:\n][^:\n]*):[ \t]+(.*?)[ \t\r]*$", text, re.MULTILINE)
    fields = {name.strip().lower(): value for name, value in pairs}
    shape = whole_numbers(path, "sizes", fields.get("sizes", ""))
    name = fields.get("data file", fields.get("datafile"))
    if name is None and end is None:
        raise CaseError(f"{path} is truncated: its header has no end")
    if name is not None:
        check_one_file(path, name, ".nrrd")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise CaseError(f"{path} has voxels encoded as {encoding[:40]!r}; expected raw or gzip")
    if fields.get("line skip", fields.get("lineskip", "0")) != "0":
        raise CaseError(f"{path} has lines before its voxels (line skip), which is not supported")
    text = fields.get("byte skip", fields.get("byteskip", "0"))
    skip = whole_numbers(path, "byte skip", text)[0]
    if skip < -1:
        raise CaseError(f"{path} is damaged: byte skip is {skip}")
    if name is None:
        voxels = memoryview(content)[end.end() if end else 0 :]
    else:
        voxels = read_beside(path, name)
    spatial, affine = _space(path, fields, len(shape))
    array = read_voxels(
        path, voxels, shape, _dtype(path, fields), compressed=encoding != "raw", skip=skip
    )
    classes = [axis for axis in range(len(shape)) if axis not in spatial]
    array = np.moveaxis(array, classes, [-1] * len(classes))
    return Stored(array, affine, min(len(spatial), 3), space=_named_space(fields))


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype[Any]:
    name = fields.get("type", "").lower()
    if name not in _TYPE_OF:
        raise CaseError(f"{path} holds values of type {name[:40]!r}, not labels")
    code, order = _TYPE_OF[name], fields.get("endian", "").lower()
    if code[1] != "1" and order not in ("little", "big"):
        raise CaseError(f"{path} does not say the byte order of its voxels (endian)")
    return np.dtype((">" if order == "big" else "<") + code)


def _space(path: Path, fields: dict[str, str], axes: int) -> tuple[list[int], NDArray[np.float64]]:
    """The spatial axes, and the affine of the first three of them."""
    units = [unit.strip().lower() for unit in re.findall(r'"(.*?)"', fields.get("space units", ""))]
    for unit in units:
        if unit not in _MILLIMETRES:
            raise CaseError(f"{path} has lengths in {unit[:40]!r}; expected mm")
    if "space directions" in fields:
        vectors = _vectors(path, "space directions", fields["space directions"], axes)
        spatial = [axis for axis, vector in enumerate(vectors) if vector is not None]
        columns = [vector for vector in vectors if vector is not None]
    elif "spacings" in fields:
        if "axis mins" in fields or "axismins" in fields:
            raise CaseError(f"{path} states its place by axis mins, which is not supported")
        words = fields["spacings"].split()
        if len(words) != axes:
            raise CaseError(f"{path} is damaged: {len(words)} spacings for {axes} axes")
        kinds = fields.get("kinds", "").lower().split() or ["domain"] * axes
        spatial = [
            axis
            for axis, (word, kind) in enumerate(zip(words, kinds, strict=False))
            if word.lower() != "nan" and kind in _DOMAIN
        ]
        sizes = numbers(path, "spacings", " ".join(words[a] for a in spatial), len(spatial))
        columns = list(np.diag(sizes))
    else:
        raise CaseError(f"{path} states no voxel size (neither spacings nor space directions)")
    if len(spatial) not in (2, 3, 4) or axes - len(spatial) > (len(spatial) < 4):
        raise CaseError(f"{path} has {axes} axes; expected 2 or 3, and one of classes at most")
    return spatial, _affine(path, fields, columns)


def _named_space(fields: dict[str, str]) -> str:
    if "space directions" not in fields or "none" in fields.get("space origin", "none").lower():
        return ""
    space = fields.get("space", "").lower()
    if space.removesuffix("-time").removesuffix("t") in (*_RAS, *_LAS, *_LPS):
        return PATIENT
    return f"the space {space[:40]!r}" if space else "a space without a name"


def _affine(
    path: Path, fields: dict[str, str], columns: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    affine = np.eye(4)
    for axis, vector in enumerate(columns[:3]):
        affine[: min(len(vector), 3), axis] = vector[:3]
    if "space origin" in fields:
        (origin,) = _vectors(path, "space origin", fields["space origin"], 1)
        if origin is not None:
            affine[: min(len(origin), 3), 3] = origin[:3]
    space = fields.get("space", "").lower()
    # What is no space of a patient is taken for left-posterior-superior, as ITK does.
    signs = (1, 1) if space in _RAS else (-1, 1) if space in _LAS else (-1, -1)
    return np.diag([*signs, 1.0, 1.0]) @ affine


def _vectors(path: Path, field: str, text: str, count: int) -> list[NDArray[np.float64] | None]:
    words = re.findall(r"none|\([^()]*\)", text.lower())
    if len(words) != count or re.sub(r"none|\([^()]*\)|\s", "", text.lower()):
        raise CaseError(f"{path} is damaged: {field} is {text[:100]!r}; expected {count} vectors")
    inner = [None if word == "none" else word[1:-1].replace(",", " ") for word in words]
    length = max((len(word.split()) for word in inner if word is not None), default=0)
    if not 2 <= length <= 4 and length:
        raise CaseError(f"{path} is damaged: {field} is {text[:100]!r}")
    return [None if word is None else numbers(path, field, word, length) for word in inner]
