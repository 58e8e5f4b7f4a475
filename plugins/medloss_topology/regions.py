"""The objects of a class, and the part of the image that each of them is judged in."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medloss.base.distance_maps import known_voxels, masks_of_classes
from medloss.base.targets import Prepared
from medloss.distance import connected_components
from medloss.runtime.eager import as_array

Regions = Literal["blob", "cells"]
REGIONS: tuple[Regions, ...] = ("blob", "cells")


def objects(
    prepared: Prepared, given: Tensor | None, sample: int, class_: int, connectivity: int | None
) -> tuple[Tensor, int]:
    r"""Numbers of the known objects of a class in a sample, (\*spatial), and how many there are.

    Args:
        prepared: checked inputs.
        given: the ready map, or None: connected components are looked for, on the CPU.
        sample: which of the batch.
        class_: which one.
        connectivity: of the components, see :func:`medloss.distance.connected_components`.
    """
    mask = masks_of_classes(prepared)[sample, class_]
    known = known_voxels(prepared)
    if known is not None:
        mask = mask & known[sample, 0]
    if given is None:
        found = torch.from_numpy(connected_components(as_array(mask[None]), connectivity))
        return found.to(mask.device), int(found.max()) if found.numel() else 0
    # A patch of a volume has some of its numbers, and voxels of 0 where no object was counted.
    mask = mask & (given[sample, 0] > 0)
    numbers, which = torch.unique(given[sample, 0][mask], return_inverse=True)
    found = torch.zeros_like(given[sample, 0])
    found[mask] = which + 1
    return found, len(numbers)


def cells(found: Tensor, spacing_mm: tuple[float, ...]) -> Tensor:
    """The nearest object of each voxel, by distances in mm between centres of voxels.

    A voxel that is equally near to two objects belongs to one of them.

    Args:
        found: numbers of objects, 0 where there is none; at least one.
        spacing_mm: size of a voxel.

    Example:
        >>> cells(torch.tensor([[1, 0, 0, 0, 0, 2]]), (1.0, 1.0))
        tensor([[1, 1, 1, 2, 2, 2]])
    """
    numbers = as_array(found)
    nearest = ndimage.distance_transform_edt(
        numbers == 0, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    return torch.from_numpy(np.ascontiguousarray(numbers[tuple(nearest)])).to(found.device)
