"""Connected components: the numbered objects of masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def connected_components(
    masks: Sequence[NDArray[np.bool_]] | NDArray[np.bool_], connectivity: int | None = None
) -> NDArray[np.int64]:
    r"""Numbers of the objects of some masks, from 1 on, one mask after the other.

    Args:
        masks: at least one, (\*spatial) each; where several are True the last one decides.
        connectivity: along how many axes neighbours may differ: 1 across faces, 2 across edges too,
            3 across corners too; by default as many as there are.

    Raises:
        ValueError: a connectivity beyond the number of axes.

    Example:
        >>> row = np.array([[[True, True, False, True]], [[False, False, True, False]]])
        >>> connected_components(row)
        array([[1, 1, 3, 2]])
    """
    axes = masks[0].ndim
    if connectivity is not None and not (
        isinstance(connectivity, int) and 1 <= connectivity <= axes
    ):
        raise ValueError(f"connectivity: expected None or 1 to {axes}, got {connectivity!r}")
    around = ndimage.generate_binary_structure(axes, connectivity or axes)
    numbered = np.zeros(masks[0].shape, np.int64)
    last = 0
    for mask in masks:
        labels, count = ndimage.label(mask, around)
        numbered[mask] = labels[mask] + last
        last += count
    return numbered
