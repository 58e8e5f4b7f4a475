"""How the kernels are compiled, and the two instructions that numba does not offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from medloss.runtime.compiling import Loops

P = ParamSpec("P")
R = TypeVar("R")

# Neither "nnan" nor "ninf": a NaN in the input must come out.
FAST = {"contract", "reassoc", "nsz", "arcp"}

_fast = Loops("class sums", fastmath=FAST)
kernel, part = _fast.kernel, _fast.part

exact_part = Loops("class sums", fastmath={"contract"}).part
"""Without reordering, which would undo the rounding trick."""


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

_EXACT: Any = {
    "fastmath": {"contract"},
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


def means(function: Callable[..., Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Inside kernels, ``function`` is what the decorated one returns for the types at hand."""
    decorator: Callable[[Callable[P, R]], Callable[P, R]] = overload(
        function, jit_options=_EXACT, strict=False
    )
    return decorator
