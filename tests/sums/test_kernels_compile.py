"""Every kind of kernel compiles on the installed triton; ``make kernels`` takes all the others."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_each_kind_of_kernel_compiles() -> None:
    given = {name: each for name, each in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "docs/examples/compile_kernels.py", "--check", "80"]
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sm_80: 24 kernels compile, 0 faults" in done.stdout
