"""The one place where loops are compiled, by numba, on first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba

from medloss.runtime.keeping import Kept

P = ParamSpec("P")
R = TypeVar("R")

OPTIONS: Any = {
    "nogil": True,
    # A division that may raise would be done one element at a time.
    "error_model": "numpy",
    "no_cfunc_wrapper": True,
}


class Loops:
    """Decorators for the loops of one kind of computation.

    Args:
        what: they compute, as a user is told while they are compiled.
        fastmath: liberties that the compiler may take with the order of operations.

    Example:
        >>> loops = Loops("an example")
        >>> @loops.part
        ... def square(x):
        ...     return x * x
        >>> @loops.kernel
        ... def fourth(x):
        ...     return square(square(x))
        >>> fourth(3)
        81
    """

    def __init__(self, what: str, *, fastmath: bool | set[str] = False) -> None:
        self.what = what
        self._options = {**OPTIONS, "fastmath": fastmath}

    def kernel(self, function: Callable[P, R]) -> Callable[P, R]:
        """Compile what Python calls; kept on disk, where that is possible."""
        compiled: Any = numba.njit(**self._options)(function)
        if not numba.config.DISABLE_JIT:
            compiled._cache = Kept(function, self.what)
        result: Callable[P, R] = compiled
        return result

    def part(self, function: Callable[P, R]) -> Callable[P, R]:
        """Compile what kernels call, and only they; kept on disk as part of them."""
        # Without what Python would call it through: that takes as long to compile as a short loop.
        compiled: Callable[P, R] = numba.njit(no_cpython_wrapper=True, **self._options)(function)
        return compiled
