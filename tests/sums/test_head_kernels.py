"""The fused head by Triton kernels, on a CUDA device or in Triton's interpreter."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from interpreted import DEVICE, check_in_interpreter

if DEVICE == "cuda":
    from sums.head_checks import *  # noqa: F403
else:

    @pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
    def test_in_the_interpreter() -> None:
        check_in_interpreter(Path(__file__).with_name("head_checks.py"))
