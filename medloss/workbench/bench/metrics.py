"""The suite of metrics: HD95, ASSD and NSD of every class of label maps, ours and others'.

And scores of lesions, where these are what the maps hold.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medloss.runtime.progress import tracked
from medloss.workbench.bench import component_rivals, lesion_rivals
from medloss.workbench.bench.contest import (
    OURS,
    Bench,
    Contestant,
    Tell,
    Verdict,
    Work,
    benchmark,
)
from medloss.workbench.bench.devices import CPU
from medloss.workbench.bench.environment import METRIC_PACKAGES, PACKAGES
from medloss.workbench.bench.label_maps import SCENES, make_pair
from medloss.workbench.bench.measure import LARGE
from medloss.workbench.bench.metric_rivals import (
    MetricRival,
    MetricTask,
    Score,
    Values,
    ours,
    rivals,
)
from medloss.workbench.bench.results import BenchReport, Contest, Table

TITLES = {
    "monai": "voxel surface",
    "deepmind": "surfels",
    "medpy": "voxels, pooled percentile",
    "exact": "faces of voxels",
}
"""Presets of ours, each beside the rivals that define the metrics so."""


_SHOWN = {lesion_rivals.SCORES: 0, component_rivals.CELLS: 0, component_rivals.BETTI: 0}
"""The column of the values that a reader sees the mean of, where it is not the second."""


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

    cases: tuple[str, ...] = ("a", "b", "c", "d", "lesions")
    rivals: bool = True
    rounds: int = 5
    memory: bool = True
    copy_bytes: int = LARGE


def run(plan: MetricPlan, tell: Tell = lambda text: None) -> BenchReport:
    """Measure everything; ``tell`` hears what is being done."""
    packages = (*PACKAGES, *METRIC_PACKAGES)
    with _quiet():
        return benchmark(
            "metrics",
            plan,
            CPU(),
            lambda bench: (_table(name, plan, bench) for name in tracked(plan.cases, "cases")),
            packages=packages,
            tell=tell,
        )


def _table(name: str, plan: MetricPlan, bench: Bench) -> Table:
    scene = SCENES[name]
    bench.tell(f"{scene.title}: making the label maps")
    reference, prediction = make_pair(scene)
    if name == "lesions":
        reference, prediction = ((each != 0).astype(np.uint8) for each in (reference, prediction))
    labels = tuple(int(n) for n in np.intersect1d(reference, prediction) if n)
    task = MetricTask(reference, prediction, labels, scene.spacing_mm)
    title = f"case {name}: {scene.title}, {'x'.join(map(str, scene.shape))} uint8"

    def contests() -> Iterator[Contest]:
        others: Sequence[MetricRival]
        if name == "lesions":
            for about, computes in lesion_rivals.COMPUTES.items():
                others = lesion_rivals.lesion_rivals(about) if plan.rivals else ()
                own = _own(computes, lesion_rivals.ours(about), task)
                yield _contest(title, about, own, others, task, bench)
            for about, computes in component_rivals.COMPUTES.items():
                others = component_rivals.component_rivals(about) if plan.rivals else ()
                own = _own(computes, component_rivals.ours(about), task)
                yield _contest(title, about, own, others, task, bench)
            return
        for preset in TITLES:
            others = [each for each in rivals() if each.preset == preset and plan.rivals]
            if others or preset != "medpy":
                computes = (
                    f"medloss.scoring.Case(preset={preset!r}): HD95, ASSD, NSD of all classes"
                )
                about = f"{TITLES[preset]} (preset {preset})"
                yield _contest(
                    title, about, _own(computes, ours(preset), task), others, task, bench
                )

    settings: dict[str, str | int] = {
        "case": name,
        "classes": len(labels),
        "unit": "label map",
        "device": "cpu",
    }
    of_lesions = "Dice; of Betti numbers the error of components"
    notes = [f"value: mean {of_lesions if name == 'lesions' else 'ASSD in mm'}"]
    if missing := len(np.setdiff1d(reference, prediction)):
        notes.append(f"{missing} classes not predicted")
    return Table(settings, title, tuple(contests()), tuple(notes))


def _own(computes: str, score: Score, task: MetricTask) -> Contestant[Values, Values]:
    return Contestant(OURS, computes, lambda: functools.partial(score, task))


def _contest(
    title: str,
    about: str,
    own: Contestant[Values, Values],
    others: Sequence[MetricRival],
    task: MetricTask,
    bench: Bench,
) -> Contest:
    work: Work[Values, Values] = Work(
        about,
        task.reference.nbytes,
        2 * task.reference.nbytes,  # every implementation reads both maps once
        number=lambda values: float(np.mean(values[:, _SHOWN.get(about, 1)])),
        answer=lambda values: values,
        note=lambda: "kernels from numba's cache, or compiled",
    )
    return bench.contest(title, work, own, [_contestant(rival, task) for rival in others])


def _contestant(rival: MetricRival, task: MetricTask) -> Contestant[Values, Values]:
    def judge(theirs: Values, mine: Values) -> Verdict:
        columns = np.flatnonzero(rival.has)
        theirs, mine = theirs[:, columns], mine[:, columns]
        if len(theirs) != len(mine):
            return Verdict(f"{len(theirs)} rows, ours {len(mine)}")
        agrees = np.isclose(theirs, mine, rtol=rival.close, atol=rival.close)
        if agrees.all():
            return Verdict()
        at = tuple(np.argwhere(~agrees)[0])
        by_class = len(mine) == len(task.labels)
        what = f"class {task.labels[at[0]]}" if by_class else f"lesion {at[0] + 1}"
        return Verdict(f"{what}: ours {mine[at]:.9g}, theirs {theirs[at]:.9g}")

    return Contestant(
        rival.name,
        rival.computes,
        lambda: functools.partial(rival.score, task),
        judge,
        missing=rival.why_not(task),
        differs=rival.differs,
    )


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
