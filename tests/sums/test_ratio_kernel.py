"""Losses in closed form by one kernel: on a CUDA device, or in Triton's interpreter."""

from __future__ import annotations

from pathlib import Path

from interpreted import DEVICE, check_in_interpreter

if DEVICE == "cuda":
    from sums.ratio_checks import *  # noqa: F403
else:

    def test_in_the_interpreter() -> None:
        check_in_interpreter(Path(__file__).with_name("ratio_checks.py"))
