"""NRRD, read strictly: what the format leaves open and the numbers depend on is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.opened import open_file
from medloss.evaluation.reading.segments import is_segmentation, segmented
from medloss.evaluation.reading.stored import PATIENT, CaseError, Stored
from medloss.evaluation.reading.voxel_files import (
    ASCII,
    BZIP2,
    GZIP,
    HEX,
    RAW,
    file_names,
    numbers,
    read_files,
    read_header,
    read_voxels,
    skip_lines,
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
_ENCODINGS = {
    "raw": RAW,
    "gzip": GZIP,
    "gz": GZIP,
    "bzip2": BZIP2,
    "bz2": BZIP2,
    "hex": HEX,
    "ascii": ASCII,
    "text": ASCII,
    "txt": ASCII,
}
_WITH_HEADERS = (".nii", ".nii.gz", ".nrrd", ".mha")
_DATA_FILE = ("data file", "datafile")
_RAS = ("right-anterior-superior", "ras")
_LAS = ("left-anterior-superior", "las")
_LPS = ("left-posterior-superior", "lps")
_DOMAIN = ("domain", "space", "time", "???", "none")
_MILLIMETRES = ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "", "???")


def read_nrrd(path: Path) -> Stored:
    """Voxels with the classes last, and what space they lie in as far as the file says it.

    It is the patient's where the file names one of those spaces and says directions and origin in
    it. ITK takes any other space for left-posterior-superior, and what is missing for 0.

    Where the file has the keys of a segmentation of 3D Slicer, or its name says that it is one, the
    classes are its segments.

    Raises:
        CaseError: the file is damaged, or leaves open what the numbers depend on.
    """
    with open_file(path) as file:
        if file.read(4) != b"NRRD":
            raise CaseError(f"{path} is not an NRRD file")
        file.seek(0)
        header = _header(path, *read_header(file, rb"\r?\n\r?\n"))
        fields = header.fields
        shape = whole_numbers(path, "sizes", fields.get("sizes", ""))
        spatial, affine = _space(path, fields, len(shape))
        array = _voxels(path, header, file, shape)
    classes = [axis for axis in range(len(shape)) if axis not in spatial]
    array = np.moveaxis(array, classes, [-1] * len(classes))
    stored = Stored(array, affine, min(len(spatial), 3), space=_named_space(fields))
    if is_segmentation(path, header.keys):
        return segmented(path, stored, header.keys)
    return stored


@dataclass(frozen=True)
class _Header:
    """Fields of the format, keys of whoever wrote the file, and lines behind a list of files."""

    fields: dict[str, str]
    keys: dict[str, str]
    after: list[str]
    complete: bool


def _header(path: Path, text: str, complete: bool) -> _Header:
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    lines = text.split("\n")[1:]
    for number, line in enumerate(lines):
        name, colon, value = line.partition(":")
        if not colon or name.startswith("#"):
            continue
        if value.startswith("="):
            keys[name] = _unescaped(value[1:].rstrip("\r"))
        elif value[:1] in (" ", "\t"):
            name, value = name.strip().lower(), value.strip()
            if fields.setdefault(name, value) != value:
                raise CaseError(f"{path} contradicts itself: it states {name[:40]!r} twice")
            if name in _DATA_FILE and value.split(" ")[0] == "LIST":
                return _Header(fields, keys, lines[number + 1 :], complete)
    return _Header(fields, keys, [], complete)


def _unescaped(value: str) -> str:
    """Text as it was before it was made one line."""
    return re.sub(r"\\[n\\]", lambda found: "\n" if found[0] == r"\n" else "\\", value)


def _voxels(path: Path, header: _Header, file: BinaryIO, shape: tuple[int, ...]) -> NDArray[Any]:
    fields = header.fields
    name = next((fields[key] for key in _DATA_FILE if key in fields), None)
    if name is None and not header.complete:
        raise CaseError(f"{path} is truncated: its header has no end")
    word = fields.get("encoding", "").lower()
    if word not in _ENCODINGS:
        raise CaseError(
            f"{path} has voxels encoded as {word[:40]!r}; expected {', '.join(_ENCODINGS)}"
        )
    lines = _count(path, fields, "line skip", least=0)
    encoding, skip = _ENCODINGS[word], _count(path, fields, "byte skip", least=-1)
    dtype = _dtype(path, fields, encoding)
    if name is None:
        skip_lines(path, file, lines)
        return read_voxels(path, file, shape, dtype, encoding=encoding, skip=skip)
    names, axes = file_names(path, name, header.after, len(shape))
    if skip == 0 and lines == 0 and names[0].lower().endswith(_WITH_HEADERS):
        raise CaseError(
            f"{path} keeps its voxels in {names[0][:100]!r}, which has a header of its own, and "
            f"does not say how long it is (byte skip)"
        )
    return read_files(path, names, shape, dtype, axes, encoding=encoding, skip=skip, lines=lines)


def _count(path: Path, fields: dict[str, str], name: str, *, least: int) -> int:
    text = fields.get(name, fields.get(name.replace(" ", ""), "0"))
    found = whole_numbers(path, name, text)
    if len(found) != 1 or found[0] < least:
        raise CaseError(f"{path} is damaged: {name} is {text[:100]}")
    return found[0]


def _dtype(path: Path, fields: dict[str, str], encoding: str) -> np.dtype[Any]:
    name = fields.get("type", "").lower()
    if name not in _TYPE_OF:
        raise CaseError(f"{path} holds values of type {name[:40]!r}, not labels")
    code, order = _TYPE_OF[name], fields.get("endian", "").lower()
    if code[1] != "1" and encoding != ASCII and order not in ("little", "big"):
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
