"""Counts training passes between two steps of the schedules of a loss.

A loss sees forward passes, not epochs, and a pass may be of a teacher, of a second evaluation under
checkpointing, or of a validation within the epoch: how many lie between two steps, only the user
knows. ``forwards_per_step`` says it, and one more is too many.
"""

from __future__ import annotations

from collections.abc import Sequence


class StepWatch:
    """Raises at a training pass that comes after a step should have been made.

    Args:
        forwards_per_step: at most so many training passes lie between two steps; None: unknown.
    """

    def __init__(self, forwards_per_step: int | None = None) -> None:
        self.forwards_per_step = forwards_per_step
        self.forwards = 0

    def step(self) -> None:
        """The schedules were stepped."""
        self.forwards = 0

    def training(self, scheduled: Sequence[str]) -> None:
        """A training pass.

        Raises:
            RuntimeError: ``forwards_per_step`` passed without a step.
        """
        limit = self.forwards_per_step
        if limit is not None and self.forwards >= limit:
            raise RuntimeError(
                f"the weight of {', '.join(scheduled)} has a schedule that nothing steps: "
                f"forwards_per_step={limit} training passes were made since the last step. "
                f"Call loss.step_schedule(epoch) as each epoch begins, from 0 on, "
                f"or attach medloss.integrations.handlers.LossHandler (MONAI, ignite), "
                f"medloss.integrations.lightning.LossCallback or "
                f"medloss.integrations.keras.ScheduleCallback"
            )
        self.forwards += 1
