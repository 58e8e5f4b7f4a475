"""The backends, and which of them serves a request."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple, cast

import torch
from torch import Tensor

from medloss.sums.gpu import usable
from medloss.sums.request import Backend

VARIABLE = "MEDLOSS_BACKEND"
REFERENCE = "reference"
TRITON = "triton"
_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_HAS_NUMBA = find_spec("numba") is not None  # asks without importing it


@dataclass(frozen=True)
class Candidate:
    """A backend before it is loaded.

    Args:
        module: where ``sums`` and ``slopes`` are, imported on first use.
        good_for: what it is chosen for, in words.
        refuses: why it cannot serve this input, or None.
    """

    module: str
    good_for: str
    refuses: Callable[[Tensor], str | None]


class Choice(NamedTuple):
    """Which backend, and why."""

    name: str
    why: str


def _numba_refuses(input: Tensor) -> str | None:
    if not _HAS_NUMBA:
        return "numba is not installed"
    if input.device.type != "cpu":
        return f"it runs on the CPU, the input is on {input.device.type}"
    return None if input.dtype in _FLOATS else f"it does not read {input.dtype}"


def _triton_refuses(input: Tensor) -> str | None:
    if input.device.type == "cpu" and os.environ.get(VARIABLE) != TRITON:
        return f"on a CPU it serves tests, where {VARIABLE}={TRITON}"
    reason: str | None = usable.why_not(input.device)
    if reason is not None:
        return reason
    return None if input.dtype in _FLOATS else f"it does not read {input.dtype}"


def _needs_elements(input: Tensor) -> str | None:
    return None if input.numel() else "the input is empty"


# In order of preference.
CANDIDATES = {
    "numba": Candidate(
        "medloss.sums.cpu.backend",
        "compiled loops on the CPU",
        lambda input: _numba_refuses(input) or _needs_elements(input),
    ),
    TRITON: Candidate(
        "medloss.sums.gpu.backend",
        "compiled kernels on CUDA devices",
        lambda input: _triton_refuses(input) or _needs_elements(input),
    ),
    "chunked": Candidate("medloss.sums.chunked", "torch in slabs, any device", _needs_elements),
    REFERENCE: Candidate("medloss.sums.reference", "plain torch", lambda input: None),
}


def backends() -> tuple[str, ...]:
    """Names of the backends, the preferred one first."""
    return tuple(CANDIDATES)


def refusal(name: str, input: Tensor) -> str | None:
    """Why a backend cannot sum over this input, or None."""
    return CANDIDATES[name].refuses(input)


def load(name: str) -> Backend:
    """The module of a backend, imported now if it was not before."""
    return cast("Backend", import_module(CANDIDATES[name].module))


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
    forced = os.environ.get(VARIABLE, "")
    differentiable = any(each is not None and each.requires_grad for each in others)
    if forced:
        return Choice(_forced(forced, input, differentiable), f"{VARIABLE} says so")
    if differentiable:
        return Choice(REFERENCE, "a target, mask or map needs a gradient")
    usable.warn_without(input.device)
    for name, candidate in CANDIDATES.items():
        if candidate.refuses(input) is None:
            return Choice(name, candidate.good_for)
    return Choice(REFERENCE, CANDIDATES[REFERENCE].good_for)


def _forced(name: str, input: Tensor, differentiable: bool) -> str:
    if name not in CANDIDATES:
        raise ValueError(f"{VARIABLE}: expected one of {', '.join(CANDIDATES)}, got {name!r}")
    why_not = refusal(name, input)
    if differentiable and name != REFERENCE:
        why_not = "its gradient is by the input alone; a target, mask or map needs one too"
    if why_not is not None:
        raise ValueError(f"{VARIABLE}: {name} cannot sum here: {why_not}")
    return name
