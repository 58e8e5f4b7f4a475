"""Tests of Triton kernels: on a GPU, or else in Triton's interpreter, by a process of its own.

Triton decides which of the two it is when it is imported, so that one process cannot have both. A
file of checks is not collected by its name; its test module imports the checks if there is a CUDA
device, and otherwise runs :func:`check_in_interpreter`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

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
