"""How many programs a multiprocessor holds, and what a device has room for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("triton")

from medloss.sums.gpu import residence
from medloss.sums.gpu.residence import NoRoomError, occupancy, resident, spread, stages_that_fit

DEVICE = torch.device("cuda", 0)
H200 = {"capability": 90, "threads": 2048, "shared_bytes": 227 << 10}


class Kernel:
    """Compiles to what is said."""

    def __init__(self, registers: int = 32, *, shared: int = 0, a_stage: int = 0) -> None:
        self.registers, self.shared, self.a_stage = registers, shared, a_stage
        self.warmups: list[dict[str, Any]] = []

    def warmup(self, *given: Any, grid: Any, **choices: Any) -> Any:
        self.warmups.append(choices)
        shared = self.shared + self.a_stage * choices.get("num_stages", 0)
        metadata = SimpleNamespace(shared=shared)
        return SimpleNamespace(n_regs=self.registers, metadata=metadata, run=None)


@pytest.fixture(autouse=True)
def _a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    about = SimpleNamespace(major=8, minor=6, max_threads_per_multi_processor=1536)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: about)
    monkeypatch.setattr(residence, "shared_bytes", lambda device: 99 << 10)
    monkeypatch.setattr(residence, "_RESIDENT", {})
    monkeypatch.setattr(residence, "_STAGES", {})


# by hand, by the rules of CUDA's occupancy calculator
@pytest.mark.parametrize(
    ("registers", "shared", "warps", "device", "programs"),
    [
        (168, 0, 4, H200, 3),  # 5376 registers a warp: 3 in each quarter
        (255, 0, 1, H200, 8),
        (64, 0, 4, H200, 8),
        (32, 0, 8, H200, 8),  # 64 warps
        (32, 0, 1, H200, 32),  # 32 programs
        (32, 0, 1, {**H200, "capability": 86, "threads": 1536}, 16),
        (40, 100 << 10, 4, H200, 2),
        (65, 0, 4, {**H200, "capability": 75, "threads": 1024}, 7),  # 72 registers, in effect
    ],
)
def test_programs_on_a_multiprocessor(
    registers: int, shared: int, warps: int, device: dict[str, int], programs: int
) -> None:
    assert occupancy(registers, shared, warps, **device) == programs


def test_a_kernel_is_asked_once_for_each_form() -> None:
    kernel, x = Kernel(168), torch.zeros(16)
    asked = ((x, (x, 16, 3), 1), (x, (x, 32, 5), 1), (x, (x, 32, 1), 1), (x[1:], (x, 16, 3), 1))
    assert [resident(kernel, given, {"num_warps": 4}, DEVICE) for given in asked] == [3] * 4
    assert len(kernel.warmups) == 3  # 1, and what 16 does not divide, are other kernels
    assert resident(kernel, asked[0], {"num_warps": 8}, torch.device("cpu")) == 4


def test_loads_take_the_stages_that_there_is_room_for() -> None:
    for shared, stages in ((0, 3), (20 << 10, 2), (60 << 10, 1)):
        kernel = Kernel(shared=shared, a_stage=30 << 10)
        for _ in range(2):
            assert stages_that_fit(kernel, (), {"num_warps": 4}, DEVICE) == stages
        assert len(kernel.warmups) == 4 - stages
    large = Kernel(shared=80 << 10, a_stage=30 << 10)
    for _ in range(2):
        with pytest.raises(NoRoomError, match="less shared memory than a program"):
            stages_that_fit(large, (), {"num_warps": 4}, DEVICE)
    assert len(large.warmups) == 3


def test_programs_share_tiles_evenly() -> None:
    for tiles in range(1, 60):
        for programs in range(-1, 70):
            found = spread(tiles, programs)
            most = max(1, min(tiles, programs))
            assert 1 <= found <= most
            assert -(-tiles // found) == -(-tiles // most)  # none has more than before
