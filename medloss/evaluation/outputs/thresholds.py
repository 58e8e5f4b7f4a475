"""Whether means are good enough for a pipeline to go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medloss.evaluation.outputs.acceptance import meets
from medloss.evaluation.outputs.formats import number
from medloss.evaluation.outputs.tables import columns
from medloss.evaluation.records import WHOLE_CASE, Measure, ResultTable
from medloss.evaluation.requests import named_columns, read_number
from medloss.evaluation.score import EvalPlan

Side = Literal["under", "over"]
_BETTER: dict[Side, str] = {"under": "higher", "over": "lower"}
_SIGNS: dict[Side, str] = {"under": ">=", "over": "<="}


@dataclass(frozen=True)
class Threshold:
    """A value that the mean of a metric must reach.

    Args:
        column: metric or loss.
        label: number or name of a label, or empty for all labels together.
        value: that a mean may be equal to.
        side: on which the mean fails: ``under`` it or ``over`` it.
    """

    column: Measure
    label: str
    value: float
    side: Side


def parse_threshold(text: str, side: Side, plan: EvalPlan) -> Threshold:
    """Read ``METRIC=value`` or ``METRIC[label]=value``.

    Raises:
        ValueError: another form, a metric that is not computed, or one whose better values lie on
            the side that fails.
    """
    option = f"--fail-{side}"
    name, equals, value_text = text.rpartition("=")
    if not equals:
        raise ValueError(f"{option}: {text!r} is not of the form METRIC=number")
    known = {column.name: column for column in columns(plan)}
    found, label = named_columns(name, known)
    if len(found) != 1:
        wrong = f"names {' and '.join(found)}" if found else "is not computed"
        raise ValueError(f"{option}: {name!r} {wrong}; there are {', '.join(known)}")
    column = known[name := found[0]]
    try:
        value = read_number(value_text, column.unit)
    except ValueError as error:
        raise ValueError(f"{option}: {text!r}: {error}") from error
    if column.better != _BETTER[side]:
        other = "over" if side == "under" else "under"
        raise ValueError(f"{option}: of {name}, {column.better} is better; use --fail-{other}")
    return Threshold(column, label, value, side)


def failures(thresholds: Sequence[Threshold], table: ResultTable) -> list[str]:
    """A sentence for each threshold that is not reached.

    The mean is that of all values that count, of all labels together or of one. Where no value
    counts, as for a label that no case has, nothing was reached.
    """
    sentences = []
    for threshold in thresholds:
        mean = _mean(threshold, table)
        unit = threshold.column.unit
        of = f" of {threshold.label}" if threshold.label else ""
        what = f"{threshold.column.name}{of}"
        limit = f"{threshold.value:g}{f' {unit}' if unit else ''}"
        if math.isnan(mean):
            sentences.append(f"{what}: no value counts, so that {limit} is not reached")
        elif not meets(mean, _SIGNS[threshold.side], threshold.value, unit):
            # All digits where the rounded mean would look as good as the limit.
            shown = number(mean, unit)
            shown = repr(mean) if float(shown) == threshold.value else shown
            sentences.append(f"{what}: the mean {shown} is {threshold.side} {limit}")
    return sentences


def _mean(threshold: Threshold, table: ResultTable) -> float:
    wanted = threshold.label
    keys = {label.key for label in table.labels if wanted in ("", label.key, label.name)}
    if not wanted:
        keys.add(WHOLE_CASE)
    values = [
        result.value
        for case in table.cases
        for (key, column), result in case.values.items()
        if column == threshold.column.name and key in keys and result.used
    ]
    if math.inf in values:
        return math.inf
    return math.fsum(values) / len(values) if values else math.nan
