"""A process that trains run after run; what two runs share is read and made once."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from medloss.integrations.bundle.settings import BundleInference
from medloss.runtime.files import write_text
from medloss.workbench.study import evaluate
from medloss.workbench.study.bundle import BundleSplit, StudyBundle
from medloss.workbench.study.folder import (
    CONFIG,
    CURVE,
    EVALUATION,
    LOG,
    PREDICTIONS,
    RESULT,
    WEIGHTS,
)
from medloss.workbench.study.runs import StudyConditions, StudyRun
from medloss.workbench.study.train import Curve, log_to, seed_everything, step_bytes, train

PILOT_CASES, PILOT_STEPS = 3, 8


@dataclass
class Fold:
    """What the runs of a fold share; those that tune have other cases."""

    key: tuple[int, bool] = (-1, False)
    split: BundleSplit | None = None
    dataset: Any = None
    inference: BundleInference | None = None
    case_seconds: float | None = None


class Worker:
    """Trains and scores one run at a time; trainers differ by their loss alone.

    Args:
        conditions: of the study.

    Raises:
        ValueError: the bundle cannot be used.
    """

    def __init__(self, conditions: StudyConditions) -> None:
        self.bundle = StudyBundle(conditions)
        self._fold = Fold()

    def run(self, run: StudyRun, folder: Path, *, pictures: bool) -> dict[str, Any]:
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
        facts = {**run.facts(), "status": "failed", "message": ""}
        facts["threads"] = torch.get_num_threads()
        with log_to(folder / LOG):
            try:
                facts |= self._run(run, folder, pictures)
            # A loss that cannot train, or a bundle that fails, must not end the study.
            except Exception as error:  # noqa: BLE001
                facts["message"] = " ".join(f"{type(error).__name__}: {error}".split())
                traceback.print_exc()
        write_text(folder / RESULT, json.dumps(plain(facts), indent=1))
        return facts

    def pilot(self, run: StudyRun) -> dict[str, float]:
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
                self._shared(run, folder)
                shared = time.perf_counter()
                trainer, parser = self._trainer(run, folder)
                built = time.perf_counter()
                curve = train(trainer, PILOT_STEPS)
                case = self._case_seconds(parser, trainer)
        return {
            "first": shared - begun,
            "build": built - shared,
            "step": curve.step_seconds(),
            "case": case,
            "steps": float(trainer.state.epoch_length),
            "cases": float(len(self._inference(parser, trainer).cases)),
        }

    def _run(self, run: StudyRun, folder: Path, pictures: bool) -> dict[str, Any]:
        trainer, parser = self._trainer(run, folder)
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
        plan = evaluate.plan_of(self.bundle, source)
        cases = evaluate.score(
            self._inference(parser, trainer),
            None if curve.broken else trainer.network,
            plan,
            folder / PREDICTIONS if pictures and not curve.broken else None,
        )
        command = f"medloss study: {run.name}"
        evaluate.write(folder / EVALUATION, cases, plan, command)
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

    def _shared(self, run: StudyRun, folder: Path) -> Fold:
        """What the runs of a fold share; the last fold is remembered."""
        if self._fold.key != (key := (run.fold, run.tuning)):
            self._fold = Fold(key, self.bundle.split(run.fold, tuning=run.tuning))
            parser = self.bundle.parser(self.bundle.changes(run, folder, self._fold.split))
            self._fold.dataset = self.bundle.build(parser, self.bundle.roles.dataset)
        return self._fold

    def _trainer(self, run: StudyRun, folder: Path) -> tuple[Any, ConfigParser]:
        """The bundle's trainer, the same for every loss but for the loss."""
        fold = self._shared(run, folder)
        changes = self.bundle.changes(run, folder, fold.split)
        parser = self.bundle.parser(changes, study_dataset=fold.dataset)
        write_text(folder / CONFIG, json.dumps(plain(parser.get()), indent=1, default=repr))
        parser.update({self.bundle.roles.dataset: "$study_dataset"})
        seed_everything(run.seed, fold.dataset)
        # first, so that no loss changes its draws
        self.bundle.build(parser, self.bundle.roles.need("network"))
        trainer = self.bundle.build(parser, self.bundle.trainer)
        for name in ("run", "network", "prepare_batch", "inferer", "loss_function", "data_loader"):
            if not hasattr(trainer, name):
                raise ValueError(
                    f"{self.bundle.folder}: {self.bundle.trainer} is a {type(trainer).__name__} "
                    f"without {name}; expected MONAI's SupervisedTrainer"
                )
        seed_everything(run.seed, fold.dataset)
        return trainer, parser

    def _inference(self, parser: ConfigParser, trainer: Any) -> BundleInference:
        """How the held-out cases of the fold are predicted."""
        if self._fold.inference is None:
            self._fold.inference = evaluate.inference_of(self.bundle, parser, trainer.network)
        return self._fold.inference

    def _case_seconds(self, parser: ConfigParser, trainer: Any) -> float:
        """Time to predict and score a case, which does not depend on the loss: measured once."""
        if self._fold.case_seconds is None:
            inference, plan = self._inference(parser, trainer), evaluate.plan_of(self.bundle)
            times = []
            for most in (1, PILOT_CASES):  # the first one compiles kernels
                begun = time.perf_counter()
                cases = evaluate.score(inference, trainer.network, plan, most=most)
                times.append((time.perf_counter() - begun) / len(cases))
                if len(cases) == len(inference.cases):
                    break
            self._fold.case_seconds = times[-1]
        return self._fold.case_seconds


def _last(curve: Curve) -> float:
    """Mean loss of the last tenth of the steps: single batches vary."""
    losses = [step.loss for step in curve.steps]
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last) if last else math.nan


def plain(value: Any) -> Any:
    """As JSON has it: NaN and infinity as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
