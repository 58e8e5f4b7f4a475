"""Error histograms by Triton kernels, on a CUDA device or in Triton's interpreter."""

from __future__ import annotations

from pathlib import Path

from interpreted import DEVICE, check_in_interpreter

if DEVICE == "cuda":
    from histograms.gpu_checks import *  # noqa: F403
else:

    def test_in_the_interpreter() -> None:
        check_in_interpreter(Path(__file__).with_name("gpu_checks.py"))
