"""What a file holds, before anything is made of it, and how much it may say that it holds."""

from __future__ import annotations

import functools
import importlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

DEFLATE_RATIO = 1032
"""What deflate makes of one byte at most."""

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

Channels = Literal["exclusive", "independent"]
"""Whether one class of a stack excludes the others, or each is a class of its own."""

Rule = Literal["inclusive", "strict"]
"""Whether a voxel is in whose centre lies on the line of a contour."""

Grid = tuple[tuple[int, ...], NDArray[np.float64]]
"""Shape of voxels, and the 4x4 affine from their indices to RAS+ mm."""

Order = Literal["F", "C"]
"""Which axis is the fastest: the first or the last."""

PATIENT = "patient"
"""Right, anterior and superior of the patient are known: what NIfTI's affine and ITK's say."""


class CaseError(ValueError):
    """A case cannot be evaluated; the text is one sentence that names the file and the reason.

    Args:
        text: the sentence.
        sign: what other cases may have in common with it, as JSON has it.
    """

    def __init__(self, text: str, sign: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.sign = sign


class Unplaced(NamedTuple):
    """Voxels of a file that says nothing of space: (x, y, z) and an axis of classes."""

    array: NDArray[Any]


class Drawn(NamedTuple):
    """Shapes in the patient's millimetres that become voxels on a grid.

    Args:
        on: makes the voxels, of the grid's shape, its affine and the rule for centres on a line,
            ``"inclusive"`` or ``"strict"``.
        lacks: what is missing where neither this file nor another has a grid; the error says it
            after the path.
        grid: shape and affine of its own, if it has them.
    """

    on: Callable[[tuple[int, ...], NDArray[np.float64], Rule], Stored]
    lacks: str
    grid: Grid | None = None


class NeedsGridError(CaseError):
    """A file can be read once it is known on which grid."""


class Stored(NamedTuple):
    """Voxels, and where they lie as far as the file says it.

    Args:
        array: spatial axes in the file's order, perhaps one of classes after them.
        affine: 4x4, voxel index to millimetres; RAS+ where the space is the patient's. Where the
            space is empty, only the lengths of its columns mean anything.
        dimensions: how many axes are spatial.
        note: what the user should know of how it was read.
        space: :data:`PATIENT`, a space of the file's own, or empty where it says no place.
        channels: what the classes of the last axis are, where the file says it.
        names: of labels, by their numbers, where the file has them; of independent channels the
            first is label 1.
        codes: what labels mean in a terminology, such as ``"SCT:10200004"``, likewise.
        cropped: whether outside of the array is background, as where only what is drawn is kept.
            On one lattice with the other file's voxels, the two are placed side by side; without
            any label it is the empty segmentation of any grid.
        ordered: whether the spatial axes are x, y and z, and the classes last. Otherwise they are
            those of an array, in its order, and only the user knows which is which.
        stated_mm: voxel size along each spatial axis, where the file has it in words of its own
            beside the affine.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]
    dimensions: int
    note: str = ""
    space: str = PATIENT
    channels: Channels | None = None
    names: Mapping[int, str] = MappingProxyType({})
    codes: Mapping[int, str] = MappingProxyType({})
    cropped: bool = False
    ordered: bool = True
    stated_mm: tuple[float, ...] = ()


def sizes_alone(spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """The affine of voxels without a place; NaN for a size that the file does not state.

    Example:
        >>> sizes_alone((2, 1.5))[:2].tolist()
        [[2.0, 0.0, 0.0, 0.0], [0.0, 1.5, 0.0, 0.0]]
    """
    affine = np.eye(4)
    for axis, length in enumerate(spacing_mm):
        affine[axis, axis] = length
    return affine


def imported(path: Path, module: str, extra: str) -> Any:
    """A library that reads a format, imported when a file of it comes.

    Args:
        path: that needs it.
        module: to import.
        extra: of medloss that installs it.

    Raises:
        CaseError: it is not installed; says how to.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise CaseError(
            f"{path} needs {name} to be read, which is not installed here: "
            f"pip install 'medloss[{extra}]'"
        ) from error


def voxel_bytes(path: Path, shape: Sequence[int], itemsize: int) -> int:
    """Bytes of the voxels that a header declares.

    Raises:
        CaseError: an axis without voxels, or more than memory holds.

    Example:
        >>> voxel_bytes(Path("a.nii"), (4, 5, 6), 2)
        240
        >>> voxel_bytes(Path("a"), (30000, -1), 8)
        Traceback (most recent call last):
        medloss.evaluation.reading.stored.CaseError: a holds no voxels: its header says 30000 x -1
    """
    if not shape or min(shape) < 1:
        raise CaseError(f"{path} holds no voxels: its header says {by(shape) or 'nothing'}")
    # Python's integers: the product of damaged sizes has more than 64 bits.
    size = itemsize * math.prod(int(length) for length in shape)
    if size > largest_bytes():
        raise CaseError(
            f"{path} says that it holds {by(shape)} voxels, which take {size / 2**30:.4g} GiB and "
            f"more than the memory of this machine ({largest_bytes() / 2**30:.3g} GiB)"
        )
    return size


def check_stored(path: Path, expected: int, stored: int, ratio: int = 1) -> None:
    """Raise if ``stored`` bytes cannot hold what the header says.

    Args:
        path: for the error text.
        expected: bytes of all voxels.
        stored: bytes that the file has for them.
        ratio: how many bytes one stored byte stands for at most.

    Raises:
        CaseError: see above.
    """
    if expected > stored * ratio:
        compressed = "" if ratio == 1 else " compressed"
        raise CaseError(
            f"{path} is truncated: {stored}{compressed} bytes of voxels where its header says "
            f"{expected}"
        )


def as_array(
    voxels: bytes | memoryview, shape: Sequence[int], dtype: np.dtype[Any], order: Order = "F"
) -> NDArray[Any]:
    """Voxels in this machine's byte order; not copied where they have it."""
    array = np.frombuffer(voxels, dtype).reshape(tuple(shape), order=order)
    return array.astype(dtype.newbyteorder("="), copy=False)


def by(sizes: Sequence[int]) -> str:
    """Sizes as text.

    Example:
        >>> by((4, 5, 6))
        '4 x 5 x 6'
    """
    return " x ".join(f"{size:d}" for size in sizes)


@functools.cache
def largest_bytes() -> int:
    """Memory of this machine or of the container, whichever is less."""
    sizes = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    if _CGROUP_LIMIT.is_file():
        limit = _CGROUP_LIMIT.read_text(encoding="ascii").strip()
        sizes.append(int(limit) if limit.isdigit() else 1 << 62)
    return min((size for size in sizes if size > 0), default=1 << 36)
