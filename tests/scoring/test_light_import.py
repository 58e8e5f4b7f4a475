from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "monai"}


def heavy_after(code: str) -> set[str]:
    code += "; import sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return HEAVY & set(run.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import medloss.scoring",
        "import medloss_region.metrics, medloss_boundary.metrics",
        "import medloss_topology.metrics_detection, medloss_distribution.metrics",
        "from medloss.scoring import Case; import numpy as n; o = n.ones((3, 3), int); "
        "Case(o, o, labels=[1], spacing_mm=1).surfaces(1)",
        "from medloss.scoring import Case; import numpy as n; o = n.ones((3, 3), int); "
        "Case(o, o, labels=[1]).components(1).lesions()",
    ],
)
def test_scoring_needs_neither_torch_nor_monai(code):
    assert heavy_after(code) == set()


def test_this_test_would_see_them():
    assert heavy_after("import medloss.scoring, torch") == {"torch"}
