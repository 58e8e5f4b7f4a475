"""What pytest leaves out where triton is not installed: its kernels cannot be imported there."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = (
    []
    if find_spec("triton")
    else [
        "medloss/sums/gpu/*",
        "medloss/distance/gpu.py",
        "medloss/distance/kernels.py",
        "medloss/histograms/gpu*.py",
    ]
)
