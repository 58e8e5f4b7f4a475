"""Weights of the terms of a compound loss, some of which follow a schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from medloss.base.buffers import kept_precise
from medloss.compound.schedules import (
    Constant,
    EqualGradientNorm,
    EqualValue,
    Measured,
    Rebalance,
    Schedule,
    Weight,
    parse_weight,
)

ROWS: tuple[Measured, ...] = ("value", "gradient_norm")

ON_HOST: Any = {"dtype": torch.float64, "device": "cpu"}
"""Whatever the default device is: numbers that a schedule computes with."""


class TermWeights(nn.Module):
    """Weight of each term in the present step; its state is part of a checkpoint.

    Without a schedule weights are plain numbers and there is no state. With one they are a buffer,
    so that ``torch.compile`` need not compile again for a new weight.

    Args:
        given: number or schedule of each term.

    Attributes:
        fixed: the weights, or None where one of them follows a schedule.
        every: one of so many training passes must be measured by its gradient; 0: none.

    Raises:
        ValueError: an impossible schedule, or schedules that contradict each other.
        TypeError: something is neither a number nor a schedule.
    """

    step: Tensor
    values: Tensor
    measured: Tensor

    def __init__(self, given: Mapping[str, Weight]) -> None:
        super().__init__()
        plain = {k: w.item() if isinstance(w, Tensor) else w for k, w in given.items()}
        self.given: dict[str, Schedule] = {k: parse_weight(w, k) for k, w in plain.items()}
        self.scheduled = [k for k, w in self.given.items() if not isinstance(w, Constant)]
        self.ratios = _ratios(self.given)
        self.measures = {ratio.measures for _, ratio in self.ratios.values()}
        every = [r.every for _, r in self.ratios.values() if isinstance(r, EqualGradientNorm)]
        self.every = min(every, default=0)
        self.names = list(self.given)
        constants = {k: w.value for k, w in self.given.items() if isinstance(w, Constant)}
        self.fixed = None if self.scheduled else constants
        if self.scheduled:
            self.register_buffer("step", torch.zeros((), dtype=torch.int64, device="cpu"))
            self.register_buffer(
                "values", torch.tensor(self._at(0), dtype=torch.float64, device="cpu")
            )
        if self.measures:  # sums of each term, and of how many passes
            self.register_buffer(
                "measured",
                torch.zeros(len(ROWS), len(given) + 1, **ON_HOST),
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TermWeights:
        return kept_precise(self, super()._apply, fn, recurse)

    def of(self, name: str) -> float | Tensor:
        """Weight of a term: a number, or with schedules a float64 tensor without axes."""
        if self.fixed is not None:
            return self.fixed[name]
        return self.values[self.names.index(name)]

    def times(self, name: str, value: Tensor) -> Tensor:
        """Weight times value."""
        weight = self.of(name)
        if isinstance(weight, Tensor):  # a number on the CPU may multiply on any device
            weight = weight.to(value.dtype) if weight.is_cpu else weight.to(value)
        return weight * value

    def as_numbers(self) -> dict[str, float]:
        """Weights of all terms now."""
        return {name: float(self.of(name)) for name in self.names}

    def add(self, what: Measured, of_terms: list[Tensor]) -> None:
        """Take in what a training pass gave; one that is not finite is left out."""
        new = torch.stack([each.detach().double().abs() for each in of_terms])
        new = torch.cat([new, torch.ones_like(new[:1])])
        new = torch.where(new.isfinite().all(), new, 0)
        if self.measured.device != new.device:
            self.measured = self.measured.to(new.device)
        self.measured[ROWS.index(what)] += new

    def advance(self, step: int | None = None) -> None:
        """Go to a step, by default the next; see ``WeightedSum.step_schedule``."""
        if not self.scheduled:
            return
        now = int(self.step)
        step = now + 1 if step is None else step
        if not isinstance(step, int) or isinstance(step, bool) or step < 0:
            raise ValueError(f"step: expected a whole number from 0 on, got {step!r}")
        if step == now:
            return
        weights = self._at(step, self.values.tolist() if step > now else None)
        if self.measures:
            if step > now:
                self._balance(weights)
            self.measured = torch.zeros_like(self.measured)
        # new tensors, as the last forward pass may still show the old ones
        self.values = torch.tensor(weights, dtype=torch.float64, device=self.values.device)
        self.step = torch.full_like(self.step, step)

    def _at(self, step: int, now: list[float] | None = None) -> list[float]:
        """Weights of a step; ratios keep the one they have, or start."""
        weights, rest = [], 1.0
        for index, schedule in enumerate(self.given.values()):
            if isinstance(schedule, EqualValue):
                weights.append(schedule.start if now is None else now[index])
            else:
                weights.append(schedule.at(step))
        for index, schedule in enumerate(self.given.values()):
            if isinstance(schedule, Rebalance):
                rest = 1 - weights[index]
                weights = [w if i == index else rest * w for i, w in enumerate(weights)]
        return weights

    def _balance(self, weights: list[float]) -> None:
        """Ratios from the means of what was measured, on all ranks."""
        rows = dict(zip(ROWS, _over_ranks(self.measured).tolist(), strict=True))
        for name, (to, ratio) in self.ratios.items():
            *sums, count = rows[ratio.measures]
            if count:
                index, other = self.names.index(name), self.names.index(to)
                weights[index] = ratio.next(
                    weights[other], sums[other] / count, sums[index] / count, weights[index]
                )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        expected = [f"{prefix}{name}" for name in self._buffers]
        missing = args[2] if len(args) > 2 else kwargs["missing_keys"]
        if expected and not any(key in state_dict for key in expected):
            missing.append(
                f"{prefix}step (the checkpoint has no state of the schedules of "
                f"{', '.join(self.scheduled)}: it was saved without them; load it with "
                f"strict=False to start them at step 0, or call step_schedule(epoch) after that)"
            )
            return
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        if self.scheduled:  # the config says what a step weighs; ratios come from the checkpoint
            weights = self._at(int(self.step), self.values.tolist())
            self.values = torch.tensor(weights, dtype=torch.float64, device=self.values.device)


def _over_ranks(sums: Tensor) -> Tensor:
    """Sums over all ranks, where several train."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return sums
    # a state that was just loaded may be on the CPU, which NCCL does not serve
    device = "cuda" if distributed.get_backend() == "nccl" else sums.device
    total = sums.to(device, copy=True)
    distributed.all_reduce(total)
    return total


def _ratios(given: Mapping[str, Schedule]) -> dict[str, tuple[str, EqualValue]]:
    """The ratios, and the term that each is formed to.

    Raises:
        ValueError: there is none, or schedules that contradict each other.
    """
    for name, schedule in given.items():
        others = [k for k, w in given.items() if k != name and not isinstance(w, Constant)]
        if isinstance(schedule, Rebalance) and (others or len(given) < 2):
            raise ValueError(
                f"{name}: the schedule 'rebalance' multiplies every other term by 1 - alpha; "
                f"expected plain numbers as their weights, "
                f"got {'schedules of ' + ', '.join(others) if others else 'no other term'}"
            )
    fixed = [name for name, schedule in given.items() if not isinstance(schedule, EqualValue)]
    ratios = {}
    for name, schedule in given.items():
        if not isinstance(schedule, EqualValue):
            continue
        if not fixed or schedule.to not in (None, *fixed):
            raise ValueError(
                f"{name}: to: expected a term whose weight is no ratio itself "
                f"({', '.join(fixed) or 'there is none'}), got {schedule.to!r}"
            )
        ratios[name] = (schedule.to or fixed[0], schedule)
    return ratios
