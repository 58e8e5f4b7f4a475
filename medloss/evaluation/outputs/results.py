"""``cases.csv`` and ``summary.json``: results written, and read again as the same records.

Values are read from ``cases.csv``, which tells infinite from undefined; everything else comes from
``summary.json``. The two must agree on the cases, labels and metrics.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medloss.decision import Decoding
from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.inputs.pairing import Files, Pair, Structures
from medloss.evaluation.outputs.acceptance import acceptance_entries
from medloss.evaluation.outputs.averages import averages
from medloss.evaluation.outputs.lesions import LESIONS, read_lesions, size_entries
from medloss.evaluation.outputs.pooled import pooled_entries
from medloss.evaluation.outputs.subgroups import subgroup_entries, subgroups_of
from medloss.evaluation.profiles.schema import check_recorded
from medloss.evaluation.records import (
    ROW_FIELDS,
    WHOLE_CASE,
    CaseResult,
    DataFinding,
    LesionRow,
    Measure,
    Result,
    ResultTable,
    ScoredLabel,
    Summary,
    label_key,
    row_of,
)
from medloss.runtime.config_text import parse_file
from medloss.runtime.files import plain_cell, write_json_file, write_rows
from medloss.scoring import Status
from medloss.scoring.facts import Counts

CASES, SUMMARY = "cases.csv", "summary.json"
CSV_COLUMNS = ("case", "label", "name", "metric", "value", "unit", "preset", "status", "message")
PROFILE = "profile"
"""The column with the profile that values were made by, where there is one."""

FORMAT = 1
"""Number of the layout of the JSON file; it grows when a reader would have to change."""

_CSV_SAFE = "csv_safe"

NNUNET_KEYS = ("Dice", "IoU", "FP", "TP", "FN", "TN", "n_pred", "n_ref")
"""Of nnU-Net's ``summary.json``, with the meaning that they have there."""

_NUMBERS = {
    **{name: name for name in ("mean", "sd", "q1", "median", "q3")},
    "minimum": "min",
    "maximum": "max",
    "ci_low": "ci_low",
    "ci_high": "ci_high",
}
"""The statistics of a line of the summary, and what the file calls them."""


_Cell = tuple[float, str, str]
"""Value, unit and status."""

_KINDS: dict[str, type[Any]] = {
    **dict.fromkeys(("inputs", "bootstrap", "versions", "source", "lesions", "pictures"), dict),
    **dict.fromkeys(("command", "device", "cluster", "title"), str),
    **dict.fromkeys(("by", "acceptance"), list),
    "profile": dict,
}
"""Of the settings that are not there in every file, or that only some readers show."""

_ROWS = tuple(name for name in ROW_FIELDS if name != "lesions")
"""Fields of rows that a case has in the file; lesions have one of their own."""

_Values = dict[str, dict[tuple[str, str], _Cell]]
"""By case, then by label and metric."""


class FolderError(ValueError):
    """A folder that is no output of ``medloss eval``, or a damaged one."""


# Writing


def write_csv(path: Path, tables: Sequence[ResultTable], *, safe: bool = False) -> None:
    """Write a line for each case, label and metric, and one for each failed case.

    Several tables, of the same cases, stand one after the other, below one head.

    Args:
        path: of the file.
        tables: with the same columns.
        safe: texts are escaped that a spreadsheet would run.
    """
    lines = (row for table in tables for row in rows(table))
    write_rows(path, (csv_columns(tables[0]), *lines), safe=safe)


def csv_columns(table: ResultTable) -> tuple[str, ...]:
    """The columns of every table, the profile where there is one, then those of a manifest.

    A column of a manifest that is called like one of ours is written as ``manifest[name]``.

    Example:
        >>> pair = Pair("a", None, None, columns=(("site", "Berlin"), ("name", "x")))
        >>> csv_columns(ResultTable((), (), (CaseResult(pair),)))[-3:]
        ('message', 'site', 'manifest[name]')
    """
    ours = (*CSV_COLUMNS, PROFILE)
    own = (f"manifest[{name}]" if name in ours else name for name in _manifest_names(table))
    return (*CSV_COLUMNS, *([PROFILE] if table.profile else []), *own)


