"""What a file holds, before anything is made of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PATIENT = "patient"
"""Right, anterior and superior of the patient are known: what NIfTI's affine and ITK's say."""


class Stored(NamedTuple):
    """Voxels, and where they lie as far as the file says it.

    Args:
        array: spatial axes in the file's order, perhaps one of classes after them.
        affine: 4x4, voxel index to millimetres; RAS+ where the space is the patient's. Where the
            space is empty, only the lengths of its columns mean anything.
        dimensions: how many axes are spatial.
        note: what the user should know of how it was read.
        space: :data:`PATIENT`, a space of the file's own, or empty where it says no place.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]
    dimensions: int
    note: str = ""
    space: str = PATIENT
