"""Whether two images lie on the same grid, and a prediction on the grid of its reference.

Exactly where only axes differ, else to the nearest voxel. Nothing is moved unless the user asks for
it, and each case says what was done.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.settled import SPACING_TOLERANCE
from medloss.evaluation.reading.stored import PATIENT, CaseError, by, voxel_bytes
from medloss.objects.spacing import SLACK, within

POSITION_TOLERANCE = 0.1
"""Largest distance between the same corner of both grids, in voxels of the smallest side."""

_SAME_DIRECTION = 1e-3
_LPS = np.diag([-1.0, -1.0, 1.0])
_AXIS_TOLERANCE = 0.01
_LATTICE_DIRECTIONS, _LATTICE_SHIFT = 1e-3, 0.01
"""Largest differences within one lattice: of steps from a voxel to the next, and of the shift, in
voxels."""

_SIDES = ("prediction", "reference")
_ASIDE = 1e-4
"""Share of a voxel by which every point is moved, so that no noise of an affine tells which of two
voxels is nearer where both are equally near: a grid of half the voxel size has many such points.
Affines in float32 place a voxel to some 4e-5 of its side."""


def check_same_grid(prediction: Image, reference: Image, called: str = "prediction") -> None:
    """Raise unless both images have the same shape, voxel size and place.

    The place counts where both say it, in one space; else :func:`unknown_place` has the reason.

    Args:
        prediction: the one.
        reference: the other.
        called: what the one is, for the error text.

    Raises:
        CaseError: says what differs, and both values.
    """

    def differ(what: str, one: str, other: str, unit: str, hint: str = "") -> NoReturn:
        raise CaseError(
            f"{called} and reference differ in {what}: {one} against {other} ({unit}){hint}",
            {"kind": "grid", "what": what, "prediction": one, "reference": other},
        )

    if prediction.shape != reference.shape:
        differ("shape", _by(prediction.shape), _by(reference.shape), "voxels")
    sizes = np.array([prediction.spacing_mm, reference.spacing_mm])
    if not np.all(within(np.abs(sizes[0] - sizes[1]) / sizes[1], SPACING_TOLERANCE)):
        lost = {*prediction.spacing_mm} == {1.0} != {*reference.spacing_mm}
        hint = f"; was the {called} saved without the geometry of its image?" if lost else ""
        differ("spacing", _by(prediction.spacing_mm), _by(reference.spacing_mm), "mm", hint)
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
        differ("origin", origins[0], origins[1], f"mm; {effect}")
    cosines = [_directions(image) for image in (prediction, reference)]
    if np.abs(cosines[0] - cosines[1]).max() > _SAME_DIRECTION:
        matrices = [_matrix(directions) for directions in cosines]
        differ("direction", matrices[0], matrices[1], f"direction cosines; {effect}")
    differ("affine", _matrix(prediction.affine), _matrix(reference.affine), effect)


def unknown_place(prediction: Image, reference: Image) -> str:
    """Why the places of two images cannot be compared; empty where they can.

    Example:
        >>> from medloss.evaluation.reading.images import make_image
        >>> from medloss.evaluation.reading.stored import Stored
        >>> from pathlib import Path
        >>> stored = Stored(np.eye(2, dtype=np.uint8), np.eye(4), 2, space="")
        >>> one = make_image(Path("a.nii"), stored)
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


def _by(sizes: tuple[float, ...]) -> str:
    return " x ".join(f"{size:.6g}" for size in sizes)


def _matrix(affine: NDArray[np.float64]) -> str:
    return f"[{'; '.join(map(_listed, affine[:3]))}]"


def _listed(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.6g}" for value in values + 0.0)


RESAMPLED = "prediction resampled to the nearest voxel"
REORIENTED = "prediction reoriented to the axes of the reference"
"""Words with which the note of a case begins whose prediction was brought to another grid."""


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
        return turned, f"{REORIENTED}, which loses nothing"
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
        f"{RESAMPLED}, from {by(prediction.shape)} of "
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
    if len(reference.shape) != len(prediction.shape) or unknown_place(prediction, reference):
        return None
    image = _turned(prediction, reference, _AXIS_TOLERANCE)
    if image is None:
        return None
    try:
        check_same_grid(image, reference)
    except CaseError:
        return None
    return image


