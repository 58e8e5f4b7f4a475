"""From a metric function to a MONAI metric: written once, for every metric of every plugin.

The only entry here that needs torch and MONAI; nothing in :mod:`medloss.scoring` imports it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from monai.metrics.metric import CumulativeIterationMetric, IterationMetric
from torch import Tensor

from medloss.objects.planes import PLANES, Plane
from medloss.objects.spacing import parse_spacing
from medloss.offers.records import Metric
from medloss.scoring.adapter_inputs import (
    Maps,
    batch_counts,
    ignored_voxels,
    in_a_row,
    in_channels,
    item_cases,
    item_planes,
    item_spacings,
    on_host,
)
from medloss.scoring.adapter_monai import (
    DISTANCES,
    OVERLAP,
    check_reduction,
    named,
    of_empty,
    positional,
    reduce_as_monai,
    reduce_values,
    with_labels,
    without_ignored,
)
from medloss.scoring.adapter_options import (
    GEOMETRY,
    OPTIONS,
    ClassOptions,
    MetricOptions,
    alternatives,
    by_class,
    check_names,
    options_of_classes,
    own_options,
    with_background,
)
from medloss.scoring.case import Case, CountedCase
from medloss.scoring.facts import Counts
from medloss.scoring.grid_steps import StepsCase
from medloss.scoring.presets import Status
from medloss.scoring.scores import score

STATUSES = tuple(Status)
OK = STATUSES.index(Status.OK)


class FactMetric(MetricOptions, CumulativeIterationMetric):  # type: ignore[misc]
    """MONAI metric of one metric function; :func:`adapt` makes its subclasses.

    The buffer keeps the value and the status of every case and class together, so that both are
    gathered from all ranks.
    """

    record: ClassVar[Metric]
    function: ClassVar[Callable[..., float]]
    own_options: ClassVar[Mapping[str, inspect.Parameter]] = MappingProxyType({})
    takes_any_option: ClassVar[bool] = False

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__()
        name = type(self).__name__
        own = named(self.record.name, given, options, name)
        self.by_class = by_class(own, self.own_options)
        own |= self.by_class
        if not self.takes_any_option:
            known = inspect.signature(type(self)).parameters
            check_names(name, own, known, known)
        self._configure(self.record, **own)
        if self.options:
            # Values that the function refuses should fail here, not after an epoch of training.
            cube = np.pad(np.ones((1, 1, 1), dtype=np.uint8), 1)
            sure = cube.astype(np.float32)
            case = self._case(Maps(cube, cube, (1,), {1: sure}), 1.0, None)
            for trial in alternatives(self.options, self.by_class):
                self._score(case, 1, trial)

    def __call__(
        self,
        y_pred: Tensor | Sequence[Tensor],
        y: Tensor | Sequence[Tensor] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Score a batch and keep the result.

        Args:
            y_pred: prediction, binarised; for a metric of probabilities (B, C, *spatial) of these.
            y: reference, of the same shape.
            kwargs: ``spacing``: one number, one for each axis, a row for each item, or "voxel";
                ``mask``: (B, 1, *spatial), voxels of 0 do not count.

        Returns:
            (B, C) values.
        """
        if isinstance(y, np.ndarray):  # which MONAI would hand over as None
            raise TypeError("y: expected a tensor, or a list of them, got an array of numpy")
        scored: Tensor = IterationMetric.__call__(self, y_pred, y, **kwargs)
        if len(scored):  # MONAI's buffer takes no batch of nothing
            self.extend(scored)
        return scored[..., 0]

    def aggregate(self, reduction: str | None = None) -> Any:
        """Reduce the values of all cases; with ``get_not_nans`` a pair with their number."""
        values = self.get_buffer()
        if values is None:
            raise ValueError("nothing to aggregate: the metric was not called since its reset")
        reduce = reduce_as_monai if self.as_monai else reduce_values
        value, not_nans = reduce(values, check_reduction(reduction or self.reduction))
        shown: Any = value
        if self.return_with_label:
            shown = with_labels(value, self.return_with_label, int(not self.include_background))
        return (shown, not_nans) if self.get_not_nans else shown

    def get_buffer(self) -> Tensor | None:
        """Values of all cases so far and of all ranks, (N, C)."""
        table = super().get_buffer()
        return None if table is None else table[..., 0]

    def statuses(self) -> list[list[Status]]:
        """Status of every case and class so far, as :meth:`get_buffer` orders them."""
        table = super().get_buffer()
        codes = [] if table is None else table[..., 1].long().tolist()
        return [[STATUSES[code] for code in row] for row in codes]

    def status_counts(self) -> dict[Status, Tensor]:
        """How many cases of each class have each status, (C,)."""
        table = super().get_buffer()
        codes = torch.zeros(0, 0) if table is None else table[..., 1]
        return {status: (codes == n).sum(dim=0) for n, status in enumerate(STATUSES)}

    def _compute_tensor(
        self,
        y_pred: Tensor,
        y: Tensor | None = None,
        *,
        spacing: Any = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        if y is None:
            raise ValueError("y: expected a reference, got None")
        defaults = {name: option.default for name, option in self.own_options.items()}
        needed = not self.steps and _measures(self.record, {**defaults, **self.options})
        spacings: Sequence[Any] = item_spacings(y_pred, y, self._spacing(spacing), needed=needed)
        in_slices = "contours" in self.record.facts and type(self.options.get("axis")) is not int
        planes = item_planes(y_pred, y) if in_slices else [PLANES] * len(y)
        if y.ndim not in (4, 5) and not {*self.record.facts} & {*GEOMETRY}:
            y_pred, y = in_a_row(y_pred), in_a_row(y)
            mask = None if mask is None else in_a_row(mask)
            spacings = [row and (math.prod(row), 1.0) for row in spacings]
        y, ignored = ignored_voxels(y, mask, self.ignore_index)
        y = in_channels(y_pred, y, self.num_classes)
        classes = self.num_classes or y.shape[1]
        scored = range(0 if self.include_background or classes == 1 else 1, classes)
        each = options_of_classes(self.options, self.by_class, scored)
        if self._counts_suffice(y_pred, y):
            rows = self._score_counts(y_pred, y, spacings, ignored, each)
        else:
            rows = self._score_maps(y_pred, y, spacings, ignored, each, planes)
        # MPS has no float64.
        dtype = torch.float32 if y_pred.device.type == "mps" else torch.float64
        found = torch.tensor(rows, dtype=dtype, device=y_pred.device)
        return found if rows else found.view(0, len(scored), 2)

    def _counts_suffice(self, y_pred: Tensor, y: Tensor) -> bool:
        """Whether the whole batch is counted at once, on the CPU."""
        return tuple(self.record.facts) == ("counts",) and on_host(y, y_pred)

    def _score_counts(
        self, y_pred: Tensor, y: Tensor, spacings: Sequence[Any], ignored: Any, each: ClassOptions
    ) -> list[list[tuple[float, int]]]:
        table, voxels = batch_counts(
            y_pred, y, self.num_classes, ignored, background=self.include_background
        )
        function = type(self).function
        rows = []
        for found, size, spacing_mm in zip(table.tolist(), voxels, spacings, strict=True):
            voxel_mm3 = None if spacing_mm is None else math.prod(spacing_mm)
            row = []
            for (reference, prediction, both), options in zip(found, each, strict=True):
                rest = size - reference - prediction + both
                counts = Counts(both, prediction - both, reference - both, rest, voxel_mm3)
                if reference and prediction:  # no policy has a say
                    row.append((float(function(counts, **options)), OK))
                else:
                    case = CountedCase(counts, y.shape[2:], spacing_mm)
                    row.append(self._score(case, 1, options))
            rows.append(row)
        return rows

    def _score_maps(
        self,
        y_pred: Tensor,
        y: Tensor,
        spacings: Sequence[Any],
        ignored: Any,
        each: ClassOptions,
        planes: Sequence[Sequence[Plane]],
    ) -> list[list[tuple[float, int]]]:
        batch = item_cases(
            y_pred,
            y,
            self.num_classes,
            background=self.include_background,
            probabilities=self.record.of_probabilities,
        )
        each_ignored = [None] * len(y) if ignored is None else ignored
        rows = []
        for maps, spacing_mm, left_out, slices in zip(
            batch, spacings, each_ignored, planes, strict=True
        ):
            row: list[tuple[float, int]] = []
            for pair in maps:
                case = self._case(pair, spacing_mm, left_out, slices)
                for label in pair.labels:
                    row.append(self._score(case, label, each[len(row)]))
            rows.append(row)
        return rows

    def _compute_list(
        self,
        y_pred: Sequence[Tensor],
        y: Sequence[Tensor] | None = None,
        *,
        spacing: Any = None,
        mask: Sequence[Tensor] | None = None,
    ) -> Tensor:
        if y is None or len(y) != len(y_pred) or not len(y):
            raise ValueError(f"y: expected as many items as y_pred has ({len(y_pred)}), got {y!r}")
        spacing = self._spacing(spacing)
        rows: Sequence[Any] = [None] * len(y)
        if spacing is not None:
            rows = parse_spacing(spacing, batch=len(y), axes=y[0].ndim - 1)
        masks = [None] * len(y) if mask is None else [m.unsqueeze(0) for m in mask]
        return torch.cat(
            [
                self._compute_tensor(p.unsqueeze(0), t.unsqueeze(0), spacing=row, mask=m)
                for p, t, row, m in zip(y_pred, y, rows, masks, strict=True)
            ]
        )

    def _case(
        self, pair: Maps, spacing_mm: Any, ignored: Any, planes: Sequence[Plane] = PLANES
    ) -> Case:
        maps = pair.reference, pair.prediction
        if self.as_monai and ignored is not None and "surfaces" in self.record.facts:
            maps, ignored = tuple(without_ignored(each, ignored) for each in maps), None
        make = partial(StepsCase, steps=self.steps) if self.steps else Case
        return make(
            *maps,
            labels=pair.labels,
            spacing_mm=spacing_mm,
            preset=self.preset,
            ignored=ignored,
            probabilities=pair.probabilities,
            planes=planes,
        )

    def _spacing(self, spacing: Any) -> Any:
        return self.spacing_mm if spacing is None else spacing

    def _score(
        self, case: Case | CountedCase, label: int, options: Mapping[str, Any]
    ) -> tuple[float, int]:
        found = score(type(self).function, self.record, case, label, self.policy, **options)
        value = of_empty(
            self.record.name, found.value, found.status, self.ignore_empty, self.percentile
        )
        return value, STATUSES.index(found.status)


def adapt(record: Metric, function: Callable[..., float]) -> type[FactMetric]:
    """The MONAI metric class of a metric function.

    Args:
        record: what the metric says about itself.
        function: from the facts that the record names to a number; its further parameters become
            options of the class.

    Raises:
        TypeError: the function has an option that every metric has already.

    Example:
        >>> import medloss.offers.records
        >>> record = medloss.offers.records.Metric(
        ...     name="volume_ratio", target="m:f", family="region", summary="-",
        ...     facts=("counts",), better="higher",
        ... )
        >>> VolumeRatioMetric = adapt(record, lambda counts: counts.prediction / counts.reference)
        >>> metric = VolumeRatioMetric()
        >>> y = torch.tensor([[[[0, 1, 1, 1]], [[1, 0, 0, 0]]]])
        >>> metric(y.flip(1), y).tolist()
        [[0.3333333333333333, 3.0]]
    """
    own, takes_any = own_options(function, len(record.facts))
    common = dict(inspect.signature(MetricOptions._configure).parameters)
    for name in ("self", "record", "options"):
        common.pop(name)
    first = positional(record.name)
    if record.name not in OVERLAP:
        common.pop("ignore_empty")
        common.pop("return_with_label")
    if record.name not in DISTANCES:
        common.pop("distance_metric")
    if "per_component" not in first:
        common.pop("per_component")
    if clash := sorted(own.keys() & common.keys()):
        raise TypeError(f"{record.name}: the option {clash[0]} is one that every metric has")
    shown = common["include_background"].replace(default=with_background(record), annotation="bool")
    common["include_background"] = shown
    parameters = [
        *(common.pop(name).replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in first),
        *common.values(),
        *own.values(),
    ]
    if takes_any:
        parameters.append(inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD))
    attributes = {
        "__module__": "medloss.metrics",  # serves every such class by name, so that they pickle
        "__doc__": f"{inspect.getdoc(function) or record.summary}\n\n{OPTIONS}",
        "__signature__": inspect.Signature(parameters),
        "record": record,
        "function": staticmethod(function),
        "own_options": MappingProxyType(own),
        "takes_any_option": takes_any,
    }
    return type(record.class_name, (FactMetric,), attributes)


def _measures(record: Metric, options: Mapping[str, Any]) -> bool:
    """Whether the metric needs to know the size of a voxel."""
    in_mm = any(value for name, value in options.items() if name.endswith(("_mm", "_mm3")))
    if "cells" in record.facts and options.get("cells_in") != "voxels":
        return True
    return "surfaces" in record.facts or record.unit != "" or in_mm
