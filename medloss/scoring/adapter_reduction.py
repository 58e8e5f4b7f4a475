"""MONAI's reductions of a (case, class) table; where no value is left the answer is NaN, not 0."""

from __future__ import annotations

import math

import torch
from monai.utils.enums import MetricReduction
from torch import Tensor

REDUCTIONS = tuple(str(reduction.value) for reduction in MetricReduction)


def check_reduction(reduction: str) -> str:
    """Name of a reduction.

    Raises:
        ValueError: MONAI has no such reduction.
    """
    name = str(getattr(reduction, "value", reduction))
    if name not in REDUCTIONS:
        raise ValueError(f"reduction: expected one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    return name


def reduce_values(values: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
    """Reduce without NaN, and count what took part.

    Args:
        values: (N, C), cases by classes.
        reduction: ``mean`` takes the mean over the classes of each case, then over the cases;
            ``mean_batch`` and ``mean_channel`` over one of them, the sums likewise.

    Returns:
        The reduced values and, of the same shape, how many values (for ``mean``: cases) they are
        made of.

    Example:
        >>> nan = math.nan
        >>> reduce_values(torch.tensor([[1.0, nan], [3.0, nan]]), "mean_batch")
        (tensor([2., nan]), tensor([2., 0.]))
    """
    name = check_reduction(reduction)
    defined = ~values.isnan()
    if name == "none":
        return values, defined.to(values.dtype)
    if name == "mean":
        cases = values.nanmean(dim=1)
        return cases.nanmean(), (~cases.isnan()).sum().to(values.dtype)
    axes = {"sum": (0, 1), "mean_batch": (0,), "sum_batch": (0,)}.get(name, (1,))
    count = defined.sum(dim=axes).to(values.dtype)
    total = values.nansum(dim=axes)
    reduced = total / count if name.startswith("mean") else total
    return torch.where(count > 0, reduced, math.nan), count
