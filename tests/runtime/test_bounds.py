"""No value leads a compiled loop outside its arrays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("hostile_calls.py")


def test_every_index_is_inside(tmp_path: Path) -> None:
    # The checks are compiled in, so these loops are kept apart from all others.
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_OPT": "0"}
    run = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={**os.environ, **checked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout == "all calls came back\n"
