"""How the kernels are compiled: without Python's lock, and kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")

# error_model: a division that may raise would be done one element at a time.
OPTIONS: Any = {"nogil": True, "error_model": "numpy"}


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile what Python calls; kept on disk beside this file or in the user's cache."""
    compiled: Callable[P, R] = numba.njit(cache=True, **OPTIONS)(function)
    return compiled


def part(function: Callable[P, R]) -> Callable[P, R]:
    """Compile what kernels call; kept on disk as part of them."""
    compiled: Callable[P, R] = numba.njit(**OPTIONS)(function)
    return compiled
