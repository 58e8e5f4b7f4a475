"""Cross entropy weighted by distances to borders and between objects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from medloss.base import options
from medloss.base.distance_maps import masks_of_classes, voxel_size
from medloss.base.targets import Prepared
from medloss.distance import connected_components, distances
from medloss.distance.steps import Steps
from medloss.objects.spacing import SpacingLike, parse_spacing
from medloss.runtime.eager import as_array, outside_graphs
from medloss.sums import work_dtype
from medloss_distribution.cross_entropy import CrossEntropyLoss
from medloss_distribution.voxelwise_cross_entropy import EachVoxelLoss, weighed


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


@outside_graphs
def gap_width(
    numbered: NDArray[np.int64], spacing_mm: Steps, *, reach: float
) -> NDArray[np.float64]:
    """Distance to the nearest plus that to the second nearest instance, in mm, (B, *spatial).

    Args:
        numbered: instances, 0 where there is none.
        spacing_mm: per sample and axis.
        reach: farther instances in mm need not be seen; infinite where there are fewer than two.
    """
    rows = parse_spacing(spacing_mm, batch=len(numbered), axes=numbered.ndim - 1)
    width = np.empty(numbered.shape)
    for out, sample, row in zip(width, numbered, rows, strict=True):
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


@options
class DistancePenalizedCrossEntropyLoss(EachVoxelLoss):
    """Cross entropy that counts up to twice as much near the true border.

    Formula:
        L = Σ_v (1 + φ_y) w_y (−log p_y) / Σ_v w_y, y the true class;
        sigmoid: the mean of (1 + φ) (binary cross entropy) of each class;
        φ = (largest d − d) / (largest d − smallest d), d the distance in mm to the border of the
        class, inside and outside each on its own scale: 1 along the border, 0 farthest from it.

    A class without a border, empty or filling the image, has φ = 0; a side that is one voxel deep
    is all border, φ = 1. Spacing is taken as in ``boundary``. A ready ``distance_map`` needs none
    and saves a distance transform of each class in every step (sigmoid: two), which takes far
    longer than the rest where objects are few and far apart.

    Range: [0, ∞).

    Empty target:
        plain cross entropy, value and full gradient.

    Args:
        spacing_mm: size of a voxel where the call does not say it; it outranks a MetaTensor's.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
        >>> g[..., 1:4, 1:4] = 1
        >>> p = 0.1 + 0.7 * g
        >>> p[..., 1, 1], p[..., 0, 4] = 0.3, 0.7
        >>> round(DistancePenalizedCrossEntropyLoss(spacing_mm=1.0)(p, g).item(), 12)
        0.392152224218

    Source:
        Caliva 2019, arXiv:1908.03679 (the idea; the scale of φ is that of Ma 2021,
        doi:10.1016/j.media.2021.102035).
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    spacing_mm: SpacingLike | None = None

    def each(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Penalised cross entropy and weight of each voxel."""
        near = nearness(prepared, self.spacing_mm)
        return weighed(self.cross_entropy, prepared, 1 + near)


REACH = 6.0
"""How far an object is felt, in units of sigma: beyond it, b is below w0 exp(-18)."""


@options
class BorderWeightedCrossEntropyLoss(EachVoxelLoss):
    """Cross entropy that weighs narrow gaps between objects, as U-Net does.

    Formula:
        L = Σ_v (w_y + b) (−log p_y) / N, y the true class, N the number of voxels;
        b = w0 exp(−(d1 + d2)² / 2σ²) in the background and 0 elsewhere, d1 and d2 the distances in
        mm to the nearest and second nearest object; sigmoid: for each class likewise, b where no
        class is.

    Objects are ``components`` where given; otherwise connected components (across corners too) of
    each foreground class, found on the host: objects that touch are then one. Either way there is
    one distance transform on the host for each object, within 6σ of it: some 15 ms in 3D where σ
    is 5 voxels, 0.1 ms in 2D. Spacing is taken as in ``boundary``.

    Range: [0, ∞).

    Empty target:
        with fewer than two objects b is 0: cross entropy, value and full gradient.

    Args:
        w0: weight of an infinitely narrow gap.
        sigma_mm: σ, in mm; the paper has 5 voxels.
        spacing_mm: size of a voxel where the call does not say it; it outranks a MetaTensor's.
        weight: w_c, one number, or one for each class that counts; 1 by default.

    Example:
        >>> import torch
        >>> y = torch.zeros(1, 1, 5, 9, dtype=torch.long)
        >>> y[..., 1:4, 1:4] = y[..., 1:4, 5:8] = 1
        >>> loss = BorderWeightedCrossEntropyLoss(softmax=True, spacing_mm=1.0, reduction="none")
        >>> each = loss(torch.zeros(1, 2, 5, 9, dtype=torch.float64), y)[0, 0]
        >>> round((each[2, 4] / each[2, 3]).item(), 10)  # the gap beside a cell, 1 + b
        10.2311634639

    Source:
        Equation 2 of Ronneberger 2015, arXiv:1505.04597.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    w0: float = 10.0
    sigma_mm: float = 5.0
    spacing_mm: SpacingLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.w0 >= 0:
            raise ValueError(f"w0: expected at least 0, got {self.w0!r}")
        if not self.sigma_mm > 0:
            raise ValueError(f"sigma_mm: expected more than 0, got {self.sigma_mm!r}")
        self.unweighted = CrossEntropyLoss(include_background=self.include_background)

    def each(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Weighted cross entropy of each voxel, and 1 for each that counts."""
        value, _ = weighed(self.cross_entropy, prepared)
        border, counts = weighed(self.unweighted, prepared, self.border(prepared))
        return value + border, counts

    @torch.no_grad()
    def border(self, prepared: Prepared) -> Tensor:
        """Border term b of each voxel, (B, 1, *spatial)."""
        spacing = voxel_size(prepared, self.spacing_mm)
        width = gap_width(instances(prepared), spacing, reach=REACH * self.sigma_mm)
        squared = torch.as_tensor(width).to(prepared.input)[:, None].square()
        border = self.w0 * torch.exp(-squared / (2 * self.sigma_mm**2))
        objects = masks_of_classes(prepared, skip=1 if prepared.is_exclusive else 0)
        return torch.where(objects.any(1, keepdim=True), 0, border)
