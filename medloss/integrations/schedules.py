"""The schedules inside a loss, however deep: which there are, and how to step them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn


def scheduled_terms(loss: nn.Module) -> list[str]:
    """Terms whose weights follow a schedule, in whatever loss inside this one.

    Example:
        >>> import medloss
        >>> ramp = {"schedule": "ramp", "start": 0.0, "end": 1.0, "steps": 2}
        >>> loss = medloss.loss("dice_ce", softmax=True, lambda_ce=ramp)
        >>> scheduled_terms(nn.Sequential(loss))
        ['cross_entropy']
    """
    found: dict[str, None] = {}
    for each in _steppable(loss):
        if hasattr(each, "scheduled"):
            found.update(dict.fromkeys(each.scheduled()))
    return list(found)


def step_schedules(loss: nn.Module, step: int) -> None:
    """Bring every schedule to a step, counted from 0; to stay changes nothing.

    Raises:
        ValueError: ``step`` is no whole number from 0 on.
    """
    for each in _steppable(loss):
        each.step_schedule(step)


def _steppable(loss: nn.Module) -> Iterator[Any]:
    return (each for each in loss.modules() if hasattr(each, "step_schedule"))
