"""Whether two images lie on the same grid."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.errors import CaseError
from medloss.evaluation.images import Image

SPACING_TOLERANCE = 0.001
"""Largest difference of the voxel sizes, as a share of the voxel size."""

POSITION_TOLERANCE = 0.1
"""Largest distance between the same corner of both grids, in voxels of the smallest side."""


def check_same_grid(prediction: Image, reference: Image) -> None:
    """Raise unless both images have the same shape, voxel size and place.

    Raises:
        CaseError: says what differs, and both values.
    """
    if prediction.shape != reference.shape:
        _differ("shape", _by(prediction.shape), _by(reference.shape), "voxels")
    sizes = np.array([prediction.spacing_mm, reference.spacing_mm])
    if np.any(np.abs(sizes[0] - sizes[1]) > SPACING_TOLERANCE * sizes[1]):
        _differ("spacing", _by(prediction.spacing_mm), _by(reference.spacing_mm), "mm")
    apart = _corners(prediction) - _corners(reference)
    apart_mm = float(np.linalg.norm(apart, axis=1).max())
    if apart_mm > POSITION_TOLERANCE * sizes[1].min():
        _differ(
            "affine",
            _matrix(prediction.affine),
            _matrix(reference.affine),
            f"the same voxel lies up to {apart_mm:.6g} mm apart",
        )


def _corners(image: Image) -> NDArray[np.float64]:
    ends = [(0, size - 1) for size in image.shape] + [(0,)] * (3 - len(image.shape))
    corners = np.array(list(itertools.product(*ends)), dtype=np.float64)
    return corners @ image.affine[:3, :3].T + image.affine[:3, 3]


def _differ(what: str, prediction: str, reference: str, unit: str) -> None:
    raise CaseError(
        f"prediction and reference differ in {what}: {prediction} against {reference} ({unit})"
    )


def _by(sizes: tuple[float, ...]) -> str:
    return " x ".join(f"{size:.6g}" for size in sizes)


def _matrix(affine: NDArray[np.float64]) -> str:
    rows = (", ".join(f"{value:.6g}" for value in row) for row in affine[:3] + 0.0)
    return f"[{'; '.join(rows)}]"
