"""Values by subgroup, and how far subgroups are apart: tables, a CSV file, entries of JSON.

No subgroup is tested on its own: that one of two is significant and the other is not says nothing
about their difference, which is what is estimated and tested here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medloss.evaluation.grouping import Grouping, Variable
from medloss.evaluation.outputs.statistics import Floats, Interval, mean_interval
from medloss.evaluation.outputs.statistics.groups import LEAST_CASES, group_difference
from medloss.evaluation.outputs.statistics.means import value_range
from medloss.evaluation.outputs.statistics.paired_tests import holm
from medloss.evaluation.records import (
    WHOLE_CASE,
    Measure,
    ResultTable,
    ScoredLabel,
    Subgroup,
    SubgroupContrast,
    SubgroupTable,
)
from medloss.runtime.files import write_rows

SUBGROUPS = "subgroups.csv"
_GROUP = tuple(field.name for field in dataclasses.fields(Subgroup) if field.name != "values")
_CONTRAST = tuple(field.name for field in dataclasses.fields(SubgroupContrast))

RULE = (
    f"subgroups were listed before; below {LEAST_CASES} cases (patients with --cluster) there are "
    f"values and no interval; differences are a subgroup minus the largest of its list, with "
    f"Welch's t interval and test, and Holm's rule adjusts over all subgroups of a metric and label"
)


def subgroups_of(table: ResultTable) -> tuple[SubgroupTable, ...]:
    """For each list of subgroups that the settings name, every metric of every label."""
    grouping = Grouping.of_record(table.settings)
    if not grouping.by:
        return ()
    pairs = [case.pair for case in table.cases]
    variables, clusters = grouping.variables(pairs), grouping.clusters(pairs)
    found: list[SubgroupTable] = []
    for measure in table.measures:
        for label in (*table.labels, ScoredLabel(WHOLE_CASE)):
            own = [case.values.get((label.key, measure.name)) for case in table.cases]
            if not any(own):
                continue
            values = {
                case.name: value.value if value else math.nan
                for case, value in zip(table.cases, own, strict=True)
            }
            within = value_range(measure.name)
            found += subgroup_tables(variables, label, measure, values, clusters, within)
    return tuple(found)


def subgroup_tables(
    variables: Sequence[Variable],
    label: ScoredLabel,
    measure: Measure,
    values: Mapping[str, float],
    clusters: Mapping[str, str] | None,
    within: tuple[float, float | None] | None = None,
) -> list[SubgroupTable]:
    """The subgroups of every list, adjusted together.

    Args:
        variables: lists of subgroups.
        label: of the values.
        measure: metric or loss.
        values: by case, NaN where there is none; or differences of two runs, so that a difference
            of subgroups is one of differences (interaction).
        clusters: the patient of each case; ``None`` where each stands for itself.
        within: the range of the values, if it is known.
    """
    tables = (_table(each, label, measure, values, clusters, within) for each in variables)
    return _adjusted([*tables])


def _table(
    variable: Variable,
    label: ScoredLabel,
    measure: Measure,
    values: Mapping[str, float],
    clusters: Mapping[str, str] | None,
    within: tuple[float, float | None] | None,
) -> SubgroupTable:
    members = {
        level: [name for name in values if variable.of[name] == level] for level in variable.levels
    }
    used = {
        level: {name: values[name] for name in names if not math.isnan(values[name])}
        for level, names in members.items()
    }
    arrays = {level: np.array([*own.values()], dtype=np.float64) for level, own in used.items()}
    whose = {
        level: [clusters[name] if clusters else name for name in own] for level, own in used.items()
    }
    groups = tuple(
        _group(
            level, len(members[level]), arrays[level], whose[level] if clusters else None, within
        )
        for level in variable.levels
    )
    largest = max(groups, key=lambda group: group.n).level  # of equal ones the first
    contrasts = []
    for level in variable.levels:
        if level == largest:
            continue
        both = (whose[largest], whose[level]) if clusters else None
        apart = group_difference(arrays[largest], arrays[level], both)
        contrasts.append(
            SubgroupContrast(level, largest, apart.mean, apart.low, apart.high, apart.p, math.nan)
        )
    return SubgroupTable(variable.name, label, measure, groups, tuple(contrasts))


def _group(
    level: str,
    cases: int,
    values: Floats,
    whose: Sequence[str] | None,
    within: tuple[float, float | None] | None,
) -> Subgroup:
    n = len(values)
    units = n if whose is None else len(set(whose))
    finite = bool(n) and bool(np.isfinite(values).all())
    interval = Interval()
    if units >= LEAST_CASES:
        interval = mean_interval(values, clusters=whose, within=within)
    return Subgroup(
        level=level,
        cases=cases,
        n=n,
        clusters=0 if whose is None else units,
        mean=float(values.mean()) if n else math.nan,
        sd=float(values.std(ddof=1)) if finite and n > 1 else math.nan,
        median=float(np.median(values)) if n else math.nan,
        ci_low=interval.low,
        ci_high=interval.high,
        ci_method=interval.method,
        values=tuple(values.tolist()) if units < LEAST_CASES else (),
    )


def _adjusted(tables: Sequence[SubgroupTable]) -> list[SubgroupTable]:
    """By Holm's rule, over all lists together."""
    adjusted = iter(holm([each.p for table in tables for each in table.contrasts]))
    return [
        dataclasses.replace(
            table,
            contrasts=tuple(
                dataclasses.replace(each, p_holm=next(adjusted)) for each in table.contrasts
            ),
        )
        for table in tables
    ]


def subgroup_entries(tables: Sequence[SubgroupTable]) -> list[dict[str, Any]]:
    """For JSON."""
    return [
        {
            "variable": each.variable,
            "label": each.label.key,
            "name": each.label.name,
            "metric": each.measure.name,
            "groups": [dataclasses.asdict(group) for group in each.groups],
            "differences": [dataclasses.asdict(contrast) for contrast in each.contrasts],
        }
        for each in tables
    ]


def write_subgroups(path: Path, table: ResultTable, *, safe: bool = False) -> None:
    """Write a line for each subgroup, with its difference from the largest of its list.

    Args:
        path: of the file.
        table: with subgroups.
        safe: texts are escaped that a spreadsheet would run.
    """
    against = ("against", *(f"difference_{name}" for name in _CONTRAST[2:]))
    lines: list[Sequence[Any]] = [
        ("variable", "label", "name", "metric", "unit", *_GROUP, *against)
    ]
    for each in table.subgroups:
        contrasts = {contrast.level: contrast for contrast in each.contrasts}
        head = (each.variable, each.label.key, each.label.name, each.measure.name)
        for group in each.groups:
            own = [getattr(group, name) for name in _GROUP]
            contrast = contrasts.get(group.level)
            rest = [getattr(contrast, name) for name in _CONTRAST[1:]] if contrast else []
            rest += [""] * (len(against) - len(rest))
            lines.append((*head, each.measure.unit, *own, *rest))
    write_rows(path, lines, safe=safe)
