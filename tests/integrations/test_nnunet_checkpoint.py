"""Checkpoints of nnU-Net are read without executing anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import medloss
from medloss.integrations.nnunet import LossTrainer, load_plain

RAMP = {"schedule": "ramp", "start": 0.0, "end": 1.0, "steps": 4}


class Theirs:
    """Saves and loads as nnU-Net's trainer does, with what its checkpoints hold."""

    local_rank, disable_checkpointing, current_epoch = 0, False, 2
    extra: Any = None

    def save_checkpoint(self, filename: str) -> None:
        values = [np.float32(0.5), np.float64(0.25), np.int64(3), 1.0]
        checkpoint = {
            "network_weights": {"w": torch.ones(2)},
            "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.1}]},
            "grad_scaler_state": None,
            "logging": {"mean_fg_dice": values, "dice_per_class_or_region": [values]},
            "_best_ema": np.float64(0.75),
            "current_epoch": 3,
            "init_args": {"plans": {"a": [1, 2]}, "device": torch.device("cpu"), "fold": 0},
            "trainer_name": "T",
            "inference_allowed_mirroring_axes": (0, 1, 2),
            "extra": self.extra,
        }
        torch.save(checkpoint, filename)

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        self.loaded = torch.load(filename_or_checkpoint, weights_only=False)

    def on_train_epoch_start(self) -> None:
        self.started = True


class Trainer(LossTrainer, Theirs):
    def __init__(self, name: str = "dice_ce", **options: Any) -> None:
        self.medloss = medloss.loss(name, **{"softmax": True, **options})


class Harmful:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_the_state_of_schedules_comes_along(tmp_path: Path) -> None:
    trainer, path = Trainer(lambda_ce=RAMP), str(tmp_path / "checkpoint.pth")
    trainer.on_train_epoch_start()
    trainer.save_checkpoint(path)
    found = load_plain(path)
    assert found["_best_ema"] == 0.75
    assert found["logging"]["mean_fg_dice"] == [0.5, 0.25, 3, 1.0]
    resumed = Trainer(lambda_ce=RAMP)
    resumed.load_checkpoint(path)
    assert resumed.loaded["current_epoch"] == 3
    assert resumed.medloss.term_weights["cross_entropy"] == pytest.approx(0.5)


def test_a_checkpoint_without_schedules_is_nnunets_own(tmp_path: Path) -> None:
    path = str(tmp_path / "checkpoint.pth")
    Trainer().save_checkpoint(path)
    assert "medloss" not in load_plain(path)
    Trainer().load_checkpoint(path)


def test_a_file_that_would_execute_something_is_refused_before_nnunet_reads_it(
    tmp_path: Path,
) -> None:
    path, made = str(tmp_path / "checkpoint.pth"), tmp_path / "made"
    trainer = Trainer()
    trainer.extra = Harmful(made)
    trainer.save_checkpoint(path)
    resumed = Trainer()
    with pytest.raises(ValueError, match=r"holds \w+\.mkdir beside .*add_safe_globals"):
        resumed.load_checkpoint(path)
    assert not hasattr(resumed, "loaded")
    assert not made.exists()
    torch.load(path, weights_only=False)
    assert made.is_dir(), "it would have been executed"


def test_what_a_trainer_of_ones_own_adds_is_refused_at_once_or_allowed(tmp_path: Path) -> None:
    trainer, path = Trainer(lambda_ce=RAMP), str(tmp_path / "checkpoint.pth")
    trainer.extra = Path("of my own")
    with pytest.raises(ValueError, match="pathlib"):
        trainer.save_checkpoint(path)
    with torch.serialization.safe_globals([type(Path()), Path]):
        trainer.save_checkpoint(path)
        Trainer(lambda_ce=RAMP).load_checkpoint(path)


def test_schedules_inside_another_loss_are_stepped() -> None:
    trainer = Trainer("marginal", loss={"name": "dice_ce", "lambda_ce": RAMP})
    trainer.on_train_epoch_start()
    assert trainer.started
    assert trainer.medloss.inside.term_weights["cross_entropy"] == pytest.approx(0.5)