def _manifest_names(table: ResultTable) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for case in table.cases for name, _ in case.pair.columns))


def rows(table: ResultTable) -> Iterator[tuple[Any, ...]]:
    """A value for each of :func:`csv_columns`, all text but the value; failed cases have none."""
    preset, names = table.preset, _manifest_names(table)
    profile = [f"{made['name']} {made['sha256']}"] if (made := table.profile) else []
    for case in table.cases:
        cells = dict(case.pair.columns)
        rest = [*profile, *(cells.get(name, "") for name in names)]
        for result in case.results:
            key = label_key(result.label)
            head = (case.name, key, table.label(key).name, result.column)
            yield (*head, result.value, result.unit, preset, result.status, "", *rest)
        if case.error:
            yield (case.name, "", "", "", None, "", preset, "failed", case.error, *rest)


def write_json(path: Path, table: ResultTable, *, csv_safe: bool = False) -> None:
    """Write settings, cases and summary. NaN and infinity become null: JSON has neither.

    Args:
        path: of the file.
        table: with its origin.
        csv_safe: whether the file of the values beside it is escaped.
    """
    content = {
        "medloss": table.version,
        "format": FORMAT,
        **({_CSV_SAFE: True} if csv_safe else {}),
        "settings": table.settings,
        "findings": [dataclasses.asdict(finding) for finding in table.findings],
        "cases": [_case_entry(case, table) for case in table.cases],
        "summary": [summary_entry(line, table) for line in table.lines],
        **({"acceptance": acceptance_entries(table)} if "acceptance" in table.settings else {}),
        **({"averages": [each.to_json() for each in found]} if (found := averages(table)) else {}),
        **({"lesions_by_size": sizes} if (sizes := size_entries(table)) else {}),
        **({"subgroups": subgroup_entries(table.subgroups)} if table.subgroups else {}),
        "pooled": pooled_entries(table),
        **nnunet_keys(table.cases),
    }
    write_json_file(path, content)


def _case_entry(case: CaseResult, table: ResultTable) -> dict[str, Any]:
    pair = case.pair
    head = {
        "case": pair.name,
        "prediction": _files_entry(pair.prediction),
        "reference": _files_entry(pair.reference),
        **({"columns": dict(pair.columns)} if pair.columns else {}),
        **({"image": str(pair.image)} if pair.image else {}),
        **({"image_problem": pair.image_problem} if pair.image_problem else {}),
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
                **_label_entry(result.label, table),
                "metric": result.column,
                "value": result.value,
                "unit": result.unit,
                "status": result.status,
            }
            for result in case.results
        ],
        **{
            name: [dataclasses.asdict(row) for row in getattr(case, name)]
            for name in _ROWS
            if getattr(case, name)
        },
    }


def _files_entry(side: Files | None) -> str | dict[str, str] | None:
    """A path, or paths by the names of structures."""
    if isinstance(side, Structures):
        return {name: str(path) for name, path in side.files}
    return None if side is None else str(side)


def _read_files(entry: Any) -> Files | None:
    """What :func:`_files_entry` wrote."""
    if isinstance(entry, dict):
        return Structures(tuple((str(name), Path(path)) for name, path in entry.items()))
    return Path(entry) if entry else None


def summary_entry(line: Summary, table: ResultTable) -> dict[str, Any]:
    """A line of the summary, as ``summary.json`` has it."""
    return {
        **_label_entry(line.label, table),
        "metric": line.column.name,
        "n": line.n,
        **{there: getattr(line, here) for here, there in _NUMBERS.items()},
        "ci_method": line.ci_method,
        "median_ci": _ends_entry(line.median_low, line.median_high),
        **({"clusters": line.clusters} if line.clusters else {}),
        "worst_case": line.worst_case,
        "statuses": {str(status): line.statuses.get(str(status), 0) for status in Status},
        "not_used": line.not_used,
        "failed": line.failed,
    }


def _ends_entry(low: float, high: float) -> list[float] | None:
    """Two ends, of which JSON makes null where one is infinite; nothing where there are none."""
    return None if math.isnan(low) else [low, high]


def _read_ends(entry: Any) -> tuple[float, float]:
    """What :func:`_ends_entry` wrote."""
    if entry is None:
        return math.nan, math.nan
    low, high = (math.inf if end is None else float(end) for end in entry)
    return low, high


