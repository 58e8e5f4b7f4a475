"""Terms and schedules in Lightning."""

from __future__ import annotations

import csv
import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import medloss

HERE = importlib.util.find_spec("lightning") or importlib.util.find_spec("pytorch_lightning")
needs_lightning = pytest.mark.skipif(HERE is None, reason="Lightning is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and loggers

RAMP = {"schedule": "ramp", "start": 0.1, "end": 0.5, "steps": 4}


def module(schedule: Any = RAMP, **options: Any) -> Any:
    from lightning.pytorch import LightningModule

    class Segmenter(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Conv2d(1, 3, 3, padding=1)
            self.loss = medloss.loss("dice_ce", softmax=True, lambda_ce=schedule, **options)

        def training_step(self, batch: Any, index: int) -> Tensor:
            return self.loss(self.network(batch[0]), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val", self.loss(self.network(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    return Segmenter()


def loader() -> Any:
    generator = torch.Generator().manual_seed(0)
    cases = [
        (
            torch.randn(1, 6, 6, generator=generator),
            torch.randint(0, 3, (1, 6, 6), generator=generator),
        )
        for _ in range(8)
    ]
    return DataLoader(cases, batch_size=2)  # type: ignore[arg-type]


def trainer(folder: Path, callbacks: list[Any], epochs: int, **options: Any) -> Any:
    from lightning.pytorch import Trainer

    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def column(path: Path, name: str) -> list[float]:
    return [float(row[name]) for row in csv.DictReader(path.read_text().splitlines())]


@needs_lightning
def test_the_callback_shows_the_ramp_with_validation_within_epochs(tmp_path: Path) -> None:
    from medloss.integrations.lightning import LossCallback

    callback = LossCallback(csv=tmp_path / "terms.csv")
    assert type(pickle.loads(pickle.dumps(callback))) is LossCallback
    trainer(tmp_path, [callback], 3, val_check_interval=0.5).fit(module(), loader(), loader())
    path = tmp_path / "terms.csv"
    assert column(path, "epoch") == [1, 2, 3]
    assert column(path, "iteration") == [4, 8, 12]
    assert column(path, "cross_entropy/weight") == pytest.approx([0.1, 0.2, 0.3])


@needs_lightning
def test_steps_of_iterations(tmp_path: Path) -> None:
    from medloss.integrations.lightning import LossCallback

    callback = LossCallback(csv=tmp_path / "terms.csv", rows="iteration", step="iteration")
    trainer(tmp_path, [callback], 1).fit(module(), loader())
    got = column(tmp_path / "terms.csv", "cross_entropy/weight")
    assert got == pytest.approx([0.1, 0.2, 0.3, 0.4])


@needs_lightning
def test_a_resumed_training_goes_on(tmp_path: Path) -> None:
    from medloss.integrations.lightning import LossCallback

    schedule = {"schedule": "equal_value", "start": 0.3}

    def run(name: str, epochs: int, checkpoint: Any = None) -> Any:
        torch.manual_seed(0)
        callback = LossCallback(csv=tmp_path / name)
        made = trainer(tmp_path, [callback], epochs)
        made.fit(module(schedule), loader(), ckpt_path=checkpoint)
        made.save_checkpoint(tmp_path / "last.ckpt")

    run("whole.csv", 4)
    run("parts.csv", 2)
    run("parts.csv", 4, tmp_path / "last.ckpt")
    assert (tmp_path / "parts.csv").read_text() == (tmp_path / "whole.csv").read_text()


WITHOUT = """
import sys
sys.modules["lightning"] = sys.modules["pytorch_lightning"] = None
import medloss.integrations.lightning as module
try:
    module.LossCallback
except ImportError as error:
    print(error)
"""


def test_without_lightning_the_error_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=120
    )
    assert "needs Lightning (pip install lightning)" in done.stdout, done.stderr
