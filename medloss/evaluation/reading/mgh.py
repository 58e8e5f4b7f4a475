"""FreeSurfer's MGH (.mgh) and its compressed form (.mgz)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.opened import open_file
from medloss.evaluation.reading.stored import PATIENT, CaseError, Stored, by
from medloss.evaluation.reading.voxel_files import GZIP, RAW, Inflating, read_voxels

_TYPES = {0: "u1", 1: "i4", 3: "f4", 4: "i2", 10: "u2"}
_OTHER_TYPES = {2: "long", 5: "bitmap", 6: "tensor"}
_HEADER = np.dtype(
    {
        "names": ["version", "sizes", "type", "placed", "spacing", "directions", "middle"],
        "formats": [">i4", (">i4", 4), ">i4", ">i2", (">f4", 3), (">f4", (3, 3)), (">f4", 3)],
        "offsets": [0, 4, 20, 28, 30, 42, 78],
        "itemsize": 284,
    }
)
_START = 1 << 16
_MOST_BEHIND = 1 << 24  # tags: the commands that made the file, a table of colours
_UNPLACED = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # as columns: LIA


def read_mgh(path: Path) -> Stored:
    """Voxels in the file's order, frames last.

    Without its flag for a good transform a file has voxels of 1 mm and no place: that is how the
    format defines it.

    Raises:
        CaseError: the file is damaged, or holds a surface.
    """
    with open_file(path) as file:
        start = file.read(_START)
        packed = start.startswith(b"\x1f\x8b")
        if packed:
            start = Inflating(path, start).read(_HEADER.itemsize)
        if len(start) < _HEADER.itemsize or start[:4] != b"\0\0\0\1":
            raise CaseError(f"{path} is not an MGH file")
        header = np.frombuffer(start, _HEADER, count=1)[0]
        sizes, kind = tuple(int(n) for n in header["sizes"]), int(header["type"])
        shape = sizes if sizes[3] != 1 else sizes[:3]
        if shape[0] > 1 and sizes[1:3] == (1, 1):
            raise CaseError(
                f"{path} holds a value for each point of a surface ({by(shape)}), not a volume; "
                f"convert it with mri_surf2vol"
            )
        if kind not in _TYPES:
            named = _OTHER_TYPES.get(kind, f"number {kind}")
            raise CaseError(f"{path} holds values of type {named}, not labels")
        file.seek(0)
        array = read_voxels(
            path,
            file,
            shape,
            np.dtype(">" + _TYPES[kind]),
            encoding=GZIP if packed else RAW,
            skip=_HEADER.itemsize,
            more=_MOST_BEHIND,
        )
    placed = header["placed"] > 0
    stated = tuple(map(float, header["spacing"])) if placed else ()
    space = PATIENT if placed else ""
    return Stored(array, _affine(header, shape), 3, space=space, stated_mm=stated)


def _affine(header: np.void, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The middle of the volume, at half of its sizes, has a place; directions are columns."""
    affine = np.eye(4)
    if header["placed"] <= 0:
        affine[:3, :3] = _UNPLACED
        return affine
    affine[:3, :3] = header["directions"].astype(np.float64).T * header["spacing"]
    affine[:3, 3] = header["middle"] - affine[:3, :3] @ (np.array(shape[:3]) / 2)
    return affine
