"""One contest: ours and its rivals do the same work in turn, and their answers are compared.

A suite (``losses``, ``metrics``, ``distances``) says who competes, in what, and when two answers
agree; the first calls, the rounds, the memory and the records are the same for all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Generic, Protocol, TypeVar

from medloss.workbench.bench import measure
from medloss.workbench.bench.devices import Device
from medloss.workbench.bench.environment import PACKAGES, environment
from medloss.workbench.bench.results import BenchReport, Contest, Entry, Table

OURS, COPY = "medloss", "copy"

ERRORS = (RuntimeError, TypeError, ValueError, ArithmeticError, ImportError, AttributeError,
          LookupError)  # fmt: skip
"""What building or calling an implementation may raise; torch's errors, of memory too, are
RuntimeErrors."""

Tell = Callable[[str], None]
Result = TypeVar("Result")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Verdict:
    """What comparing an answer with ours found.

    Args:
        wrong: how it disagrees, or nothing.
        remark: what else a reader must know.
        numbers: that were compared.
    """

    wrong: str = ""
    remark: str = ""
    numbers: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Contestant(Generic[Result, Answer]):
    """Whoever takes part.

    Args:
        name: in tables.
        computes: what it computes, in words.
        setup: makes the call that is measured; it may raise.
        judge: compares what the first call gave with the answer of ours; it may raise.
        missing: why it does not take part, or nothing.
        differs: how its definition differs from ours; it is not judged then.
    """

    name: str
    computes: str
    setup: Callable[[], Callable[[], Result]]
    judge: Callable[[Result, Answer], Verdict] = lambda result, answer: Verdict()
    missing: str = ""
    differs: str = ""


@dataclass(frozen=True)
class Work(Generic[Result, Answer]):
    """What all contestants do.

    Args:
        name: of the contest.
        unit_bytes: what memory is counted in.
        floor_bytes: what any implementation has to read and write.
        number: the value of a call, to read.
        answer: what the rivals are compared with, from the first call of ours.
        note: what happened in that call.
        reset: run before every call, and not measured.
    """

    name: str
    unit_bytes: int
    floor_bytes: int
    number: Callable[[Result], float]
    answer: Callable[[Result], Answer]
    note: Callable[[], str]
    reset: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Bench:
    """How all contests of a benchmark are measured.

    Args:
        device: where the work is done.
        copy: stands for the memory's speed.
        rounds: of time measurements.
        memory: whether to measure memory.
        tell: hears what is being done.
        calls: of each implementation in a row in each round; the median is the round's time.
    """

    device: Device
    copy: measure.MemoryCopy
    rounds: int
    memory: bool
    tell: Tell
    calls: int = 1

    def contest(
        self,
        title: str,
        work: Work[Result, Answer],
        ours: Contestant[Result, Answer],
        rivals: Iterable[Contestant[Result, Answer]],
    ) -> Contest:
        """Measure ours beside its rivals; ``title`` is that of the table."""

        def tell(text: str) -> None:
            self.tell(f"{title}: {work.name}: {text}")

        answers: list[Answer] = []

        def keep(entry: Entry, result: Result) -> Entry:
            answers.append(work.answer(result))
            return entry

        tell("first calls")
        firsts = [self._first_call(ours, work, keep)]
        for rival in rivals:
            tell(f"first call of {rival.name}")
            firsts.append(self._first_call(rival, work, partial(_judged, rival, answers)))
        answers.clear()  # they must not lie in memory from here on
        running = [entrant for _, entrant in firsts if entrant is not None]
        copy = measure.Entrant(COPY, self.copy)
        times = measure.rounds([*running, copy], self.rounds, self.device, tell)
        work.reset()
        extra: dict[str, int] = {}
        if self.memory and not self.device.no_memory:
            tell("memory")
            extra = measure.memory(running, self.device)
        own, *others = (_measured(entry, times, extra) for entry, _ in firsts)
        return Contest(
            work.name,
            own,
            tuple(others),
            unit_bytes=work.unit_bytes,
            floor_bytes=work.floor_bytes,
            copy_bytes=self.copy.moved_bytes,
            copy_s=tuple(times[COPY].wall_s),
            notes=(work.note(),),
        )

    def _first_call(
        self,
        contestant: Contestant[Result, Answer],
        work: Work[Result, Answer],
        then: Callable[[Entry, Result], Entry],
    ) -> tuple[Entry, measure.Entrant | None]:
        """The entry after the first call; with what to measure, unless it is missing or failed."""
        entry = Entry(contestant.name, contestant.computes)
        if contestant.missing:
            return replace(entry, status="missing", reason=contestant.missing), None
        try:
            call, results = contestant.setup(), list[Result]()
            work.reset()
            first_s = self.device.time(lambda: results.append(call())).wall_s
            numbers = {"value": finite(work.number(results[0]))}
            entry = then(replace(entry, first_s=first_s, numbers=numbers), results[0])
            work.reset()
        except ERRORS as error:
            text = " ".join(str(error).split())
            reason = f"{type(error).__name__}: {text}"[:400]
            return replace(entry, status="failed", reason=reason), None
        return entry, measure.Entrant(entry.name, call, work.reset, self.calls)


class BenchPlan(Protocol):
    """What to measure; a suite's has options of its own."""

    @property
    def rounds(self) -> int:
        """Of time measurements."""

    @property
    def memory(self) -> bool:
        """Whether to measure memory."""

    @property
    def copy_bytes(self) -> int:
        """Size of the buffer whose copying stands for the memory's speed."""


