"""NIfTI files that appear under their name only when all of them is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray


def write_nifti(
    path: Path, array: NDArray[Any], affine: NDArray[Any], *, placed: bool = True
) -> None:
    """Write an image in millimetres.

    Args:
        path: ``.nii`` or ``.nii.gz``, in a folder that is there.
        array: spatial axes first.
        affine: 4x4, voxel index to RAS+ millimetres.
        placed: whether the affine is a place in the patient; else only the voxel size is written.
    """
    image = nibabel.Nifti1Image(array, affine if placed else None)
    if not placed:
        sizes = np.linalg.norm(affine[:3, :3], axis=0)[: array.ndim]
        image.header.set_zooms([*sizes, *[1.0] * (array.ndim - len(sizes))])
    image.header.set_xyzt_units("mm")
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        nibabel.save(image, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
