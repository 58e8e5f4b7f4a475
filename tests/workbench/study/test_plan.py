"""A budget becomes epochs that are the same for all runs."""

from __future__ import annotations

import pytest

from medloss.workbench.study.folder import check_same
from medloss.workbench.study.plan import RESERVE, START_S, LossTiming, epochs_within, seconds
from medloss.workbench.study.runs import StudyConditions, all_runs, parse_losses

LOSSES = parse_losses("dice,lovasz_softmax")
TIMINGS = {
    "dice": LossTiming(first=2, build=1, step=0.1, case=0.5, steps=10, cases=20),
    "lovasz_softmax": LossTiming(first=2, build=1, step=0.3, case=0.5, steps=10, cases=20),
}


def test_one_worker_takes_the_sum() -> None:
    runs = all_runs(LOSSES, [0, 1], folds=2)
    assert len(runs) == 8
    # 2 folds of data, 8 builds, 8 x 20 cases, and 4 x 10 x (0.1 + 0.3) s for each epoch
    assert seconds(runs, TIMINGS, 3, workers=1) == pytest.approx(START_S + 4 + 8 + 80 + 48)


def test_most_epochs_that_fit() -> None:
    runs = all_runs(LOSSES, [0, 1], folds=2)
    epochs = epochs_within(600, runs, TIMINGS, workers=2)
    room = 600 * (1 - RESERVE)
    assert seconds(runs, TIMINGS, epochs, 2) <= room < seconds(runs, TIMINGS, epochs + 1, 2)


def test_a_budget_without_room_for_an_epoch_says_what_would_do() -> None:
    runs = all_runs(LOSSES, [0, 1], folds=2)
    with pytest.raises(ValueError, match=r"8 runs takes about 1.9 minutes.*--budget 3"):
        epochs_within(60, runs, TIMINGS, workers=1)


def test_all_losses_of_a_fold_and_seed_follow_one_another() -> None:
    order = [(run.fold, run.seed, run.loss.name) for run in all_runs(LOSSES, [3, 4], folds=0)]
    assert order == [(0, seed, loss) for seed in (3, 4) for loss in ("dice", "lovasz_softmax")]


def test_what_differs_from_the_study_that_is_there_is_said(tmp_path) -> None:
    was = StudyConditions("/bundle", folds=2, epochs=5)
    there = {"conditions": was.as_json(), "losses": {"dice": dict(LOSSES[0].block)}}
    check_same(tmp_path, there, was, LOSSES)  # a new loss may come
    check_same(tmp_path, there, StudyConditions("/bundle", folds=2), LOSSES)  # its own epochs
    with pytest.raises(ValueError, match=r"epochs is 5 there, 6 now; folds is 2 there, 3 now"):
        check_same(tmp_path, there, StudyConditions("/bundle", folds=3, epochs=6), LOSSES)
    (other,) = parse_losses("dice", activation="sigmoid")
    with pytest.raises(ValueError, match="the loss dice is"):
        check_same(tmp_path, there, was, [other])
