"""Notices that nothing steps the schedules of a loss.

A loss sees forward passes, not epochs. What it can know:

* an ignite engine or a Lightning trainer that calls it has a number for its epoch;
* a training pass after a validation pass belongs to another epoch, unless validation takes place
  within epochs: then ``forwards_per_step`` has to say how long one is;
* more than ``forwards_per_step`` training passes without a step are too many.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any


class StepWatch:
    """Counts passes since the last step, and raises when there must have been one.

    Args:
        forwards_per_step: at most so many training passes lie between two steps; None: unknown.
    """

    def __init__(self, forwards_per_step: int | None = None) -> None:
        self.forwards_per_step = forwards_per_step
        self.stepped = False
        self.forwards = 0
        self.validated = False
        self.first_epoch: int | None = None

    def step(self) -> None:
        """Somebody takes care of the schedules."""
        self.stepped, self.forwards, self.validated = True, 0, False

    def validation(self) -> None:
        """A pass without gradient, or a switch from evaluation to training mode."""
        self.validated = self.forwards > 0

    def training(self, scheduled: Sequence[str]) -> None:
        """A training pass.

        Raises:
            RuntimeError: an epoch, or ``forwards_per_step``, passed without a step.
        """
        limit = self.forwards_per_step
        epoch = None if self.stepped else visible_epoch()
        evidence = ""
        if limit is not None and self.forwards >= limit:
            evidence = f"forwards_per_step={limit} training passes were made since the last step"
        elif self.stepped:
            pass
        elif epoch is not None and self.first_epoch is not None:
            if epoch > self.first_epoch:
                evidence = f"epoch {epoch} of the trainer has begun"
        elif self.validated and limit is None:
            evidence = (
                "training goes on after a validation pass (if you validate within an epoch, say "
                "with forwards_per_step how many training passes lie between two steps)"
            )
        if evidence:
            raise RuntimeError(
                f"the weight of {', '.join(scheduled)} has a schedule that nothing steps: "
                f"{evidence}. Call loss.step_schedule(epoch) as each epoch begins, from 0 on, "
                f"or attach medloss.integrations.handlers.LossHandler (MONAI, ignite) or "
                f"medloss.integrations.lightning.LossCallback"
            )
        self.first_epoch = epoch if self.first_epoch is None else self.first_epoch
        self.forwards += 1


def visible_epoch() -> int | None:
    """Epoch of the ignite engine or Lightning trainer among the callers, None where there is none.

    Only frames of these packages are looked into: a look into a user's frame would keep its
    variables alive.
    """
    frame = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith(_TRAINERS) and frame.f_code.co_varnames[:1] == ("self",):
            epoch = _epoch_of(frame.f_locals.get("self"))
            if epoch is not None:
                return epoch
        frame = frame.f_back  # type: ignore[assignment]
    return None


_TRAINERS = ("ignite.engine.", "lightning.pytorch.trainer.", "pytorch_lightning.trainer.")


def _epoch_of(trainer: Any) -> int | None:
    epoch = getattr(trainer, "current_epoch", None)
    if epoch is None:
        epoch = getattr(getattr(trainer, "state", None), "epoch", None)
    return epoch if isinstance(epoch, int) else None
