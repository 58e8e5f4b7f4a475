"""Output folders of ``medloss eval``, made by hand for tests of what reads them."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CSV_COLUMNS = ("case", "label", "name", "metric", "value", "unit", "preset", "status", "message")
METRICS = {"dice": ("", "higher"), "hausdorff95": ("mm", "lower")}
STATUSES = ("ok", "both_empty", "missed", "spurious", "not_annotated")

Values = Mapping[str, Mapping[tuple[str, str], float | tuple[float, str]] | str]
"""By case: values (with their status, else ok) by label and metric, or the error of the case."""


def write_folder(
    path: Path,
    values: Values,
    *,
    names: Mapping[str, str] | None = None,
    metrics: Mapping[str, tuple[str, str]] | None = None,
    voxels: Mapping[str, Mapping[str, tuple[int, int]]] | None = None,
    files: tuple[Path, Path] | None = None,
    affine_mm: tuple[float, ...] = (1.0, 1.0, 2.0),
    shape: tuple[int, ...] = (8, 8, 8),
    settings: Mapping[str, Any] | None = None,
    version: str = "0.1.0",
) -> Path:
    """Write ``cases.csv`` and ``summary.json`` and return the folder.

    Args:
        path: new folder.
        values: of the cases, in order.
        names: of the labels.
        metrics: unit and direction by name.
        voxels: reference and prediction by case and label.
        files: folders of the predictions and the references.
        affine_mm: voxel size of all cases.
        shape: of all cases.
        settings: more settings, or other values of them.
        version: of medloss.
    """
    names, metrics = names or {}, METRICS if metrics is None else metrics
    path.mkdir(parents=True, exist_ok=True)
    found = {
        case: {key: _pair(value) for key, value in own.items()}
        for case, own in values.items()
        if not isinstance(own, str)
    }
    keys = list(dict.fromkeys(key for own in found.values() for key in own))
    with (path / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for case, own in values.items():
            if isinstance(own, str):
                writer.writerow((case, "", "", "", "", "", "deepmind", "failed", own))
                continue
            for (label, metric), (value, status) in found[case].items():
                row = (case, label, names.get(label, ""), metric, repr(value), metrics[metric][0])
                writer.writerow((*row, "deepmind", status, ""))
    labels = list(dict.fromkeys(label for label, _ in keys if label != "all"))
    place = files or (Path("pred"), Path("ref"))
    content: dict[str, Any] = {
        "medloss": version,
        "format": 1,
        "settings": {
            "preset": "deepmind",
            "policies": {"missed": "diagonal", "both_empty": "exclude", "meaning": "as told"},
            "metrics": [
                {"metric": name, "name": name, "options": {}, "unit": unit, "better": better}
                for name, (unit, better) in metrics.items()
            ],
            "losses": [],
            "labels": [{"label": _number(x), "name": names.get(x, "")} for x in labels],
            "bootstrap": {"resamples": 2000, "seed": 0, "level": 0.95},
            "command": "medloss eval pred ref",
            "versions": {"medloss": version},
            **(settings or {}),
        },
        "cases": [
            _case(case, own, found.get(case, {}), names, metrics, place, affine_mm, shape)
            for case, own in values.items()
        ],
        "summary": [_line(key, found, names, len(values) - len(found)) for key in keys],
    }
    if voxels is not None:
        content["metric_per_case"] = [
            {
                "metrics": {
                    label: _counts(reference, prediction)
                    for label, (reference, prediction) in voxels.get(case, {}).items()
                }
            }
            for case in found
        ]
    (path / "summary.json").write_text(json.dumps(content), encoding="utf-8")
    return path


def _counts(reference: int, prediction: int) -> dict[str, int]:
    """As if one map held the other."""
    both = min(reference, prediction)
    return {"TP": both, "FP": prediction - both, "FN": reference - both, "TN": 0}


def _pair(value: float | tuple[float, str]) -> tuple[float, str]:
    return value if isinstance(value, tuple) else (value, "ok")


def _number(label: str) -> int | str:
    return int(label) if label.isdecimal() else label


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _case(
    case: str,
    own: Any,
    found: Mapping[tuple[str, str], tuple[float, str]],
    names: Mapping[str, str],
    metrics: Mapping[str, tuple[str, str]],
    place: tuple[Path, Path],
    spacing_mm: tuple[float, ...],
    shape: tuple[int, ...],
) -> dict[str, Any]:
    head = {
        "case": case,
        "prediction": str(place[0] / f"{case}.nii.gz"),
        "reference": str(place[1] / f"{case}.nii.gz"),
    }
    if isinstance(own, str):
        return {**head, "status": "failed", "error": own}
    return {
        **head,
        "status": "ok",
        "spacing_mm": spacing_mm,
        "shape": shape,
        "results": [
            {
                "label": _number(label),
                "name": names.get(label, ""),
                "metric": metric,
                "value": _finite(value),
                "unit": metrics[metric][0],
                "status": status,
            }
            for (label, metric), (value, status) in found.items()
        ],
    }


def _line(
    key: tuple[str, str],
    found: Mapping[str, Mapping[tuple[str, str], tuple[float, str]]],
    names: Mapping[str, str],
    failed: int,
) -> dict[str, Any]:
    pairs = [own[key] for own in found.values() if key in own]
    used = [value for value, _ in pairs if not math.isnan(value)]
    mean = sum(used) / len(used) if used else math.nan
    middle = sorted(used)[len(used) // 2] if used else math.nan
    return {
        "label": _number(key[0]),
        "name": names.get(key[0], ""),
        "metric": key[1],
        "n": len(used),
        "mean": _finite(mean),
        "sd": None,
        "median": _finite(middle),
        "q1": _finite(middle),
        "q3": _finite(middle),
        "min": _finite(min(used, default=math.nan)),
        "max": _finite(max(used, default=math.nan)),
        "ci_low": _finite(mean),
        "ci_high": _finite(mean),
        "worst_case": next(iter(found), ""),
        "statuses": {status: sum(s == status for _, s in pairs) for status in STATUSES},
        "not_used": len(pairs) - len(used),
        "failed": failed,
    }
