"""The options of every MONAI metric class: checked, and settled where they depend on each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medloss.base.options import check_number, checked
from medloss.offers.records import Metric
from medloss.scoring.adapter_monai import OVERLAP, PRESET
from medloss.scoring.adapter_reduction import check_reduction
from medloss.scoring.status import BothEmpty, EmptyPolicy, Missed

GEOMETRY = ("surfaces", "components", "skeletons")
"""Facts that depend on where voxels lie, and not only on how many there are."""


class MetricOptions:
    """What :data:`medloss.scoring.adapter_options.OPTIONS` says, as attributes."""

    def _configure(
        self,
        record: Metric,
        *,
        include_background: bool | None = None,
        reduction: str = "mean",
        get_not_nans: bool = False,
        ignore_empty: bool | None = None,
        num_classes: int | None = None,
        return_with_label: bool | Sequence[str] = False,
        per_component: bool = False,
        spacing_mm: float | Sequence[float] | str | None = None,
        missed: Missed | None = None,
        both_empty: BothEmpty | None = None,
        preset: str = "deepmind",
        ignore_index: int | None = None,
        **options: Any,
    ) -> None:
        include_background = checked("include_background", include_background, bool | None)
        if include_background is None:
            include_background = with_background(record)
        self.reduction = check_reduction(reduction)
        get_not_nans = checked("get_not_nans", get_not_nans, bool)
        if checked("per_component", per_component, bool):
            raise ValueError(
                "per_component: expected False, got True; LesionDiceMetric has lesions"
            )
        if isinstance(return_with_label, str) or not isinstance(return_with_label, Sequence | bool):
            raise ValueError(
                f"return_with_label: expected a bool or names, got {return_with_label!r}"
            )
        if return_with_label and self.reduction != "mean_batch":
            raise ValueError(
                f"return_with_label: expected reduction='mean_batch', got {self.reduction!r}"
            )
        num_classes = _whole("num_classes", num_classes)
        ignore_index = _whole("ignore_index", ignore_index)
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"num_classes: expected at least 2, got {num_classes!r}")
        if ignore_index is not None and num_classes is None:
            raise ValueError("ignore_index: expected num_classes too, for label maps")
        self.as_monai = preset == PRESET
        ignore_empty = checked("ignore_empty", ignore_empty, bool | None)
        if ignore_empty is not None:
            if both_empty is not None:
                raise ValueError("ignore_empty: expected it without both_empty, got both")
        elif self.as_monai and both_empty is None and record.name in OVERLAP:
            ignore_empty = True
        self.ignore_empty = ignore_empty
        self.percentile = None
        if self.as_monai and missed is None:
            missed = "inf"
            self.percentile = _percentile(record, options)
        self.include_background = include_background
        self.get_not_nans = get_not_nans
        self.num_classes = num_classes
        self.return_with_label = return_with_label
        self.spacing_mm = spacing_mm
        self.policy = EmptyPolicy.of(preset, missed, both_empty)
        self.preset = preset
        self.ignore_index = ignore_index
        self.options = options


def with_background(record: Metric) -> bool:
    """MONAI's default: metrics of the shape of objects leave out the background."""
    return not {*GEOMETRY} & {*record.facts}


def _percentile(record: Metric, options: Mapping[str, Any]) -> float | None:
    """Of the distances, where the metric has one."""
    return 95.0 if record.name == "hausdorff95" else options.get("percentile")


def _whole(name: str, value: Any) -> int | None:
    check_number(name, value, int | None)
    number: int | None = checked(name, value, int | None)
    return number
