"""A report of made-up numbers, and a plan of tiny shapes."""

from __future__ import annotations

import pytest

from medloss.workbench.bench.losses import LossPlan
from medloss.workbench.bench.results import BenchReport, Contest, Entry, Table

MB = 1_000_000


@pytest.fixture
def tiny() -> LossPlan:
    return LossPlan(
        losses=("dice",),
        shapes=((2, 3, 12, 12, 12),),
        rivals=("monai",),
        rounds=2,
        copy_bytes=1 << 20,
    )


@pytest.fixture
def report() -> BenchReport:
    """Every status, and names and numbers as long as they get."""
    ours = Entry(
        "medloss",
        "medloss.loss('dice_ce')",
        first_s=4.25,
        wall_s=(0.5, 0.25, 1.0),
        cpu_s=(1.0, 0.5, 2.0),
        extra_bytes=100 * MB,
        numbers={"value": 4.2705451},
    )
    slow = Entry(
        "nnunet's formula",
        "slow | sure",
        check="equal",
        first_s=20.0,
        wall_s=(12.5, 10.0, 13.0),
        cpu_s=(25.0, 20.0, 26.0),
        extra_bytes=1150 * MB,
        numbers={"value": None},
    )
    other = Entry(
        "monai, sigmoid focal",
        "another",
        reason="its focal term is another",
        check="other definition",
        wall_s=(1.0, 0.5, 2.0),
        cpu_s=(1.0, 0.5, 2.0),
        extra_bytes=250 * MB,
    )
    wrong = Entry("exacta", "wrong", "disagrees", "values differ by 3.0e-01", wall_s=(1, 1, 1))
    broken = Entry("monai, softmax focal", "broken", "failed", "RuntimeError: no memory")
    missing = Entry("plain, torch.compile", "absent", "missing", "a is not installed")
    contest = Contest(
        "generalized_dice, no smoothing",
        ours,
        (slow, other, wrong, broken, missing),
        unit_bytes=100 * MB,
        floor_bytes=500 * MB,
        copy_bytes=400 * MB,
        copy_s=(0.02, 0.01, 0.04),
        notes=("cold disk cache: 2 kernels compiled",),
    )
    table = Table(
        {"shape": "2,14,96,96,96", "unit": "logits"},
        "2,14,96,96,96 float32, int64 labels, 2 threads",
        (contest,),
        ("backend of medloss: numba",),
    )
    return BenchReport("losses", {"rounds": 3}, {"torch": "2.13", "processor": "p" * 60}, (table,))