def _turned(prediction: Image, reference: Image, tolerance: float) -> Image | None:
    """The prediction with its axes in the reference's order and direction, wherever it lies."""
    axes = len(reference.shape)
    places = np.linalg.pinv(prediction.affine[:3, :axes]) @ reference.affine[:3, :axes]
    # Column by column: which axis of the prediction an axis of the reference runs along.
    steps = np.rint(places)
    signed = np.abs(places - steps).max() < tolerance
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
    return dataclasses.replace(prediction, array=array, affine=affine, spacing_mm=spacing_mm)


def united(prediction: Image, reference: Image) -> tuple[Image, Image, str] | None:
    """Both images on the part of their common lattice that they cover together, and a sentence.

    Voxels are placed and never resampled. Outside of an image is background.

    Returns:
        ``None`` where the two do not lie on one lattice, or neither leaves out what is empty: then
        nobody knows what is outside of them.

    Raises:
        CaseError: the common part is larger than memory.
    """
    sides = prediction, reference
    if not any(image.cropped for image in sides) or unknown_place(*sides):
        return None
    if len(prediction.shape) != 3 or len(reference.shape) != 3:
        return None
    for image, other in (sides, sides[::-1]):
        if image.cropped and not image.array.any():  # nothing is drawn, and that anywhere
            empty = dataclasses.replace(
                image,
                array=_background(other.shape, image),
                spacing_mm=other.spacing_mm,
                affine=other.affine,
            )
            note = f"{image.path.name} is empty, on whatever grid"
            return (empty, other, note) if image is prediction else (other, empty, note)
    turned = _turned(prediction, reference, _LATTICE_DIRECTIONS)
    if turned is None:
        return None
    shift = np.linalg.solve(
        reference.affine[:3, :3], turned.affine[:3, 3] - reference.affine[:3, 3]
    )
    start = np.rint(shift).astype(int)
    if np.abs(shift - start).max() > _LATTICE_SHIFT:
        return None
    low = np.minimum(start, 0)
    high = np.maximum(start + turned.shape, reference.shape)
    shape = tuple(int(size) for size in high - low)
    affine = reference.affine.copy()
    affine[:3, 3] += reference.affine[:3, :3] @ low
    placed = [
        dataclasses.replace(
            image,
            array=_within(image, at, shape),
            affine=affine,
            spacing_mm=reference.spacing_mm,
        )
        for image, at in ((turned, start - low), (reference, -low))
    ]
    far = np.array(shape) - 1
    drift = turned.affine[:3, :3] - reference.affine[:3, :3]
    if np.abs(np.linalg.solve(reference.affine[:3, :3], drift @ far)).max() > POSITION_TOLERANCE:
        return None
    sizes = [f"{by(image.shape)} of the {word}" for image, word in zip(sides, _SIDES, strict=True)]
    note = f"voxels placed side by side on one lattice, {' and '.join(sizes)} on {by(shape)}"
    if tuple(start) != (0, 0, 0) or turned.shape != reference.shape:
        note += "; outside of a file is background"
    return placed[0], placed[1], note


def covering(reference: Image, prediction: Image) -> Image:
    """A reference that keeps only what is drawn, with the background that a prediction reaches."""
    ends = np.linalg.solve(
        reference.affine[:3, :3], (_corners(prediction) - reference.affine[:3, 3]).T
    ).T
    low = np.minimum(np.floor(ends.min(axis=0)).astype(int), 0)
    high = np.maximum(np.ceil(ends.max(axis=0)).astype(int) + 1, reference.shape)
    affine = reference.affine.copy()
    affine[:3, 3] += reference.affine[:3, :3] @ low
    shape = tuple(int(size) for size in high - low)
    return dataclasses.replace(reference, array=_within(reference, -low, shape), affine=affine)


def _within(image: Image, start: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The voxels of an image in a larger array, around which is background."""
    if tuple(shape) == image.shape:
        return image.array
    array = _background(shape, image)
    inside = tuple(
        slice(first, first + size) for first, size in zip(start, image.shape, strict=True)
    )
    for place in range(image.shape[2]):  # what is empty is not written, and takes no memory
        plane = image.array[:, :, place]
        if plane.any():
            array[inside][:, :, place] = plane
    return array


def _background(shape: tuple[int, ...], image: Image) -> NDArray[Any]:
    channels = image.array.shape[3:]
    voxel_bytes(image.path, (*shape, *channels), image.array.itemsize)
    array = np.zeros((*shape, *channels), image.array.dtype, order="F")
    if image.probabilities and not image.independent and channels[0] > 1:
        array[..., 0] = 1
    return array


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
