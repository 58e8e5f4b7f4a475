"""A prediction on the grid of its reference: exactly where only axes differ, else to the nearest.

Nothing here happens unless the user asks for it, and each case says what was done.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.inputs.geometry import check_same_grid, unknown_place
from medloss.evaluation.reading.errors import CaseError
from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.limits import by

_LPS = np.diag([-1.0, -1.0, 1.0])
_AXIS_TOLERANCE = 0.01
_ASIDE = 1e-4
"""Share of a voxel by which every point is moved, so that no noise of an affine tells which of two
voxels is nearer where both are equally near: a grid of half the voxel size has many such points.
Affines in float32 place a voxel to some 4e-5 of its side."""


def onto(prediction: Image, reference: Image) -> tuple[Image, str]:
    """The prediction on the grid of the reference, and a sentence on what was done.

    Raises:
        CaseError: the grids have no voxel in common, an image has two dimensions and another plane,
            or a file does not say where its voxels lie.
    """
    unknown = unknown_place(prediction, reference)
    if unknown:
        raise CaseError(f"{prediction.path} cannot be resampled: {unknown}")
    turned = reoriented(prediction, reference)
    if turned is not None:
        return turned, "prediction reoriented to the axes of the reference, which loses nothing"
    if len(prediction.shape) != 3 or len(reference.shape) != 3:
        raise CaseError(
            f"{prediction.path} cannot be resampled: it has {len(prediction.shape)} axes and "
            f"{reference.path} has {len(reference.shape)}; both need 3"
        )
    array, outside = _nearest(prediction, reference)
    share = outside / array[..., 0].size if array.ndim == 4 else outside / array.size
    if share == 1:
        raise CaseError(f"{prediction.path} and {reference.path} do not overlap in space")
    note = (
        f"prediction resampled to the nearest voxel, from {by(prediction.shape)} of "
        f"{_mm(prediction)} to {by(reference.shape)} of {_mm(reference)}"
    )
    if outside:
        note += f"; {100 * share:.3g} % of the reference lies outside of it, as background"
    image = dataclasses.replace(
        prediction, array=array, spacing_mm=reference.spacing_mm, affine=reference.affine
    )
    return image, note


def reoriented(prediction: Image, reference: Image) -> Image | None:
    """The prediction with its axes in the reference's order and direction, if that is all.

    Returns:
        A view of the same voxels, or ``None`` where the grids differ in more.
    """
    axes = len(reference.shape)
    if axes != len(prediction.shape) or unknown_place(prediction, reference):
        return None
    places = np.linalg.pinv(prediction.affine[:3, :axes]) @ reference.affine[:3, :axes]
    # Column by column: which axis of the prediction an axis of the reference runs along.
    steps = np.rint(places)
    signed = np.abs(places - steps).max() < _AXIS_TOLERANCE
    if not signed or not (np.abs(steps).sum(0) == 1).all() or not (np.abs(steps).sum(1) == 1).all():
        return None
    order = np.abs(steps).argmax(axis=0)
    array = prediction.array.transpose(*order, *range(axes, prediction.array.ndim))
    affine = np.eye(4)
    affine[:3, axes:] = prediction.affine[:3, axes:]
    for axis, old in enumerate(order):
        sign = steps[old, axis]
        affine[:3, axis] = sign * prediction.affine[:3, old]
        if sign < 0:
            array = np.flip(array, axis)
            affine[:3, 3] += (array.shape[axis] - 1) * prediction.affine[:3, old]
    spacing_mm = tuple(prediction.spacing_mm[old] for old in order)
    image = dataclasses.replace(prediction, array=array, affine=affine, spacing_mm=spacing_mm)
    try:
        check_same_grid(image, reference)
    except CaseError:
        return None
    return image


def _nearest(prediction: Image, reference: Image) -> tuple[NDArray[Any], int]:
    """Array on the reference's grid, and how many of its voxels lie outside of the prediction."""
    if not prediction.probabilities:
        # A value of its own for what lies outside, in the narrowest type that has one.
        mark = int(prediction.array.max()) + 1
        plane = prediction.array.astype(np.min_scalar_type(mark), copy=False)
        array = _resample(plane, prediction, reference, mark)
        outside = array == mark
        array[outside] = 0
        return array, int(outside.sum())
    planes = np.moveaxis(prediction.array, -1, 0)
    found = np.empty((*reference.shape, len(planes)), dtype=np.float32, order="F")
    for channel, plane in enumerate(planes):
        found[..., channel] = _resample(
            plane.astype(np.float32, copy=False), prediction, reference, np.nan
        )
    outside = np.isnan(found[..., 0])
    found[outside] = 0
    if not prediction.independent and len(planes) > 1:
        found[outside, 0] = 1
    return found, int(outside.sum())


def _resample(
    plane: NDArray[Any], prediction: Image, reference: Image, outside: float
) -> NDArray[Any]:
    import SimpleITK  # 0.2 s, and most studies do without

    moving = SimpleITK.GetImageFromArray(plane.transpose(2, 1, 0))
    origin, direction = _itk(prediction)
    moving.SetSpacing(prediction.spacing_mm)
    moving.SetOrigin(origin)
    moving.SetDirection(direction)
    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetSize([int(size) for size in reference.shape])
    resampler.SetOutputSpacing(reference.spacing_mm)
    origin, direction = _itk(reference)
    resampler.SetOutputOrigin([a + b for a, b in zip(origin, _aside(prediction), strict=True)])
    resampler.SetOutputDirection(direction)
    resampler.SetInterpolator(SimpleITK.sitkNearestNeighbor)
    resampler.SetDefaultPixelValue(outside)
    # x fastest, as files have it.
    array: NDArray[Any] = SimpleITK.GetArrayFromImage(resampler.Execute(moving))
    return array.transpose(2, 1, 0)


def _aside(prediction: Image) -> list[float]:
    """Way from a point to one of its side, in mm and LPS: right, anterior and superior of it.

    It goes along the axes of the prediction, whichever way they are stored.
    """
    columns = prediction.affine[:3, :3]
    main = np.take_along_axis(columns, np.abs(columns).argmax(axis=0)[None], axis=0)
    way: list[float] = (_ASIDE * _LPS @ (columns * np.sign(main)).sum(axis=1)).tolist()
    return way


def _itk(image: Image) -> tuple[list[float], list[float]]:
    """Origin and direction cosines in ITK's LPS."""
    # Rounded: the singular values that ITK inverts the matrix by are wrong for numbers near 1e-308.
    directions = np.round(_LPS @ image.affine[:3, :3] / np.array(image.spacing_mm), 12) + 0.0
    return (_LPS @ image.affine[:3, 3]).tolist(), directions.ravel().tolist()


def _mm(image: Image) -> str:
    return " x ".join(f"{size:.4g}" for size in image.spacing_mm) + " mm"
