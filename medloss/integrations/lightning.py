"""The terms and schedules of a loss in Lightning: ``Trainer(callbacks=[LossCallback(...)])``.

Lightning is imported when :class:`LossCallback` is asked for; it takes the options of
``medloss.integrations.loss_callback.LossCallback``, and without a loss looks for the one compound
loss among the modules of the ``LightningModule``.
"""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name != "LossCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = _callback_class()
    return globals()[name]


def _lightning_callback() -> Any:
    """Lightning's base of callbacks, under either of its names."""
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return importlib.import_module(name).Callback
        except ModuleNotFoundError as error:
            if error.name not in (name, name.partition(".")[0]):
                raise
    raise ImportError("medloss.integrations.lightning needs Lightning (pip install lightning)")


def _callback_class() -> type[Any]:
    from medloss.integrations import loss_callback

    class LossCallback(_lightning_callback()):  # type: ignore[misc]
        """Writes the terms of a compound loss to CSV and TensorBoard, and steps its schedules.

        Args:
            loss: by default the one among the modules of the ``LightningModule``.
            **options: of ``medloss.integrations.loss_callback.LossCallback``.
        """

        def __init__(self, loss: Any = None, **options: Any) -> None:
            self.loss = loss
            self.options = options
            self.inner: Any = None  # until training starts

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            loss = pl_module if self.loss is None else self.loss
            self.inner = loss_callback.LossCallback(loss, **self.options)

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            done = trainer.fit_loop.total_batch_idx + 1
            self.inner.epoch_started(trainer.current_epoch + 1, done)

        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            self.inner.iteration_started(trainer.fit_loop.total_batch_idx + 1)

        def on_train_batch_end(self, *_: Any) -> None:
            self.inner.iteration_completed()

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self.inner.epoch_completed()

    LossCallback.__module__, LossCallback.__qualname__ = __name__, "LossCallback"
    return LossCallback
