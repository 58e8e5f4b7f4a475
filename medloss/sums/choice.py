"""The backends of class sums, and which of them serves a request."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor

from medloss.runtime.backends import Candidate, Choice, chosen, no_loops
from medloss.sums.gpu import usable
from medloss.sums.request import Backend

VARIABLE = "MEDLOSS_BACKEND"
REFERENCE = "reference"
NUMBA = "numba"
TRITON = "triton"
_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

Judge = Callable[[Tensor], str | None]
"""Why a backend cannot sum over an input, or None."""


def _unread(input: Tensor) -> str | None:
    return None if input.dtype in _FLOATS else f"it does not read {input.dtype}"


def _numba_refuses(input: Tensor) -> str | None:
    return no_loops(input.device, "input") or _unread(input)


def _triton_refuses(input: Tensor) -> str | None:
    if input.device.type == "cpu" and os.environ.get(VARIABLE) != TRITON:
        return f"on a CPU it serves tests, where {VARIABLE}={TRITON}"
    reason: str | None = usable.why_not(input.device)
    return reason or _unread(input)


def _by_input(
    module: str, good_for: str, judge: Judge = lambda input: None
) -> Candidate[Tensor, bool]:
    """A backend whose gradient is by the input alone."""

    def refuses(input: Tensor, differentiable: bool) -> str | None:
        if differentiable:
            return "its gradient is by the input alone; a target, mask or map needs one too"
        return judge(input) or (None if input.numel() else "the input is empty")

    return Candidate(module, good_for, refuses)


# In order of preference.
CANDIDATES: dict[str, Candidate[Tensor, bool]] = {
    NUMBA: _by_input("medloss.sums.cpu.backend", "compiled loops on the CPU", _numba_refuses),
    TRITON: _by_input(
        "medloss.sums.gpu.backend", "compiled kernels on CUDA devices", _triton_refuses
    ),
    "chunked": _by_input("medloss.sums.chunked", "torch in slabs, any device"),
    REFERENCE: Candidate("medloss.sums.reference", "plain torch", lambda input, _: None),
}


def backends() -> tuple[str, ...]:
    """Names of the backends, the preferred one first."""
    return tuple(CANDIDATES)


def refusal(name: str, input: Tensor) -> str | None:
    """Why a backend cannot sum over this input, or None."""
    return CANDIDATES[name].refuses(input, False)


def load(name: str) -> Backend:
    """The module of a backend, imported now if it was not before."""
    return cast("Backend", CANDIDATES[name].load())


def chosen_backend(input: Tensor, others: Iterable[Tensor | None] = ()) -> Choice:
    """Which backend sums over this input, and why.

    Args:
        input: (B, C, *spatial); device and dtype decide.
        others: target, mask and maps, of which none needs a gradient as a rule.

    Raises:
        ValueError: ``MEDLOSS_BACKEND`` names no backend, or one that cannot serve this input.

    Example:
        >>> chosen_backend(torch.zeros(1, 2, 4, 4)).name
        'numba'
    """
    differentiable = any(each is not None and each.requires_grad for each in others)
    if not os.environ.get(VARIABLE):
        if differentiable:
            return Choice(REFERENCE, "a target, mask or map needs a gradient")
        if input.is_cuda:
            usable.warn_without(input.device)
    return chosen(CANDIDATES, VARIABLE, "sum", input, differentiable)
