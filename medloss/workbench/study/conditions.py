"""What the runs of a study have in common, and what tells them apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medloss.workbench.study.losses import StudyLoss

METRICS = (
    "dice",
    "sensitivity",
    "specificity",
    "hausdorff95",
    "normalized_surface_dice:tolerance_mm=1",
)


@dataclass(frozen=True)
class Conditions:
    """Everything that is equal for all runs.

    Args:
        bundle: folder, absolute.
        configs: names of configuration files, later ones over earlier ones.
        overrides: entries of the configuration.
        folds: parts of the training list for cross-validation; 0 is the bundle's own split.
        epochs: of every run; 0 as long as nothing is planned.
        metrics: as ``medloss eval`` takes them.
        device: ``cpu``, ``cuda`` or ``cuda:N``; empty for what the bundle says.
        digest: of the configuration files, so that a bundle that was edited is another one.
    """

    bundle: str
    configs: tuple[str, ...] = ("train",)
    overrides: Mapping[str, Any] = field(default_factory=dict, hash=False)
    folds: int = 0
    epochs: int = 0
    metrics: tuple[str, ...] = METRICS
    device: str = ""
    digest: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self) | {
            "configs": list(self.configs),
            "overrides": dict(self.overrides),
            "metrics": list(self.metrics),
        }


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        loss: that trains.
        fold: that is held out.
        seed: of initial weights, order of the data and random transforms.
    """

    loss: StudyLoss
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """Folder of the run inside that of the study.

        Example:
            >>> Run(StudyLoss("dice", {}), 1, 2).name
            'dice/fold1_seed2'
        """
        return f"{self.loss.folder}/fold{self.fold}_seed{self.seed}"


def all_runs(losses: Sequence[StudyLoss], seeds: Sequence[int], folds: int) -> list[Run]:
    """Every loss with every fold and seed; all losses of a fold and seed follow one another.

    A study that is stopped has then compared its losses on what it has done.
    """
    return [
        Run(loss, fold, seed) for fold in range(max(folds, 1)) for seed in seeds for loss in losses
    ]
