"""Results kept as they come, one line a case, so that an interrupted study can go on.

The first line says what the study computes; a study that computes anything else cannot go on from
it. A line is on the disk before the next case is taken; the last one may be torn, and is then cut.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from medloss._version import __version__
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading.opened import Opened, state
from medloss.evaluation.records import CaseResult
from medloss.evaluation.score import EvalPlan, offering

FORMAT = 2


class Journal:
    """The results of a study in a file; open it with :func:`open_journal`.

    Args:
        file: positioned at its end.
        kept: results that it holds and that still hold, by pair.
        outdated: how many results are of files that have changed since.
    """

    def __init__(self, file: BinaryIO, kept: Mapping[Pair, CaseResult], outdated: int) -> None:
        self._file = file
        self.kept = kept
        self.outdated = outdated

    def add(self, case: CaseResult) -> None:
        """Append a result; it is on the disk when this returns."""
        line = {"pair": _paths(case.pair), "files": _files(case), "result": case.to_json()}
        _append(self._file, line)


@contextlib.contextmanager
def open_journal(path: Path, pairs: Sequence[Pair], plan: EvalPlan) -> Iterator[Journal]:
    """Go on with the journal at ``path``, or begin one.

    Scored cases of it are kept, unless a file that was opened for them, or written, has another
    size or time than it had then, or one that was looked for in vain has come. Failed cases are
    not: what made them fail may be gone.

    Raises:
        ValueError: it is of a study with other settings, or no journal.
    """
    settings = plan_settings(plan)
    with path.open("a+b") as file:
        file.seek(0)
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        kept, outdated = _read(path, whole, pairs, settings)
        file.truncate(len(whole))
        if not whole:
            _append(file, {"journal": FORMAT, "settings": settings})
        yield Journal(file, kept, outdated)


def plan_settings(plan: EvalPlan) -> dict[str, Any]:
    """All that results depend on except the files, as JSON has it."""
    settings = {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}
    plain = _plain({"medloss": __version__, "offered by": offering(plan), **settings})
    settings_again: dict[str, Any] = json.loads(json.dumps(plain))
    return settings_again


def _read(
    path: Path, content: bytes, pairs: Sequence[Pair], settings: dict[str, Any]
) -> tuple[dict[Pair, CaseResult], int]:
    if not content:
        return {}, 0
    try:
        head, *lines = [json.loads(line) for line in content.splitlines()]
        if head["journal"] != FORMAT:
            raise ValueError(f"{path} has the format {head['journal']}; this version has {FORMAT}")
        _check_same(path, head["settings"], settings)
        found = {line["result"]["case"]: line for line in lines}
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no journal of medloss eval, or damaged") from error
    kept, outdated = {}, 0
    for pair in pairs:
        line = found.get(pair.name)
        if line is None or line["result"]["error"] or pair.problem:
            continue
        if line["pair"] != _paths(pair) or not all(map(_unchanged, line["files"])):
            outdated += 1
            continue
        kept[pair] = CaseResult.from_json(line["result"], pair)
    return kept, outdated


def _check_same(path: Path, was: dict[str, Any], is_now: dict[str, Any]) -> None:
    for name in sorted(was.keys() | is_now.keys()):
        if was.get(name) != is_now.get(name):
            raise ValueError(
                f"{path.parent} holds a study with another {name}: "
                f"{_short(was.get(name))} there, {_short(is_now.get(name))} now; "
                f"--force begins anew"
            )


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        value = [item.get("column", item) for item in value]
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _append(file: BinaryIO, line: dict[str, Any]) -> None:
    file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _paths(pair: Pair) -> list[str | None]:
    return [os.path.abspath(p) if p else None for p in (pair.prediction, pair.reference)]


def _files(case: CaseResult) -> list[Opened]:
    """What was opened; of the files of the pair, what is there now if nobody says more."""
    known = {path for path, *_ in case.files}
    return [*case.files, *(state(p) for p in _paths(case.pair) if p and p not in known)]


def _unchanged(was: list[Any]) -> bool:
    return [*state(was[0])] == was


def _plain(value: Any) -> Any:
    """Nested records as JSON knows them; functions by name, what is unknown by its repr."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # What two equal records may differ in is no setting.
        names = [field.name for field in dataclasses.fields(value) if field.compare]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return os.path.abspath(value)
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value)
