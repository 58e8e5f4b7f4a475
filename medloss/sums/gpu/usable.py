"""Whether triton's kernels run here: asked by all that have such kernels, answered once.

Triton builds a kernel's launcher with the C compiler and the headers of Python that it finds at run
time, which a slim container has neither of; and what one version of it compiles, another may not.
The answer is therefore a trial: sums of one small image on the device, and their gradient.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")
INTERPRETER = "TRITON_INTERPRET"
"""The variable with which triton runs its kernels on the CPU, slowly, to test them."""
OLDEST_CUDA = 7


def _constant(function: Callable[P, R]) -> Callable[P, R]:
    """What a compiled graph asks once, as by ``torch.compiler.assume_constant_result``.

    That one imports the compiler, and triton with it, which takes seconds.
    """
    function.__dict__["_dynamo_marked_constant"] = True
    return function


@_constant
def why_not(device: torch.device) -> str | None:
    """Why triton's kernels cannot run on a device, or None."""
    if device.type == "cuda":
        return _found_on(device)
    if find_spec("triton") is None:
        return "triton is not installed"
    if device.type == "cpu" and os.environ.get(INTERPRETER) == "1":
        return None
    return (
        f"it runs on CUDA devices, the input is on {device.type} "
        f"(to test it there, slowly: {INTERPRETER}=1 before the start)"
    )


@_constant
def warn_without(device: torch.device) -> None:
    """Say once what it means that the kernels cannot run on a CUDA device, if they cannot."""
    if device.type == "cuda":
        _warn(device)


@cache
def _warn(device: torch.device) -> None:
    reason = _found_on(device)
    if reason is not None:
        warnings.warn(
            f"medloss computes on {device} in plain torch, slower and with more memory than by "
            f"its kernels: {reason}",
            RuntimeWarning,
            stacklevel=2,
        )


@cache
def _found_on(device: torch.device) -> str | None:
    if find_spec("triton") is None:
        return "triton is not installed"
    if torch.cuda.get_device_properties(device).major < OLDEST_CUDA:
        return f"triton needs a device of compute capability {OLDEST_CUDA}.0 or later"
    return trial(device)


def trial(device: torch.device) -> str | None:
    """Compile and launch the kernels of class sums, once; what went wrong, or None."""
    try:
        from medloss.sums.gpu import backend
        from medloss.sums.request import SumsRequest
        from medloss.sums.terms import as_terms

        terms = as_terms(("tp", "p", "t", "ce"))
        z = torch.zeros(1, 2, 1024, device=device)
        request = SumsRequest(z, z[:, :1].long(), None, (), terms, "softmax")
        backend.slopes(request, backend.sums(request))
    except Exception as error:  # noqa: BLE001 whatever it is, there is a way to compute without
        version = getattr(sys.modules.get("triton"), "__version__", "")
        first = str(error).strip().partition("\n")[0]
        return (
            f"triton {version} failed in a trial: {type(error).__name__}: {first} (it needs a C "
            f"compiler and the headers of Python, as of Debian's gcc and python3-dev)"
        )
    return None
