from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import medloss
from medloss.workbench.bench import loss_rivals
from medloss.workbench.bench.devices import CPU
from medloss.workbench.bench.loss_rivals import DEFAULT_LOSSES, NNUNET, LossRival, Source
from medloss.workbench.bench.losses import run
from medloss.workbench.bench.results import dumps, loads


def offer(monkeypatch, *others: LossRival, name: str = "dice") -> None:
    monkeypatch.setattr("medloss.workbench.bench.losses.rivals", lambda: {name: others})


def rival(loss, **more) -> LossRival:
    return LossRival("monai", "rival", "a rival", lambda classes: loss, **more)


def ours(**options):
    return medloss.loss("dice", softmax=True, **options)


def test_every_default_loss_equals_its_rivals(tiny):
    sources = ("monai", "nnunet", "torch", "exacta")
    report = run(replace(tiny, losses=DEFAULT_LOSSES, rivals=sources, rounds=1), CPU())
    assert report.wrong == ()
    (table,) = report.tables
    checks = {
        (contest.name, entry.name): entry.check
        for contest in table.contests
        for entry in contest.rivals
        if entry.status == "ok"
    }
    for name in ("dice", "dice_ce", "tversky", "focal", "generalized_dice, no smoothing"):
        assert checks[name, "monai"] == "equal"
    assert checks["dice_focal", "monai, softmax focal"] == "equal"
    assert checks["dice_focal", "monai, sigmoid focal"] == "other definition"
    assert checks["cross_entropy", "torch"] == "equal"
    assert [c for (name, _), c in checks.items() if name.endswith(NNUNET.name)] == ["equal"]
    assert loads(dumps(report)) == report


def test_what_is_measured(tiny):
    (table,) = run(tiny, CPU()).tables
    (contest,) = table.contests
    for entry in contest.entries:
        assert len(entry.wall_s) == len(entry.cpu_s) == 2
        assert min(entry.wall_s) > 0
        assert entry.first_s is not None
        assert (entry.extra_bytes is None) == bool(CPU().no_memory)
    assert len(contest.copy_s) == 2
    assert contest.unit_bytes == 2 * 3 * 12**3 * 4
    assert contest.floor_bytes == 2 * 12**3 * (3 * 3 * 4 + 2 * 8)
    assert contest.notes
    assert table.settings["threads"] == 1
    assert table.settings["backend"] == "numba"


def test_a_wrong_value_is_found(tiny, monkeypatch):
    offer(monkeypatch, rival(lambda x, y: 1.001 * ours()(x, y)))
    report = run(tiny, CPU())
    (entry,) = report.tables[0].contests[0].rivals
    assert entry.status == "disagrees"
    assert "values differ" in entry.reason
    assert report.wrong == (f"dice, rival: {entry.reason}",)


def test_a_wrong_gradient_is_found(tiny, monkeypatch):
    def half_the_gradient(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        value = ours()(x, y)
        return value / 2 + value.detach() / 2

    offer(monkeypatch, rival(half_the_gradient))
    (sentence,) = run(tiny, CPU()).wrong
    assert "gradients differ by 1.0e+00" in sentence


def test_another_definition_is_told_and_not_checked(tiny, monkeypatch):
    offer(monkeypatch, rival(lambda x, y: 2 * ours()(x, y), differs="it is twice as large"))
    report = run(tiny, CPU())
    (entry,) = report.tables[0].contests[0].rivals
    assert (entry.status, entry.check, entry.reason) == (
        "ok",
        "other definition",
        "it is twice as large",
    )
    assert report.wrong == ()


def test_a_rival_that_is_not_installed_is_listed(tiny, monkeypatch):
    monkeypatch.setitem(loss_rivals.SOURCES, "monai", Source("no_such_package", "pip install it"))
    (entry,) = run(tiny, CPU()).tables[0].contests[0].rivals
    assert (entry.status, entry.wall_s) == ("missing", ())
    assert entry.reason == "no_such_package is not installed (pip install it)"


def test_a_rival_that_raises_is_told_and_the_others_go_on(tiny, monkeypatch):
    def broken(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no memory\nleft")

    good = replace(rival(ours()), name="good")
    offer(monkeypatch, rival(broken), good)
    report = run(tiny, CPU())
    first, second = report.tables[0].contests[0].rivals
    assert (first.status, first.reason) == ("failed", "RuntimeError: no memory left")
    assert (second.status, second.check) == ("ok", "equal")
    assert report.wrong == ()  # theirs, not ours


def test_ours_that_cannot_be_called_so_is_an_error(tiny):
    report = run(replace(tiny, losses=("boundary",), rivals=()), CPU())
    (sentence,) = report.wrong
    assert sentence.startswith("boundary, medloss: ValueError: spacing_mm")


def test_ours_is_measured_once_for_each_definition(tiny, monkeypatch):
    same = rival(ours())
    pooled = replace(rival(ours(batch=True)), name="pooled", variant=loss_rivals.POOLED)
    offer(monkeypatch, same, pooled)
    contests = run(tiny, CPU()).tables[0].contests
    assert [contest.name for contest in contests] == ["dice", "dice, batch"]
    assert contests[1].ours.computes == "medloss.loss('dice', softmax=True, batch=True)"
    assert [entry.check for contest in contests for entry in contest.rivals] == ["equal"] * 2


def test_a_value_lost_to_16_bits_is_noted(tiny, monkeypatch):
    def overflows(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        value = ours()(x, y)
        return value if x.dtype == torch.float32 else value * torch.inf

    offer(monkeypatch, rival(overflows))
    report = run(replace(tiny, dtypes=("bfloat16",)), CPU())
    (entry,) = report.tables[0].contests[0].rivals
    assert entry.check == "equal"
    assert entry.reason.startswith("gives inf in bfloat16; the same logits in float32 give it 0.")
    assert entry.numbers["value"] is None
    assert loads(dumps(report)) == report


def test_tables_for_shapes_dtypes_and_threads(tiny):
    before = torch.get_num_threads()
    plan = replace(
        tiny,
        shapes=((1, 2, 8, 8), (1, 3, 8, 8)),
        dtypes=("float32", "bfloat16"),
        threads=(1, 2),
        rivals=(),
        memory=False,
    )
    tables = run(plan, CPU()).tables
    assert torch.get_num_threads() == before
    assert [t.title for t in tables[:3]] == [
        "1,2,8,8 float32, int64 labels, 1 thread",
        "1,2,8,8 float32, int64 labels, 2 threads",
        "1,2,8,8 bfloat16, int64 labels, 1 thread",
    ]
    assert len(tables) == 8
    assert all(table.contests[0].ours.extra_bytes is None for table in tables)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_monai_is_equal_in_every_dtype(tiny, dtype):
    report = run(replace(tiny, losses=("dice_ce",), dtypes=(dtype,)), CPU())
    assert report.wrong == ()
    assert report.tables[0].contests[0].rivals[0].check == "equal"
