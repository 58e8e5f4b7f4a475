"""NRRD and MetaImage by SimpleITK, turned into (x, y, z) order and RAS+."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from medloss.evaluation.errors import CaseError
from medloss.evaluation.itk_headers import check_metaimage, check_nrrd


def read_itk(path: Path) -> tuple[NDArray[Any], NDArray[np.float64], int]:
    """Array, affine in RAS+ millimetres, and the number of spatial axes.

    Raises:
        CaseError: the file is damaged, or leaves open what the numbers depend on.
    """
    nrrd = path.name.lower().endswith(".nrrd")
    (check_nrrd if nrrd else check_metaimage)(path)
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        kind = "NRRD" if nrrd else "MetaImage"
        raise CaseError(f"{path} is a damaged {kind} file: {_reason(error)}") from error
    axes = image.GetDimension()
    if axes not in (2, 3, 4) or (axes == 4 and image.GetNumberOfComponentsPerPixel() > 1):
        raise CaseError(f"{path} has {axes} axes; expected 2 or 3, and one of classes at most")
    array = SimpleITK.GetArrayFromImage(image)
    # SimpleITK hands out (z, y, x) with the components of a vector last; both are views.
    array = array.transpose(*reversed(range(axes)), *range(axes, array.ndim))
    return array, _affine(image, min(axes, 3)), min(axes, 3)


def _affine(image: Any, dimensions: int) -> NDArray[np.float64]:
    axes = image.GetDimension()
    directions = np.reshape(image.GetDirection(), (axes, axes))[:dimensions, :dimensions]
    affine = np.eye(4)
    affine[:dimensions, :dimensions] = directions * image.GetSpacing()[:dimensions]
    affine[:dimensions, 3] = image.GetOrigin()[:dimensions]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # ITK's LPS to RAS+


def _reason(error: RuntimeError) -> str:
    """The innermost reason: ITK's texts go from the outside in and name places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rpartition("] ")[2].removeprefix("sitk::ERROR: ").rstrip(".:")