def _label_entry(label: Label | None, table: ResultTable) -> dict[str, Any]:
    return {
        "label": WHOLE_CASE if label is None else label,
        "name": table.label(label_key(label)).name,
    }


def nnunet_keys(cases: Sequence[CaseResult]) -> dict[str, Any]:
    """``foreground_mean``, ``mean`` and ``metric_per_case``, of the cases that were scored.

    A label that neither file of a case has is undefined there (null) and left out of the mean,
    whatever the policies say; ``foreground_mean`` is the mean of the labels' means, and null if one
    of them is.
    """
    scored = [case for case in cases if not case.error]
    per_case: list[dict[str, Any]] = [
        {
            "reference_file": str(case.pair.reference),
            "prediction_file": str(case.pair.prediction),
            "metrics": {str(label): _nnunet_values(counts) for label, counts in case.counts},
        }
        for case in scored
    ]
    by_label: dict[str, list[dict[str, float | int | None]]] = {}
    for entry in per_case:
        for label, values in entry["metrics"].items():
            by_label.setdefault(label, []).append(values)
    means = {
        label: {key: _mean(x[key] for x in found if x[key] is not None) for key in NNUNET_KEYS}
        for label, found in by_label.items()
    }
    foreground = [mean for label, mean in means.items() if label != "0"]
    overall = {key: _mean(mean[key] for mean in foreground) for key in NNUNET_KEYS}
    return {"foreground_mean": overall, "mean": means, "metric_per_case": per_case}


def _nnunet_values(counts: Counts) -> dict[str, float | int | None]:
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    any_of_both = tp + fp + fn
    return {
        "Dice": 2 * tp / (2 * tp + fp + fn) if any_of_both else None,
        "IoU": tp / any_of_both if any_of_both else None,
        "FP": fp,
        "TP": tp,
        "FN": fn,
        "TN": tn,
        "n_pred": counts.prediction,
        "n_ref": counts.reference,
    }


