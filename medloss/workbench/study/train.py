"""One training by a bundle's own trainer, step by step on a curve."""

from __future__ import annotations

import contextlib
import logging
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.handlers import from_engine
from monai.utils import set_determinism

from medloss.runtime.files import whole_file
from medloss.workbench.bench.devices import CPU

WARM_UP = 3
"""First steps, whose time does not count: caches fill and kernels are compiled."""


@dataclass(frozen=True)
class TrainingStep:
    """A training step."""

    number: int
    epoch: int
    loss: float
    lr: float
    seconds: float


class Curve:
    """Loss and time of every step; ends a training whose loss is no finite number.

    Args:
        most: ends the training after so many steps, of whatever an epoch has.
    """

    def __init__(self, most: int | None = None) -> None:
        self.steps: list[TrainingStep] = []
        self.broken: TrainingStep | None = None
        self._most, self._begun = most, 0.0
        self._loss = from_engine("loss", first=True)

    def attach(self, trainer: Any) -> None:
        """Watch a trainer."""
        trainer.add_event_handler(Events.ITERATION_STARTED, self._begin)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._end)

    def step_seconds(self) -> float:
        """Median time of a step after the first ones."""
        times = [step.seconds for step in self.steps]
        return statistics.median(times[WARM_UP:] or times) if times else math.nan

    def write(self, path: Path) -> None:
        """Write a line for each step."""
        with whole_file(path) as file:
            file.write("step,epoch,loss,lr,seconds\n")
            for s in self.steps:
                file.write(f"{s.number},{s.epoch},{s.loss!r},{s.lr:.6g},{s.seconds:.4f}\n")

    def _begin(self, engine: Any) -> None:
        self._begun = time.perf_counter()

    def _end(self, engine: Any) -> None:
        loss = float(self._loss(engine.state.output))
        step = TrainingStep(
            number=engine.state.iteration,
            epoch=engine.state.epoch,
            loss=loss,
            lr=float(engine.optimizer.param_groups[0]["lr"]),
            seconds=time.perf_counter() - self._begun,
        )
        self.steps.append(step)
        if not math.isfinite(loss):
            self.broken = step
        if self.broken or len(self.steps) == self._most:
            engine.terminate()


def seed_everything(seed: int, dataset: Any) -> None:
    """The same random numbers for every loss: of torch, numpy, Python and the transforms."""
    set_determinism(seed=seed)
    transform: Any = getattr(dataset, "transform", None)
    if hasattr(transform, "set_random_state"):
        transform.set_random_state(seed=seed)


def train(trainer: Any, most: int | None = None) -> Curve:
    """Run a trainer to its end.

    Args:
        trainer: built, with nothing done.
        most: at most so many steps.
    """
    curve = Curve(most)
    curve.attach(trainer)
    trainer.run()
    return curve


def step_bytes(trainer: Any) -> int | None:
    """Peak memory of one step, forward and backward, beyond what is there before it.

    Changes statistics of the network's normalisation layers: only for a training that is over.

    Returns:
        Bytes; None where this system cannot tell.
    """
    batch = next(iter(trainer.data_loader))
    inputs, target = trainer.prepare_batch(batch, trainer.state.device, False)[:2]
    trainer.network.train()
    trainer.network.zero_grad(set_to_none=True)

    def step() -> None:
        output = trainer.inferer(inputs, trainer.network)
        trainer.loss_function(output, target).mean().backward()

    device = torch.device(trainer.state.device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device) - before)
    return None if CPU().no_memory else CPU().extra_bytes(step)


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """All that is logged, printed or warned of, in a file."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    before = {logger: logger.handlers[:] for logger in _loggers()}
    with path.open("w", encoding="utf-8") as file:
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.handlers = [handler]
        root.setLevel(logging.INFO)
        logging.captureWarnings(True)
        try:
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                yield
        finally:
            logging.captureWarnings(False)
            root.handlers = handlers
            root.setLevel(level)
            for logger in _loggers():  # handlers of MONAI would write into the closed file
                logger.handlers = before.get(logger, [])


def _loggers() -> list[logging.Logger]:
    found = logging.getLogger().manager.loggerDict.values()
    return [logger for logger in found if isinstance(logger, logging.Logger)]
