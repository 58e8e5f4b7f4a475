"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # tests run in several processes on tiny tensors
os.environ.setdefault("MEDLOSS_QUIET", "1")  # or output would depend on what is compiled already

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real volumes, beside the repository or where MEDLOSS_DATA points."""
    path = Path(os.environ.get("MEDLOSS_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip("real volumes are not here: set MEDLOSS_DATA to a folder that holds them")
    return path
