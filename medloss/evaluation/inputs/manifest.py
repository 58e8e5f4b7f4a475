"""Cases from a table that names their files, for studies whose folders do not say what belongs."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloss.evaluation.inputs.pairing import (
    Files,
    Pair,
    files_of,
    structures_of,
    unreachable,
)
from medloss.evaluation.reading.images import case_name
from medloss.runtime.config_text import parse_file, read_text

SIDES = ("prediction", "reference")
IMAGE = "image"
"""Column of what labels were drawn on, which pictures show; kept with the case like others."""

_STRUCTURE = re.compile(r"(prediction|reference)\[(.+)\]")


def read_manifest(path: Path) -> tuple[Pair, ...]:
    """Pairs in the order of a CSV file, or of a JSON file with a list of objects.

    Columns or keys are ``case``, ``prediction`` and ``reference``; a side whose every structure is
    a file of its own has a column for each, such as ``prediction[liver]``, or in JSON an object
    (``"prediction": {"liver": "p/liver.nii.gz"}``). ``image`` is what the labels were drawn on, for
    the pictures of the report. Other columns are kept with the case. CSV has a head line and
    commas, semicolons or tabs. Paths are relative to the folder of the manifest. A file that does
    not exist makes the case a problem and not the manifest wrong.

    Raises:
        ValueError: the manifest cannot be read, lacks a column or a case's name, or has a column, a
            case or a pair of files twice.
    """
    text = read_text(path)
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
    # "sep=;" is how Excel says its delimiter
    found = re.match(r"\s*(?:sep=(.)[ \t]*\n)?\s*", text)
    skipped = text[: found.end()] if found else ""
    body = text[len(skipped) :]
    head = body.partition("\n")[0]
    told = found and found.group(1)
    delimiter = told or max(",;\t", key=head.count)
    try:
        lines = list(csv.reader(io.StringIO(body, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path} is damaged CSV: {error}") from error
    columns = [_known(cell.strip()) for cell in lines[0]] if lines else []
    _check_columns(path, columns)
    rows: list[_Row] = []
    for number, line in enumerate(lines[1:], start=2 + skipped.count("\n")):
        if not any(cell.strip() for cell in line):
            continue
        if len(line) != len(columns):
            raise ValueError(
                f"{path}, line {number}: {len(line)} cells where the head has {len(columns)}"
            )
        cells = [*zip(columns, (cell.strip() for cell in line), strict=True)]
        if nameless := next((cell for name, cell in cells if cell and not name), None):
            raise ValueError(f"{path}, line {number}: {nameless!r} is in a column without a name")
        rows.append((f"line {number}", {name: cell for name, cell in cells if name}))
    return rows


def _known(name: str) -> str:
    """A column by its name; ours may be written in any case."""
    lower = name.lower()
    side, bracket, label = name.partition("[")
    if bracket and side.strip().lower() in SIDES:
        return f"{side.strip().lower()}[{label}"
    return lower if lower in ("case", *SIDES, IMAGE) else name


def _from_json(path: Path, text: str) -> list[_Row]:
    content = parse_file(text, path)
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise ValueError(
            f'{path} holds no list such as [{{"case": "a", "prediction": "p/a.nii.gz", '
            f'"reference": "r/a.nii.gz"}}]'
        )
    rows: list[_Row] = []
    for number, entry in enumerate(content, start=1):
        cells: dict[str, str] = {}
        for name, value in entry.items():
            if name in SIDES and isinstance(value, dict):
                for label, file in value.items():
                    cells[f"{name}[{label}]"] = _text(path, number, f"{name}[{label}]", file)
            elif name in ("case", *SIDES) or _STRUCTURE.fullmatch(name):
                cells[name] = _text(path, number, name, value)
            else:
                cells[name] = value if isinstance(value, str) else json.dumps(value)
        _check_columns(path, list(cells), f", entry {number}")
        rows.append((f"entry {number}", cells))
    return rows


def _text(path: Path, number: int, name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{path}, entry {number}: {name} is {value!r} and no text")
    return value.strip()


def _check_columns(path: Path, columns: Sequence[str], where: str = "") -> None:
    sides = {match.group(1) for name in columns if (match := _STRUCTURE.fullmatch(name))}
    missing = [name for name in ("case", *SIDES) if name not in columns and name not in sides]
    if missing:
        found = ", ".join(repr(name) for name in columns) or "nothing"
        raise ValueError(f"{path}{where} has no {' and no '.join(missing)}; it has {found}")
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise ValueError(f"{path}{where} has the column {twice[0]} twice")
    if both := sorted(side for side in sides if side in columns):
        raise ValueError(f"{path}{where} has {both[0]} and {both[0]}[...]; give one of them")


def _pair(path: Path, where: str, row: Mapping[str, str]) -> Pair:
    if not row["case"]:
        raise ValueError(f"{path}, {where}: the case has no name")
    sides = {side: _side(path, where, side, row) for side in SIDES}
    missing = [side for side, (_, _, nobody) in sides.items() if nobody]
    kept = tuple(
        (name, cell)
        for name, cell in row.items()
        if name not in ("case", *SIDES) and not _STRUCTURE.fullmatch(name)
    )
    image = path.parent / row[IMAGE] if row.get(IMAGE) else None
    lacks = unreachable(image) if image else ""
    return Pair(
        row["case"],
        sides["prediction"][0],
        sides["reference"][0],
        "; ".join(problem for _, problem, _ in sides.values() if problem),
        missing[-1] if missing else "",
        kept,
        image=None if lacks else image,
        image_problem=lacks,
    )


def _side(
    path: Path, where: str, side: str, row: Mapping[str, str]
) -> tuple[Files | None, str, bool]:
    """What a side is read from, or why it cannot be, and whether nobody has made it."""
    named = {
        match.group(2).strip(): path.parent / cell
        for name, cell in row.items()
        if cell and (match := _STRUCTURE.fullmatch(name)) and match.group(1) == side
    }
    one = path.parent / row[side] if row.get(side) else None
    files = [*named.values(), *([one] if one else [])]
    if not files:
        return None, f"no {side}: {path}, {where} names none", True
    bad = [reason for file in files if (reason := _unusable(side, file))]
    if bad:
        # A link, or a path that cannot be looked at, is a prediction that somebody made.
        nobody = len(bad) == len(files) and all(
            reason.endswith((" does not exist", " is a folder")) for reason in bad
        )
        return None, bad[0], nobody
    return (one, "", False) if one else (*structures_of(named.items(), side), False)


def _unusable(side: str, file: Path) -> str:
    """Why a file of a manifest cannot be read; empty where it can be tried."""
    if reason := unreachable(file):
        return f"no {side}: {reason}"
    if case_name(file) is None:
        return (
            f"no {side}: {file} is a folder" if file.is_dir() else f"the {side} {file} is no image"
        )
    return ""


def _check_twice(path: Path, places: Sequence[str], pairs: Sequence[Pair]) -> None:
    names: dict[str, str] = {}
    files: dict[tuple[tuple[str, ...], ...], str] = {}
    for where, pair in zip(places, pairs, strict=True):
        first = names.setdefault(pair.name, where)
        if first != where:
            raise ValueError(f"{path} has the case {pair.name!r} twice: {first} and {where}")
        if pair.prediction and pair.reference:
            both = tuple(
                tuple(map(os.path.realpath, files_of(side)))
                for side in (pair.prediction, pair.reference)
            )
            first = files.setdefault(both, where)
            if first != where:
                raise ValueError(
                    f"{path} compares {pair.prediction} with {pair.reference} twice: {first} and "
                    f"{where}"
                )
