"""The runs of a study, given away: timed, trained, and those that are done already left alone."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medloss.runtime.files import write_text
from medloss.work.engine import give_away, work_through
from medloss.work.jobs import Crew, Failed, Job, Share
from medloss.workbench.study.folder import RESULT, StudyFolder
from medloss.workbench.study.plan import LossTiming
from medloss.workbench.study.runs import StudyConditions, StudyRun

if TYPE_CHECKING:
    from medloss.workbench.study.worker import Worker

Facts = Mapping[str, Any]
"""What ``result.json`` holds of a run."""

StudyJob = Job["Worker", StudyRun, Facts]


def pilot(
    runs: Sequence[StudyRun], conditions: StudyConditions, crew: Crew
) -> dict[str, LossTiming]:
    """Time a few steps with every loss, by the processes that will train.

    A loss that is tuned takes as long as its slowest candidate.

    Raises:
        ValueError: a loss cannot be trained in this bundle; says which and why.
    """
    tuned = dict.fromkeys(run.loss for run in runs if run.loss.candidates)
    candidates = [StudyRun(one, runs[0].fold, runs[0].seed) for x in tuned for one in x.candidates]
    untuned = [run for run in (*runs, *candidates) if not run.loss.candidates]
    firsts = {run.loss.name: run for run in reversed(untuned)}
    timings: dict[str, LossTiming] = {}
    results = give_away(_job(conditions, _pilot), [*reversed(firsts.values())], crew)
    with contextlib.closing(results):
        for run, times in results:
            if isinstance(times, Failed):
                raise ValueError(f"{run.loss.name}: {times.reason}")
            timings[run.loss.name] = LossTiming(**times)
    for loss in tuned:
        own = [timings[one.name] for one in loss.candidates]
        timings[loss.name] = max(own, key=lambda timing: timing.step)
    return timings


def execute(
    folder: StudyFolder,
    runs: Sequence[StudyRun],
    conditions: StudyConditions,
    crew: Crew,
    *,
    pictures_of: int,
    on_done: Callable[[StudyRun, Facts], None],
) -> None:
    """Train and score every run that has no result yet.

    Args:
        folder: of the study.
        runs: all of them.
        conditions: with the epochs of every run.
        crew: who trains.
        pictures_of: seed whose label maps are kept.
        on_done: told every run that ends.

    Raises:
        Interrupted: Ctrl-C, or the signal of a batch system, with the number of runs that are kept.
        CannotStart: processes end before they have begun.
        ConnectionError: the scheduler is gone.
    """
    kept = {run for run in runs if folder.done(run)}
    left = [run for run in runs if run not in kept]
    absolute = StudyFolder(folder.path.absolute())  # workers may have another working directory
    job = training_job(conditions, absolute, pictures_of)

    def keep(result: tuple[StudyRun, Facts | Failed]) -> None:
        run, facts = result
        if isinstance(facts, Failed):
            facts = write_failed(run, absolute, facts.reason)
        folder.note(facts["status"], run=run.name)
        kept.add(run)
        on_done(run, facts)

    folder.note("begin", runs=len(runs), left=len(left), workers=crew.workers)
    results = give_away(job, left, crew)
    work_through(
        results,
        keep,
        key=lambda result: result[0],
        kept=kept,
        of=len(runs),
    )
    folder.note("end")


def training_job(conditions: StudyConditions, folder: StudyFolder, pictures_of: int) -> StudyJob:
    """What a worker does with a run: all of it, and it is in its folder.

    Args:
        conditions: of the study.
        folder: of the study, absolute.
        pictures_of: seed whose label maps are kept.
    """
    return _job(conditions, functools.partial(_train, folder, pictures_of))


def _job(conditions: StudyConditions, do: Callable[[Worker, StudyRun], Facts]) -> StudyJob:
    """MONAI is imported and the bundle read once, for run after run.

    Random numbers belong to a process, so that it has one run at a time.
    """
    return Job(functools.partial(_start, conditions), do, verb="trained", exclusive=True)


def _start(conditions: StudyConditions, share: Share) -> Worker:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MONAI's import; those of a run are in its log
        from medloss.workbench.study.worker import Worker
    share.take(torch=True)
    return Worker(conditions)


def _pilot(worker: Worker, run: StudyRun) -> Facts:
    return worker.pilot(run)


def _train(folder: StudyFolder, pictures_of: int, worker: Worker, run: StudyRun) -> Facts:
    pictures = run.seed == pictures_of and not run.tuning
    return worker.run(run, folder.run(run), pictures=pictures)


def write_failed(run: StudyRun, folder: StudyFolder, reason: str) -> Facts:
    """The result of a run whose process could not write one, or that cannot begin."""
    facts = {**run.facts(), "status": "failed", "message": reason}
    path = folder.run(run)
    path.mkdir(parents=True, exist_ok=True)
    write_text(path / RESULT, json.dumps(facts, indent=1))
    return facts
