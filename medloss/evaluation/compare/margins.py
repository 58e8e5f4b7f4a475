"""Margins: how much worse a run may be, fixed beforehand, and which tests are primary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medloss.evaluation.records import Measure, ScoredLabel


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
        named = self.metric in (measure.name, measure.name.partition("[")[0])
        return named and self.label in ("", label.key, label.name)

    def __str__(self) -> str:
        return f"{self.metric}[{self.label}]" if self.label else self.metric


def parse_target(
    option: str, text: str, measures: Sequence[Measure], labels: Iterable[ScoredLabel]
) -> Target:
    """Read ``METRIC`` or ``METRIC[LABEL]``.

    Raises:
        ValueError: there is no such metric or label.
    """
    name, label = text.strip(), ""
    known = {each for m in measures for each in (m.name, m.name.partition("[")[0])}
    if name not in known and name.endswith("]"):
        name, _, label = name[:-1].rpartition("[")
    if name not in known:
        there = ", ".join(measure.name for measure in measures)
        raise ValueError(f"{option}: {name!r} is not compared; there are {there}")
    all_labels = list(labels)
    if label and not any(label in (each.key, each.name) for each in all_labels):
        there = ", ".join(each.title for each in all_labels)
        raise ValueError(f"{option}: there is no label {label!r}; there are {there}")
    return Target(name, label)


def parse_margin(
    text: str, measures: Sequence[Measure], labels: Iterable[ScoredLabel]
) -> tuple[Target, float]:
    """Read ``METRIC=X`` or ``METRIC[LABEL]=X``.

    Raises:
        ValueError: another form, or a margin that is not above 0.
    """
    head, equals, number = text.rpartition("=")
    try:
        margin = float(number)
    except ValueError:
        margin = math.nan
    if not equals or not 0 < margin < math.inf:
        raise ValueError(
            f"--margin: expected METRIC=number or METRIC[LABEL]=number with a number above 0, in "
            f"the unit of the metric, such as dice=0.02, got {text!r}"
        )
    return parse_target("--margin", head, measures, labels), margin


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
