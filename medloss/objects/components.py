"""Connected components: the numbered objects of masks, for metrics and for losses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def label_components(
    mask: NDArray[np.bool_], connectivity: int | None = None
) -> tuple[NDArray[np.int32], int]:
    r"""Numbers of the objects of a mask, from 1 on, and how many there are.

    Args:
        mask: (\*spatial), up to three axes.
        connectivity: along how many axes neighbours may differ: 1 across faces, 2 across edges too,
            3 across corners too; by default as many as there are.

    Raises:
        ValueError: a connectivity beyond the number of axes, or more than three of these.

    Example:
        >>> diagonal = np.eye(2, dtype=bool)
        >>> label_components(diagonal)[1], label_components(diagonal, connectivity=1)[1]
        (1, 2)
    """
    axes = mask.ndim
    if not 1 <= axes <= 3:
        raise ValueError(f"mask: expected 1 to 3 axes, got shape {mask.shape}")
    if connectivity is not None and not (
        isinstance(connectivity, int) and 1 <= connectivity <= axes
    ):
        raise ValueError(f"connectivity: expected None or 1 to {axes}, got {connectivity!r}")
    from medloss.objects.component_runs import component_runs  # numba

    runs = component_runs(mask, connectivity or axes)
    return runs.painted().reshape(mask.shape), runs.count


def connected_components(
    masks: Sequence[NDArray[np.bool_]] | NDArray[np.bool_], connectivity: int | None = None
) -> NDArray[np.int64]:
    r"""Numbers of the objects of some masks, from 1 on, one mask after the other.

    Args:
        masks: at least one, (\*spatial) each; where several are True the last one decides.
        connectivity: as of :func:`label_components`.

    Raises:
        ValueError: a connectivity beyond the number of axes.

    Example:
        >>> row = np.array([[[True, True, False, True]], [[False, False, True, False]]])
        >>> connected_components(row)
        array([[1, 1, 3, 2]])
    """
    numbered = np.zeros(masks[0].shape, np.int64)
    last = 0
    for mask in masks:
        numbers, count = label_components(mask, connectivity)
        numbered[mask] = numbers[mask] + last
        last += count
    return numbered
