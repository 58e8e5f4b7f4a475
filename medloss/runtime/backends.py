"""Several ways to compute one thing: which of them serves a request, and who may say so."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Generic, NamedTuple, ParamSpec

HAS_NUMBA = find_spec("numba") is not None  # asks without importing it

P = ParamSpec("P")


@dataclass(frozen=True)
class Candidate(Generic[P]):
    """A backend before it is loaded.

    Args:
        module: where its functions are, imported on first use.
        good_for: what it is chosen for, in words.
        refuses: why it cannot serve a request, or None.
    """

    module: str
    good_for: str
    refuses: Callable[P, str | None]

    def load(self) -> Any:
        """The module, imported now if it was not before."""
        return import_module(self.module)


class Choice(NamedTuple):
    """Which backend, and why."""

    name: str
    why: str


def chosen(
    candidates: Mapping[str, Candidate[P]],
    variable: str,
    verb: str,
    *request: P.args,
    **more: P.kwargs,
) -> Choice:
    """The backend that a variable of the environment forces, or the first one that can.

    Args:
        candidates: by name, in order of preference; the last one refuses nothing.
        variable: of the environment.
        verb: what a backend does, as in "cannot sum here".
        *request: what the candidates judge.
        **more: likewise.

    Raises:
        ValueError: the variable names no backend, or one that refuses.

    Example:
        >>> only = Candidate("math", "plain loops", lambda size: None)
        >>> chosen({"plain": only}, "NO_SUCH_VARIABLE", "add", 3)
        Choice(name='plain', why='plain loops')
    """
    forced = os.environ.get(variable, "")
    if not forced:
        for name, candidate in candidates.items():
            if candidate.refuses(*request, **more) is None:
                return Choice(name, candidate.good_for)
        raise ValueError(f"none of {', '.join(candidates)} can {verb} here")
    if forced not in candidates:
        raise ValueError(f"{variable}: expected one of {', '.join(candidates)}, got {forced!r}")
    why_not = candidates[forced].refuses(*request, **more)
    if why_not is not None:
        raise ValueError(f"{variable}: {forced} cannot {verb} here: {why_not}")
    return Choice(forced, f"{variable} says so")


def no_loops(device: Any, what: str) -> str | None:
    """Why compiled loops cannot work there, or None.

    Args:
        device: a device of torch.
        what: lies on it, in words.
    """
    if not HAS_NUMBA:
        return "numba is not installed"
    return None if device.type == "cpu" else f"it runs on the CPU, the {what} is on {device.type}"
