"""Which numbers are equal.

Numbers are equal to the digits that were measured, not to the last bit of their sums: 0.3 - 0.2 and
0.9 - 0.8 are the same difference, and in floating point they are not the same number. Ranks, counts
of wins and limits that compare bits would let rounding decide; they compare here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHARE = 1e-9
"""Numbers are equal if they differ by at most this share of the largest of those compared. Rounding
is a million times smaller, and no measurement has so many digits."""


def slack_of(values: Any, axis: int | None = None) -> Any:
    """How far apart equal numbers may be: :data:`SHARE` of the largest finite one.

    Example:
        >>> round(float(slack_of([0.5, -2.0, float("inf")])), 12)
        2e-09
    """
    size = np.abs(np.asarray(values, dtype=np.float64))
    return SHARE * np.where(np.isfinite(size), size, 0.0).max(axis=axis, initial=0.0)


def levels(values: Any, slack: Any) -> Floats:
    """The numbers, with those along the last axis that are equal made the same; NaN stays.

    Args:
        values: any number of axes.
        slack: how far apart equal ones may be, a number or one for each line.

    Example:
        >>> levels([0.3 - 0.2, 0.9 - 0.8, 0.2], 1e-9).tolist()
        [0.09999999999999998, 0.09999999999999998, 0.2]
    """
    values = np.asarray(values, dtype=np.float64)
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    with np.errstate(invalid="ignore"):  # infinite numbers are equal, and their difference is none
        apart = np.diff(ordered, axis=-1) > np.asarray(slack)[..., None]
    first = np.zeros(values.shape, dtype=np.intp)
    first[..., 1:] = np.where(apart, np.arange(1, values.shape[-1]), 0)
    first = np.maximum.accumulate(first, axis=-1)
    found: Floats = np.empty_like(values)
    np.put_along_axis(found, order, np.take_along_axis(ordered, first, axis=-1), axis=-1)
    found[np.isnan(values)] = np.nan
    return found
