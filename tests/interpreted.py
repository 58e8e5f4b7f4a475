"""Tests of Triton kernels: on a GPU, or else in Triton's interpreter, by a process of its own.

Triton decides which of the two it is when it is imported, so that one process cannot have both. A
file of checks is not collected by its name; its test module imports the checks if there is a CUDA
device, and otherwise runs :func:`check_in_interpreter`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def check_in_interpreter(checks: Path) -> None:
    """Run a file of checks where kernels are interpreted."""
    if find_spec("triton") is None:
        pytest.skip("triton is not installed: it has wheels for Linux alone (tests/tritons.py)")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(checks), "-q", "-p", "no:cacheprovider"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=checks.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _as_whole_number(tensor: Any) -> int:
    return int(tensor.handle.data.item())


def _mend_interpreter() -> None:
    """Up to triton 3.6 it makes a number of an array of one element, which numpy 2.4 refuses."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def patch_and_mend(tensor: Any, *scope: Any) -> None:
        patch(tensor, *scope)
        if scope:  # of triton 3.6, which takes back what it has set
            scope[0].set_attr(tensor, "__index__", _as_whole_number)
        else:
            tensor.__index__ = _as_whole_number

    interpreter._patch_lang_tensor = patch_and_mend


def _version(package: str) -> tuple[int, ...]:
    return tuple(int(part) for part in metadata.version(package).split(".")[:2])


if os.environ.get("TRITON_INTERPRET") == "1" and find_spec("triton"):  # noqa: SIM102
    if _version("triton") < (3, 7):
        _mend_interpreter()
