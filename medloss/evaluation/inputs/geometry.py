"""Whether two images lie on the same grid."""

from __future__ import annotations

import itertools
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.errors import CaseError
from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.stored import PATIENT
from medloss.objects.spacing import SLACK, within

SPACING_TOLERANCE = 0.001
"""Largest difference of the voxel sizes, as a share of the voxel size."""

POSITION_TOLERANCE = 0.1
"""Largest distance between the same corner of both grids, in voxels of the smallest side."""

_SAME_DIRECTION = 1e-3


def check_same_grid(prediction: Image, reference: Image) -> None:
    """Raise unless both images have the same shape, voxel size and place.

    The place counts where both say it, in one space; else :func:`unknown_place` has the reason.

    Raises:
        CaseError: says what differs, and both values.
    """
    if prediction.shape != reference.shape:
        _differ("shape", _by(prediction.shape), _by(reference.shape), "voxels")
    sizes = np.array([prediction.spacing_mm, reference.spacing_mm])
    if not np.all(within(np.abs(sizes[0] - sizes[1]) / sizes[1], SPACING_TOLERANCE)):
        _differ("spacing", _by(prediction.spacing_mm), _by(reference.spacing_mm), "mm")
    if unknown_place(prediction, reference):
        return
    corners = _corners(reference)
    apart = _corners(prediction) - corners
    # float32 keeps a share of a coordinate, not of the way between two of them
    noise_mm = SLACK * _largest(corners)
    apart_mm = _largest(apart)
    tolerance_mm = POSITION_TOLERANCE * float(sizes[1].min()) + noise_mm
    if within(apart_mm, tolerance_mm):
        return
    effect = f"the same voxel lies up to {apart_mm:.6g} mm apart"
    if within(_largest(apart - apart[0]), tolerance_mm):
        origins = [_listed(image.affine[:3, 3]) for image in (prediction, reference)]
        _differ("origin", origins[0], origins[1], f"mm; {effect}")
    cosines = [_directions(image) for image in (prediction, reference)]
    if np.abs(cosines[0] - cosines[1]).max() > _SAME_DIRECTION:
        matrices = [_matrix(directions) for directions in cosines]
        _differ("direction", matrices[0], matrices[1], f"direction cosines; {effect}")
    _differ("affine", _matrix(prediction.affine), _matrix(reference.affine), effect)


def unknown_place(prediction: Image, reference: Image) -> str:
    """Why the places of two images cannot be compared; empty where they can.

    Example:
        >>> from medloss.evaluation.reading.images import make_image
        >>> from pathlib import Path
        >>> one = make_image(Path("a.nii"), np.eye(2, dtype=np.uint8), np.eye(4), 2, space="")
        >>> unknown_place(one, one)
        'neither file says where its voxels lie'
    """
    spaces = prediction.space, reference.space
    if spaces[0] == spaces[1]:
        return "" if spaces[0] else "neither file says where its voxels lie"
    for image in (reference, prediction):
        if not image.space:
            return f"{image.path.name} does not say where its voxels lie"
    told = [space if space != PATIENT else "the patient's space" for space in spaces]
    return f"the prediction lies in {told[0]}, the reference in {told[1]}"


def _corners(image: Image) -> NDArray[np.float64]:
    ends = [(0, size - 1) for size in image.shape] + [(0,)] * (3 - len(image.shape))
    corners = np.array(list(itertools.product(*ends)), dtype=np.float64)
    return corners @ image.affine[:3, :3].T + image.affine[:3, 3]


def _largest(vectors: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(vectors, axis=1).max())


def _directions(image: Image) -> NDArray[np.float64]:
    cosines: NDArray[np.float64] = image.affine[:3, : len(image.shape)] / image.spacing_mm
    return cosines


def _differ(what: str, prediction: str, reference: str, unit: str) -> NoReturn:
    raise CaseError(
        f"prediction and reference differ in {what}: {prediction} against {reference} ({unit})"
    )


def _by(sizes: tuple[float, ...]) -> str:
    return " x ".join(f"{size:.6g}" for size in sizes)


def _matrix(affine: NDArray[np.float64]) -> str:
    return f"[{'; '.join(map(_listed, affine[:3]))}]"


def _listed(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.6g}" for value in values + 0.0)
