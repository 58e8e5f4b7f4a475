"""What a worker makes of a bundle: trainers that differ by their loss alone."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medloss.evaluation.outputs.files import whole_file
from medloss.integrations.bundle import BundleInference
from medloss.workbench.study import evaluate
from medloss.workbench.study.bundle import DATASET, TRAINER, Case, StudyBundle
from medloss.workbench.study.conditions import Conditions, Run
from medloss.workbench.study.train import seed_everything

CONFIG = "config.json"
PILOT_CASES = 3


@dataclass
class Fold:
    """What the runs of a fold share."""

    number: int
    split: tuple[list[Case], list[Case]] | None
    dataset: Any = None
    inference: BundleInference | None = None
    case_seconds: float | None = None


class Context:
    """A bundle, with what the runs of a fold share made once.

    Args:
        conditions: of the study.

    Raises:
        ValueError: the bundle cannot be used.
    """

    def __init__(self, conditions: Conditions) -> None:
        self.bundle = StudyBundle(conditions)
        self._fold = Fold(-1, None)

    def shared(self, run: Run, folder: Path) -> Fold:
        """What the runs of a fold share; the last fold is remembered."""
        if self._fold.number != run.fold:
            self._fold = Fold(run.fold, self.bundle.split(run.fold))
            parser = self.bundle.parser()
            parser.update(self.bundle.changes(run, folder, self._fold.split))
            self._fold.dataset = self.bundle.build(parser, DATASET)
        return self._fold

    def trainer(self, run: Run, folder: Path) -> tuple[Any, ConfigParser]:
        """The bundle's trainer, the same for every loss but for the loss."""
        fold = self.shared(run, folder)
        parser = self.bundle.parser(study_dataset=fold.dataset)
        parser.update(self.bundle.changes(run, folder, fold.split))
        with whole_file(folder / CONFIG) as file:
            json.dump(plain(parser.get()), file, indent=1, default=repr)
        parser.update({DATASET: "$study_dataset"})
        seed_everything(run.seed, fold.dataset)
        self.bundle.build(parser, f"{TRAINER}#network")  # first, so that no loss changes its draws
        trainer = self.bundle.build(parser, TRAINER)
        for name in ("run", "network", "prepare_batch", "inferer", "loss_function", "data_loader"):
            if not hasattr(trainer, name):
                raise ValueError(
                    f"{self.bundle.folder}: {TRAINER} is a {type(trainer).__name__} without "
                    f"{name}; expected MONAI's SupervisedTrainer"
                )
        seed_everything(run.seed, fold.dataset)
        return trainer, parser

    def inference(self, parser: ConfigParser, trainer: Any) -> BundleInference:
        """How the held-out cases of the fold are predicted."""
        if self._fold.inference is None:
            self._fold.inference = evaluate.inference_of(self.bundle, parser, trainer.network)
        return self._fold.inference

    def case_seconds(self, parser: ConfigParser, trainer: Any) -> float:
        """Time to predict and score a case, which does not depend on the loss: measured once."""
        if self._fold.case_seconds is None:
            inference, study = self.inference(parser, trainer), evaluate.study_of(self.bundle)
            times = []
            for most in (1, PILOT_CASES):  # the first one compiles kernels
                begun = time.perf_counter()
                cases = evaluate.score(inference, trainer.network, study, most=most)
                times.append((time.perf_counter() - begun) / len(cases))
                if len(cases) == len(inference.cases):
                    break
            self._fold.case_seconds = times[-1]
        return self._fold.case_seconds


def plain(value: Any) -> Any:
    """As JSON has it: NaN and infinity as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
