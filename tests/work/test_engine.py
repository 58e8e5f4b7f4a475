"""Work that knows no cases: what a worker may do, and how it ends."""

from __future__ import annotations

import functools
import os
import signal
import sys
from pathlib import Path

import pytest

from medloss.work.engine import Interrupted, give_away, work_through
from medloss.work.jobs import CannotStart, Crew, Failed, Job, Share
from medloss.work.journal import open_journal


def begin(share: Share) -> int:
    return share.threads


def refuse(share: Share) -> int:
    raise ValueError("nothing to begin with")


def end_at_once(share: Share) -> int:
    os._exit(7)


def tenfold(threads: int, item: int) -> tuple[int, int]:
    if item == 2:
        raise LookupError("two is\nmissing")
    return 10 * item, threads


def children(threads: int, item: int) -> bool:
    import multiprocessing

    child = multiprocessing.get_context("spawn").Process(target=print)
    child.start()
    child.join()
    return child.exitcode == 0


def start_once(marker: Path, share: Share) -> int:
    with marker.open("a") as file:
        file.write("x")
    return share.threads


def test_every_item_has_a_result_or_a_reason():
    found = dict(give_away(Job(begin, tenfold, "multiplied"), range(5), Crew(2, threads=3)))
    assert found.pop(2) == Failed("LookupError: two is missing")
    assert found == {n: (10 * n, 3) for n in (0, 1, 3, 4)}


def test_a_worker_starts_once_for_all_of_its_items(tmp_path):
    start = functools.partial(start_once, tmp_path / "starts")
    assert len([*give_away(Job(start, tenfold, "multiplied"), range(4), Crew(1))]) == 4
    assert (tmp_path / "starts").read_text() == "x"


def test_an_exclusive_worker_may_have_processes_of_its_own():
    assert [*give_away(Job(begin, children, "begun", exclusive=True), [0], Crew(1))] == [(0, True)]


def test_what_hinders_the_start_is_said():
    with pytest.raises(CannotStart, match=r"^nothing to begin with$"):
        next(give_away(Job(refuse, tenfold, "multiplied"), range(4), Crew(2)))


def test_processes_that_end_before_they_begin_end_the_work():
    job = Job(end_at_once, tenfold, "multiplied", advice="; do it yourself")
    with pytest.raises(RuntimeError, match=r"as soon as they start \(exit code 7\); do it yours"):
        next(give_away(job, range(4), Crew(1)))


def test_an_item_counts_once():
    kept = {1}
    results = (item for item in (1, 2, 2, 3))
    told = []

    def keep(item: int) -> None:
        kept.add(item)
        told.append(item)

    work_through(results, keep, key=int, kept=kept, of=3)
    assert told == [2, 3]


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill sends no signals there")
def test_a_batch_system_stops_work():
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    kept: set[int] = set()

    def results():
        yield 1
        os.kill(os.getpid(), signal.SIGTERM)
        yield 2

    try:
        with pytest.raises(Interrupted) as stopped:
            work_through(results(), kept.add, key=int, kept=kept, of=2)
        assert (stopped.value.done, stopped.value.of) == (1, 2)
        assert seen == [signal.SIGTERM]  # who listened before knows where nothing can be raised
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_journal_of_anything(tmp_path):
    path = tmp_path / "journal"

    def entered(settings):
        return open_journal(
            path,
            {"journal": 1, "settings": settings},
            lambda pair: {"name": pair[0], "value": pair[1]},
            lambda lines: ({line["name"]: line["value"] for line in lines}, 0),
            of="anything",
        )

    with entered({"a": 1}) as journal:
        journal.add(("one", 1))
    with path.open("ab") as file:
        file.write(b'{"name":"tw')
    with entered({"a": 1}) as journal:
        assert journal.kept == {"one": 1}
        journal.add(("three", 3))
    assert len(path.read_bytes().splitlines()) == 3
    with pytest.raises(ValueError, match="another a: 1 there, 2 now"), entered({"a": 2}):
        pass
    path.write_bytes(path.read_bytes() + b'{"value":1}\n')
    with entered({"a": 1}) as journal:
        assert journal.kept == {"one": 1, "three": 3}
        assert journal.damaged == 1
