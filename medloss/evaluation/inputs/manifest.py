"""Cases from a table that names their files, for studies whose folders do not say what belongs."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloss.evaluation.inputs.pairing import Pair, unreachable
from medloss.evaluation.reading.images import case_name
from medloss.runtime.config_text import parse_file

COLUMNS = ("case", "prediction", "reference")


def read_manifest(path: Path) -> tuple[Pair, ...]:
    """Pairs in the order of a CSV file, or of a JSON file with a list of objects.

    Columns or keys are ``case``, ``prediction`` and ``reference``; others are passed over. CSV has
    a head line and commas, semicolons or tabs. Paths are relative to the folder of the manifest. A
    file that does not exist makes the case a problem and not the manifest wrong.

    Raises:
        ValueError: the manifest cannot be read, lacks a column or a case's name, or has a case or a
            pair of files twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason}") from error
    if path.suffix.lower() not in (".csv", ".tsv", ".json"):
        raise ValueError(f"{path} is no manifest; the suffix must be .csv, .tsv or .json")
    rows = _from_json(path, text) if path.suffix.lower() == ".json" else _from_csv(path, text)
    if not rows:
        raise ValueError(f"{path} names no case")
    pairs = [_pair(path, where, row) for where, row in rows]
    _check_twice(path, [where for where, _ in rows], pairs)
    return tuple(pairs)


_Row = tuple[str, Mapping[str, str]]
"""Where it stands, and its cells."""


def _from_csv(path: Path, text: str) -> list[_Row]:
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path} is damaged CSV: {error}") from error
    columns = [cell.strip().lower() for cell in lines[0]] if lines else []
    _check_columns(path, columns)
    rows: list[_Row] = []
    for number, line in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in line):
            continue
        if len(line) != len(columns):
            raise ValueError(
                f"{path}, line {number}: {len(line)} cells where the head has {len(columns)}"
            )
        cells = dict(zip(columns, (cell.strip() for cell in line), strict=True))
        rows.append((f"line {number}", cells))
    return rows


def _from_json(path: Path, text: str) -> list[_Row]:
    content = parse_file(text, path)
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise ValueError(
            f'{path} holds no list such as [{{"case": "a", "prediction": "p/a.nii.gz", '
            f'"reference": "r/a.nii.gz"}}]'
        )
    rows: list[_Row] = []
    for number, entry in enumerate(content, start=1):
        _check_columns(path, list(entry), f", entry {number}")
        cells = {name: _text(path, number, name, entry[name]) for name in COLUMNS}
        rows.append((f"entry {number}", cells))
    return rows


def _text(path: Path, number: int, name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{path}, entry {number}: {name} is {value!r} and no text")
    return value


def _check_columns(path: Path, columns: Sequence[str], where: str = "") -> None:
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        found = ", ".join(repr(name) for name in columns) or "nothing"
        raise ValueError(f"{path}{where} has no {' and no '.join(missing)}; it has {found}")
    twice = sorted({name for name in COLUMNS if columns.count(name) > 1})
    if twice:
        raise ValueError(f"{path}{where} has the column {twice[0]} twice")


def _pair(path: Path, where: str, row: Mapping[str, str]) -> Pair:
    if not row["case"]:
        raise ValueError(f"{path}, {where}: the case has no name")
    files: dict[str, Path | None] = {}
    problems, missing = [], ""
    for side in ("prediction", "reference"):
        file = path.parent / row[side] if row[side] else None
        files[side] = file
        what = f"{path}, {where} names none" if file is None else unreachable(file)
        if file is None or what or (file.is_dir() and case_name(file) is None):
            files[side] = None
            problems.append(f"no {side}: {what or f'{file} is a folder'}")
            # A link, or a path that cannot be looked at, is a prediction that somebody made.
            if file is None or what in ("", f"{file} does not exist"):
                missing = side
        elif case_name(file) is None:
            files[side] = None
            problems.append(f"the {side} {file} is no image")
    return Pair(row["case"], files["prediction"], files["reference"], "; ".join(problems), missing)


def _check_twice(path: Path, places: Sequence[str], pairs: Sequence[Pair]) -> None:
    names: dict[str, str] = {}
    files: dict[tuple[str, str], str] = {}
    for where, pair in zip(places, pairs, strict=True):
        first = names.setdefault(pair.name, where)
        if first != where:
            raise ValueError(f"{path} has the case {pair.name!r} twice: {first} and {where}")
        if pair.prediction and pair.reference:
            both = os.path.realpath(pair.prediction), os.path.realpath(pair.reference)
            first = files.setdefault(both, where)
            if first != where:
                raise ValueError(
                    f"{path} compares {pair.prediction} with {pair.reference} twice: {first} and "
                    f"{where}"
                )
