"""Centre lines of masks, for metrics and for losses; scikit-image thins."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

TOUCHING = np.ones((3, 3, 3), np.bool_)  # neighbours across corners too


def tubed_skeleton(mask: NDArray[np.bool_], tube_radius: int = 2) -> NDArray[np.bool_]:
    r"""The centre line of a mask, thickened inside the mask.

    Args:
        mask: (\*spatial) bool, 2D (thinned as Zhang and Suen) or 3D (as Lee).
        tube_radius: in steps from voxel to voxel across faces.

    Raises:
        ImportError: scikit-image is not installed.
    """
    tube = np.zeros(mask.shape, np.bool_)
    if not mask.any():
        return tube
    (box,) = ndimage.find_objects(mask.astype(np.uint8))  # thinning costs by the volume it sees
    skeleton = centre_lines(mask[box])
    if tube_radius:
        skeleton = ndimage.binary_dilation(skeleton, iterations=tube_radius)
    tube[box] = skeleton & mask[box]
    return tube


def centre_lines(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The skeleton of a mask; every object has one.

    Raises:
        ImportError: scikit-image is not installed.
    """
    return of_every_object(mask, thinned(mask))


def thinned(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The skeleton of a mask as scikit-image leaves it.

    Raises:
        ImportError: it is not installed.
    """
    skeleton: NDArray[np.bool_] = skeletonize()(mask) > 0
    return skeleton


def of_every_object(mask: NDArray[np.bool_], skeleton: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A skeleton with lines for the objects that have none.

    In 3D, scikit-image's thinning removes many objects of even thickness altogether, a straight
    vessel of 4 x 4 voxels among them (its issue 3757); those are thinned again without one layer.
    """
    if mask.ndim < 3:
        return skeleton
    skeleton = skeleton.copy()
    objects, count = ndimage.label(mask, TOUCHING)
    boxes = ndimage.find_objects(objects)
    for number in np.setdiff1d(np.arange(1, count + 1), objects[skeleton]):
        box = boxes[number - 1]
        skeleton[box] |= _centre_line_of_one(objects[box] == number)
    return skeleton


def skeletonize() -> Any:
    """The function of scikit-image.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module("skimage.morphology").skeletonize
    except ModuleNotFoundError as error:
        raise ImportError("skeletons need scikit-image: the extra skeleton of medloss") from error


def _centre_line_of_one(alone: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Skeleton of an object without its first layer along some axis, or its deepest voxel."""
    for axis in range(alone.ndim):
        layers = np.moveaxis(alone, axis, 0)
        without_first = np.zeros_like(layers)
        without_first[1:] = layers[1:] & layers[:-1]
        line: NDArray[np.bool_] = skeletonize()(np.moveaxis(without_first, 0, axis)) > 0
        if ndimage.label(line, TOUCHING)[1] == 1:
            return line
    depth = ndimage.distance_transform_edt(np.pad(alone, 1))[(slice(1, -1),) * alone.ndim]
    deepest = np.zeros_like(alone)
    deepest.flat[depth.argmax()] = True
    return deepest
