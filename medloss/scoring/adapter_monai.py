"""What a metric class does as MONAI's own: order of arguments, empty classes, reductions, names.

The values are those of MONAI 1.6.1, where the preset ``monai`` asks for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics.utils import do_metric_reduction
from monai.utils.enums import MetricReduction
from torch import Tensor

from medloss.scoring.presets import Status

PRESET = "monai"
REDUCTIONS = tuple(str(reduction.value) for reduction in MetricReduction)

OVERLAP = ("dice", "jaccard")
"""Metrics with MONAI's options ``ignore_empty`` and ``return_with_label``."""

DISTANCES = (
    "hausdorff",
    "hausdorff95",
    "average_surface_distance",
    "average_symmetric_surface_distance",
    "mean_average_surface_distance",
    "normalized_surface_dice",
)
"""Metrics with MONAI's option ``distance_metric``."""

_FIRST = ("include_background", "reduction", "get_not_nans")
_POSITIONAL = {
    "dice": (
        *_FIRST,
        "ignore_empty",
        "num_classes",
        "return_with_label",
        "per_component",
        "ignore_index",
    ),
    "jaccard": (*_FIRST, "ignore_empty", "ignore_index"),
}
_OWN_NAMES = {"normalized_surface_dice": {"class_thresholds": "tolerance_mm"}}
"""Options of MONAI's metric that ours has under another name."""


def positional(metric: str) -> tuple[str, ...]:
    """Options of a metric that may be given by position: those of MONAI's metric, in its order."""
    return _POSITIONAL.get(metric, _FIRST)


def named(
    metric: str, given: Sequence[Any], options: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """Options by their names.

    Raises:
        TypeError: too many by position, or one that is given twice.

    Example:
        >>> named("jaccard", (True, "mean"), {"missed": "inf"}, "JaccardMetric")
        {'missed': 'inf', 'include_background': True, 'reduction': 'mean'}
    """
    order = positional(metric)
    if len(given) > len(order):
        raise TypeError(
            f"{name}: expected at most {', '.join(order)} by position, got {len(given)} values"
        )
    by_position = dict(zip(order, given, strict=False))
    if twice := sorted(by_position.keys() & options.keys()):
        raise TypeError(f"{name}: {twice[0]} is given twice, by position and by name")
    found = {**options, **by_position}
    for theirs, ours in _OWN_NAMES.get(metric, {}).items():
        if theirs in found:
            if ours in found:
                raise TypeError(f"{name}: {theirs} and {ours} are one option; give one of them")
            found[ours] = found.pop(theirs)
    return found


def of_empty(
    metric: str, value: float, status: Status, ignore_empty: bool | None, percentile: float | None
) -> float:
    """Value of a class that may be empty, as MONAI counts it.

    Args:
        metric: its name.
        value: by the function.
        status: of the class.
        ignore_empty: whether a class that the reference lacks has no value; ``None`` leaves it.
        percentile: of the distances, where MONAI 1.6 takes the quantile of infinite distances,
            which is NaN; ``None`` leaves it.
    """
    in_reference = status in (Status.OK, Status.MISSED)
    if metric in OVERLAP and ignore_empty is not None and not in_reference:
        if ignore_empty:
            return math.nan
        return 1.0 if status is Status.BOTH_EMPTY else value
    if percentile is not None and percentile < 100 and math.isinf(value):
        return math.nan
    return value


def without_ignored(label_map: Any, ignored: Any) -> Any:
    """A label map without label where it is ignored: MONAI measures the surface of what is left."""
    if isinstance(label_map, Tensor):
        return torch.where(ignored, -1, label_map.to(torch.int32))
    return np.where(ignored, np.int32(-1), label_map)


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


def reduce_as_monai(values: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
    """MONAI's own reduction: where nothing is left the answer is 0."""
    reduced, counted = do_metric_reduction(values, reduction)
    return reduced, counted.to(values.dtype)


def with_labels(values: Tensor, names: bool | Sequence[str], first: int) -> dict[str, float]:
    """The values of ``mean_batch`` by label, to four decimals as MONAI has them.

    Args:
        values: (C,).
        names: of each label; with True they are ``label_1`` and so on.
        first: number of the first label.

    Raises:
        ValueError: more or fewer names than labels.

    Example:
        >>> with_labels(torch.tensor([0.5, 0.25]), ["liver", "tumour"], 1)
        {'liver': 0.5, 'tumour': 0.25}
    """
    keys = (
        [f"label_{n + first}" for n in range(len(values))] if names is True else list(names or ())
    )
    if len(keys) != len(values):
        raise ValueError(
            f"return_with_label: expected a name for each of {len(values)} labels, got {keys}"
        )
    return {key: round(value.item(), 4) for key, value in zip(keys, values, strict=True)}
