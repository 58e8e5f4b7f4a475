"""How the kernels are compiled, and the two instructions that numba does not offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

P = ParamSpec("P")
R = TypeVar("R")

# Neither "nnan" nor "ninf": a NaN in the input must come out.
FAST = {"contract", "reassoc", "nsz", "arcp"}


# error_model: a division that may raise would be done one element at a time.
OPTIONS: Any = {"nogil": True, "fastmath": FAST, "error_model": "numpy"}


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile what Python calls; kept on disk beside this file or in the user's cache."""
    compiled: Callable[P, R] = numba.njit(cache=True, **OPTIONS)(function)
    return compiled


def part(function: Callable[P, R]) -> Callable[P, R]:
    """Compile what kernels call; kept on disk as part of them."""
    compiled: Callable[P, R] = numba.njit(**OPTIONS)(function)
    return compiled


def _float_of_bits(typing_context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


def _bits_of_float(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


as_float: Any = intrinsic(_float_of_bits)
as_bits: Any = intrinsic(_bits_of_float)

EXACT: Any = {"fastmath": {"contract"}, "error_model": "numpy"}
"""No reordering, which would undo the rounding trick."""


def means(function: Callable[..., Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Inside kernels, ``function`` is what the decorated one returns for the types at hand."""
    decorator: Callable[[Callable[P, R]], Callable[P, R]] = overload(
        function, jit_options=EXACT, strict=False
    )
    return decorator
