"""The journal of ``medloss eval``: the results of an interrupted study, so that it can go on.

The first line says what the study computes; a study that computes anything else cannot go on from
it. Of what became of the files there, :mod:`medloss.work.journal` knows nothing: that is here.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from medloss._version import __version__
from medloss.evaluation.inputs.pairing import Files, Pair, Structures, files_of
from medloss.evaluation.reading.opened import Opened, state
from medloss.evaluation.records import CaseResult
from medloss.evaluation.score import EvalPlan, offering
from medloss.work.journal import Journal, Line
from medloss.work.journal import open_journal as open_lines

FORMAT = 2

_DECIDES = ("name", "facts", "needs")
"""What of a record its values depend on: not what is said about it, and not where its code is."""


def open_journal(
    path: Path, pairs: Sequence[Pair], plan: EvalPlan
) -> AbstractContextManager[Journal[Pair, CaseResult]]:
    """Go on with the journal at ``path``, or begin one.

    Scored cases of it are kept, unless a file that was opened for them, or written, has another
    size or time than it had then, or one that was looked for in vain has come. Failed cases are
    not: what made them fail may be gone.

    Raises:
        ValueError: it is of a study with other settings, or no journal.
    """
    head = {"journal": FORMAT, "settings": plan_settings(plan)}
    decode = functools.partial(_kept, pairs)
    return open_lines(path, head, _line, decode, of="medloss eval", deciding=_deciding)


def plan_settings(plan: EvalPlan) -> dict[str, Any]:
    """All that results depend on except the files, as JSON has it."""
    fields = (field.name for field in dataclasses.fields(plan) if field.compare)
    settings = {name: getattr(plan, name) for name in fields}
    plain = _plain({"medloss": __version__, "offered by": offering(plan), **settings})
    settings_again: dict[str, Any] = json.loads(json.dumps(plain))
    return _deciding(settings_again)


def _deciding(settings: dict[str, Any]) -> dict[str, Any]:
    """Without what was said about metrics and losses, and where their code was: both may change."""
    return {**settings, **{kind: [*map(_chosen, settings[kind])] for kind in ("metrics", "losses")}}


def _chosen(choice: dict[str, Any]) -> dict[str, Any]:
    record = {name: choice["record"][name] for name in _DECIDES if name in choice["record"]}
    return {**{k: v for k, v in choice.items() if k != "function"}, "record": record}


def _line(case: CaseResult) -> Line:
    return {"pair": _paths(case.pair), "files": _files(case), "result": case.to_json()}


def _kept(pairs: Sequence[Pair], lines: Sequence[Line]) -> tuple[dict[Pair, CaseResult], int]:
    """Results of pairs as they are now, and how many are of files that have changed since."""
    found = {line["result"]["case"]: line for line in lines}
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


def _paths(pair: Pair) -> list[Any]:
    """The file of each side, or names and files of its structures."""
    return [_absolute(side) for side in (pair.prediction, pair.reference)]


def _absolute(side: Files | None) -> Any:
    if isinstance(side, Structures):
        return [[name, os.path.abspath(path)] for name, path in side.files]
    return side and os.path.abspath(side)


def _files(case: CaseResult) -> list[Opened]:
    """What was opened; of the files of the pair, what is there now if nobody says more."""
    known = {path for path, *_ in case.files}
    sides = (*files_of(case.pair.prediction), *files_of(case.pair.reference))
    return [*case.files, *(state(p) for p in map(os.path.abspath, sides) if p not in known)]


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
