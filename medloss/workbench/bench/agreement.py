"""Whether another's loss is ours: value and gradient for the same logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

VALUE_TOLERANCE = 1e-5
"""Relative, and absolute below 1. Several libraries compute in float32 whatever the input."""
GRADIENT_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4, torch.bfloat16: 1e-2}
"""Of the length of the difference, relative. float16 is not here: it has no number as small as the
gradient of a mean over a volume."""


class Outcome(NamedTuple):
    """Value of a loss, and its gradient by the logits."""

    value: float
    gradient: Tensor


class Differences(NamedTuple):
    """Distance of two outcomes, relative; the gradient's is None where it is not compared."""

    value: float
    gradient: float | None

    def exceed(self, dtype: torch.dtype) -> str:
        """What disagrees and by how much, or nothing; a NaN disagrees."""
        if not self.value <= VALUE_TOLERANCE:
            return f"values differ by {self.value:.1e} (tolerance {VALUE_TOLERANCE:.0e})"
        limit = GRADIENT_TOLERANCE.get(dtype)
        if limit is not None and self.gradient is not None and not self.gradient <= limit:
            return f"gradients differ by {self.gradient:.1e} (tolerance {limit:.0e})"
        return ""


def outcome(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> Outcome:
    """Value and gradient for logits of float32 or better.

    16-bit logits are handed over as float32, so that the definition is compared and not how well a
    library computes with 16 bits.
    """
    exact = logits.detach().to(torch.promote_types(logits.dtype, torch.float32)).requires_grad_()
    value = loss(exact, labels)
    value.backward()  # type: ignore[no-untyped-call]
    if exact.grad is None:
        raise RuntimeError("its backward gives the logits no gradient")
    return Outcome(float(value.detach()), exact.grad)


def differences(ours: Outcome, theirs: Outcome, *, gradients: bool = True) -> Differences:
    """How far ours is from theirs."""
    value = abs(ours.value - theirs.value) / max(abs(theirs.value), 1.0)
    if not gradients or ours.gradient.dtype not in GRADIENT_TOLERANCE:
        return Differences(value, None)
    # slice by slice, so that the comparison needs no third gradient
    off = math.hypot(
        *(_distance(a, b) for a, b in zip(ours.gradient, theirs.gradient, strict=True))
    )
    length = float(theirs.gradient.norm())
    return Differences(value, off / length if length else off)


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a.to(b.dtype) - b).norm())
