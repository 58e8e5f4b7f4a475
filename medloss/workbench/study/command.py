"""What ``medloss study`` does: plan, train, write."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloss.evaluation.requests import named_columns, parse_request, parse_requests, resolve
from medloss.integrations.bundle.config import config_files, digest
from medloss.runtime import threads
from medloss.runtime.progress import work
from medloss.work.jobs import Crew
from medloss.workbench.demo import demo_bundle
from medloss.workbench.study import plan
from medloss.workbench.study.folder import StudyFolder, check_same
from medloss.workbench.study.run import Facts, execute, pilot, write_failed
from medloss.workbench.study.runs import (
    DEFAULT_LOSSES,
    METRICS,
    StudyConditions,
    StudyLoss,
    StudyRun,
    all_runs,
    check_names,
    parse_losses,
    read_losses,
)
from medloss.workbench.study.tuning import Tuning, settled, write_tuning

DEMO_OVERRIDES: dict[str, Any] = {
    "steps_per_epoch": 5,
    "network_def#channels": [16, 32, 64, 128],
    "validate#inferer#overlap": 0.25,
}
"""Short epochs fit a budget better, and a smaller network makes more steps of it."""

PLANNED_FOR = 100
"""Epochs of a pilot where nothing is said: schedules need a number."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class StudyOptions:
    """What the command was given; ``None`` for what it was not."""

    bundle: Path | None
    output: Path
    losses: str | None
    losses_file: Path | None
    baseline: str | None
    tune_by: str | None
    seeds: str
    folds: int | None
    epochs: int | None
    budget: float | None
    metrics: tuple[str, ...]
    bundle_config: tuple[str, ...]
    overrides: Mapping[str, Any]
    device: str | None
    workers: int | None
    scheduler: str | None
    dry_run: bool
    report_only: bool
    force: bool

    def seed_list(self) -> list[int]:
        """The seeds.

        Raises:
            ValueError: they are no different whole numbers.
        """
        try:
            found = [int(word) for word in self.seeds.split(",")]
        except ValueError as error:
            raise ValueError(
                f"--seeds: expected numbers such as 0,1,2, got {self.seeds!r}"
            ) from error
        if len(set(found)) != len(found) or min(found) < 0:
            raise ValueError(f"--seeds: expected different numbers from 0, got {self.seeds!r}")
        return found

    def conditions(self) -> StudyConditions:
        """What all runs have in common; 0 epochs where they are not said.

        Raises:
            ValueError: there is no such bundle.
        """
        bundle, overrides = self.bundle, self.overrides
        if bundle is None:
            bundle, overrides = demo_bundle(), {**DEMO_OVERRIDES, **overrides}
        configs = self.bundle_config or ("train",)
        folder = Path(os.path.abspath(bundle))
        return StudyConditions(
            bundle=str(folder),
            configs=configs,
            overrides=overrides,
            folds=self.folds or 0,
            epochs=self.epochs or 0,
            metrics=self.metrics or METRICS,
            device=self.device or "",
            digest=digest(folder, config_files(folder, configs)),
        )

    def loss_list(self, activation: str) -> list[StudyLoss]:
        """The losses.

        Raises:
            ValueError: their text or file has another form, or two have one name.
            PluginError: there is no such loss.
        """
        text = self.losses
        if text is None and self.losses_file is None:
            text = ",".join(DEFAULT_LOSSES)
        losses = [] if text is None else parse_losses(text, activation)
        if self.losses_file is not None:
            losses += read_losses(self.losses_file, activation)
        check_names(losses)
        return losses

    def tuned_by(self, losses: Sequence[StudyLoss], conditions: StudyConditions) -> str | None:
        """Column of the metric that chooses among candidates; None where there are none.

        Raises:
            ValueError: it is no metric of the study, or there is nothing to choose.
        """
        columns = [resolve(each).column for each in parse_requests(conditions.metrics)]
        if not any(loss.candidates for loss in losses):
            if self.tune_by:
                raise ValueError(
                    "--tune-by chooses among values such as tversky:fn_weight=0.5|0.7, and no "
                    "loss has any"
                )
            return None
        if not self.tune_by:
            return columns[0]
        column = resolve(parse_request(self.tune_by)).column
        named, _ = named_columns(column, columns)
        if len(named) != 1:
            raise ValueError(
                f"--tune-by: expected a metric of the study ({', '.join(columns)}), got {column}"
            )
        return named[0]

    def crew(self, conditions: StudyConditions, runs: int) -> Crew:
        """Who trains.

        Raises:
            ValueError: options that do not go together.
        """
        if self.scheduler is not None:
            if self.workers is not None:
                raise ValueError("--scheduler has workers of its own; drop --workers")
            from medloss.work.cluster import worker_count

            return Crew(worker_count(self.scheduler), scheduler=self.scheduler)
        cores = threads.processors()
        workers = self.workers or min(runs, 1 if _on_gpu(conditions) else cores)
        return Crew(workers, max(1, cores // workers))


def run_study(options: StudyOptions, say: Say) -> int:
    """Do what the command asks for; how many runs failed.

    Args:
        options: of the command.
        say: told every sentence for the user.

    Raises:
        ValueError: the command, the bundle or the folder cannot be used.
        PluginError: there is no such loss or metric.
        Interrupted: Ctrl-C.
        CannotStart: worker processes end before they have begun.
        ConnectionError: the scheduler is gone.
    """
    folder = StudyFolder(options.output)
    if options.report_only:
        _report_again(folder, options, say)
        return 0
    if options.epochs and options.budget:
        raise ValueError("--epochs says how long a run is and --budget plans it; give one of them")
    seeds = options.seed_list()
    conditions = options.conditions()
    from medloss.evaluation.score import check_options
    from medloss.workbench.study.bundle import StudyBundle  # MONAI
    from medloss.workbench.study.evaluate import plan_of

    trained = StudyBundle(conditions)
    check_options(plan_of(trained))
    losses = options.loss_list(trained.activation())
    for loss in losses:
        if loss.note:
            say(f"{loss.name}: {loss.note}.")
    baseline = options.baseline or losses[0].name
    if baseline not in [loss.name for loss in losses]:
        raise ValueError(
            f"--baseline: {baseline} is none of {', '.join(loss.name for loss in losses)}"
        )
    tuned_by = options.tuned_by(losses, conditions)
    runs = all_runs(losses, seeds, conditions.folds)
    crew = options.crew(conditions, len(runs))
    goes_on = folder.begun and not options.force
    tuning_seed = seeds[0]
    if goes_on:
        there = folder.read()
        check_same(folder.path, there, conditions, losses, tuned_by)
        conditions = dataclasses.replace(conditions, epochs=there["conditions"]["epochs"])
        tuning_seed = (there.get("tuning") or {"seed": tuning_seed})["seed"]
    tuning = Tuning(losses, tuned_by, tuning_seed, conditions.folds) if tuned_by else None
    if tuning:
        for fold in range(max(conditions.folds, 1)):
            trained.split(fold, tuning=True)  # a list that cannot be divided is refused here
    if not conditions.epochs and not options.budget:
        conditions = dataclasses.replace(conditions, epochs=trained.own_epochs())
    held = contextlib.nullcontext() if options.dry_run else folder.prepared(force=options.force)
    with held:
        both = [*(tuning.runs if tuning else ()), *runs]
        left = [run for run in both if not (goes_on and folder.done(run))]
        conditions = _planned(conditions, both, left, losses, crew, options, say)
        if options.dry_run:
            return 0
        facts: dict[str, Any] = {"baseline": baseline, "budget": options.budget}
        if tuning:
            facts["tuning"] = {"metric": tuning.metric, "seed": tuning.seed}
        folder.write(conditions, losses, seeds, facts)
        failed = 0
        ready = runs
        if tuning:
            failed += _trained(folder, tuning.runs, conditions, crew, seeds[0], say)
            ready, without = _settled(folder, runs, tuning, say)
            failed += without
        failed += _trained(folder, ready, conditions, crew, seeds[0], say)
        _write(folder, runs, baseline, say)
    return failed


def _settled(
    folder: StudyFolder, runs: Sequence[StudyRun], tuning: Tuning, say: Say
) -> tuple[list[StudyRun], int]:
    """The runs with the candidates that were chosen, and how many have none and failed."""
    lines = tuning.lines(folder)
    write_tuning(folder.path, lines)
    for line in lines:
        if line.chosen:
            fold = f", fold {line.fold}" if tuning.folds else ""
            say(f"{line.loss}{fold}: {line.candidate}, {line.metric} {line.value:.4g}")
    ready, failed = [], 0
    for run in runs:
        found = settled(run, lines)
        if isinstance(found, StudyRun):
            ready.append(found)
            continue
        failed += 1
        write_failed(run, folder, found)
        say(f"{run.name}: failed, {found}")
    return ready, failed


def _trained(
    folder: StudyFolder,
    runs: Sequence[StudyRun],
    conditions: StudyConditions,
    crew: Crew,
    pictures_of: int,
    say: Say,
) -> int:
    """Train what is left; how many runs failed."""
    count, failed = 0, 0
    left = sum(not folder.done(run) for run in runs)

    def tell(run: StudyRun, facts: Facts) -> None:
        nonlocal count, failed
        count += 1
        failed += facts["status"] == "failed"
        what = facts.get("message") or f"{facts.get('seconds_training', 0):.0f} s"
        say(f"[{count}/{left}] {run.name}: {facts['status']}, {what}")
        training.step()

    with work("runs", left) as training:
        execute(folder, runs, conditions, crew, pictures_of=pictures_of, on_done=tell)
    return failed


def _planned(
    conditions: StudyConditions,
    runs: Sequence[StudyRun],
    left: Sequence[StudyRun],
    losses: Sequence[StudyLoss],
    crew: Crew,
    options: StudyOptions,
    say: Say,
) -> StudyConditions:
    """The conditions with the epochs of every run; says what is planned."""
    budget = options.budget if not conditions.epochs else None
    timings = None
    if (budget or options.dry_run) and left:
        trial = dataclasses.replace(conditions, epochs=conditions.epochs or PLANNED_FOR)
        begun = time.monotonic()
        say(f"Timing a few steps with each of {len(losses)} losses ...")
        timings = pilot(left, trial, crew)
        if budget:
            room = 60 * budget - (time.monotonic() - begun)
            epochs = plan.epochs_within(room, left, timings, crew.workers)
            conditions = dataclasses.replace(conditions, epochs=epochs)
    parts = f"{conditions.folds} folds" if conditions.folds else "the bundle's own split"
    tuning = sum(run.tuning for run in runs)
    seeds = len({run.seed for run in runs if not run.tuning})
    tunes = f" and {tuning} of candidates on other cases" if tuning else ""
    who = crew.scheduler or f"{crew.workers} processes of {crew.threads} threads"
    say(
        f"{len(runs) - tuning} runs: {len(losses)} losses x {seeds} seeds x {parts}{tunes}, "
        f"{conditions.epochs} epochs each, by {who}; {len(left)} are left."
    )
    if options.dry_run:
        for loss in losses:
            step = f"{timings[loss.name].step:.3f} s a step; " if timings else ""
            say(f"  {loss.name}: {step}{loss.as_json()}")
    if timings:
        took = plan.seconds(left, timings, conditions.epochs, crew.workers)
        say(f"Estimated: {took / 60:.1f} minutes.")
    return conditions


def _report_again(folder: StudyFolder, options: StudyOptions, say: Say) -> None:
    there = folder.read()
    losses = [StudyLoss(name, block) for name, block in there["losses"].items()]
    runs = all_runs(losses, there["seeds"], there["conditions"]["folds"])
    with folder.prepared(force=False):
        _write(folder, runs, options.baseline or there["baseline"], say)


def _write(folder: StudyFolder, runs: Sequence[StudyRun], baseline: str, say: Say) -> None:
    from medloss.workbench.study.output import write_all

    say(f"Wrote {', '.join(map(str, write_all(folder, runs, baseline)))}.")


def _on_gpu(conditions: StudyConditions) -> bool:
    if conditions.device:
        return conditions.device.startswith("cuda")
    import torch

    return torch.cuda.is_available()
