"""Where in the image each class lies, so that work on a class follows its size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

Box = tuple[slice, ...]

LARGEST_LABEL = 1 << 16
"""Labels up to here are found together in one pass that keeps a slot for every number."""


def label_boxes(maps: Sequence[NDArray[Any]], labels: Sequence[int]) -> dict[int, Box]:
    """Smallest box of each label that holds it in all maps; labels that occur nowhere are left out.

    Args:
        maps: label maps of one shape.
        labels: which boxes are wanted.

    Example:
        >>> label_boxes([np.array([[0, 3, 3], [0, 0, 3]])], labels=[3, 4])
        {3: (slice(0, 2, None), slice(1, 3, None))}
    """
    together = [label for label in labels if 0 < label <= LARGEST_LABEL]
    found: dict[int, list[Box]] = {label: [] for label in labels}
    for array in maps:
        boxes = _boxes_together(array, max(together)) if together else []
        for label in labels:
            box = boxes[label - 1] if label in together else mask_box(array == label)
            if box is not None:
                found[label].append(box)
    return {label: _joint(boxes) for label, boxes in found.items() if boxes}


def mask_box(mask: NDArray[np.bool_]) -> Box | None:
    """Smallest box that holds a mask, ``None`` for an empty one."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        used = np.flatnonzero(mask.any(axis=others))
        if not len(used):
            return None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(box)


def _boxes_together(array: NDArray[Any], largest: int) -> list[Box | None]:
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    boxes: list[Box | None] = find_objects(array, largest)
    return boxes


def _joint(boxes: Sequence[Box]) -> Box:
    return tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*boxes, strict=True)
    )
