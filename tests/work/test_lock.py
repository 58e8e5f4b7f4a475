"""One writer of a folder at a time, wherever the kernel locks files and where it does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medloss.runtime.files import CannotWriteError
from medloss.work import lock
from medloss.work.lock import LOCKS, locked

HOLDS = """
import sys, time
from pathlib import Path
from medloss.work import lock
if sys.argv[2] == "by file":
    lock.fcntl = None
with lock.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["by kernel", "by file"])
def way(request, monkeypatch) -> str:
    if request.param == "by file":
        monkeypatch.setattr(lock, "fcntl", None)
    elif lock.fcntl is None:
        pytest.skip("this system locks no files")
    return request.param


def holder(folder: Path, way: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder), way], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_who_writes_is_said_and_a_dead_process_holds_nothing(tmp_path, way):
    with holder(tmp_path, way) as process:
        said = rf"is being written to by process {process.pid} on {socket.gethostname()}; wait"
        with pytest.raises(ValueError, match=said), locked(tmp_path):
            pytest.fail("two writers")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCKS[way == "by file"]]
    assert not list(tmp_path.iterdir())


def test_a_process_of_another_machine_may_live(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    path = tmp_path / LOCKS[1]
    path.write_text("1 far-away\n")
    with (
        pytest.raises(ValueError, match=rf"process 1 on far-away.*delete {path}"),
        locked(tmp_path),
    ):
        pytest.fail("two writers")
    path.write_text("")  # it has just begun
    with pytest.raises(ValueError, match="by another process"), locked(tmp_path):
        pytest.fail("two writers")


def test_a_file_system_without_locks_has_one_by_file(tmp_path, monkeypatch):
    if lock.fcntl is None:
        pytest.skip("this system locks no files")

    def refuse(number: int, how: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCKS[1]]
        with pytest.raises(ValueError, match=f"process {os.getpid()} on "), locked(tmp_path):
            pytest.fail("two writers")
    assert not list(tmp_path.iterdir())


def test_the_file_of_whoever_was_before_is_no_lock(tmp_path, monkeypatch):
    """Between opening and locking a file it may be deleted, and made anew by a third process."""
    if lock.fcntl is None:
        pytest.skip("this system locks no files")
    take, path, times = lock.fcntl.flock, tmp_path / LOCKS[0], []

    def late(number: int, how: int) -> None:
        if not times:
            path.unlink()
        times.append(number)
        take(number, how)

    monkeypatch.setattr(lock.fcntl, "flock", late)
    with locked(tmp_path):
        assert path.read_text().split()[0] == str(os.getpid())
    assert len(times) == 2


def test_a_folder_that_is_gone_is_named(tmp_path):
    with pytest.raises(CannotWriteError, match="No such file"), locked(tmp_path / "gone"):
        pytest.fail("there is nothing")


def test_many_take_turns(tmp_path):
    """Each adds one to a number that it read before; nothing is lost."""
    add = (
        "import sys, time\nfrom pathlib import Path\nfrom medloss.work.lock import locked\n"
        "folder, n = Path(sys.argv[1]), 0\n"
        "while n < 20:\n"
        "    try:\n"
        "        with locked(folder):\n"
        "            was = int((folder / 'n').read_text())\n"
        "            time.sleep(0.001)\n"
        "            (folder / 'n').write_text(str(was + 1))\n"
        "            n += 1\n"
        "    except ValueError:\n"
        "        time.sleep(0.001)\n"
    )
    (tmp_path / "n").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", add, str(tmp_path)]) for _ in range(3)]
    deadline = time.monotonic() + 60
    assert [each.wait(deadline - time.monotonic()) for each in processes] == [0, 0, 0]
    assert (tmp_path / "n").read_text() == "60"
