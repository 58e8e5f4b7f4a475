"""Options of a MONAI metric class: those of every metric, checked, and those of its function."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from medloss.base.options import check_number, checked
from medloss.offers.records import Metric
from medloss.scoring.adapter_monai import OVERLAP, PRESET, check_reduction
from medloss.scoring.grid_steps import StepMetric
from medloss.scoring.inputs import takes_number
from medloss.scoring.presets import BothEmpty, EmptyPolicy, Missed

GEOMETRY = ("surfaces", "components", "cells", "topology", "skeletons", "contours", "candidates")
"""Facts that depend on where voxels lie, and not only on how many there are."""

OPTIONS = """\
Called as MONAI's metrics are, ``metric(y_pred, y, spacing=...)``, with binarised (B, C, *spatial)
tensors, lists of such (C, *spatial) tensors, or label maps (B, 1, *spatial) and ``num_classes``.
A metric of probabilities takes these as ``y_pred``, one channel for each class.

Options:
    include_background: whether channel 0 is scored; a single channel always is.
    reduction: what :meth:`aggregate` does: none, mean, sum, mean_batch, sum_batch, mean_channel or
        sum_channel, without NaN; NaN if nothing is left.
    get_not_nans: whether :meth:`aggregate` also returns how many values took part.
    ignore_empty: of dice and jaccard, as MONAI has it: whether a class that the reference lacks has
        no value; otherwise it is 1 if the prediction lacks it too, else 0. By default such a class
        is 0 where it is predicted and else as ``both_empty`` says; with preset="monai" it is True.
    num_classes: number of labels of label maps, background included.
    return_with_label: of dice and jaccard: whether :meth:`aggregate` returns a dictionary by label,
        or the names of the labels; with reduction="mean_batch" only.
    spacing_mm: size of a voxel along each axis, or "voxel" for distances in voxels. Without it
        the call's ``spacing`` or else the spacing of a MetaTensor is taken.
    missed: what an infinite distance of a missed or spurious class counts: "diagonal" (of the
        image, in mm), a number of mm, "inf" or "exclude". By default the preset's: the diagonal, or
        374 mm for brats2023, 373 mm for those of brats2026, 90 mm for topcow. With preset="monai"
        it is infinite, of a percentile NaN, as in MONAI 1.6, and an aggregate of no value is 0.
    both_empty: what a class in neither map counts: "exclude" or "perfect". By default the
        preset's: exclude, or perfect for brats2023.
    preset: definition of the surface metrics: deepmind, exact, monai or another one of
        ``medloss.scoring.PRESETS``.
    ignore_index: label of the reference whose voxels do not count; in label maps only.
    distance_metric: of metrics of distances between surfaces, as MONAI has it: "euclidean", or with
        preset="monai" also "chessboard" (steps to any neighbour) and "taxicab" (steps across
        faces). These count steps of the grid: the spacing then has no influence, as in MONAI, and
        what has mm in its name, as the tolerance, is a number of steps.

A number among the options of the metric itself may be a list of them, one for each class that is
scored, or a mapping from the number of the class.
"""
"""What every metric class says after the docstring of its function."""


def own_options(
    function: Callable[..., float], facts: int
) -> tuple[dict[str, inspect.Parameter], bool]:
    """Parameters of a metric function after its facts, and whether it takes any option.

    Example:
        >>> def surface_share(surfaces, *, tolerance_mm=1.0): ...
        >>> list(own_options(surface_share, facts=1)[0])
        ['tolerance_mm']
    """
    parameters = list(inspect.signature(function).parameters.values())[facts:]
    own = {
        p.name: p.replace(kind=p.KEYWORD_ONLY)
        for p in parameters
        if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    }
    return own, any(p.kind is p.VAR_KEYWORD for p in parameters)


def check_names(
    metric: str, options: Collection[str], own: Collection[str], known: Collection[str]
) -> None:
    """Raise unless every option is the metric's own.

    Raises:
        TypeError: names the option and the nearest of all known ones.
    """
    for option in options:
        if option not in own:
            near = difflib.get_close_matches(option, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known)}"
            raise TypeError(f"{metric} has no option {option!r}; {hint}")


ClassOptions = Sequence[Mapping[str, Any]]
"""Options of the function for each class that is scored."""


def by_class(
    options: Mapping[str, Any], own: Mapping[str, inspect.Parameter]
) -> dict[str, Sequence[Any] | Mapping[int, Any]]:
    """Options of the function that are a number and were given one for each class.

    Args:
        options: that were given.
        own: parameters of the function.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name in own and takes_number(own[name].annotation):
            value = value.tolist() if hasattr(value, "tolist") else value
            if isinstance(value, Mapping) or (
                isinstance(value, Sequence) and not isinstance(value, str)
            ):
                found[name] = value
    return found


