"""How long the runs of ``medloss study`` will be, and who does them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from medloss.cli.study_options import StudyOptions

if TYPE_CHECKING:
    from medloss.workbench.study.conditions import Conditions, Run
    from medloss.workbench.study.folder import StudyFolder
    from medloss.workbench.study.losses import StudyLoss
    from medloss.workbench.study.run import Engine


def engine_of(options: StudyOptions, conditions: Conditions, runs: int) -> Engine:
    """Who trains.

    Raises:
        ValueError: options that do not go together.
    """
    from medloss.runtime import threads
    from medloss.workbench.study.run import Engine

    if options.scheduler is not None:
        if options.workers is not None:
            raise ValueError("--scheduler has workers of its own; drop --workers")
        from medloss.workbench.study.cluster import worker_count

        return Engine(worker_count(options.scheduler), scheduler=options.scheduler)
    cores = threads.processors()
    workers = options.workers or min(runs, 1 if _on_gpu(conditions) else cores)
    return Engine(workers, max(1, cores // workers))


def _on_gpu(conditions: Conditions) -> bool:
    if conditions.device:
        return conditions.device.startswith("cuda")
    import torch

    return torch.cuda.is_available()


def planned(
    conditions: Conditions,
    runs: Sequence[Run],
    losses: Sequence[StudyLoss],
    engine: Engine,
    options: StudyOptions,
    folder: StudyFolder,
) -> Conditions:
    """The conditions with the epochs of every run, and the plan on the screen."""
    from medloss.workbench.study import plan
    from medloss.workbench.study.run import pilot

    goes_on = folder.begun and not options.force
    left = [run for run in runs if not (goes_on and folder.done(run))]
    budget = options.budget if not conditions.epochs else None
    timings = None
    if (budget or options.dry_run) and left:
        trial = dataclasses.replace(conditions, epochs=conditions.epochs or 100)
        begun = time.monotonic()
        click.echo(f"Timing a few steps with each of {len(losses)} losses ...")
        timings = pilot(left, trial, engine, lambda done: None)
        if budget:
            room = 60 * budget - (time.monotonic() - begun)
            epochs = plan.epochs_within(room, left, timings, engine.workers)
            conditions = dataclasses.replace(conditions, epochs=epochs)
    parts = f"{conditions.folds} folds" if conditions.folds else "the bundle's own split"
    seeds = len({run.seed for run in runs})
    who = engine.scheduler or f"{engine.workers} processes of {engine.threads} threads"
    click.echo(
        f"{len(runs)} runs: {len(losses)} losses x {seeds} seeds x {parts}, "
        f"{conditions.epochs} epochs each, by {who}; {len(left)} are left."
    )
    if options.dry_run:
        for loss in losses:
            step = f"{timings[loss.name].step:.3f} s a step; " if timings else ""
            click.echo(f"  {loss.name}: {step}{dict(loss.block)}")
    if timings:
        took = plan.seconds(left, timings, conditions.epochs, engine.workers)
        click.echo(f"Estimated: {took / 60:.1f} minutes.")
    return conditions
