"""Predictions as files."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from medloss.evaluation.images import Image


def write_prediction(path: Path, prediction: Image) -> None:
    """Write a label map, or channels of independent classes as the last axis.

    Args:
        path: ``.nii.gz``; its folder is made where it is missing.
        prediction: on the grid of its affine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(prediction.array)
    image = nibabel.Nifti1Image(array, prediction.affine)
    image.header.set_xyzt_units("mm")
    partial = path.with_name(f".{path.name}")
    try:
        nibabel.save(image, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
