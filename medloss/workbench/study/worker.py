"""A process that trains run after run; what two runs share is read and made once."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from medloss.evaluation.outputs.writers import whole_file
from medloss.runtime import threads as own_threads
from medloss.workbench.study import evaluate
from medloss.workbench.study.conditions import Conditions, Run
from medloss.workbench.study.context import CONFIG, Context, plain
from medloss.workbench.study.train import Curve, log_to, step_bytes, train

RESULT, CURVE, LOG = "result.json", "curve.csv", "log.txt"
WEIGHTS, EVALUATION, PREDICTIONS = "model.pt", "evaluation", "predictions"
PILOT_STEPS = 8


class Worker:
    """Trains and scores one run at a time.

    Args:
        conditions: of the study.
        threads: of torch and of the kernels; 0 leaves them alone.

    Raises:
        ValueError: the bundle cannot be used.
    """

    def __init__(self, conditions: Conditions, threads: int = 0) -> None:
        if threads:
            torch.set_num_threads(threads)
            own_threads.limit(threads)
        self.context = Context(conditions)
        self.bundle = self.context.bundle
        self.threads = threads

    def run(self, run: Run, folder: Path, *, pictures: bool) -> dict[str, Any]:
        """Train, score and keep one run; whatever goes wrong with it is its result.

        Args:
            run: what is trained.
            folder: that gets everything; what an unfinished attempt left there is deleted.
            pictures: keep the label maps of the held-out cases.

        Returns:
            What ``result.json`` holds, which is written last.
        """
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        facts: dict[str, Any] = {
            "loss": run.loss.name,
            "fold": run.fold,
            "seed": run.seed,
            "status": "failed",
            "message": "",
            "threads": self.threads or torch.get_num_threads(),
        }
        with log_to(folder / LOG):
            try:
                facts |= self._run(run, folder, pictures)
            # A loss that cannot train, or a bundle that fails, must not end the study.
            except Exception as error:  # noqa: BLE001
                facts["message"] = " ".join(f"{type(error).__name__}: {error}".split())
                traceback.print_exc()
        with whole_file(folder / RESULT) as file:
            json.dump(plain(facts), file, indent=1)
        return facts

    def pilot(self, run: Run) -> dict[str, float]:
        """Time of a few steps and cases, which the plan of a budget is made of.

        Returns:
            Seconds: ``build`` of a run, ``first`` making of the data, a ``step``, scoring a
            ``case``; and how many ``steps`` an epoch has and ``cases`` are held out.

        Raises:
            ValueError: the loss cannot be trained in this bundle.
        """
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            with log_to(folder / LOG):
                begun = time.perf_counter()
                self.context.shared(run, folder)
                shared = time.perf_counter()
                trainer, parser = self.context.trainer(run, folder)
                built = time.perf_counter()
                curve = train(trainer, PILOT_STEPS)
                case = self.context.case_seconds(parser, trainer)
        return {
            "first": shared - begun,
            "build": built - shared,
            "step": curve.step_seconds(),
            "case": case,
            "steps": float(trainer.state.epoch_length),
            "cases": float(len(self.context.inference(parser, trainer).cases)),
        }

    def _run(self, run: Run, folder: Path, pictures: bool) -> dict[str, Any]:
        trainer, parser = self.context.trainer(run, folder)
        begun = time.perf_counter()
        curve = train(trainer)
        trained = time.perf_counter()
        curve.write(folder / CURVE)
        torch.save({"model": trainer.network.state_dict()}, folder / WEIGHTS)
        source = (
            ("bundle", str(self.bundle.folder)),
            ("configuration", str(folder / CONFIG)),
            ("loss", run.loss.name),
            ("checkpoint", str(folder / WEIGHTS)),
        )
        study = evaluate.study_of(self.bundle, source)
        cases = evaluate.score(
            self.context.inference(parser, trainer),
            None if curve.broken else trainer.network,
            study,
            folder / PREDICTIONS if pictures and not curve.broken else None,
        )
        command = f"medloss study: {run.name}"
        evaluate.write(folder / EVALUATION, cases, study, command)
        scored = time.perf_counter()
        errors = [case.error for case in cases if case.error]
        status, message = "ok", f"{len(errors)} cases failed: {errors[0]}" if errors else ""
        if curve.broken:
            status = "diverged"
            message = f"the loss was {curve.broken.loss} in step {curve.broken.number}"
        elif not any(evaluate.foreground(cases)):
            status, message = "no_foreground", "no voxel of any held-out case was foreground"
        return {
            "status": status,
            "message": message,
            "steps": len(curve.steps),
            "epochs": self.bundle.conditions.epochs,
            "last_loss": _last(curve),
            "seconds_training": trained - begun,
            "seconds_scoring": scored - trained,
            "step_seconds": curve.step_seconds(),
            "step_bytes": None if curve.broken else step_bytes(trainer),
            "device": str(trainer.state.device),
            "cases": len(cases),
        }


def _last(curve: Curve) -> float:
    """Mean loss of the last tenth of the steps: single batches vary."""
    losses = [step.loss for step in curve.steps]
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last) if last else math.nan
