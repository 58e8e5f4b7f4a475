"""The backends of the distance transform, and which of them serves a mask."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

import torch
from torch import Tensor

from medloss.sums import Choice

VARIABLE = "MEDLOSS_DISTANCE_BACKEND"
_HAS_NUMBA = find_spec("numba") is not None  # asks without importing it


class Backend(Protocol):
    """A way to measure distances; modules are meant."""

    def distances(
        self,
        mask: Tensor,
        spacing_mm: Sequence[Sequence[float]],
        *,
        radius: float,
        inside: int,
        outside: int,
        skip: int,
        dtype: torch.dtype,
    ) -> Tensor:
        """As :func:`medloss.distance.separable.distances`."""


@dataclass(frozen=True)
class Candidate:
    """A backend before it is loaded.

    Args:
        module: a :class:`Backend`, imported on first use.
        good_for: what it is chosen for, in words.
        refuses: why it cannot serve this mask, or None.
    """

    module: str
    good_for: str
    refuses: Callable[[Tensor], str | None]


def _numba_refuses(mask: Tensor) -> str | None:
    if not _HAS_NUMBA:
        return "numba is not installed"
    if mask.device.type != "cpu":
        return f"it runs on the CPU, the mask is on {mask.device.type}"
    return None if mask.numel() else "the mask is empty"


# In order of preference; a kernel for GPUs goes before "torch".
CANDIDATES = {
    "numba": Candidate("medloss.distance.compiled", "compiled loops on the CPU", _numba_refuses),
    "torch": Candidate("medloss.distance.separable", "plain torch, any device", lambda mask: None),
}


def distance_backends() -> tuple[str, ...]:
    """Names of the backends, the preferred one first."""
    return tuple(CANDIDATES)


def load(name: str) -> Backend:
    """The module of a backend, imported now if it was not before."""
    return cast("Backend", import_module(CANDIDATES[name].module))


def chosen_distance_backend(mask: Tensor) -> Choice:
    """Which backend measures distances of this mask, and why.

    Raises:
        ValueError: ``MEDLOSS_DISTANCE_BACKEND`` names no backend, or one that cannot serve it.

    Example:
        >>> chosen_distance_backend(torch.zeros(1, 2, 4, 4, dtype=torch.bool)).name
        'numba'
    """
    forced = os.environ.get(VARIABLE, "")
    if not forced:
        name = next(name for name, each in CANDIDATES.items() if each.refuses(mask) is None)
        return Choice(name, CANDIDATES[name].good_for)
    if forced not in CANDIDATES:
        raise ValueError(f"{VARIABLE}: expected one of {', '.join(CANDIDATES)}, got {forced!r}")
    why_not = CANDIDATES[forced].refuses(mask)
    if why_not is not None:
        raise ValueError(f"{VARIABLE}: {forced} cannot measure here: {why_not}")
    return Choice(forced, f"{VARIABLE} says so")
