"""The suite of distance transforms: who agrees, who is missing, and how it is asked for."""

from __future__ import annotations

from dataclasses import replace

import torch
from click.testing import CliRunner

from medloss.cli import main
from medloss.workbench.bench import distances
from medloss.workbench.bench.devices import CPU
from medloss.workbench.bench.distances import DistancePlan, DistanceRival, label_masks, run
from medloss.workbench.bench.results import dumps, loads

TINY = DistancePlan(shapes=((2, 3, 9, 8, 7), (1, 1, 16, 12)), rounds=2, copy_bytes=1 << 20)


def test_everyone_agrees_in_2d_and_3d():
    report = run(TINY, CPU())
    assert report.wrong == ()
    assert loads(dumps(report)) == report
    for table in report.tables:
        (contest,) = table.contests
        checks = {entry.name: entry.check for entry in contest.rivals if entry.status == "ok"}
        assert checks["plain torch"] == checks["scipy"] == "equal"
        assert len(contest.ours.wall_s) == 2


def test_a_wrong_distance_is_an_error(monkeypatch):
    def wrong(masks: torch.Tensor) -> torch.Tensor:
        found = distances.edt(masks, TINY.spacing_mm)
        found[0, 0, 0, 0, 0] += 1e-2
        return found

    monkeypatch.setattr(distances, "rivals", lambda *_: [DistanceRival("rival", "a rival", wrong)])
    (sentence,) = run(replace(TINY, shapes=TINY.shapes[:1]), CPU()).wrong
    assert sentence == "edt, rival: 1 of 3024 distances differ"


def test_on_cuda_the_way_by_the_host_and_cucim_take_part():
    names = [rival.name for rival in distances.rivals("cuda", TINY.spacing_mm)]
    assert names[:2] == ["cucim", "medloss, CPU"]


def test_masks_part_the_volume():
    masks = label_masks((2, 3, 9, 8, 7), seed=0)
    assert masks.sum(1).unique().tolist() == [1]


def test_the_command():
    line = ["bench", "--distances", "--quick", "--rivals", "none", "--no-memory"]
    found = CliRunner().invoke(main, line)
    assert found.exit_code == 0, found.output
    assert "1,4,32,32,32 masks" in found.output
    for more, words in ((["--metrics"], "expected one"), (["--compiled"], "--compiled has no use")):
        refused = CliRunner().invoke(main, [*line, *more])
        assert refused.exit_code == 2
        assert words in refused.output
