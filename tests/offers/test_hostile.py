"""What distributions and plugins may do, all at once, and every command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medloss.offers.host import Host
from medloss.offers.isolation import IsolatedError, apart, isolated, told

GOOD = """
from medloss import Loss, Metric, hookimpl

@hookimpl
def medloss_losses():
    yield Loss(name="{name}", target="{module}:ShinyLoss", family="region", summary={summary!r})

class ShinyLoss: ...
"""
CLASH = """
from medloss import Loss, Metric, hookimpl

@hookimpl
def medloss_losses():
    yield Loss(name="dice", target="{module}:DiceLoss", family="region", summary="Theirs.")

@hookimpl
def medloss_metrics():
    yield Metric(name="dice", target="{module}:dice", family="region", summary="Theirs.",
                 facts=("counts",), better="higher")

def dice(counts): return -1.0
"""
MUTE = """
class Mute(BaseException):
    def __str__(self): raise self
    __repr__ = __str__
raise Mute
"""
ODD_RECORD = """
from medloss import Loss, hookimpl

class Odd(Loss):
    def classes(self): raise BaseException("later")
    noun = property(classes)

@hookimpl
def medloss_losses():
    yield Odd(name="odd", target="a:B", family="region", summary="Odd.")
"""
NO_JSON = """
from medloss import Loss, hookimpl

@hookimpl
def medloss_losses():
    yield Loss(name="odd", target="a:B", family="region", summary="Odd.", example={{"x": {{1}}}})
"""
LOUD = """
import os, subprocess, sys
print("spoiled by print")
sys.stdout.write("spoiled by write\\n")
os.write(1, b"spoiled by a descriptor\\n")
subprocess.run([sys.executable, "-c", "print('spoiled by a process')"])
sys.stdout.close()
"""
PLUGINS = {
    "mute": MUTE,
    "quits": "raise SystemExit('leave')",
    "interrupts": "raise KeyboardInterrupt",
    "generator": "raise GeneratorExit('x')",
    "loud": LOUD + GOOD,
    "clash": CLASH,
    "half": GOOD,
    "odd_record": ODD_RECORD,
    "no_json": NO_JSON,
    "escape": "raise RuntimeError('\\x1b[2J\\u202egone')",
}
BROKEN = {"mute", "quits", "interrupts", "generator", "odd_record", "no_json", "escape"}


def add(folder: Path, name: str, source: str) -> Path:
    module = f"hostile_{name}"
    summary = "lone \udcff half" if name == "half" else "Shiny."
    words = {"name": name, "module": module, "summary": summary}
    if source in (GOOD, CLASH, NO_JSON) or source.startswith(LOUD):
        source = source.format(**words)
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: hostile-{name}\nVersion: 1.2\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(f"[medloss]\n{name} = {module}\n", encoding="utf-8")
    return info


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of them, to be put on the path of a process."""
    folder = tmp_path_factory.mktemp("site")
    for name, source in PLUGINS.items():
        add(folder, name, source)
    (add(folder, "nameless", GOOD) / "METADATA").unlink()
    (add(folder, "latin", GOOD) / "METADATA").write_bytes(b"Name: caf\xe9\nVersion: 1\n")
    (add(folder, "bytes", GOOD) / "entry_points.txt").write_bytes(b"[medloss]\n\xff = \xfe\n")
    (add(folder, "malformed", GOOD) / "entry_points.txt").write_text("[medloss]\nno equals sign\n")
    (add(folder, "bad_value", GOOD) / "entry_points.txt").write_text("[medloss]\nbad_value = !\n")
    (add(folder, "other", GOOD) / "entry_points.txt").write_bytes(b"[others]\n\xff = \xfe\n")
    return folder


def command(hostile: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(hostile), *filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)])])
    return subprocess.run(
        [sys.executable, "-m", "medloss", *arguments],
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
    )


ROOT = Path(__file__).parents[2]


