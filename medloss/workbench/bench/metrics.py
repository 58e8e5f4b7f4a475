"""The suite of metrics: HD95, ASSD and NSD of every class of label maps, ours and others'."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medloss.workbench.bench import measure
from medloss.workbench.bench.copy_speed import LARGE, Copy
from medloss.workbench.bench.devices import CPU
from medloss.workbench.bench.entries import failed, measured
from medloss.workbench.bench.environment import METRIC_PACKAGES, PACKAGES, environment
from medloss.workbench.bench.label_maps import SCENES, make_pair
from medloss.workbench.bench.metric_peers import Peer, Score, Task, Values, ours, peers
from medloss.workbench.bench.results import Contest, Entry, Report, Table

Tell = Callable[[str], None]

OURS = "medloss"
COPY = "copy"
PRESETS = ("monai", "deepmind", "medpy")
"""Of ours, each beside the peers that define the metrics so."""

TITLES = {"monai": "voxel surface", "deepmind": "surfels", "medpy": "voxels, pooled percentile"}

# What another package may raise on maps that it cannot score.
_ERRORS = (RuntimeError, TypeError, ValueError, ArithmeticError, ImportError, LookupError,
           AttributeError, NotImplementedError)  # fmt: skip


@dataclass(frozen=True)
class MetricPlan:
    """What to measure.

    Args:
        cases: names in :data:`medloss.workbench.bench.label_maps.SCENES`.
        rivals: whether to measure other packages at all.
        rounds: of time measurements.
        memory: whether to measure memory.
        copy_bytes: size of the buffer whose copying stands for the memory's speed.
    """

    cases: tuple[str, ...] = ("a", "b", "c", "d")
    rivals: bool = True
    rounds: int = 5
    memory: bool = True
    copy_bytes: int = LARGE

    def settings(self) -> dict[str, str | int | float | bool]:
        """The plan in words and numbers."""
        return {
            "cases": " ".join(self.cases),
            "rivals": self.rivals,
            "rounds": self.rounds,
            "memory": self.memory,
        }


def run(plan: MetricPlan, tell: Tell = lambda text: None) -> Report:
    """Measure everything; ``tell`` hears what is being done."""
    found = environment((*PACKAGES, *METRIC_PACKAGES))
    copy = Copy("cpu", plan.copy_bytes)
    with _quiet():
        tables = tuple(_table(name, plan, copy, tell) for name in plan.cases)
    return Report("metrics", {**plan.settings(), "device": "cpu"}, found, tables)


def _table(name: str, plan: MetricPlan, copy: Copy, tell: Tell) -> Table:
    scene = SCENES[name]
    tell(f"{scene.title}: making the label maps")
    reference, prediction = make_pair(scene)
    labels = tuple(int(n) for n in np.intersect1d(reference, prediction) if n)
    task = Task(reference, prediction, labels, scene.spacing_mm)
    title = f"case {name}: {scene.title}, {'x'.join(map(str, scene.shape))} uint8"

    def contests() -> Iterator[Contest]:
        for preset in PRESETS:
            rivals = [each for each in peers() if each.preset == preset and plan.rivals]
            if rivals or preset != "medpy":
                yield _contest(
                    preset, rivals, task, plan, copy, lambda text: tell(f"{title}: {text}")
                )

    settings: dict[str, str | int] = {
        "case": name,
        "classes": len(labels),
        "unit": "label map",
        "device": "cpu",
    }
    missing = np.setdiff1d(reference, prediction)
    notes = ["value: mean ASSD in mm"] + [f"{len(missing)} classes not predicted"] * bool(
        len(missing)
    )
    return Table(settings, title, tuple(contests()), tuple(notes))


class _Subject:
    """A package that takes part."""

    def __init__(self, entry: Entry, score: Score, task: Task) -> None:
        self.entry, self._score, self._task = entry, score, task
        self.values: Values = np.zeros((0, 3))

    def step(self) -> None:
        """The measured call."""
        self.values = self._score(self._task)

    def first(self) -> None:
        """Run and note the first call, or why it failed."""
        try:
            first_s = CPU().time(self.step).wall_s
        except _ERRORS as error:
            self.entry = failed(self.entry, error)
            return
        mean = float(np.mean(self.values[:, 1]))
        number = mean if np.isfinite(mean) else None
        self.entry = replace(self.entry, first_s=first_s, numbers={"value": number})


def _contest(
    preset: str, rivals: Sequence[Peer], task: Task, plan: MetricPlan, copy: Copy, tell: Tell
) -> Contest:
    title = f"{TITLES[preset]} (preset {preset})"
    tell(f"{title}: first calls")
    entry = Entry(OURS, f"medloss.scoring.Case(preset={preset!r}): HD95, ASSD, NSD of all classes")
    own = _Subject(entry, ours(preset), task)
    own.first()
    subjects = [own, *(_rival(peer, own.values, task) for peer in rivals)]
    running = [
        measure.Entrant(each.entry.name, each.step)
        for each in subjects
        if each.entry.status in ("ok", "disagrees")
    ]
    times = measure.rounds(
        [*running, measure.Entrant(COPY, copy)],
        plan.rounds,
        CPU(),
        lambda text: tell(f"{title}: {text}"),
    )
    extra: dict[str, int] = {}
    if plan.memory and not CPU().no_memory:
        tell(f"{title}: memory")
        extra = measure.memory(running, CPU())
    entries = [measured(each.entry, times, extra) for each in subjects]
    return Contest(
        title,
        entries[0],
        tuple(entries[1:]),
        unit_bytes=task.reference.nbytes,
        floor_bytes=2 * task.reference.nbytes,  # every implementation reads both maps once
        copy_bytes=copy.moved_bytes,
        copy_s=tuple(times[COPY].wall_s),
        notes=("kernels from numba's cache, or compiled",),
    )


def _rival(peer: Peer, expected: Values, task: Task) -> _Subject:
    entry = Entry(peer.name, peer.computes)
    subject = _Subject(entry, peer.score, task)
    if why := peer.why_not(task):
        subject.entry = replace(entry, status="missing", reason=why)
        return subject
    subject.first()
    if subject.entry.status == "failed":
        return subject
    if peer.differs:
        subject.entry = replace(subject.entry, check="other definition", reason=peer.differs)
        return subject
    columns = np.flatnonzero(peer.has)
    theirs, mine = subject.values[:, columns], expected[:, columns]
    agrees = np.isclose(theirs, mine, rtol=peer.close, atol=peer.close)
    if agrees.all():
        subject.entry = replace(subject.entry, check="equal")
        return subject
    at = tuple(np.argwhere(~agrees)[0])
    reason = f"class {task.labels[at[0]]}: ours {mine[at]:.9g}, theirs {theirs[at]:.9g}"
    subject.entry = replace(subject.entry, status="disagrees", reason=reason)
    return subject


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Other packages' warnings and log lines would fill the terminal."""
    level = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)
