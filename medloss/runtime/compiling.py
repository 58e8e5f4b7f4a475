"""The one place where loops are compiled, by numba, on first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.core.entrypoints import init_all
from numba.extending import intrinsic, overload

from medloss.runtime.keeping import Kept, say_once

P = ParamSpec("P")
R = TypeVar("R")

FAST = {"contract", "reassoc", "nsz", "arcp"}
"""Any order of operations; neither "nnan" nor "ninf": a NaN in the input must come out."""
EXACT = {"contract"}
"""No reordering, which would undo tricks of rounding."""


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
        # A division that may raise would be done one element at a time.
        common: dict[str, Any] = {"error_model": "numpy", "no_cfunc_wrapper": True}
        self._options = {**common, "fastmath": fastmath, "nogil": True}
        # Without what Python would call it through: that takes as long to compile as a short loop.
        self._inner = {**common, "fastmath": fastmath, "no_cpython_wrapper": True}

    def kernel(self, function: Callable[P, R]) -> Callable[P, R]:
        """Compile what Python calls; kept on disk, where that is possible."""
        compiled: Any = numba.njit(**self._options)(function)
        if not numba.config.DISABLE_JIT:
            compiled._cache = Kept(function, self.what)
            compiled._compilation_chain_init_hook = _find_extensions
        result: Callable[P, R] = compiled
        return result

    def part(self, function: Callable[P, R]) -> Callable[P, R]:
        """Compile what kernels call, and only they; kept on disk as part of them."""
        compiled: Callable[P, R] = numba.njit(nogil=True, **self._inner)(function)
        return compiled

    def means(self, function: Callable[..., Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Inside kernels, ``function`` is what the decorated one returns for the types at hand."""
        decorator: Callable[[Callable[P, R]], Callable[P, R]] = overload(
            function, jit_options=self._inner, strict=False
        )
        return decorator


def _find_extensions() -> None:
    """Let numba look for its extensions, which no distribution with damaged metadata may hinder."""
    try:
        init_all()
    except Exception as error:  # noqa: BLE001  # of any distribution; numba looks only once
        say_once("extensions", f"numba's extensions are not used: {type(error).__name__}: {error}")


def _bits_as(to: Any, number: Any, machine: Any) -> Any:
    """An instruction that numba does not offer: the same 32 bits as a number of another type."""

    def typed(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], machine)

        return to(number), generate

    return intrinsic(typed)


as_float = _bits_as(types.float32, types.int32, ir.FloatType())
as_bits = _bits_as(types.int32, types.float32, ir.IntType(32))
