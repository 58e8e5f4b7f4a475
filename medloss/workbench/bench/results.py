"""What a benchmark found, as records that survive a JSON file; ratios are computed from them."""

from __future__ import annotations

import dataclasses
import json
import statistics
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from medloss.runtime.config_text import DuplicateKeyError, parse_json

FORMAT = 1
"""Number of the layout of the JSON file; it grows when a reader would have to change."""

Status = Literal["ok", "missing", "failed", "disagrees"]
Check = Literal["", "equal", "other definition"]


class Spread(NamedTuple):
    """Median and range of several measurements."""

    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Entry:
    """One implementation in one contest.

    Args:
        name: of the implementation.
        computes: what it computes, in words.
        status: ``missing`` is not installed, ``failed`` raised, ``disagrees`` gave another value.
        reason: why the status is not ``ok``, or what else a reader must know.
        check: whether its value was compared with ours.
        first_s: wall time of the first call in this process, compilation included.
        wall_s: wall time of each round.
        cpu_s: processor time of all threads in each round.
        extra_bytes: high-water mark of memory during a call minus what was held before it.
        numbers: what else the suite noted, such as values.
    """

    name: str
    computes: str
    status: Status = "ok"
    reason: str = ""
    check: Check = ""
    first_s: float | None = None
    wall_s: tuple[float, ...] = ()
    cpu_s: tuple[float, ...] = ()
    extra_bytes: int | None = None
    numbers: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Contest:
    """Ours and its rivals on one task.

    Args:
        name: of the task.
        ours: what the rivals are compared with.
        rivals: in the order of the tables.
        unit_bytes: what memory is counted in.
        floor_bytes: what any implementation has to read and write.
        copy_bytes: read and written by the copy that stands for the memory's speed.
        copy_s: time of that copy in each round.
        notes: what happened in the first call of ours.
    """

    name: str
    ours: Entry
    rivals: tuple[Entry, ...]
    unit_bytes: int
    floor_bytes: int
    copy_bytes: int
    copy_s: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Ours first."""
        return (self.ours, *self.rivals)

    def slower(self, rival: Entry) -> Spread | None:
        """How many times our wall time the rival takes: the ratio within each round."""
        return paired(rival.wall_s, self.ours.wall_s)

    def memory(self, entry: Entry) -> float | None:
        """Peak extra memory in units."""
        return None if entry.extra_bytes is None else entry.extra_bytes / self.unit_bytes


@dataclass(frozen=True)
class Table:
    """Contests under the same conditions.

    Args:
        settings: the conditions, by name.
        title: the conditions, to read.
        contests: in the order of the tables.
        notes: what else a reader must know.
    """

    settings: dict[str, str | int]
    title: str
    contests: tuple[Contest, ...]
    notes: tuple[str, ...] = ()

    @property
    def copy_rate(self) -> float | None:
        """Bytes per second of the fastest copy of all contests."""
        rates = [c.copy_bytes / min(c.copy_s) for c in self.contests if c.copy_s]
        return max(rates, default=None)

    def floor_s(self, contest: Contest) -> float | None:
        """Time to move the contest's ``floor_bytes`` at the rate of the fastest copy."""
        return contest.floor_bytes / self.copy_rate if self.copy_rate else None

    def floors(self, contest: Contest, entry: Entry) -> float | None:
        """Median wall time in multiples of the floor."""
        measured, floor_s = spread(entry.wall_s), self.floor_s(contest)
        return measured.median / floor_s if measured and floor_s else None


@dataclass(frozen=True)
class BenchReport:
    """A whole benchmark.

    Args:
        suite: what was measured.
        settings: what was asked for, by name of the option.
        environment: versions and machine, to read.
        tables: one for each combination of conditions.
        format: layout of the JSON file.
    """

    suite: str
    settings: dict[str, str | int | float | bool]
    environment: dict[str, str]
    tables: tuple[Table, ...]
    format: int = FORMAT

    @property
    def wrong(self) -> tuple[str, ...]:
        """Sentences on every disagreement, and on ours where it failed."""
        return tuple(
            f"{contest.name}, {entry.name}: {entry.reason}"
            for table in self.tables
            for contest in table.contests
            for entry in contest.entries
            if entry.status == "disagrees" or (entry is contest.ours and entry.status == "failed")
        )


def spread(values: Sequence[float]) -> Spread | None:
    """Median and range, or None of nothing.

    Example:
        >>> spread([3.0, 1.0, 2.0])
        Spread(median=2.0, least=1.0, most=3.0)
    """
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def paired(theirs: Sequence[float], ours: Sequence[float]) -> Spread | None:
    """Spread of theirs / ours, both of the same round.

    What slows a round down slows both, so the ratios scatter less than the times do.

    Example:
        >>> paired([2.0, 40.0, 6.0], [1.0, 10.0, 2.0])
        Spread(median=3.0, least=2.0, most=4.0)
    """
    return spread([a / b for a, b in zip(theirs, ours, strict=True)] if theirs and ours else [])


def dumps(report: BenchReport) -> str:
    """The report as JSON."""
    return json.dumps(dataclasses.asdict(report), indent=1, allow_nan=False) + "\n"


def loads(text: str) -> BenchReport:
    """The report that :func:`dumps` wrote.

    Raises:
        ValueError: the text is something else, or of another version's layout.
    """
    try:
        data = parse_json(text)
        found = data["format"]
    except DuplicateKeyError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("expected the JSON of a benchmark, got something else") from error
    if found != FORMAT:
        raise ValueError(f"format: this medloss reads {FORMAT}, the file has {found!r}")
    try:
        report: BenchReport = _read(BenchReport, data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not the JSON of a whole benchmark: {error!r}") from error
    return report


def _read(kind: Any, data: Any) -> Any:
    """Data of a JSON file as a type of these records."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        found = {
            each.name: _read(hints[each.name], data[each.name]) for each in dataclasses.fields(kind)
        }
        return typing.cast(type, kind)(**found)
    if typing.get_origin(kind) is tuple:
        return tuple(_read(typing.get_args(kind)[0], each) for each in data)
    return data
