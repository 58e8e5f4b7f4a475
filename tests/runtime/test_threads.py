from __future__ import annotations

import os
import threading

import pytest

from medloss.runtime import threads


@pytest.fixture(autouse=True)
def several(monkeypatch):
    monkeypatch.setattr(threads, "count", lambda: 3)


def run_all(tasks):
    return threads.run(len(tasks), lambda n: tasks[n]())


def test_results_come_in_the_order_of_the_tasks():
    tasks = [lambda n=n: n * n for n in range(20)]
    assert run_all(tasks) == [n * n for n in range(20)]
    assert run_all([]) == []


def test_an_error_comes_out():
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_all([lambda: 1, fail, lambda: 2])


def test_tasks_that_run_tasks_do_not_hang():
    def nested():
        return sum(run_all([lambda n=n: n for n in range(5)]))

    assert run_all([nested] * 12) == [10] * 12


def test_several_callers_at_once():
    found = []
    callers = [
        threading.Thread(target=lambda: found.append(run_all([lambda: 7] * 9))) for _ in range(6)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
    assert found == [[7] * 9] * 6


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_threads_of_its_own():
    run_all([lambda: 1] * 4)
    child = os.fork()
    if not child:
        os._exit(0 if run_all([lambda: 2] * 4) == [2] * 4 else 1)
    assert os.waitpid(child, 0)[1] == 0
