from __future__ import annotations

import dataclasses
import importlib
import pickle
from pathlib import Path

import numpy as np
import odd_metrics
import pytest

from medloss.evaluation import worker_start
from medloss.evaluation.inputs.pairing import Pair, pair_paths
from medloss.evaluation.journal import plan_settings
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.run import default_workers, evaluate_all, evaluate_elsewhere, start_worker
from medloss.evaluation.score import EvalPlan
from medloss.runtime import threads
from medloss.work.jobs import Share


@pytest.fixture
def pairs(save, tmp_path) -> tuple[Pair, ...]:
    """Case ``c<n>`` has n + 1 voxels of label 1 in both files."""
    for n in range(6):
        cube = np.zeros((4, 4, 4), np.uint8)
        cube.ravel()[: n + 1] = 1
        for side in ("pred", "ref"):
            save(f"{side}/c{n}.nii.gz", cube)
    return pair_paths(tmp_path / "pred", tmp_path / "ref")


def values(cases) -> dict[str, float]:
    return {case.pair.name: case.results[0].value for case in cases if not case.error}


def test_processes_give_what_one_gives(pairs):
    study = EvalPlan(tuple(choose_metric(parse_request(n)) for n in ("dice", "hausdorff95")))
    alone = evaluate_all(pairs, study)
    assert evaluate_all(pairs, study, workers=2) == alone
    assert [case.pair for case in alone] == list(pairs)


def test_a_case_whose_process_dies_once_is_scored_by_another(pairs, tmp_path):
    deadly = odd_metrics.choice(
        odd_metrics.deadly, voxels=3, marker=str(tmp_path / "died"), times=1
    )
    found = list(evaluate_elsewhere(pairs, EvalPlan((deadly,)), workers=2))
    assert (tmp_path / "died.0").exists()
    assert sorted(case.pair.name for case in found) == [pair.name for pair in pairs]
    assert values(found) == {f"c{n}": n + 1 for n in range(6)}


def test_a_case_that_kills_again_fails_alone(pairs, tmp_path):
    deadly = odd_metrics.choice(
        odd_metrics.deadly, voxels=3, marker=str(tmp_path / "died"), times=9
    )
    found = list(evaluate_elsewhere(pairs, EvalPlan((deadly,)), workers=2))
    (failed,) = [case for case in found if case.error]
    assert failed.pair.name == "c2"
    assert "killed by SIGKILL" in failed.error
    assert values(found) == {f"c{n}": n + 1 for n in (0, 1, 3, 4, 5)}
    assert not (tmp_path / "died.2").exists()


def test_work_is_shared(pairs, tmp_path):
    log = tmp_path / "log"
    slow = odd_metrics.choice(odd_metrics.slow, seconds=0.3, log=str(log))
    list(evaluate_elsewhere(pairs, EvalPlan((slow,)), workers=2))
    workers, cases = zip(*(line.split() for line in log.read_text().splitlines()), strict=True)
    assert len(set(workers)) == 2
    assert sorted(cases) == [str(n + 1) for n in range(6)]


def test_processes_are_gone_after_an_early_end(pairs, tmp_path):
    slow = odd_metrics.choice(odd_metrics.slow, seconds=0.05, log=str(tmp_path / "log"))
    found = evaluate_elsewhere(pairs, EvalPlan((slow,)), workers=2)
    next(found)
    found.close()
    workers = {int(line.split()[0]) for line in (tmp_path / "log").read_text().splitlines()}
    assert workers
    for worker in workers:
        state = Path(f"/proc/{worker}/stat")
        assert not state.exists() or state.read_text().split()[2] == "Z"


def test_what_cannot_be_sent_is_refused_at_once(pairs):
    local = odd_metrics.choice(odd_metrics.slow, seconds=0, log="x")
    local = dataclasses.replace(local, function=lambda counts: 0.0)
    with pytest.raises(ValueError, match="--workers 1 scores in this process"):
        list(evaluate_elsewhere(pairs, EvalPlan((local,)), workers=2))


def test_losses_can_be_sent(pairs):
    from medloss.evaluation.losses import choose_loss

    study = EvalPlan((), losses=(choose_loss(parse_request("dice:smooth_nr=0.5")),))
    there = pickle.loads(pickle.dumps(study))
    assert evaluate_all(pairs, there) == evaluate_all(pairs, study)
    assert plan_settings(there) == plan_settings(study)


def test_no_cases_need_no_process():
    assert list(evaluate_elsewhere((), EvalPlan(()), workers=2)) == []


def test_a_small_study_stays_in_this_process(pairs, save, monkeypatch):
    assert default_workers(pairs) == 1
    monkeypatch.setattr("medloss.evaluation.run.SMALL_BYTES", 10)
    assert default_workers(pairs) == threads.processors()
    assert default_workers([Pair("x", None, Path("missing"), "no prediction")]) == 1


def test_a_limit_on_threads(monkeypatch):
    monkeypatch.setattr(threads, "_most", None)
    before = threads.processors()
    threads.limit(1)
    assert threads.processors() == 1
    threads.limit(before + 5)
    assert threads.processors() == before


def test_a_process_takes_its_share_of_the_processors(monkeypatch):
    import torch

    monkeypatch.setattr(threads, "_most", None)
    given = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    start_worker(EvalPlan(()), Share(1))
    assert threads.processors() == 1
    assert given == []
    start_worker(EvalPlan((), losses=("any",)), Share(1))
    assert given == [1]


def test_what_workers_are_copied_from_leaves_the_threads_alone():
    before = threads.processors()
    importlib.reload(worker_start)
    assert threads.processors() == before
