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
from medloss.sums.gpu import usable

VARIABLE = "MEDLOSS_DISTANCE_BACKEND"
_HAS_NUMBA = find_spec("numba") is not None  # asks without importing it
_LONGEST_LINE = 1 << 14


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
        shift: Sequence[float] = (),
    ) -> Tensor:
        """As :func:`medloss.distance.separable.distances`."""


@dataclass(frozen=True)
class Candidate:
    """A backend before it is loaded.

    Args:
        module: a :class:`Backend`, imported on first use.
        good_for: what it is chosen for, in words.
        refuses: why it cannot serve this mask, or a shift of it, or None.
    """

    module: str
    good_for: str
    refuses: Callable[[Tensor, bool], str | None]


def _numba_refuses(mask: Tensor, shifted: bool) -> str | None:
    if not _HAS_NUMBA:
        return "numba is not installed"
    if mask.device.type != "cpu":
        return f"it runs on the CPU, the mask is on {mask.device.type}"
    if shifted:
        return "it measures from the centres of voxels alone"
    return None if mask.numel() else "the mask is empty"


def _triton_refuses(mask: Tensor, shifted: bool) -> str | None:
    reason: str | None = usable.why_not(mask.device)
    if reason is not None:
        return reason
    if not mask.numel():
        return "the mask is empty"
    if mask.shape[-1] > _LONGEST_LINE:
        return f"a line of the last axis is longer than {_LONGEST_LINE} voxels"
    voxels = mask[:1, :1].numel()
    return None if voxels < 1 << 31 else f"a mask of {voxels} voxels has more than 2^31"


# In order of preference.
CANDIDATES = {
    "numba": Candidate("medloss.distance.compiled", "compiled loops on the CPU", _numba_refuses),
    "triton": Candidate("medloss.distance.gpu", "kernels for CUDA devices", _triton_refuses),
    "torch": Candidate(
        "medloss.distance.separable", "plain torch, any device", lambda mask, shifted: None
    ),
}


def distance_backends() -> tuple[str, ...]:
    """Names of the backends, the preferred one first."""
    return tuple(CANDIDATES)


def load(name: str) -> Backend:
    """The module of a backend, imported now if it was not before."""
    return cast("Backend", import_module(CANDIDATES[name].module))


def chosen_distance_backend(mask: Tensor, *, shifted: bool = False) -> Choice:
    """Which backend measures distances of this mask, and why.

    Args:
        mask: device and shape decide.
        shifted: whether distances are measured from elsewhere than the centres of voxels.

    Raises:
        ValueError: ``MEDLOSS_DISTANCE_BACKEND`` names no backend, or one that cannot serve it.

    Example:
        >>> chosen_distance_backend(torch.zeros(1, 2, 4, 4, dtype=torch.bool)).name
        'numba'
    """
    forced = os.environ.get(VARIABLE, "")
    if not forced:
        usable.warn_without(mask.device)
        name = next(name for name, each in CANDIDATES.items() if not each.refuses(mask, shifted))
        return Choice(name, CANDIDATES[name].good_for)
    if forced not in CANDIDATES:
        raise ValueError(f"{VARIABLE}: expected one of {', '.join(CANDIDATES)}, got {forced!r}")
    why_not = CANDIDATES[forced].refuses(mask, shifted)
    if why_not is not None:
        raise ValueError(f"{VARIABLE}: {forced} cannot measure here: {why_not}")
    return Choice(forced, f"{VARIABLE} says so")
