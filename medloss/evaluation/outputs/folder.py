"""The output folder of ``medloss eval``, read into plain records and checked.

Values come from ``cases.csv``, which tells infinite from undefined; everything else comes from
``summary.json``. The two must agree on the cases, labels and metrics.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medloss.evaluation.outputs.writers import CSV_COLUMNS, FORMAT
from medloss.runtime.config_text import parse_file

CASES, SUMMARY = "cases.csv", "summary.json"


class FolderError(ValueError):
    """A folder that is no output of ``medloss eval``, or a damaged one."""


@dataclass(frozen=True)
class Measure:
    """A metric of a label, or a loss of a whole case.

    Args:
        name: with the options that were asked for.
        unit: of its values.
        better: ``"higher"`` or ``"lower"``.
        options: every option with its value.
    """

    name: str
    unit: str
    better: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name and unit.

        Example:
            >>> Measure("hausdorff95", "mm", "lower").title
            'hausdorff95 (mm)'
        """
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class Label:
    """A label by its key: a number as text, the name of a region, or ``all`` for a whole case.

    Args:
        key: as in the files.
        name: empty where it has none.
        members: the numbers of the labels that a region is made of.
    """

    key: str
    name: str = ""
    members: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """Number and name.

        Example:
            >>> Label("1", "liver").title, Label("tumour", "tumour").title
            ('1 liver', 'tumour')
        """
        return self.key if self.name in ("", self.key) else f"{self.key} {self.name}"


@dataclass(frozen=True)
class Value:
    """One value; NaN where the policies leave it out."""

    value: float
    status: str

    @property
    def used(self) -> bool:
        """Whether it is a number, infinity included."""
        return not math.isnan(self.value)


@dataclass(frozen=True)
class FolderCase:
    """All that is known of a case.

    Args:
        name: of the case.
        prediction: file, or ``None``.
        reference: file, or ``None``.
        error: the sentence of a failed case, else empty.
        spacing_mm: voxel size; empty for a failed case.
        shape: in voxels.
        values: by label key and metric name.
        voxels: of the reference and of the prediction, by label key.
        notes: what was done to the files before they were scored, such as resampling.
    """

    name: str
    prediction: str | None
    reference: str | None
    error: str = ""
    spacing_mm: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    values: Mapping[tuple[str, str], Value] = field(default_factory=dict)
    voxels: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """Statistics of a metric and label over all cases; NaN where there are none."""

    label: str
    measure: str
    n: int
    mean: float
    sd: float
    median: float
    q1: float
    q3: float
    minimum: float
    maximum: float
    ci_low: float
    ci_high: float
    worst_case: str
    statuses: Mapping[str, int]
    not_used: int
    failed: int


@dataclass(frozen=True)
class Folder:
    """One output folder.

    Args:
        path: of the folder.
        version: of medloss that made it.
        settings: as in the file.
        measures: metrics, then losses.
        labels: that were scored.
        cases: in the file's order.
        lines: the summary.
        written: when the file was last changed.
    """

    path: Path
    version: str
    settings: Mapping[str, Any]
    measures: tuple[Measure, ...]
    labels: tuple[Label, ...]
    cases: tuple[FolderCase, ...]
    lines: tuple[Line, ...]
    written: str

    @property
    def inputs(self) -> dict[str, Any]:
        """What was asked to be done to all files before they were scored."""
        return dict(self.settings.get("inputs", {}))

    @property
    def left_out(self) -> tuple[str, ...]:
        """References that are no cases, because nobody predicted them."""
        return tuple(map(str, self.inputs.get("left_out", ())))

    @property
    def passed_over(self) -> tuple[str, ...]:
        """Paths in the two folders that belong to no case."""
        return tuple(map(str, self.inputs.get("passed_over", ())))

    @property
    def preset(self) -> str:
        """Definition of the surface metrics."""
        return str(self.settings["preset"])

    def label(self, key: str) -> Label:
        """A label by its key."""
        return next((label for label in self.labels if label.key == key), Label(key))

    def measure(self, name: str) -> Measure:
        """A metric or loss by its name.

        Raises:
            KeyError: there is none of that name.
        """
        for measure in self.measures:
            if measure.name == name:
                return measure
        raise KeyError(name)


