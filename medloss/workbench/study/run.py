"""A study from plan to tables: what is done already, what is left, and who does it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from medloss.evaluation.outputs.files import whole_file
from medloss.workbench.study.conditions import Conditions, Run
from medloss.workbench.study.folder import RESULT, StudyFolder
from medloss.workbench.study.plan import Timing
from medloss.workbench.study.workers import Done, Task, in_processes


@dataclass(frozen=True)
class Engine:
    """Who trains.

    Args:
        workers: processes of this machine.
        threads: of each.
        scheduler: address of a Dask scheduler whose workers train instead.
    """

    workers: int = 1
    threads: int = 1
    scheduler: str | None = None

    def do(self, tasks: Sequence[Task], conditions: Conditions) -> Generator[Done]:
        """Do all tasks, in the order in which they end."""
        if self.scheduler is not None:
            from medloss.workbench.study.cluster import on_cluster

            return on_cluster(tasks, conditions, self.scheduler)
        return in_processes(tasks, conditions, self.workers, self.threads)


def pilot(
    runs: Sequence[Run], conditions: Conditions, engine: Engine, on_done: Callable[[Done], None]
) -> dict[str, Timing]:
    """Time a few steps with every loss, by the processes that will train.

    Raises:
        ValueError: a loss cannot be trained in this bundle; says which and why.
    """
    firsts = {run.loss.name: run for run in reversed(runs)}
    tasks = [Task(run) for run in reversed(firsts.values())]
    timings: dict[str, Timing] = {}
    with contextlib.closing(engine.do(tasks, conditions)) as results:
        for done in results:
            if done.error:
                raise ValueError(f"{done.task.run.loss.name}: {done.error}")
            timings[done.task.run.loss.name] = Timing(**done.facts)
            on_done(done)
    return timings


def execute(
    folder: StudyFolder,
    runs: Sequence[Run],
    conditions: Conditions,
    engine: Engine,
    *,
    pictures_of: int,
    on_done: Callable[[Done], None],
) -> None:
    """Train and score every run that has no result yet.

    Args:
        folder: of the study.
        runs: all of them.
        conditions: with the epochs of every run.
        engine: who trains.
        pictures_of: seed whose label maps are kept.
        on_done: told every run that ends.
    """
    absolute = StudyFolder(folder.path.absolute())  # workers may have another working directory
    tasks = [
        Task(run, absolute.run(run), pictures=run.seed == pictures_of)
        for run in runs
        if not folder.done(run)
    ]
    folder.note("begin", runs=len(runs), left=len(tasks), workers=engine.workers)
    with contextlib.closing(engine.do(tasks, conditions)) as results:
        for done in results:
            if done.error:
                done = Done(done.task, _failed(done), done.error)
            folder.note(done.facts["status"], run=done.task.run.name)
            on_done(done)
    folder.note("end")


def _failed(done: Done) -> dict[str, object]:
    """The result of a run whose process could not write one."""
    run, folder = done.task.run, done.task.folder
    facts = {
        "loss": run.loss.name,
        "fold": run.fold,
        "seed": run.seed,
        "status": "failed",
        "message": done.error,
    }
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / RESULT) as file:
            json.dump(facts, file, indent=1)
    return facts