def test_everything_on_offer_is_listed(hostile, tmp_path):
    done = command(hostile, "list", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    states = {p["distribution"]: p["state"] for p in found["plugins"]}
    assert {n for n, state in states.items() if state == "broken"} == {
        *(f"hostile-{name.replace('_', '-')}" for name in BROKEN - {"odd_record", "no_json"}),
        "hostile-odd_record",
        "hostile-no_json",
        "hostile-bytes",
        "hostile-malformed",
        "hostile-bad_value",
    }
    assert {n for n, state in states.items() if state == "ok"} == {
        *("medloss", "hostile-loud", "hostile-clash", "hostile-half"),
        *("hostile-nameless", "hostile-latin"),
    }
    reasons = {p["distribution"]: p["reason"] for p in found["plugins"]}
    for name, reason in reasons.items():
        if states[name] == "broken":
            assert str(hostile) in reason, name
    assert "SystemExit: leave" in reasons["hostile-quits"]
    assert "KeyboardInterrupt" in reasons["hostile-interrupts"]
    assert "cannot be had" in reasons["hostile-mute"]
    assert "what JSON can hold" in reasons["hostile-no_json"]
    assert "codec" in reasons["hostile-bytes"]
    summaries = {loss["name"]: loss["summary"] for loss in found["losses"]}
    assert summaries["half"] == r"lone \udcff half"
    for how in ("print", "write", "a descriptor", "a process"):
        assert f"spoiled by {how}\n" in done.stderr


def test_the_table_is_printed_and_obeys_nobody(hostile, tmp_path):
    done = command(hostile, "list", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hostile-escape" in done.stdout
    assert r"\x1b[2J\u202egone" in done.stdout
    assert "\x1b" not in done.stdout
    assert "spoiled" not in done.stdout


def test_a_study_is_scored_by_our_metric_of_the_name(hostile, tmp_path):
    cube = np.zeros((6, 6, 6), np.uint8)
    cube[1:4, 1:4, 1:4] = 1
    for side in ("pred", "ref"):
        (tmp_path / side).mkdir()
        nibabel.save(nibabel.Nifti1Image(cube, np.eye(4)), tmp_path / side / "a.nii.gz")
    arguments = ["eval", "pred", "ref", "-m", "dice"]
    done = command(hostile, *arguments, "-m", "hostile-clash:dice", "--csv", "v.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "v.csv").read_text().splitlines()
    assert [line.split(",")[3:5] for line in lines[1:]] == [
        ["dice", "1.0"],
        ["hostile-clash:dice", "-1.0"],
    ]
    assert "reached by its full name, hostile-clash:dice" in done.stderr


def test_a_finder_that_fails_hides_nothing_of_ours(monkeypatch):
    class Finder:
        def find_spec(self, *_: object) -> None:
            return None

        def find_distributions(self, *_: object):
            raise BaseException("no")

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert {"dice", "boundary"} <= {offer.record.name for offer in Host().losses}


def test_an_interruption_of_the_user_is_one(request):
    # a process that a shell put into the background is begun with the signal ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    with pytest.raises(KeyboardInterrupt), isolated():
        interrupted()
    with pytest.raises(IsolatedError, match="KeyboardInterrupt"), isolated():
        raise KeyboardInterrupt
    seen: list[str] = []

    def elsewhere() -> None:
        try:
            with isolated():
                raise KeyboardInterrupt
        except IsolatedError as error:
            seen.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == ["KeyboardInterrupt"]


def test_handlers_and_output_are_back(capfd):
    before = signal.getsignal(signal.SIGINT), sys.stdout
    with apart(), apart():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.write(1, b"apart\n")
    assert (signal.getsignal(signal.SIGINT), sys.stdout) == before
    os.write(1, b"output\n")
    out, err = capfd.readouterr()
    assert (out, err) == ("output\n", "apart\n")


def test_an_error_is_one_line():
    assert told(ValueError("a\n b\udcff")) == r"ValueError: a b\udcff"
    assert told(KeyError()) == "KeyError"
