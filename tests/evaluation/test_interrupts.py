from __future__ import annotations

import os
import signal
import threading

import pytest

from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.records import CaseResult
from medloss.evaluation.run import evaluate_all
from medloss.evaluation.score import EvalPlan
from medloss.work.engine import Interrupted, Interrupts


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_case_is_finished_first():
    with Interrupts() as interrupts:
        interrupts.check()
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()


def test_a_second_one_does_not_wait():
    with Interrupts():
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()


def test_nobody_waits_for_others():
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.waiting():
            ctrl_c()
        ctrl_c()  # not any more
        with pytest.raises(KeyboardInterrupt), interrupts.waiting():
            pytest.fail("it was asked before")


def test_the_handler_before_is_back():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_other_threads_have_no_handler():
    def enter() -> None:
        with Interrupts() as interrupts:
            interrupts.check()

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()


def test_what_is_done_is_counted_and_kept(tmp_path):
    pairs = tuple(Pair(name, None, None) for name in "abc")

    def scores(pairs, study):
        for pair in pairs:
            if pair.name == "b":
                ctrl_c()
            yield CaseResult(pair)

    journal = tmp_path / "journal"
    with pytest.raises(Interrupted) as stopped:
        evaluate_all(pairs, EvalPlan(()), evaluator=scores, journal=journal)
    assert stopped.value.done == 2  # the case at work is finished
    assert len(journal.read_text().splitlines()) == 3
