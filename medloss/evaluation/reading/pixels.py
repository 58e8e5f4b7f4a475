"""What files of pictures have in common: rows before columns, masks of 255, JSON beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.opened import read_file
from medloss.evaluation.reading.stored import CaseError, Stored, sizes_alone
from medloss.runtime.config_text import parse_json

UNKNOWN = float("nan")
"""Size of a voxel that a file does not state."""

_LARGEST_TEXT = 1 << 24


def pixel_labels(
    array: NDArray[Any], spacing_mm: Sequence[float], *, classes: bool = False
) -> Stored:
    """Voxels out of pages, rows and columns, without a place.

    Where 255 is the one value beside 0 (65535 of 16 bits), it is how pictures say "yes": label 1.

    Args:
        array: ``([z], y, x)``, with the classes as last axis if ``classes``.
        spacing_mm: along x, y and z; NaN where the file does not state it.
        classes: whether there is such an axis.

    Example:
        >>> stored = pixel_labels(np.array([[0, 0, 255]], dtype=np.uint8), (1, 1))
        >>> stored.array.tolist(), stored.note
        ([[0], [0], [1]], 'the only value, 255, is read as label 1')
    """
    dimensions = array.ndim - classes
    array = array.transpose(*reversed(range(dimensions)), *range(dimensions, array.ndim))
    said = ""
    if array.dtype.kind in "bu" and array.size:
        full = 1 if array.dtype.kind == "b" else int(np.iinfo(array.dtype).max)
        if full > 1 and array.max() == full and bool(((array == 0) | (array == full)).all()):
            array = (array == full).view(np.uint8)
            said = f"the only value, {full}, is read as label 1"
    return Stored(array, sizes_alone(spacing_mm), dimensions, said, space="")


def read_json(path: Path) -> Any:
    """The content of a small JSON file.

    Raises:
        CaseError: it is none.
    """
    content = read_file(path, most=_LARGEST_TEXT)
    try:
        return parse_json(content.decode("utf-8"))
    except ValueError as error:
        raise CaseError(f"{path} is no JSON file: {error}") from error