def _mean(values: Iterable[float | None]) -> float | None:
    """Nothing where there are no values, or where one of them is none."""
    found = list(values)
    known = [value for value in found if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(found) else None


# Reading


def read_folder(path: Path) -> ResultTable:
    """Read what ``medloss eval --output`` wrote.

    Raises:
        FolderError: says which file is missing, damaged, or contradicts the other.
    """
    content = _read_json(path)
    where = path / SUMMARY
    if content.get("format") != FORMAT:
        raise FolderError(
            f"{where} has the format {content.get('format')!r}; this version reads {FORMAT}"
        )
    try:
        return _table(path, content)
    except FolderError:
        raise
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise FolderError(f"{where} lacks or garbles {str(error) or 'an entry'}") from error
    except ValueError as error:
        raise FolderError(f"{where}: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise FolderError(f"{path} is no folder; give the folder that medloss eval --output wrote")
    where = path / SUMMARY
    missing = f"{path} has no {SUMMARY}; is it a folder that medloss eval --output wrote?"
    try:
        with _reachable(where, missing):
            content = parse_file(where.read_text(encoding="utf-8"), where)
    except UnicodeDecodeError as error:
        raise FolderError(f"{where} is not JSON: {error}") from error
    except ValueError as error:
        raise FolderError(str(error)) from error
    if not isinstance(content, dict):
        raise FolderError(f"{where} holds no object")
    return content


@contextlib.contextmanager
def _reachable(where: Path, missing: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise FolderError(missing) from error
    except OSError as error:
        raise FolderError(f"{where} cannot be read: {error.strerror or error}") from error


def _table(path: Path, content: dict[str, Any]) -> ResultTable:
    settings = content["settings"]
    settings["preset"], settings["policies"]["meaning"]  # every reader shows them
    for name, kind in _KINDS.items():
        if not isinstance(settings.get(name, kind()), kind):
            raise ValueError(f"{name}: expected {kind.__name__}, got {settings[name]!r}")
    if by := settings.get("profile"):
        check_recorded(by)
    if made := settings.get("bootstrap"):
        float(made["level"]), int(made["resamples"]), int(made["seed"])
    for name, value in settings.get("inputs", {}).items():
        if name in ("left_out", "passed_over") and not isinstance(value, list):
            raise ValueError(f"{name}: expected list, got {value!r}")
        if name == "decode":
            Decoding.of_record(value)
    values, errors = _read_csv(path, safe=content.get(_CSV_SAFE) is True)
    names = [str(entry["case"]) for entry in content["cases"]]
    failed = {str(x["case"]) for x in content["cases"] if x["status"] == "failed"}
    if len(set(names)) != len(names) or not values.keys() <= set(names) or failed != errors:
        raise FolderError(f"{path / CASES} and {path / SUMMARY} do not hold the same cases")
    measures, labels = head_of(settings)
    named = {measure.name: measure for measure in measures}
    counts = _counts(content)
    lesions = _lesions(path, content)
    table = ResultTable(
        measures=measures,
        labels=labels,
        cases=tuple(
            dataclasses.replace(
                _case(entry, values.get(entry["case"], {}), counts.get(entry["case"], ()), path),
                lesions=lesions.get(entry["case"], ()),
            )
            for entry in content["cases"]
        ),
        lines=tuple(_line(entry, named) for entry in content["summary"]),
        settings=settings,
        version=str(content["medloss"]),
        findings=tuple(
            DataFinding(str(x["kind"]), str(x["sentence"]), tuple(x["cases"]), tuple(x["labels"]))
            for x in content.get("findings", ())
        ),
        path=path,
        written=written_at(path),
    )
    return dataclasses.replace(table, subgroups=subgroups_of(table))


def head_of(settings: Mapping[str, Any]) -> tuple[tuple[Measure, ...], tuple[ScoredLabel, ...]]:
    """The metrics and losses, and the labels, that the settings of a table name."""
    return (
        tuple(
            Measure(str(m["metric"]), str(m["unit"]), _better(m), dict(m["options"]))
            for m in (*settings["metrics"], *settings["losses"])
        ),
        tuple(
            ScoredLabel(str(x["label"]), str(x["name"]), tuple(map(int, x.get("labels", ()))))
            for x in settings["labels"]
        ),
    )


def written_at(folder: Path) -> str:
    """When the results in a folder were written: the time that the file itself bears."""
    moment = datetime.fromtimestamp((folder / SUMMARY).stat().st_mtime, tz=UTC)
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _better(entry: Mapping[str, Any]) -> str:
    better = entry["better"]
    if better not in ("higher", "lower"):
        raise ValueError(f"better: expected higher or lower, got {better!r}")
    return str(better)


def _read_csv(
    path: Path, *, safe: bool
) -> tuple[dict[str, dict[tuple[str, str], _Cell]], set[str]]:
    """Values by case, label and metric, and the names of the failed cases."""
    where = path / CASES
    found: _Values = {}
    failed: set[str] = set()
    with (
        _reachable(where, f"{path} has no {CASES}"),
        where.open(encoding="utf-8", newline="") as file,
    ):
        reader = csv.DictReader(file, strict=True)
        try:
            if tuple(reader.fieldnames or ())[: len(CSV_COLUMNS)] != CSV_COLUMNS:
                raise FolderError(f"{where} does not begin with {','.join(CSV_COLUMNS)}")
            for row in reader:
                if safe:
                    row = {key: plain_cell(cell or "") for key, cell in row.items()}
                if row["status"] == "failed":
                    failed.add(row["case"])
                    continue
                key = row["label"], row["metric"]
                mine = found.setdefault(row["case"], {})
                if key in mine:
                    raise FolderError(f"{where} line {reader.line_num}: a value is there twice")
                mine[key] = float(row["value"]), row["unit"], row["status"]
        except FolderError:
            raise
        except (csv.Error, TypeError, UnicodeDecodeError) as error:
            raise FolderError(f"{where} is damaged: {error}") from error
        except ValueError as error:
            raise FolderError(f"{where} line {reader.line_num}: {error}") from error
    return found, failed


def _case(
    entry: Mapping[str, Any],
    values: Mapping[tuple[str, str], _Cell],
    counts: tuple[tuple[Label, Counts], ...],
    path: Path,
) -> CaseResult:
    name = str(entry["case"])
    pair = Pair(
        name,
        _read_files(entry["prediction"]),
        _read_files(entry["reference"]),
        columns=tuple((str(key), str(value)) for key, value in entry.get("columns", {}).items()),
        image=Path(str(entry["image"])) if entry.get("image") else None,
        image_problem=str(entry.get("image_problem", "")),
    )
    if entry["status"] == "failed":
        return CaseResult(pair, error=str(entry["error"]))
    labels = {(str(x["label"]), str(x["metric"])): _label(x) for x in entry["results"]}
    if labels.keys() != values.keys():
        raise FolderError(f"{path / CASES} and {path / SUMMARY} differ in the values of {name!r}")
    return CaseResult(
        pair,
        spacing_mm=tuple(map(float, entry["spacing_mm"])),
        shape=tuple(map(int, entry["shape"])),
        results=tuple(
            Result(labels[key], key[1], value, unit, status)
            for key, (value, unit, status) in values.items()
        ),
        counts=counts,
        notes=tuple(map(str, entry.get("notes", ()))),
        **_read_rows(entry),
    )


def _read_rows(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(_row(ROW_FIELDS[name], x) for x in entry.get(name, ())) for name in _ROWS}


def _row(kind: type[Any], entry: Mapping[str, Any]) -> Any:
    values = [
        [math.nan if x is None else x for x in value] if isinstance(value, list) else value
        for value in (entry[each.name] for each in dataclasses.fields(kind))
    ]
    return row_of(kind, values)


def _label(entry: Mapping[str, Any]) -> Label | None:
    label = entry["label"]
    return None if label == WHOLE_CASE else label if isinstance(label, int) else str(label)


def _counts(content: Mapping[str, Any]) -> dict[str, tuple[tuple[Label, Counts], ...]]:
    """Voxels of every label by case, from nnU-Net's entries; none where there are none."""
    entries = content.get("metric_per_case", ())
    names = [case["case"] for case in content["cases"] if case["status"] != "failed"]
    if entries and len(entries) != len(names):
        raise ValueError(f"metric_per_case: expected {len(names)} cases, got {len(entries)}")
    labels: dict[str, Label] = {str(x["label"]): x["label"] for x in content["settings"]["labels"]}
    return {
        name: tuple(
            (labels.get(key, key), Counts(*(int(m[word]) for word in ("TP", "FP", "FN", "TN"))))
            for key, m in entry["metrics"].items()
        )
        for name, entry in zip(names, entries, strict=bool(entries))
    }


def _lesions(path: Path, content: Mapping[str, Any]) -> dict[str, tuple[LesionRow, ...]]:
    """The lesions of every case, where they were asked for."""
    if "lesions" not in content["settings"]:
        return {}
    where = path / LESIONS
    labels = [x["label"] for x in content["settings"]["labels"]]
    with _reachable(where, f"{path} has no {LESIONS}"):
        found = read_lesions(where, labels, safe=content.get(_CSV_SAFE) is True)
    scored = {str(x["case"]) for x in content["cases"] if x["status"] != "failed"}
    if not found.keys() <= scored:
        raise FolderError(f"{where} and {path / SUMMARY} do not hold the same cases")
    return found


def _line(entry: Mapping[str, Any], measures: Mapping[str, Measure]) -> Summary:
    n = int(entry["n"])

    def read(name: str) -> float:
        value = entry[name]
        if value is not None:
            return float(value)
        # JSON has no infinity: where there are values these four cannot be undefined.
        return math.inf if n and name in ("mean", "median", "min", "max") else math.nan

    statuses = ((str(word), int(count)) for word, count in entry["statuses"].items())
    median_ci = _read_ends(entry.get("median_ci"))
    return Summary(
        label=_label(entry),
        column=measures[str(entry["metric"])],
        n=n,
        **{here: read(there) for here, there in _NUMBERS.items()},
        worst_case=str(entry["worst_case"]),
        statuses={word: count for word, count in statuses if count},
        not_used=int(entry["not_used"]),
        failed=int(entry["failed"]),
        ci_method=str(entry.get("ci_method", "")),
        clusters=int(entry.get("clusters", 0)),
        median_low=median_ci[0],
        median_high=median_ci[1],
    )
