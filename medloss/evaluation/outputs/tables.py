"""From cases to the table that every output is made of; nothing is dropped."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from medloss.evaluation.findings import findings
from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.inputs.pairing import files_of
from medloss.evaluation.outputs.results import head_of
from medloss.evaluation.outputs.statistics import BOOTSTRAP, mean_interval, slack_of
from medloss.evaluation.outputs.statistics.intervals import quantile_interval
from medloss.evaluation.outputs.statistics.means import value_range
from medloss.evaluation.outputs.subgroups import subgroups_of
from medloss.evaluation.reading.formats import packages
from medloss.evaluation.records import (
    CaseResult,
    Measure,
    Result,
    ResultTable,
    ScoredLabel,
    Summary,
)
from medloss.evaluation.score import EvalPlan, complete, offering, plan_labels
from medloss.runtime.progress import tracked
from medloss.scoring import EmptyPolicy, Status
from medloss.scoring.presets import PRESETS, BothEmpty, Missed, find_preset
from medloss.work.devices import device_name

_CORE = ("medloss", "numpy", "numba", "scipy", "nibabel", "simpleitk")
_WITH_LOSSES = ("torch", "monai")
_ON_A_DEVICE = ("torch",)


def make_table(cases: Sequence[CaseResult], plan: EvalPlan) -> ResultTable:
    """The table of complete cases (:func:`medloss.evaluation.score.complete`)."""
    settings = _as_json(_settings(cases, plan))
    measures, labels = head_of(settings)
    table = ResultTable(
        measures,
        labels,
        tuple(cases),
        summarise(cases, plan),
        settings,
        findings=findings(cases, plan),
    )
    return dataclasses.replace(table, subgroups=subgroups_of(table))


def with_origin(table: ResultTable, plan: EvalPlan, command: str) -> ResultTable:
    """The table with what it takes to make it again.

    Args:
        table: of the cases.
        plan: what was computed.
        command: that computes the same again, without the options that change no number.
    """
    sides = (side for case in table.cases for side in (case.pair.prediction, case.pair.reference))
    paths = [path for side in sides for path in files_of(side)]
    origin = {
        "bootstrap": dataclasses.asdict(BOOTSTRAP),
        "command": command,
        "versions": versions(plan) | packages(paths, plan.inputs.reader),
    }
    return dataclasses.replace(table, settings={**table.settings, **_as_json(origin)})


def columns(plan: EvalPlan) -> tuple[Measure, ...]:
    """The metrics, then the losses."""
    metrics = (Measure(m.column, m.record.unit, m.record.better, m.options) for m in plan.metrics)
    return (*metrics, *(Measure(x.column, "", "lower", x.options) for x in plan.losses))


def known_labels(plan: EvalPlan) -> list[ScoredLabel] | None:
    """The labels that will be scored; ``None`` where only the files say it."""
    if plan.labels is None:
        return None
    return [ScoredLabel(str(label), name) for label, name in plan.labels.items()]


def summarise(cases: Sequence[CaseResult], plan: EvalPlan) -> tuple[Summary, ...]:
    """One line for each metric and label, then one for each loss.

    Args:
        cases: complete (:func:`medloss.evaluation.score.complete`).
        plan: what was computed.
    """
    found: dict[tuple[Label | None, str], list[tuple[str, Result]]] = {}
    for case in cases:
        for result in case.results:
            found.setdefault((result.label, result.column), []).append((case.pair.name, result))
    failed = sum(bool(case.error) for case in cases)
    clusters = plan.grouping.clusters([case.pair for case in cases])
    labels: tuple[Label | None, ...] = (*plan_labels(cases, plan), None)
    lines = [
        (label, column)
        for column in columns(plan)
        for label in labels
        if (label, column.name) in found
    ]
    return tuple(
        _summary(label, column, found[label, column.name], failed, clusters)
        for label, column in tracked(lines, "means")
    )


def _summary(
    label: Label | None,
    column: Measure,
    results: list[tuple[str, Result]],
    failed: int,
    clusters: Mapping[str, str] | None,
) -> Summary:
    counts = Counter(result.status for _, result in results)
    used = [(result.value, name) for name, result in results if result.used]
    values = np.array([value for value, _ in used])
    some = bool(used)
    finite = some and bool(np.isfinite(values).all())

    def of(statistic: Callable[..., Any], *, known: bool, **options: float) -> float:
        return float(statistic(values, **options)) if known else math.nan

    worst = of(np.max if column.better == "lower" else np.min, known=some)
    slack = float(slack_of(values))
    of_whom = None if clusters is None else [clusters[name] for _, name in used]
    interval = mean_interval(values, clusters=of_whom, within=value_range(column.name))
    # Ranks of cases that are alike would promise too much.
    ends = (math.nan, math.nan) if interval.clusters else quantile_interval(values, 0.5)
    return Summary(
        label=label,
        column=column,
        n=len(used),
        mean=of(np.mean, known=some),
        sd=of(np.std, known=finite and len(used) > 1, ddof=1),
        q1=of(np.quantile, known=finite, q=0.25),
        median=of(np.median, known=some),
        q3=of(np.quantile, known=finite, q=0.75),
        minimum=of(np.min, known=some),
        maximum=of(np.max, known=some),
        # The first of equals, so that the order of the cases decides and not their names.
        worst_case=next((name for x, name in used if x == worst or abs(x - worst) <= slack), ""),
        statuses={str(status): counts[status] for status in Status if counts[status]},
        not_used=len(results) - len(used),
        failed=failed,
        ci_low=interval.low,
        ci_high=interval.high,
        ci_method=interval.method,
        clusters=interval.clusters,
        median_low=ends[0],
        median_high=ends[1],
    )


def _settings(cases: Sequence[CaseResult], plan: EvalPlan) -> dict[str, Any]:
    names = [m.record.name for m in plan.metrics] + [x.record.name for x in plan.losses]
    left_out = {metric.column for metric in plan.metrics if metric.spurious == "exclude"}
    asked = [
        {
            "metric": column.name,
            "name": name,
            "options": dict(column.options),
            "unit": column.unit,
            "better": column.better,
            **({"spurious": "exclude"} if column.name in left_out else {}),
        }
        for column, name in zip(columns(plan), names, strict=True)
    ]
    return {
        "preset": plan.preset,
        **({"precision": precision} if (precision := find_preset(plan.preset).precision) else {}),
        "policies": {
            "missed": plan.policy.missed,
            "both_empty": plan.policy.both_empty,
            "meaning": plan.policy.describe(),
        },
        "metrics": asked[: len(plan.metrics)],
        "losses": asked[len(plan.metrics) :],
        "labels": [_label(label, plan) for label in plan_labels(cases, plan)],
        "inputs": plan.inputs.record(),
        "device": device_name(plan.device),
        **({"lesions": dataclasses.asdict(plan.lesions)} if plan.lesions else {}),
        **({"source": dict(plan.source)} if plan.source else {}),
        **({"profile": plan.profile.record()} if plan.profile else {}),
        **plan.grouping.record(),
    }


def _label(label: Label, plan: EvalPlan) -> dict[str, Any]:
    """A region also has the labels that it is made of."""
    members = {"labels": plan.regions[label]} if label in plan.regions else {}
    return {"label": label, "name": plan.name(label), **members}


def _as_json(settings: dict[str, Any]) -> dict[str, Any]:
    """As they are read from a file, so that every output shows the same."""
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return plain


def versions(plan: EvalPlan) -> dict[str, str]:
    """Python, the packages that numbers depend on, and those that offer the metrics and losses.

    Example:
        >>> from medloss.evaluation.requests import choose_metric, parse_request
        >>> [*versions(EvalPlan((choose_metric(parse_request("dice")),)))][:3]
        ['python', 'medloss', 'numpy']
    """
    heavy = _WITH_LOSSES if plan.losses else _ON_A_DEVICE if plan.device else ()
    names = dict.fromkeys((*_CORE, *heavy))
    found = {
        "python": platform.python_version(),
        **{name: _version(name) for name in names},
    }
    return found | {name: v for name, v in offering(plan).items() if name not in found}


def _version(name: str) -> str:
    """Of a package; what is damaged in its metadata costs no study."""
    try:
        return str(metadata.version(name))
    except Exception:  # noqa: BLE001  # of whatever finds distributions
        return "unknown"


# Definitions


def every_definition(
    missed: Missed | None, both_empty: BothEmpty | None
) -> tuple[tuple[str, EmptyPolicy], ...]:
    """Every preset that measures in mm with its own policy, as far as the user chose none.

    Each definition once, and not to another precision.

    Example:
        >>> [name for name, _ in every_definition(None, None)][:3]
        ['deepmind', 'exact', 'monai']
    """
    right = (
        preset.name for preset in PRESETS.values() if not (preset.misreads or preset.approximates)
    )
    return tuple((name, EmptyPolicy.of(name, missed, both_empty)) for name in right)


def policies(definitions: Sequence[ResultTable]) -> Iterator[str]:
    """A sentence for each policy, with the definitions that have it."""
    having: dict[str, list[str]] = {}
    for table in definitions:
        having.setdefault(table.policy, []).append(table.preset)
    for policy, presets in having.items():
        yield f"{', '.join(presets)}: {policy}."


def by_definition(cases: Sequence[CaseResult], plan: EvalPlan) -> tuple[ResultTable, ...]:
    """The table of each other definition of the plan, without the losses.

    Args:
        cases: complete by the plan's own definition.
        plan: with other definitions.
    """
    found = []
    for preset, policy in plan.definitions:
        own = dataclasses.replace(
            plan, preset=preset, policy=policy, losses=(), definitions=(), profile=None
        )
        theirs = [
            dataclasses.replace(case, results=dict(case.definitions)[preset], definitions=())
            if not case.error
            else case
            for case in cases
        ]
        found.append(make_table(complete(theirs, own), own))
    return tuple(found)
