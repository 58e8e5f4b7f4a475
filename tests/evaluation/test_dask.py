"""A real cluster: a scheduler and two worker processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter

import numpy as np
import odd_metrics
import pytest

from medloss.evaluation.inputs.pairing import pair_paths
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.run import evaluate_all
from medloss.evaluation.score import EvalPlan

distributed = pytest.importorskip("distributed")
# The cluster's own processes come and go by the test's will.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
CASES = 16


@pytest.fixture
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture
def pairs(save, tmp_path):
    for n in range(CASES):
        cube = np.zeros((4, 4, 4), np.uint8)
        cube.ravel()[: n + 1] = 1
        for side in ("pred", "ref"):
            save(f"{side}/c{n:02}.nii.gz", cube)
    return pair_paths(tmp_path / "pred", tmp_path / "ref")


def test_a_killed_worker_loses_nothing_and_nothing_counts_twice(cluster, pairs, tmp_path):
    log, journal = tmp_path / "log", tmp_path / "journal.jsonl"
    study = EvalPlan((odd_metrics.choice(odd_metrics.slow, seconds=0.15, log=str(log)),))
    killed = []

    def kill_one() -> None:
        while not log.exists() or len(log.read_text().splitlines()) < 5:
            time.sleep(0.01)
        killed.append(int(log.read_text().splitlines()[-1].split()[0]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    told = Counter()
    cases = evaluate_all(
        pairs,
        study,
        scheduler=cluster.scheduler_address,
        journal=journal,
        on_case=lambda case: told.update([case.pair.name]),
    )
    killer.join()
    assert [case.pair for case in cases] == list(pairs)
    assert [case.error for case in cases] == [""] * CASES
    assert [case.results[0].value for case in cases] == [n + 1.0 for n in range(CASES)]
    assert set(told.values()) == {1}
    assert len(journal.read_text().splitlines()) == 1 + CASES
    workers = {int(line.split()[0]) for line in log.read_text().splitlines()}
    assert len(workers) >= 2
    assert killed[0] in workers


def test_a_cluster_gives_what_this_process_gives(cluster, pairs):
    study = EvalPlan(tuple(choose_metric(parse_request(n)) for n in ("dice", "hausdorff95")))
    assert evaluate_all(pairs, study, scheduler=cluster.scheduler_address) == evaluate_all(
        pairs, study
    )


def test_no_scheduler_there(pairs, monkeypatch):
    monkeypatch.setattr("medloss.work.cluster._PATIENCE_S", 0.3)
    with pytest.raises(ValueError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
        evaluate_all(pairs, EvalPlan(()), scheduler="tcp://127.0.0.1:9")


def test_a_case_that_kills_every_worker_fails_alone(pairs, tmp_path):
    import dask

    deadly = odd_metrics.choice(
        odd_metrics.deadly, voxels=3, marker=str(tmp_path / "died"), times=99
    )
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
    ):
        cases = evaluate_all(pairs[2:3], EvalPlan((deadly,)), scheduler=cluster.scheduler_address)
    assert "every Dask worker that scored it died" in cases[0].error