def alternatives(
    options: Mapping[str, Any], by_class: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """The options with each of the values that one has for some class."""
    each = {
        name: list(value.values()) if isinstance(value, Mapping) else list(value)
        for name, value in by_class.items()
    }
    if empty := [name for name, values in each.items() if not values]:
        raise ValueError(f"{empty[0]}: expected a value for each class, got none")
    first = {name: values[0] for name, values in each.items()}
    for name, values in each.items():
        for value in values:
            yield {**options, **first, name: value}
    if not each:
        yield options


def options_of_classes(
    options: Mapping[str, Any], by_class: Mapping[str, Any], scored: range
) -> ClassOptions:
    """The options of each class.

    Args:
        options: that were given.
        by_class: those with a value for each class: one after the other, or by its number.
        scored: numbers of the classes, without the background where that is not scored.

    Raises:
        ValueError: more or fewer values than classes.

    Example:
        >>> options_of_classes({}, {"tolerance_mm": [1.0, 2.0]}, range(1, 3))
        [{'tolerance_mm': 1.0}, {'tolerance_mm': 2.0}]
    """
    columns = {}
    for name, value in by_class.items():
        if isinstance(value, Mapping):
            fits = {*value} == {*scored}
            columns[name] = [value.get(number) for number in scored]
        else:
            fits = len(value) == len(scored)
            columns[name] = list(value)
        if not fits:
            raise ValueError(
                f"{name}: expected a value for each of the classes {', '.join(map(str, scored))}, "
                f"got {value!r}"
            )
    return [
        {**options, **{name: column[n] for name, column in columns.items()}}
        for n in range(len(scored))
    ]


class MetricOptions:
    """What :data:`OPTIONS` says, as attributes."""

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
        distance_metric: Literal["euclidean"] | StepMetric = "euclidean",
        **options: Any,
    ) -> None:
        include_background = checked("include_background", include_background, bool | None)
        if include_background is None:
            include_background = with_background(record)
        self.reduction = check_reduction(reduction)
        get_not_nans = checked("get_not_nans", get_not_nans, bool)
        if checked("per_component", per_component, bool):
            raise ValueError(
                "per_component: expected False, got True; PerComponentDiceMetric has components"
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
        self.steps = _steps(distance_metric, preset, missed)
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


def _steps(distance_metric: Any, preset: str, missed: Missed | None) -> StepMetric | None:
    """How steps of the grid are counted, where these are the distances."""
    known = ("euclidean", *get_args(StepMetric))
    if not isinstance(distance_metric, str) or distance_metric not in known:
        raise ValueError(
            f"distance_metric: expected one of {', '.join(known)}, got {distance_metric!r}"
        )
    if distance_metric == "euclidean":
        return None
    if preset != PRESET:
        raise ValueError(
            f"distance_metric: expected 'euclidean' unless preset='{PRESET}', "
            f"got {distance_metric!r} with preset={preset!r}"
        )
    if missed == "diagonal":
        raise ValueError(
            f"missed: expected 'inf', 'exclude' or a number of steps with "
            f"distance_metric={distance_metric!r}, got 'diagonal', which is in mm"
        )
    return "chessboard" if distance_metric == "chessboard" else "taxicab"


def _percentile(record: Metric, options: Mapping[str, Any]) -> float | None:
    """Of the distances, where the metric has one."""
    return 95.0 if record.name == "hausdorff95" else options.get("percentile")


def _whole(name: str, value: Any) -> int | None:
    check_number(name, value, int | None)
    number: int | None = checked(name, value, int | None)
    return number
