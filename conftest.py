"""What pytest collects, and which of it stays together when several processes share the work."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from medloss.testing import BoundCheck

# What a new plugin begins as: its tests are run where it is installed, in tests/docs.
collect_ignore = ["medloss/workbench/new_plugin/template/tests"]

# Where triton is not installed its kernels cannot be imported.
collect_ignore_glob = (
    []
    if find_spec("triton")
    else [
        "medloss/sums/gpu/*",
        "medloss/distance/gpu.py",
        "medloss/histograms/gpu*.py",
    ]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a file to one process, and the contract to as many as there are losses and metrics.

    What two processes need at the same time both compile, and both make a module's fixtures.
    """
    for item in items:
        check = getattr(item, "callspec", None) and item.callspec.params.get("check")
        offer = f" {check.offer.full_name}" if isinstance(check, BoundCheck) else ""
        file = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(f"{file}{offer}"))