def read_folder(path: Path) -> Folder:
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
        folder = _folder(path, content)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise FolderError(f"{where} lacks or garbles {str(error) or 'an entry'}") from error
    except ValueError as error:
        raise (
            error if isinstance(error, FolderError) else FolderError(f"{where}: {error}")
        ) from error
    return folder


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise FolderError(f"{path} is no folder; give the folder that medloss eval --output wrote")
    where = path / SUMMARY
    try:
        content = parse_file(where.read_text(encoding="utf-8"), where)
    except FileNotFoundError as error:
        raise FolderError(
            f"{path} has no {SUMMARY}; is it a folder that medloss eval --output wrote?"
        ) from error
    except OSError as error:
        raise FolderError(f"{where} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FolderError(f"{where} is not JSON: {error}") from error
    except ValueError as error:
        raise FolderError(str(error)) from error
    if not isinstance(content, dict):
        raise FolderError(f"{where} holds no object")
    return content


def _folder(path: Path, content: dict[str, Any]) -> Folder:
    settings = content["settings"]
    settings["preset"], settings["policies"]["meaning"]  # every reader shows them
    rows, errors = _read_csv(path)
    names = [str(entry["case"]) for entry in content["cases"]]
    failed = {str(x["case"]) for x in content["cases"] if x["status"] == "failed"}
    if len(set(names)) != len(names) or not rows.keys() <= set(names) or failed != errors:
        raise FolderError(f"{path / CASES} and {path / SUMMARY} do not hold the same cases")
    voxels = _voxels(content)
    cases = tuple(
        _case(entry, rows.get(entry["case"], {}), voxels.get(entry["case"], {}), path)
        for entry in content["cases"]
    )
    return Folder(
        path=path,
        version=str(content["medloss"]),
        settings=settings,
        measures=tuple(
            Measure(str(m["metric"]), str(m["unit"]), _better(m), dict(m["options"]))
            for m in (*settings["metrics"], *settings["losses"])
        ),
        labels=tuple(
            Label(str(x["label"]), str(x["name"]), tuple(map(int, x.get("labels", ()))))
            for x in settings["labels"]
        ),
        cases=cases,
        lines=tuple(map(_line, content["summary"])),
        written=_written(path / SUMMARY),
    )


def _written(path: Path) -> str:
    """When the results were written: the time that the file itself bears."""
    moment = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _better(entry: Mapping[str, Any]) -> str:
    better = entry["better"]
    if better not in ("higher", "lower"):
        raise ValueError(f"better: expected higher or lower, got {better!r}")
    return str(better)


def _read_csv(path: Path) -> tuple[dict[str, dict[tuple[str, str], Value]], set[str]]:
    where = path / CASES
    rows: dict[str, dict[tuple[str, str], Value]] = {}
    failed: set[str] = set()
    try:
        with where.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != CSV_COLUMNS:
                raise FolderError(f"{where} does not begin with {','.join(CSV_COLUMNS)}")
            for row in reader:
                if row["status"] == "failed":
                    failed.add(row["case"])
                    continue
                key = row["label"], row["metric"]
                mine = rows.setdefault(row["case"], {})
                if key in mine:
                    raise FolderError(f"{where} line {reader.line_num}: a value is there twice")
                mine[key] = Value(float(row["value"]), row["status"])
    except FileNotFoundError as error:
        raise FolderError(f"{path} has no {CASES}") from error
    except OSError as error:
        raise FolderError(f"{where} cannot be read: {error.strerror or error}") from error
    except (csv.Error, TypeError, UnicodeDecodeError) as error:
        raise FolderError(f"{where} is damaged: {error}") from error
    except ValueError as error:
        if isinstance(error, FolderError):
            raise
        raise FolderError(f"{where} line {reader.line_num}: {error}") from error
    return rows, failed


def _case(
    entry: Mapping[str, Any],
    values: Mapping[tuple[str, str], Value],
    voxels: Mapping[str, tuple[int, int]],
    path: Path,
) -> FolderCase:
    prediction, reference = (
        str(entry[side]) if entry[side] else None for side in ("prediction", "reference")
    )
    name = str(entry["case"])
    if entry["status"] == "failed":
        return FolderCase(name, prediction, reference, error=str(entry["error"]))
    told = {(str(x["label"]), str(x["metric"])) for x in entry["results"]}
    if told != values.keys():
        raise FolderError(f"{path / CASES} and {path / SUMMARY} differ in the values of {name!r}")
    spacing, shape = entry["spacing_mm"], entry["shape"]
    return FolderCase(
        name,
        prediction,
        reference,
        spacing_mm=tuple(map(float, spacing)),
        shape=tuple(map(int, shape)),
        values=values,
        voxels=voxels,
        notes=tuple(map(str, entry.get("notes", ()))),
    )


def _voxels(content: Mapping[str, Any]) -> dict[str, dict[str, tuple[int, int]]]:
    """Voxels of every label by case, from nnU-Net's entries; none where there are none."""
    entries = content.get("metric_per_case", ())
    names = [case["case"] for case in content["cases"] if case["status"] != "failed"]
    if entries and len(entries) != len(names):
        raise ValueError(f"metric_per_case: expected {len(names)} cases, got {len(entries)}")
    return {
        name: {
            str(label): (int(m["n_ref"]), int(m["n_pred"])) for label, m in entry["metrics"].items()
        }
        for name, entry in zip(names, entries, strict=bool(entries))
    }


def _line(entry: Mapping[str, Any]) -> Line:
    n = int(entry["n"])

    def read(name: str) -> float:
        value = entry[name]
        if value is not None:
            return float(value)
        # JSON has no infinity: where there are values these four cannot be undefined.
        return math.inf if n and name in ("mean", "median", "min", "max") else math.nan

    return Line(
        label=str(entry["label"]),
        measure=str(entry["metric"]),
        n=n,
        **{name: read(name) for name in ("mean", "sd", "median", "q1", "q3", "ci_low", "ci_high")},
        minimum=read("min"),
        maximum=read("max"),
        worst_case=str(entry["worst_case"]),
        statuses={str(status): int(count) for status, count in entry["statuses"].items()},
        not_used=int(entry["not_used"]),
        failed=int(entry["failed"]),
    )