def benchmark(
    suite: str,
    plan: BenchPlan,
    device: Device,
    tables: Callable[[Bench], Iterable[Table]],
    *,
    packages: tuple[str, ...] = PACKAGES,
    calls: int = 1,
    tell: Tell = lambda text: None,
) -> BenchReport:
    """Measure everything; ``tell`` hears what is being done."""
    found = {**environment(packages), **device.describe()}
    copy = measure.MemoryCopy(device.name, plan.copy_bytes)
    bench = Bench(device, copy, plan.rounds, plan.memory, tell, calls)
    settings = {**settings_of(plan), "device": device.name}
    return BenchReport(suite, settings, found, tuple(tables(bench)))


def settings_of(plan: BenchPlan) -> dict[str, str | int | float | bool]:
    """A plan in words and numbers."""
    found: dict[str, str | int | float | bool] = {}
    for name, value in vars(plan).items():
        if isinstance(value, tuple):
            parts = [shape_text(each) if isinstance(each, tuple) else str(each) for each in value]
            found[name] = " ".join(parts) or "none"
        elif name != "copy_bytes":
            found[name] = value
    return found


def shape_text(shape: tuple[int, ...]) -> str:
    """As ``--shape`` reads it.

    Example:
        >>> shape_text((2, 14, 96, 96, 96))
        '2,14,96,96,96'
    """
    return ",".join(map(str, shape))


def not_installed(module: str, how: str) -> str:
    """Why a contestant is missing that needs a module, or nothing."""
    return "" if not module or find_spec(module) else f"{module} is not installed ({how})"


def finite(value: float) -> float | None:
    """The value for a JSON file, which has neither infinity nor NaN."""
    return value if math.isfinite(value) else None


def _judged(
    rival: Contestant[Result, Answer], ours: Sequence[Answer], entry: Entry, result: Result
) -> Entry:
    """The entry with what comparing it found; ``ours`` is empty where ours failed."""
    if rival.differs:
        return replace(entry, check="other definition", reason=rival.differs)
    if not ours:
        return entry
    found = rival.judge(result, ours[0])
    numbers = {**entry.numbers, **found.numbers}
    if found.wrong:
        return replace(entry, status="disagrees", reason=found.wrong, numbers=numbers)
    return replace(entry, check="equal", reason=found.remark, numbers=numbers)


def _measured(
    entry: Entry, times: Mapping[str, measure.Measured], extra: Mapping[str, int]
) -> Entry:
    """The entry with its times and memory, as far as it took part."""
    found = times.get(entry.name, measure.Measured())
    return replace(
        entry,
        wall_s=tuple(found.wall_s),
        cpu_s=tuple(found.cpu_s),
        extra_bytes=extra.get(entry.name),
    )
