"""Volumes of the same cases by several readers, models or scans: from folders or from a table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medloss.evaluation.compare.runs import CompareError
from medloss.evaluation.inputs.pairing import find_cases
from medloss.evaluation.outputs.results import SUMMARY, read_folder
from medloss.evaluation.records import CaseResult, ScoredLabel
from medloss.evaluation.run import default_workers, evaluate_all
from medloss.evaluation.score import EvalPlan
from medloss.runtime.config_text import read_text

_NAMED = 5


@dataclass(frozen=True)
class LabelVolumes:
    """Volumes of a label in the cases where anyone found it.

    Args:
        label: which; empty where a table has none.
        unit: ``ml``, ``mm³`` where all volumes are below 1 ml, ``mm²``; empty for a table.
        cases: names.
        volumes: of each case, in the order of the raters; 0 where one found nothing.
    """

    label: ScoredLabel
    unit: str
    cases: tuple[str, ...]
    volumes: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class RatedVolumes:
    """What is held against one another.

    Args:
        raters: names of readers, models or scans.
        labels: volumes of each label.
        left_out: cases that not all raters have, or that failed, each with the reason.
        sources: where the volumes are from, in words.
    """

    raters: tuple[str, ...]
    labels: tuple[LabelVolumes, ...]
    left_out: tuple[str, ...]
    sources: tuple[str, ...]


def volumes_of_folders(paths: Sequence[Path], names: Sequence[str]) -> RatedVolumes:
    """Volumes of label maps with the same names in several folders.

    A folder that ``medloss eval --output`` wrote stands for its predictions.

    Args:
        paths: at least two.
        names: of the raters.

    Raises:
        CompareError: the folders have no case in common, or no label.
        ValueError: a folder holds no images, or cannot be read.
    """
    found = [_of_results(path) if (path / SUMMARY).exists() else _of_images(path) for path in paths]
    every = list(dict.fromkeys(name for cases, _ in found for name in cases))
    left_out, shared = [], []
    for name in every:
        own = {rater: cases.get(name) for rater, (cases, _) in zip(names, found, strict=True)}
        lacking = [rater for rater, case in own.items() if case is None]
        errors = [f"{rater}: {case.error}" for rater, case in own.items() if case and case.error]
        if lacking:
            left_out.append(f"{name} (not of {', '.join(lacking)})")
        elif errors:
            left_out.append(f"{name} ({'; '.join(errors)})")
        else:
            shared.append(name)
    if not shared:
        raise CompareError(
            f"the folders have no case in common that could be read: {', '.join(left_out[:_NAMED])}"
        )
    titles = {key: label for _, labels in found for key, label in labels.items()}
    rated = [[_volumes(cases[name]) for name in shared] for cases, _ in found]
    keys = list(dict.fromkeys(key for own in rated for case in own for key in case))
    flat = any(len(cases[name].spacing_mm) < 3 for cases, _ in found for name in shared)
    labels = tuple(
        _label(titles.get(key, ScoredLabel(key)), key, shared, rated, flat=flat) for key in keys
    )
    labels = tuple(label for label in labels if label.cases)
    if not labels:
        raise CompareError("no file holds a label other than 0")
    return RatedVolumes(tuple(names), labels, tuple(left_out), tuple(map(str, paths)))


_Found = tuple[Mapping[str, CaseResult], Mapping[str, ScoredLabel]]


def _of_results(path: Path) -> _Found:
    table = read_folder(path)
    if not any(case.counts for case in table.cases):
        raise CompareError(f"{path} holds no voxel counts")
    return {case.name: case for case in table.cases}, {x.key: x for x in table.labels}


def _of_images(path: Path) -> _Found:
    """Each map held against itself: what a metric would see of it is counted."""
    if not path.is_dir():
        raise CompareError(f"{path} is no folder")
    pairs = find_cases(path, path).pairs
    cases = evaluate_all(pairs, EvalPlan(metrics=()), workers=default_workers(pairs))
    return {case.name: case for case in cases}, {}


def _volumes(case: CaseResult) -> dict[str, float]:
    voxel = math.prod(case.spacing_mm)
    return {key: prediction * voxel for key, (_, prediction) in case.voxels.items()}


def _label(
    label: ScoredLabel,
    key: str,
    names: Sequence[str],
    rated: Sequence[Sequence[Mapping[str, float]]],
    *,
    flat: bool,
) -> LabelVolumes:
    rows = [tuple(own[place].get(key, 0.0) for own in rated) for place in range(len(names))]
    kept = [(name, row) for name, row in zip(names, rows, strict=True) if any(row)]
    small = flat or max((max(row) for _, row in kept), default=0.0) < 1000
    scale = 1.0 if small else 1e-3
    return LabelVolumes(
        label,
        "mm²" if flat else "mm³" if small else "ml",
        tuple(name for name, _ in kept),
        tuple(tuple(volume * scale for volume in row) for _, row in kept),
    )


def volumes_of_table(path: Path) -> RatedVolumes:
    """Volumes from a CSV file: ``case``, perhaps ``label``, and a column for each rater.

    A case with an empty cell is left out, and said.

    Raises:
        CompareError: the file has another form, a cell is no volume, or a case is there twice.
    """
    text = read_text(path)
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    try:
        lines = [x for x in csv.reader(io.StringIO(text), delimiter=delimiter, strict=True) if x]
    except csv.Error as error:
        raise CompareError(f"{path} is damaged CSV: {error}") from error
    columns = [cell.strip() for cell in lines[0]] if lines else []
    known = [column.lower() for column in columns]
    raters = [column for column in columns if column.lower() not in ("case", "label")]
    if known.count("case") != 1 or len(raters) < 2 or len(set(columns)) != len(columns):
        raise CompareError(
            f"{path}: expected the columns case, perhaps label, and one for each of two or more "
            f"readers, models or scans; got {', '.join(columns) or 'nothing'}"
        )
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    left_out = []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(columns):
            raise CompareError(f"{path}, line {number}: expected {len(columns)} cells")
        cells = {name: cell.strip() for name, cell in zip(columns, line, strict=True)}
        case = cells[columns[known.index("case")]]
        label = cells[columns[known.index("label")]] if "label" in known else ""
        if lacking := [rater for rater in raters if not cells[rater]]:
            left_out.append(f"{case} (not of {', '.join(lacking)})")
            continue
        own = found.setdefault(label, {})
        if case in own:
            raise CompareError(f"{path}, line {number}: {case!r} is there twice")
        own[case] = tuple(_volume(path, number, rater, cells[rater]) for rater in raters)
    if not found:
        raise CompareError(f"{path} has no case with a volume of every rater")
    return RatedVolumes(
        tuple(raters),
        tuple(
            LabelVolumes(ScoredLabel(label), "", tuple(own), tuple(own.values()))
            for label, own in found.items()
        ),
        tuple(left_out),
        (str(path),),
    )


def _volume(path: Path, number: int, rater: str, cell: str) -> float:
    try:
        volume = float(cell)
    except ValueError:
        volume = math.nan
    if not 0 <= volume < math.inf:
        raise CompareError(f"{path}, line {number}: {rater} is {cell!r} and no volume")
    return volume
