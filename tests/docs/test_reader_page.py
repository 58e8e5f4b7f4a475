"""The plugin of docs/write-a-reader.md works as it stands, and meets the contract."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "write-a-reader.md"


def test_the_plugin_of_the_page_reads_and_meets_the_contract(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert [name for name, _ in blocks] == [
        *("medloss_grid/__init__.py", "medloss_grid/files.py", "medloss_grid/claims.py")
    ]
    for name, source in blocks:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        claimed = source.replace(
            'suffixes=(".grid", ".grid.gz"),',
            'suffixes=(".grid", ".grid.gz"), claims="medloss_grid.claims:is_grid",',
        )
        (tmp_path / name).write_text(claimed)
    info = tmp_path / "medloss_grid-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: medloss-grid\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[medloss]\ngrid = medloss_grid\n")
    voxels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3
    content = f"{'GRID 2 3 4 1.5':40}".encode() + voxels.tobytes(order="F")
    for name in ("a.grid", "plain"):
        (tmp_path / name).write_bytes(content)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "medloss", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "160"},
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "8 passed, 0 failed, 0 exempt" in run("check", "grid", "--sample", "a.grid")
    run("eval", "a.grid", "plain", "-m", "dice", "--json", "out.json")
    (case,) = json.loads((tmp_path / "out.json").read_text())["cases"]
    assert case["spacing_mm"] == [1.5, 1.5, 1.5]
    assert [result["value"] for result in case["results"]] == [1.0, 1.0]
