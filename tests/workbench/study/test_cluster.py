"""Runs on a Dask cluster: the same results, and one run at a time in a process."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from medloss.workbench.study import cluster
from medloss.workbench.study.conditions import Conditions, Run
from medloss.workbench.study.losses import StudyLoss
from medloss.workbench.study.workers import Done, Task

distributed = pytest.importorskip("distributed")


class Pretender:
    """Counts how many runs it has at once."""

    def __init__(self) -> None:
        self.now, self.most = 0, 0

    def run(self, run: Run, folder: Path, *, pictures: bool) -> dict[str, object]:
        self.now += 1
        self.most = max(self.most, self.now)
        time.sleep(0.01)
        self.now -= 1
        if run.seed == 3:
            raise RuntimeError("seed 3 is unlucky")
        return {"seed": run.seed, "thread": threading.get_ident()}


def test_every_run_is_done_one_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    worker, made = Pretender(), []
    monkeypatch.setattr(cluster, "new_worker", lambda *_: made.append(1) or worker)
    cluster._kept.clear()
    runs = [Run(StudyLoss("dice", {}), 0, seed) for seed in range(6)]
    tasks = [Task(run, tmp_path / run.name) for run in runs]
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=3, processes=False, dashboard_address=None
    ) as local:
        address = local.scheduler_address
        assert cluster.worker_count(address) == 1
        found: list[Done] = [*cluster.on_cluster(tasks, Conditions("/bundle"), address)]
    assert {done.task.run.seed for done in found} == set(range(6))
    errors = {done.task.run.seed: done.error for done in found if done.error}
    assert errors == {3: "RuntimeError: seed 3 is unlucky"}
    assert worker.most == 1
    assert len(made) == 1, "what runs share is made once"
