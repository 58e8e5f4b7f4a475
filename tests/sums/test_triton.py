"""The triton backend, on a CUDA device or in Triton's interpreter; and when it is chosen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from interpreted import DEVICE, check_in_interpreter

from medloss.sums import chosen_backend
from medloss.sums.gpu import usable
from medloss.sums.gpu.tiles import REGISTERS, Load

if DEVICE == "cuda":
    from sums.triton_checks import *  # noqa: F403
else:

    def test_in_the_interpreter() -> None:
        check_in_interpreter(Path(__file__).with_name("triton_checks.py"))


@pytest.mark.parametrize("itemsize", [2, 4, 8])
@pytest.mark.parametrize("sums", [0, 1, 4, 20])
@pytest.mark.parametrize("tiles", [1, 6])
def test_tiles_fit_the_registers(itemsize: int, sums: int, tiles: int) -> None:
    for classes in range(1, 201):
        load = Load(classes, itemsize, sums, tiles)
        tile = load.tile_by_rule()
        assert all(n & (n - 1) == 0 for n in tile[:3])
        assert tile.rows < 2 * classes
        assert load.registers(tile.rows) <= REGISTERS or tile.rows >= classes
        assert tile.voxels % load.fold(tile) == 0


def test_it_serves_cuda_alone_unless_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.zeros(1, 2, 4, 4)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.delenv("MEDLOSS_BACKEND", raising=False)
    monkeypatch.setattr(usable, "find_spec", lambda name: name)  # as if triton were there
    assert chosen_backend(z).name == "numba"
    monkeypatch.setenv("MEDLOSS_BACKEND", "triton")
    with pytest.raises(ValueError, match=r"triton cannot sum here: it runs on CUDA .* is on cpu"):
        chosen_backend(z)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert chosen_backend(z).name == "triton"
    monkeypatch.setattr(usable, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="triton is not installed"):
        chosen_backend(z)
    monkeypatch.delenv("MEDLOSS_BACKEND")
    assert chosen_backend(z).name == "numba"


def test_triton_is_imported_when_it_is_needed() -> None:
    code = "import sys, medloss.base, medloss.sums; assert 'triton' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
