"""Margins: how much worse a run may be, fixed beforehand, and which tests are primary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medloss.evaluation.records import Measure, ScoredLabel
from medloss.evaluation.requests import named_columns, read_number


@dataclass(frozen=True)
class Target:
    """A metric, or one label of it.

    Args:
        metric: with or without its options.
        label: number or name of a label; empty for all.
    """

    metric: str
    label: str = ""

    def fits(self, measure: Measure, label: ScoredLabel) -> bool:
        """Whether it is meant.

        Example:
            >>> dice, liver = Measure("dice", "", "higher"), ScoredLabel("1", "liver")
            >>> Target("dice", "liver").fits(dice, liver)
            True
        """
        return self.metric_is(measure) and self.label in ("", label.key, label.name)

    def metric_is(self, measure: Measure) -> bool:
        """Whether it is this metric, with any options where none are named."""
        return self.metric in (measure.name, measure.name.partition("[")[0])

    def __str__(self) -> str:
        return f"{self.metric}[{self.label}]" if self.label else self.metric


def parse_target(
    option: str, text: str, measures: Sequence[Measure], labels: Iterable[ScoredLabel]
) -> Target:
    """Read ``METRIC`` or ``METRIC[LABEL]``.

    Raises:
        ValueError: there is no such metric or label.
    """
    columns = [measure.name for measure in measures]
    found, label = named_columns(text, columns)
    if not found:
        raise ValueError(f"{option}: {text!r} is not compared; there are {', '.join(columns)}")
    all_labels = list(labels)
    if label and not any(label in (each.key, each.name) for each in all_labels):
        there = ", ".join(each.title for each in all_labels)
        raise ValueError(f"{option}: there is no label {label!r}; there are {there}")
    name = found[0] if len(found) == 1 else found[0].partition("[")[0]
    return Target(name, label)


def parse_margin(
    text: str, measures: Sequence[Measure], labels: Iterable[ScoredLabel]
) -> tuple[Target, float]:
    """Read ``METRIC=X`` or ``METRIC[LABEL]=X``.

    Raises:
        ValueError: another form, or a margin that is not above 0.
    """
    head, equals, number = text.rpartition("=")
    target = parse_target("--margin", head, measures, labels) if equals else None
    units = {measure.unit for measure in measures if target and target.metric_is(measure)}
    try:
        margin = read_number(number, *units) if len(units) == 1 else 0
    except ValueError as error:
        raise ValueError(f"--margin: {text!r}: {error}") from error
    if target is None or margin <= 0:
        raise ValueError(
            f"--margin: expected METRIC=number or METRIC[LABEL]=number with a number above 0, in "
            f"the unit of the metric, such as dice=0.02, got {text!r}"
        )
    return target, margin


@dataclass(frozen=True)
class MarginTest:
    """The second run against a margin.

    Args:
        margin: above 0, in the unit of the metric.
        non_inferior: whether the 95% interval of how much better the second run is lies above
            ``-margin``; ``None`` where there is no interval.
        p_non_inferior: one-sided, by t; to be held against 0.025.
        low90: lower end of the 90% interval of the difference.
        high90: upper end.
        equivalent: whether that interval lies within -+ margin.
        equivalent95: whether the 95% interval does, as some authorities ask.
        p_equivalent: the larger of two one-sided tests, by t; to be held against 0.05.
    """

    margin: float
    non_inferior: bool | None
    p_non_inferior: float
    low90: float
    high90: float
    equivalent: bool | None
    equivalent95: bool | None
    p_equivalent: float
