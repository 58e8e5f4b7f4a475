"""What ``medloss study`` does: plan, train, write."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from medloss.cli.study_options import StudyOptions
from medloss.cli.study_plan import engine_of, planned
from medloss.runtime.config_text import parse_overrides

if TYPE_CHECKING:
    from medloss.workbench.study.conditions import Conditions, Run
    from medloss.workbench.study.folder import StudyFolder
    from medloss.workbench.study.losses import StudyLoss
    from medloss.workbench.study.run import Engine
    from medloss.workbench.study.workers import Done

DEMO = Path(__file__).parents[2] / "bundles" / "brain_tissue_mr"
DEMO_OVERRIDES: dict[str, Any] = {
    "steps_per_epoch": 5,
    "network_def#channels": [16, 32, 64, 128],
    "validate#inferer#overlap": 0.25,
}
"""Short epochs fit a budget better, and a smaller network makes more steps of it."""


class Interrupted(Exception):  # noqa: N818  # it is no error
    """Ctrl-C; says what is kept."""


def run_study(bundle: Path | None, options: StudyOptions) -> int:
    """Do what the command asks for; the exit code.

    Raises:
        ValueError: the command, the bundle or the folder cannot be used.
        Interrupted: Ctrl-C.
    """
    from medloss.workbench.study.folder import StudyFolder, check_same

    folder = StudyFolder(options.output)
    if options.report_only:
        return _report(folder, options)
    if options.epochs and options.budget:
        raise ValueError("--epochs says how long a run is and --budget plans it; give one of them")
    seeds = options.seed_list()
    conditions = _conditions(bundle, options)
    from medloss.evaluation.score import check_options
    from medloss.workbench.study.bundle import StudyBundle  # MONAI
    from medloss.workbench.study.conditions import all_runs
    from medloss.workbench.study.evaluate import study_of

    trained = StudyBundle(conditions)
    check_options(study_of(trained))
    losses = _losses(options, trained.activation())
    baseline = options.baseline or losses[0].name
    if baseline not in [loss.name for loss in losses]:
        raise ValueError(
            f"--baseline: {baseline} is none of {', '.join(loss.name for loss in losses)}"
        )
    runs = all_runs(losses, seeds, conditions.folds)
    engine = engine_of(options, conditions, len(runs))
    if folder.begun and not options.force:
        there = folder.read()
        check_same(folder.path, there, conditions, losses)
        conditions = dataclasses.replace(conditions, epochs=there["conditions"]["epochs"])
    if not options.dry_run:
        folder.prepare(force=options.force)
    if not conditions.epochs and not options.budget:
        conditions = dataclasses.replace(conditions, epochs=trained.own_epochs())
    conditions = planned(conditions, runs, losses, engine, options, folder)
    if options.dry_run:
        return 0
    folder.write(conditions, losses, seeds, {"baseline": baseline, "budget": options.budget})
    failed = _train(folder, runs, conditions, engine, seeds[0])
    _write(folder, runs, baseline)
    return 1 if failed else 0


def _conditions(bundle: Path | None, options: StudyOptions) -> Conditions:
    from medloss.integrations.bundle.configs import config_files, digest
    from medloss.workbench.study.conditions import METRICS, Conditions

    overrides = parse_overrides(options.override)
    if bundle is None:
        if not DEMO.is_dir():
            raise ValueError(
                "BUNDLE is needed: bundles come with a checkout of medloss, not with its wheel; "
                "name the folder of a MONAI bundle, or clone the repository and call this there"
            )
        bundle, overrides = DEMO, {**DEMO_OVERRIDES, **overrides}
    configs = options.bundle_config or ("train",)
    folder = Path(os.path.abspath(bundle))
    return Conditions(
        bundle=str(folder),
        configs=configs,
        overrides=overrides,
        folds=options.folds or 0,
        epochs=options.epochs or 0,
        metrics=options.metrics or METRICS,
        device=options.device or "",
        digest=digest(folder, config_files(folder, configs)),
    )


def _losses(options: StudyOptions, activation: str) -> list[StudyLoss]:
    from medloss.workbench.study.losses import (
        DEFAULT_LOSSES,
        check_names,
        parse_losses,
        read_losses,
    )

    text = options.losses
    if text is None and options.losses_file is None:
        text = ",".join(DEFAULT_LOSSES)
    losses = [] if text is None else parse_losses(text, activation)
    if options.losses_file is not None:
        losses += read_losses(options.losses_file, activation)
    check_names(losses)
    for loss in losses:
        if loss.note:
            click.echo(f"{loss.name}: {loss.note}.")
    return losses


def _train(
    folder: StudyFolder, runs: Sequence[Run], conditions: Conditions, engine: Engine, seed: int
) -> int:
    """Train what is left; how many runs failed."""
    from medloss.workbench.study.run import execute

    left = sum(not folder.done(run) for run in runs)
    count, failed = 0, 0

    def tell(done: Done) -> None:
        nonlocal count, failed
        count += 1
        status = str(done.facts["status"])
        failed += status == "failed"
        facts = done.facts
        what = facts.get("message") or f"{facts.get('seconds_training', 0):.0f} s"
        click.echo(f"[{count}/{left}] {done.task.run.name}: {status}, {what}")

    try:
        with _stopped_by_terminate():
            execute(folder, runs, conditions, engine, pictures_of=seed, on_done=tell)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            f"interrupted: {len(runs) - left + count} of {len(runs)} runs are kept in "
            f"{folder.path}; the same command goes on"
        ) from interrupt
    except (RuntimeError, ConnectionError) as error:
        raise click.ClickException(str(error)) from error
    return failed


@contextlib.contextmanager
def _stopped_by_terminate() -> Iterator[None]:
    """What batch systems send ends a study as Ctrl-C does: no process is left behind."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(folder: StudyFolder, options: StudyOptions) -> int:
    from medloss.workbench.study.conditions import all_runs
    from medloss.workbench.study.losses import StudyLoss

    there = folder.read()
    losses = [StudyLoss(name, block) for name, block in there["losses"].items()]
    runs = all_runs(losses, there["seeds"], there["conditions"]["folds"])
    _write(folder, runs, options.baseline or there["baseline"])
    return 0


def _write(folder: StudyFolder, runs: Sequence[Run], baseline: str) -> None:
    from medloss.workbench.study.output import write_all

    click.echo(f"Wrote {', '.join(map(str, write_all(folder, runs, baseline)))}.")
