"""The terms and schedules of a loss in MONAI's trainers, or any ignite engine.

In a bundle config, among the handlers of the trainer, on every rank:

    {
        "_target_": "medloss.integrations.handlers.LossHandler",
        "csv": "$@output_dir + '/loss_terms.csv'",
        "tensorboard": "$@output_dir + '/tensorboard'"
    }
"""

from __future__ import annotations

import os
from typing import Any

from torch import nn

from medloss.integrations.loss_callback import LossCallback, Unit


class LossHandler:
    """Writes the terms of a trainer's compound loss and steps its schedules.

    Schedules are set when an epoch (or iteration) begins, from its number: a resumed trainer needs
    no other state of them, and a checkpoint may be saved by a handler before or after this one.

    Args:
        loss: by default the trainer's ``loss_function``.
        csv: path of a table; a resumed training continues it.
        tensorboard: a folder for TensorBoard, or a ``SummaryWriter``.
        rows: ``"epoch"``: means over its training passes; ``"iteration"``.
        every: with ``rows="iteration"``, one of so many.
        step: what a step of the schedules is: ``"epoch"``, ``"iteration"``, or None: somebody else
            steps them.
        overwrite: whether ``csv`` may replace the table of another training.
    """

    def __init__(
        self,
        loss: nn.Module | None = None,
        csv: str | os.PathLike[str] | None = None,
        tensorboard: Any = None,
        rows: Unit = "epoch",
        every: int = 1,
        step: Unit | None = "epoch",
        overwrite: bool = False,
    ) -> None:
        self.options: dict[str, Any] = {
            "csv": csv,
            "tensorboard": tensorboard,
            "rows": rows,
            "every": every,
            "step": step,
            "overwrite": overwrite,
        }
        self.callback: Any = None if loss is None else LossCallback(loss, **self.options)

    def attach(self, engine: Any) -> None:
        """Listen to an ignite engine."""
        from ignite.engine import Events

        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.EPOCH_STARTED, self.epoch_started)
        engine.add_event_handler(Events.ITERATION_STARTED, self.iteration_started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)

    def started(self, engine: Any) -> None:
        """Find the loss, which a MONAI trainer has only after its handlers.

        Raises:
            TypeError: there is none that shows its terms.
        """
        if self.callback is None:
            if not hasattr(engine, "loss_function"):
                raise TypeError(f"loss: expected one, as {type(engine).__name__} holds none")
            self.callback = LossCallback(engine.loss_function, **self.options)

    def epoch_started(self, engine: Any) -> None:
        """Set the schedules, where a step is an epoch."""
        self.callback.epoch_started(engine.state.epoch, engine.state.iteration)

    def iteration_started(self, engine: Any) -> None:
        """Set the schedules, where a step is an iteration."""
        self.callback.iteration_started(engine.state.iteration)

    def iteration_completed(self, engine: Any) -> None:
        """Take in the terms of a training pass."""
        self.callback.iteration_completed()

    def epoch_completed(self, engine: Any) -> None:
        """Write the row of an epoch."""
        self.callback.epoch_completed()
