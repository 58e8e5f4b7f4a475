"""Maps of distances that weigh voxels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from medloss.base.distance_maps import masks_of_classes, voxel_size
from medloss.base.targets import Prepared
from medloss.distance import connected_components, distances
from medloss.objects.spacing import Spacing, SpacingLike
from medloss.runtime.eager import as_array
from medloss.sums import work_dtype


def voxels_that_count(prepared: Prepared) -> Tensor:
    """(B, 1, *spatial) bool."""
    if prepared.mask is not None:
        return prepared.mask > 0
    shape = (prepared.input.shape[0], 1, *prepared.input.shape[2:])
    return torch.ones(shape, dtype=torch.bool, device=prepared.input.device)


@torch.no_grad()
def nearness(prepared: Prepared, spacing_mm: SpacingLike | None) -> Tensor:
    """Nearness of each voxel to the border of each class, (B, C, *spatial).

    1 is nearest, 0 farthest, inside and outside the class on scales of their own; 0 everywhere
    where the class has no border, and outside where only the true class of a voxel matters, as the
    classes are exclusive and the target names one of them. A ready ``distance_map`` of any
    convention serves as well as one computed here, since its scale cancels out.
    """
    valid = voxels_that_count(prepared)
    of_class, dtype = masks_of_classes(prepared), work_dtype(prepared.values)
    near = torch.zeros_like(of_class, dtype=dtype)
    one_counts = prepared.is_exclusive and prepared.is_index
    for side in (of_class,) if one_counts else (of_class, ~of_class):
        distance = prepared.extras.distance_map
        if distance is None:
            spacing = voxel_size(prepared, spacing_mm)
            distance = distances(~side & valid, spacing, inside=0, dtype=dtype)
        near = near + _inverted(distance.abs().to(dtype), side & valid)
    return near


def _inverted(distance: Tensor, region: Tensor) -> Tensor:
    """(largest − d) / (largest − smallest) in the region of each class, 0 elsewhere."""
    axes = tuple(range(2, distance.ndim))
    largest = torch.where(region, distance, -torch.inf).amax(axes, keepdim=True)
    smallest = torch.where(region, distance, torch.inf).amin(axes, keepdim=True)
    known = region & ~largest.isinf()  # infinite: there is no border
    depth = largest - smallest
    scaled = torch.where(known, largest - distance, 0) / torch.where(known & (depth > 0), depth, 1)
    return torch.where(known & (depth == 0), 1, scaled)  # one voxel deep: all of it is border


def instances(prepared: Prepared) -> NDArray[np.int64]:
    """Numbered instances of all foreground classes among the voxels that count, (B, *spatial).

    As given in ``components``; otherwise connected components of each class, neighbours across
    corners included, found on the host.
    """
    valid = voxels_that_count(prepared)
    given = prepared.extras.components
    if given is not None:
        of_given: NDArray[np.int64] = as_array((given * valid)[:, 0])
        return of_given
    classes = masks_of_classes(prepared) & valid
    objects = as_array(classes[:, 1 if prepared.is_exclusive else 0 :])
    numbered = np.zeros((len(objects), *objects.shape[2:]), dtype=np.int64)
    for out, of_sample in zip(numbered, objects, strict=True):
        out[:] = connected_components(of_sample)
    return numbered


def gap_width(
    numbered: NDArray[np.int64], spacing_mm: Spacing, *, reach: float
) -> NDArray[np.float64]:
    """Distance to the nearest plus that to the second nearest instance, in mm, (B, *spatial).

    Args:
        numbered: instances, 0 where there is none.
        spacing_mm: per sample and axis.
        reach: farther instances in mm need not be seen; infinite where there are fewer than two.
    """
    width = np.empty(numbered.shape)
    for out, sample, row in zip(width, numbered, spacing_mm, strict=True):
        out[:] = _gap(sample, row, reach)
    return width


def _gap(
    numbered: NDArray[np.int64], spacing_mm: tuple[float, ...], reach: float
) -> NDArray[np.float64]:
    first = np.full(numbered.shape, np.inf)
    second = np.full(numbered.shape, np.inf)
    for number, box in _boxes(numbered, spacing_mm, reach):
        distance = ndimage.distance_transform_edt(numbered[box] != number, sampling=spacing_mm)
        second[box] = np.minimum(second[box], np.maximum(first[box], distance))
        first[box] = np.minimum(first[box], distance)
    width: NDArray[np.float64] = first + second
    return width


def _boxes(
    numbered: NDArray[np.int64], spacing_mm: tuple[float, ...], reach: float
) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Each instance and the box of voxels within reach of it."""
    margins = [math.ceil(reach / step) for step in spacing_mm]
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        if box is not None:
            yield (
                number,
                tuple(
                    slice(max(0, side.start - margin), side.stop + margin)
                    for side, margin in zip(box, margins, strict=True)
                ),
            )
