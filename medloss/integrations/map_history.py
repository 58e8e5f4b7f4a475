"""What happened to a map after it was made, and whether it still is that of its label."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from monai.data.meta_tensor import MetaTensor
from monai.utils.enums import TraceKeys

EXACT = frozenset(
    {
        *("Flip", "AxisFlip", "Rotate90", "Orientation", "Transpose"),
        *("Crop", "SpatialCrop", "CenterSpatialCrop", "CenterScaleCrop", "ScaleCrop"),
        *("SpatialCropSamples", "WeightedCrop", "CropForeground", "CropByPosNegLabel"),
        *("CropByLabelClasses", "CropForegroundSamples"),
    }
)
"""Transforms that move voxels without making new ones, by MONAI's name without Rand and d."""


def check_history(made: Any, name: str) -> None:
    """Raise if a map was resampled or padded after it was made.

    A distance stretched by a zoom is still what it was in mm, an interpolated skeleton is none, and
    what padding adds to a map is 0, which is no distance. MONAI writes down what its spatial
    transforms do; the elastic ones it does not, so that those cannot be refused here.

    Args:
        made: the map of an item or of a batch; without meta data nothing is known of it.
        name: for the error text.

    Raises:
        ValueError: names the transform.
    """
    if not isinstance(made, MetaTensor):
        return
    for operation in _operations(made.applied_operations):
        kind = str(operation.get(TraceKeys.CLASS_NAME, ""))
        if not operation.get(TraceKeys.DO_TRANSFORM, True):
            continue
        if re.sub(r"^Rand|(d|D|Dict)$", "", kind) not in EXACT:
            raise ValueError(
                f"{name}: {kind} was applied to a map that was made before; expected flips, "
                f"rotations by 90 degrees and crops alone. Make the map after it, or leave "
                f"{name!r} out of its keys"
            )


def _operations(found: Any) -> Iterator[Mapping[Any, Any]]:
    """Of an item they are a list, of a batch a list for each item."""
    for each in found if isinstance(found, list | tuple) else ():
        if isinstance(each, Mapping):
            yield each
        else:
            yield from _operations(each)
