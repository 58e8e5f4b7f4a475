"""What is different on Windows and macOS, by pretending to be there."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from medloss.cli import main
from medloss.runtime import files, threads
from medloss.work import lock, processes
from medloss.work.engine import give_away
from medloss.work.jobs import Crew, Job, Share
from medloss.workbench.study.runs import StudyLoss, check_names


def begin(share: Share) -> int:
    return share.threads


def tenfold(threads: int, item: int) -> int:
    return 10 * item


def test_workers_are_spawned_where_there_is_no_fork_server_and_no_signal_mask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    monkeypatch.setattr(processes, "signal", SimpleNamespace(Signals=signal.Signals))
    asked = []
    take = multiprocessing.get_context
    monkeypatch.setattr(multiprocessing, "get_context", lambda how: asked.append(how) or take(how))
    job = Job(begin, tenfold, "multiplied", preload="medloss.evaluation.worker_start")
    assert dict(give_away(job, range(2), Crew(1, threads=1))) == {0: 0, 1: 10}
    assert asked[0] == "spawn"


def test_a_lock_by_file_is_closed_before_it_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows deletes no file that a process has open."""
    monkeypatch.setattr(lock, "fcntl", None)
    opened: dict[int, str] = {}
    open_, close, unlink = os.open, os.close, Path.unlink

    def note(path: Any, *more: Any) -> int:
        number = open_(path, *more)
        opened[number] = str(path)
        return number

    def forget(number: int) -> None:
        opened.pop(number, None)
        close(number)

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if str(path) in opened.values():
            raise PermissionError(errno.EACCES, "used by another process")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "open", note)
    monkeypatch.setattr(os, "close", forget)
    monkeypatch.setattr(Path, "unlink", refuse)
    for _ in range(2):
        with lock.locked(tmp_path):
            assert [path.name for path in tmp_path.iterdir()] == [lock.LOCKS[1]]
        assert not [*tmp_path.iterdir()]


def test_nobody_is_killed_to_see_whether_he_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows' ``os.kill`` ends a process, whatever the signal."""
    path = tmp_path / lock.LOCKS[1]
    path.write_text(f"{os.getpid()} {lock.socket.gethostname()}\n")
    with monkeypatch.context() as changed:
        changed.setattr(lock.os, "name", "nt")
        changed.setattr(os, "kill", lambda *_: pytest.fail("killed"))
        left = lock._left_behind(path)
    assert not left


def test_a_folder_is_not_synchronised_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = os.open

    def refuse(path: Any, flags: int, *more: Any) -> int:
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "a folder")
        return open_(path, flags, *more)

    with monkeypatch.context() as changed:
        changed.setattr(files.os, "name", "nt")
        changed.setattr(os, "open", refuse)
        files._to_disk(tmp_path, os.O_RDONLY)
        changed.setattr(files.os, "name", "posix")
        with pytest.raises(PermissionError):
            files._to_disk(tmp_path, os.O_RDONLY)


def test_processors_are_counted_where_there_is_no_affinity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(threads, "quota", lambda: None)
    assert threads.processors() == 6
    assert threads.described() == "6 of 6 may be used"


@pytest.mark.parametrize("charset", ["cp1252", "cp437"])
def test_a_console_without_our_letters_gets_others_and_no_traceback(charset: str) -> None:
    runner = CliRunner(charset=charset)
    for words in (["list"], ["info", "hd"], ["info", "--kind", "loss", "tversky"], ["--help"]):
        done = runner.invoke(main, words)
        assert done.exit_code == 0, (words, done.output, done.exception)
        done.stdout_bytes.decode(charset)
    assert "\\u2192" in runner.invoke(main, ["info", "hd"]).output  # d(G → P)


def test_losses_whose_folders_differ_in_capitals_alone_are_refused() -> None:
    check_names([StudyLoss("dice", {}), StudyLoss("dices", {})])
    with pytest.raises(ValueError, match="cannot be told apart: dice and Dice"):
        check_names([StudyLoss("dice", {}), StudyLoss("Dice", {})])
