"""Calls alike an earlier one: what was decided for a form of input is kept with the loss.

A training calls a loss with one form of input, over and over. What is checked of shapes, dtypes
and options, which sums are taken and in which blocks follows from that form alone.
"""

from __future__ import annotations

import os
from typing import Any

from torch import Tensor

from medloss.base import input_checks
from medloss.base.targets import Prepared
from medloss.objects.labels import INDEX
from medloss.runtime.eager import evaluate_now, numbers_may_be_read
from medloss.sums import choice, work_dtype
from medloss.sums.ratios import RatiosByLoops, RatioSum, WeightedRatios

MOST = 64
"""Forms of one loss that are kept."""

_changes = 0


def options_changed() -> None:
    """Forget what was decided for any loss, as losses are parts of others."""
    global _changes
    _changes += 1


class KeptForms:
    """Closed forms of one loss by the form of input; neither copied nor saved with it."""

    def __init__(self) -> None:
        self._of: dict[Any, tuple[RatiosByLoops, Any, Any]] = {}
        self._changes = _changes

    def __reduce__(self) -> tuple[Any, ...]:
        return KeptForms, ()

    def value(self, input: Any, target: Any) -> tuple[Tensor, RatioSum] | None:
        """The loss, and what it was made of; None where the long way has to be gone.

        That is so where nothing is kept, and where something is wrong: the long way says what.
        """
        if self._changes != _changes or not self._of or not isinstance(target, Tensor):
            return None
        input = input_checks.plain_tensor(input, "input")
        target = input_checks.plain_tensor(target, "target")
        kept = self._of.get(_form(input, target))
        if (
            kept is None
            or not input.is_contiguous()
            or not target.is_contiguous()
            or not numbers_may_be_read(input, target)
            or os.environ.get(choice.VARIABLE)
            or not input_checks.nothing_to_tell()
        ):
            return None
        ratios, plan, of_slopes = kept
        parts, strange = plan.add_up(plan.read(input, target))
        if strange:
            return None
        found = ratios.combined(plan, parts)
        found.plan = of_slopes
        return evaluate_now(found, input, target, None), found

    def keep(self, prepared: Prepared, ratios: WeightedRatios) -> None:
        """What was decided in a call with these inputs, if the next one may rely on it."""
        values, label = prepared.values, prepared.label
        if (
            not isinstance(ratios, RatiosByLoops)  # of a launch there is nothing to keep
            or values is not prepared.raw
            or prepared.activation == "probabilities"  # which are looked at
            or not prepared.is_index
            or label.dtype not in (*INDEX, work_dtype(values))  # loops read those as they are
            or prepared.mask is not None
            or prepared.sound is not None
        ):
            return
        if self._changes != _changes or len(self._of) >= MOST:
            self._of, self._changes = {}, _changes
        self._of[_form(values, label)] = ratios, *ratios.plans(values, prepared.target)


def _form(input: Tensor, target: Tensor) -> tuple[Any, ...]:
    return input.shape, target.shape, input.dtype, target.dtype
