"""Ctrl-C wherever Python happens to be: one exit code, no traceback, nothing half-written."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("os.kill sends no signals there", allow_module_level=True)

BEGIN = """
import os, signal, sys
from medloss.runtime import interruption
interruption.catch()
def ctrl_c(): os.kill(os.getpid(), signal.{signal})
"""
PLACES = {
    "an import": "import interrupted_module",
    "an import that takes every error": "import taking_module; print('went on')",
    "a finaliser": "class A:\n    def __del__(self): ctrl_c()\nA()\nprint('went on')",
    "the last lines": (
        "interruption.finish()\ntry: ctrl_c()\nexcept BaseException: print('went on')"
    ),
    "nobody's frame": "ctrl_c()\nprint('went on')",
    "the exit": "import atexit\natexit.register(ctrl_c)",
    "twice": "try: ctrl_c()\nexcept KeyboardInterrupt: ctrl_c()\nprint('went on')",
}


def run(code: str, folder: Path, signal: str = "SIGINT") -> subprocess.CompletedProcess[str]:
    (folder / "interrupted_module.py").write_text("import __main__; __main__.ctrl_c()")
    (folder / "taking_module.py").write_text(
        "import __main__\ntry: __main__.ctrl_c()\nexcept BaseException: pass"
    )
    code = f"import sys; sys.path.append({str(folder)!r})" + BEGIN.format(signal=signal) + code
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize("place", PLACES)
def test_it_ends_the_process_wherever_it_comes(place, tmp_path):
    done = run(PLACES[place], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nError: interrupted\n")


def test_a_batch_system_means_the_same(tmp_path):
    done = run("import interrupted_module", tmp_path, "SIGTERM")
    assert (done.returncode, done.stderr) == (130, "\nError: interrupted\n")


def test_what_is_open_is_closed_where_it_can_be(tmp_path):
    done = run("try: ctrl_c()\nexcept KeyboardInterrupt: print(interruption.asked())", tmp_path)
    assert (done.returncode, done.stdout) == (0, "True\n")


def test_files_and_workers_go_with_the_process(tmp_path):
    code = f"""
import multiprocessing, time
from pathlib import Path
from medloss.runtime.files import partial_file
child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
child.start()
print(child.pid, flush=True)
with partial_file(Path({str(tmp_path)!r}) / "table.csv") as partial:
    partial.write_text("half of it")
    import interrupted_module
"""
    done = run(code, tmp_path)
    assert done.returncode == 130, done.stderr
    assert not [path for path in tmp_path.iterdir() if "table" in path.name]
    deadline = time.monotonic() + 30  # it is killed, but may not have run since
    while is_running(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(number: int) -> bool:
    """Whether a process is there, and not only to be taken away by whoever inherited it."""
    try:
        return Path(f"/proc/{number}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_it_listens_before_anything_else_is_imported():
    code = (
        "import os, sys; before = set(sys.modules); import medloss.runtime.interruption; "
        "print(*sorted(set(sys.modules) - before))"
    )
    path = f"import sys; sys.path[:0] = {sys.path!r}; "
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", path + code], capture_output=True, text=True, check=True
    )
    found = {name.partition(".")[0] for name in done.stdout.split()}
    assert found <= {"medloss", "__future__", "importlib", "warnings"}
