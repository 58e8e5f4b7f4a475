"""Runs on a Dask cluster: the same results, and one run at a time in a process."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from medloss.work.cluster import worker_count
from medloss.work.engine import give_away
from medloss.work.jobs import Crew, Failed
from medloss.workbench.study import worker as worker_module
from medloss.workbench.study.folder import StudyFolder
from medloss.workbench.study.run import training_job
from medloss.workbench.study.runs import StudyConditions, StudyLoss, StudyRun

distributed = pytest.importorskip("distributed")


class Pretender:
    """Counts how many runs it has at once."""

    def __init__(self) -> None:
        self.now, self.most = 0, 0

    def run(self, run: StudyRun, folder: Path, *, pictures: bool) -> dict[str, object]:
        self.now += 1
        self.most = max(self.most, self.now)
        time.sleep(0.01)
        self.now -= 1
        if run.seed == 3:
            raise RuntimeError("seed 3 is unlucky")
        return {"seed": run.seed, "thread": threading.get_ident()}


def test_every_run_is_done_one_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    worker, made = Pretender(), []
    monkeypatch.setattr(worker_module, "Worker", lambda *_: made.append(1) or worker)
    runs = [StudyRun(StudyLoss("dice", {}), 0, seed) for seed in range(6)]
    job = training_job(StudyConditions("/bundle"), StudyFolder(tmp_path), 0)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=3, processes=False, dashboard_address=None
    ) as local:
        address = local.scheduler_address
        assert worker_count(address) == 1
        found = [*give_away(job, runs, Crew(scheduler=address))]
    assert {run.seed for run, _ in found} == set(range(6))
    errors = {run.seed: facts.reason for run, facts in found if isinstance(facts, Failed)}
    assert errors == {3: "RuntimeError: seed 3 is unlucky"}
    assert worker.most == 1
    assert len(made) == 1, "what runs share is made once"
