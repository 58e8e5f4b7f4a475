"""Predictions as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medloss.evaluation.outputs.files import write_nifti
from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.stored import PATIENT


def write_prediction(path: Path, prediction: Image) -> None:
    """Write a label map, or channels of independent classes as the last axis.

    Args:
        path: ``.nii.gz``; its folder is made where it is missing.
        prediction: on the grid of its affine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(prediction.array)
    write_nifti(path, array, prediction.affine, placed=prediction.space == PATIENT)
