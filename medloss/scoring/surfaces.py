"""Surface distances of two masks, or of all classes of two label maps at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medloss.objects.spacing import parse_spacing
from medloss.scoring.inputs import mask_of
from medloss.scoring.maps import LabelMaps
from medloss.scoring.presets import find_preset
from medloss.scoring.surface.bands import Bands
from medloss.scoring.surface.distances import SurfaceDistances
from medloss.scoring.surface.engine import Directed, directed_distances
from medloss.scoring.surface.faces import Parts
from medloss.scoring.surface.farthest import Peaks, Window, farthest_mm
from medloss.scoring.surface.grid import Spacing

if TYPE_CHECKING:
    from medloss.scoring.tensors import TensorBands, TensorMaps


def surface_distances(
    reference_mask: NDArray[Any],
    prediction_mask: NDArray[Any],
    spacing_mm: float | Sequence[float] | str,
    *,
    preset: str = "deepmind",
) -> SurfaceDistances:
    """Distances from each surface to the other.

    With the preset ``"deepmind"`` a surface element sits at every corner of voxels whose 8 voxels
    (4 in 2D) are not all alike, and has the area of the marching-cubes surface around it. Outside
    of the image the mask is empty, so the edge of the image counts as surface.

    Args:
        reference_mask: 2D or 3D, of bool, of integers that are 0 or not, or of floats that are 0 or
            1 up to rounding.
        prediction_mask: of the same shape.
        spacing_mm: size of a voxel along each axis, one number for all, or ``"voxel"``.
        preset: definition, one of :data:`medloss.scoring.PRESETS`.

    Raises:
        ValueError: shapes, spacing or preset that do not fit.

    Example:
        >>> mask = np.zeros((5, 5), dtype=bool)
        >>> mask[1, 1] = True
        >>> surface_distances(mask, np.roll(mask, 2, axis=0), (0.5, 1.0)).reference_mm
        array([0.5, 1. ])
    """
    find_preset(preset)
    reference = mask_of("reference_mask", reference_mask)
    prediction = mask_of("prediction_mask", prediction_mask)
    if reference.shape != prediction.shape or reference.ndim not in (2, 3):
        raise ValueError(
            f"prediction_mask: expected a 2D or 3D mask of the reference's shape "
            f"{reference.shape}, got {prediction.shape}"
        )
    (spacing,) = parse_spacing(spacing_mm, batch=1, axes=reference.ndim)
    maps = LabelMaps(reference, prediction, labels=(1,))
    return class_surfaces(maps, (1,), spacing, preset)[1]


def class_surfaces(
    maps: LabelMaps | TensorMaps, labels: Sequence[int], spacing_mm: Sequence[float], preset: str
) -> dict[int, SurfaceDistances]:
    """Surface distances of every label: in one sweep, of tensors label by label on their device.

    Elements in or beside an ignored voxel do not count; others are still measured to them. A class
    that the ignored region leaves in one map only has infinite distances there, as a missed one.

    Args:
        maps: made for these labels.
        labels: classes.
        spacing_mm: size of a voxel along each axis of the given maps.
        preset: definition.
    """
    definition = find_preset(preset)
    codes = [maps.codes[label] for label in labels]
    bands: Bands | TensorBands
    if isinstance(maps, LabelMaps):
        spacing = maps.spacing(spacing_mm)
        found = directed_distances(maps, codes, spacing, definition)
        bands = Bands(maps, spacing, below=definition.below)
    else:
        from medloss.scoring.tensors import TensorBands, tensor_distances  # torch

        a, b, c = (*(math.inf,) * (3 - len(spacing_mm)), *spacing_mm)
        spacing = a, b, c
        found = tensor_distances(maps, codes, tuple(spacing_mm), definition)
        bands = TensorBands(maps, tuple(spacing_mm), below=definition.below)
    surfaces = {}
    for label, code in zip(labels, codes, strict=True):
        reference, prediction = found[code]
        if maps.any_ignored:
            in_reference, in_prediction = maps.counts[:2, code] > 0
            reference = reference if in_prediction else _nowhere(reference)
            prediction = prediction if in_reference else _nowhere(prediction)
        both = (
            (reference.peaks, partial(maps.window, code, True)),
            (
                prediction.peaks,
                partial(maps.window, code, False),
            ),
        )
        surfaces[label] = SurfaceDistances(
            *reference[:2],
            *prediction[:2],
            preset=preset,
            band=partial(bands.counts, code),
            farthest=partial(_farthest, both, spacing, definition.parts)
            if reference.peaks or prediction.peaks
            else None,
        )
    return surfaces


def _farthest(
    both: Sequence[tuple[Peaks | None, Window]], spacing: Spacing, parts: Parts
) -> tuple[float, float]:
    """Largest distance of a class from the reference's surface, and from the prediction's."""
    reference, prediction = (
        0.0 if peaks is None else farthest_mm(peaks, other, spacing, parts) for peaks, other in both
    )
    return reference, prediction


def _nowhere(directed: Directed) -> Directed:
    """The same surface with nothing to measure to."""
    return Directed(np.full(len(directed.mm), np.inf), directed.area)
