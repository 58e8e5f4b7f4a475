"""The result files: every value of every case as CSV, and the whole study as JSON."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from medloss import __version__
from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.outputs.nnunet import nnunet_keys
from medloss.evaluation.outputs.provenance import versions
from medloss.evaluation.outputs.statistics import BOOTSTRAP
from medloss.evaluation.outputs.tables import Summary, columns
from medloss.evaluation.records import CaseResult
from medloss.evaluation.score import EvalPlan, plan_labels
from medloss.scoring import Status
from medloss.work.devices import device_name

CSV_COLUMNS = ("case", "label", "name", "metric", "value", "unit", "preset", "status", "message")
FORMAT = 1
"""Number of the layout of the JSON file; it grows when a reader would have to change."""


def check_output(path: Path, *, force: bool) -> None:
    """Raise if ``path`` cannot be written, before any work is done for it.

    Raises:
        ValueError: it exists and ``force`` is not set, or its folder is missing or not writable.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder")
    if path.exists() and not force:
        raise ValueError(f"{path} exists; --force overwrites it")
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is no folder to write {path.name} to")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path.parent} is not writable")


def write_csv(path: Path, cases: Sequence[CaseResult], plan: EvalPlan) -> None:
    """Write one line for each case, label and metric, and one for each failed case."""
    write_csv_of(path, [(cases, plan)])


def write_csv_of(path: Path, studies: Iterable[tuple[Sequence[CaseResult], EvalPlan]]) -> None:
    """Write the lines of several studies, one after the other, below one head."""
    with whole_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for cases, plan in studies:
            for *text, value, unit, preset, status, message in rows(cases, plan):
                shown = "" if value is None else repr(value)
                writer.writerow((*text, shown, unit, preset, status, message))


def rows(cases: Sequence[CaseResult], plan: EvalPlan) -> Iterator[tuple[Any, ...]]:
    """A value for each of :data:`CSV_COLUMNS`, all text but the value; failed cases have none."""
    preset = plan.preset
    for case in cases:
        name = case.pair.name
        for result in case.results:
            head = (name, label_text(result.label), plan.name(result.label), result.column)
            yield (*head, result.value, result.unit, preset, result.status, "")
        if case.error:
            yield (name, "", "", "", None, "", preset, "failed", case.error)


def write_json(
    path: Path,
    cases: Sequence[CaseResult],
    summaries: Sequence[Summary],
    plan: EvalPlan,
    command: str = "",
) -> None:
    """Write settings, cases and summary. NaN and infinity become null: JSON has neither.

    Args:
        path: of the file.
        cases: complete.
        summaries: of these cases.
        plan: what was computed.
        command: that computes the same again, without the options that change no number.
    """
    content = {
        "medloss": __version__,
        "format": FORMAT,
        "settings": {
            **_settings(cases, plan),
            "bootstrap": dataclasses.asdict(BOOTSTRAP),
            "command": command,
            "versions": versions(plan),
        },
        "cases": [_case(case, plan) for case in cases],
        "summary": [_summary(summary, plan) for summary in summaries],
        **nnunet_keys(cases),
    }
    with whole_file(path) as file:
        json.dump(content, file, indent=1, allow_nan=False, default=str)
        file.write("\n")


def label_text(label: Label | None) -> str:
    """A label as the tables write it: ``all`` for the whole case."""
    return "all" if label is None else str(label)


def _settings(cases: Sequence[CaseResult], plan: EvalPlan) -> dict[str, Any]:
    options = [metric.options for metric in plan.metrics] + [x.options for x in plan.losses]
    records = [metric.record for metric in plan.metrics] + [x.record for x in plan.losses]
    asked = [
        {
            "metric": column.name,
            "name": record.name,
            "options": dict(chosen),
            "unit": column.unit,
            "better": column.better,
        }
        for column, record, chosen in zip(columns(plan), records, options, strict=True)
    ]
    return {
        "preset": plan.preset,
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
        **({"source": dict(plan.source)} if plan.source else {}),
    }


def _label(label: Label, plan: EvalPlan) -> dict[str, Any]:
    """A region also has the labels that it is made of."""
    members = {"labels": plan.regions[label]} if label in plan.regions else {}
    return {"label": label, "name": plan.name(label), **members}


def _case(case: CaseResult, plan: EvalPlan) -> dict[str, Any]:
    pair = case.pair
    head = {
        "case": pair.name,
        "prediction": pair.prediction and str(pair.prediction),
        "reference": pair.reference and str(pair.reference),
    }
    if case.error:
        return {**head, "status": "failed", "error": case.error}
    return {
        **head,
        "status": "ok",
        "spacing_mm": case.spacing_mm,
        "shape": case.shape,
        **({"notes": case.notes} if case.notes else {}),
        "results": [
            {
                "label": "all" if result.label is None else result.label,
                "name": plan.name(result.label),
                "metric": result.column,
                "value": _number(result.value),
                "unit": result.unit,
                "status": result.status,
            }
            for result in case.results
        ],
    }


def _summary(summary: Summary, plan: EvalPlan) -> dict[str, Any]:
    return {
        "label": "all" if summary.label is None else summary.label,
        "name": plan.name(summary.label),
        "metric": summary.column.name,
        "n": summary.n,
        "mean": _number(summary.mean),
        "sd": _number(summary.sd),
        "q1": _number(summary.q1),
        "median": _number(summary.median),
        "q3": _number(summary.q3),
        "min": _number(summary.minimum),
        "max": _number(summary.maximum),
        "ci_low": _number(summary.ci_low),
        "ci_high": _number(summary.ci_high),
        "worst_case": summary.worst_case,
        "statuses": {str(status): summary.statuses.get(str(status), 0) for status in Status},
        "not_used": summary.not_used,
        "failed": summary.failed,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A file that appears under its name only when all of it is written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        # A path may hold bytes that are no text, which must not cost the file.
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
