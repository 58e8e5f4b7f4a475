"""How commands end: each kind of end has its exit code, a sentence, and never a traceback."""

from __future__ import annotations

import ast
import csv
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result

from medloss.cli import COMMANDS, main
from medloss.cli.terminal import make_console
from medloss.runtime.visible import visible

EVAL = ("eval", "pred", "ref", "-m", "dice", "--no-report")
CLI = Path(__file__).parents[2] / "medloss" / "cli"


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    """Three cases of two labels."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for side in ("pred", "ref"):
        (tmp_path / side).mkdir()
        for n in range(3):
            image = nibabel.Nifti1Image(rng.integers(0, 3, (8, 8, 8), dtype=np.uint8), np.eye(4))
            nibabel.save(image, tmp_path / side / f"c{n}.nii")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def evaluate(*arguments: str) -> Result:
    return run(*EVAL, "--output", "out", *arguments)


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("cases.csv", "summary.json")}


def raising(error: BaseException):
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 4, "cases.csv cannot be written: No sp"),
        (MemoryError(), 4, "MemoryError"),
        (RuntimeError("defect"), 4, "defect"),
        (TypeError("a defect"), 4, "TypeError: a defect (medloss --debug shows the traceback)"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_fails_while_tables_are_written(study, monkeypatch, error, code, said):
    monkeypatch.setattr("csv.writer", raising(error))
    done = evaluate()
    assert done.exit_code == code, done.output
    assert f"Error: {said}" in done.stderr.replace("out/", "")
    assert (
        code == 4 and isinstance(error, TypeError)
    ) or "--resume goes on with out" in done.stderr
    assert not (study / "out" / "cases.csv").exists()
    monkeypatch.undo()
    os.chdir(study)
    resumed = evaluate("--resume")
    assert (resumed.exit_code, resumed.stderr) == (0, "3 of 3 cases were scored before.\n")


@pytest.mark.parametrize("command", [["list"], ["info", "dice"], ["suggest", "ref"]])
def test_every_command_ends_alike(study, monkeypatch, command):
    console = f"medloss.cli.{command[0]}.make_console"
    monkeypatch.setattr(console, raising(KeyboardInterrupt()))
    assert run(*command).exit_code == 130
    monkeypatch.setattr(console, raising(ZeroDivisionError("x")))
    done = run(*command)
    assert (done.exit_code, "Traceback" in done.output) == (4, False)
    assert isinstance(run("--debug", *command).exception, ZeroDivisionError)


def test_a_traceback_is_shown_on_demand_alone():
    command = [sys.executable, "-m", "medloss", "--debug", "info", "dcie"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 4
    assert done.stderr.startswith("Traceback")
    del command[3]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def test_exit_codes_are_in_the_help():
    text = " ".join(run("--help").output.split())
    assert "4 stopped by the machine or by a defect; 130 by Ctrl-C or SIGTERM" in text
    for command in ("eval", "study", "compare", "bench"):
        text = " ".join(run(command, "--help").output.split())
        assert "4 when the machine failed" in text, command
        assert "130 after Ctrl-C or SIGTERM" in text, command


def test_nobody_reads(study):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "medloss", "list"], stdout=gone, stderr=subprocess.PIPE
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_two_studies_do_not_meet(study):
    from medloss.work.lock import locked

    assert evaluate().exit_code == 0
    before = (study / "out" / "journal.jsonl").read_bytes()
    with locked(study / "out"):
        for how in ("--resume", "--force"):
            done = evaluate(how)
            assert done.exit_code == 2
            assert f"out is being written to by process {os.getpid()} on " in done.stderr
    assert (study / "out" / "journal.jsonl").read_bytes() == before
    assert evaluate("--force").exit_code == 0


def test_a_damaged_journal_is_said(study):
    assert evaluate().exit_code == 0
    before = tables(study / "out")
    path = study / "out" / "journal.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], lines[1].replace(b"0.", b"1.", 1), *lines[2:], b""]))
    done = evaluate("--resume")
    assert done.exit_code == 0
    assert done.stderr.startswith("2 of 3 cases were scored before; 1 lines of the journal are dam")
    assert tables(study / "out") == before
    path.write_bytes(b"\n".join([lines[0].replace(b"dice", b"rice"), *lines[1:], b""]))
    assert "0 of 3 cases were scored before; 3 lines" in evaluate("--resume").stderr
    assert tables(study / "out") == before


def test_a_folder_that_was_deleted_under_us(study):
    (study / "gone").mkdir()
    os.chdir(study / "gone")
    (study / "gone").rmdir()
    try:
        for arguments in (["--csv", "v.csv"], ["--output", "o"]):
            done = run("eval", str(study / "pred"), str(study / "ref"), *arguments)
            assert done.exit_code == 2
            assert "deleted" in done.stderr or "No such file" in done.stderr
    finally:
        os.chdir(study)


# Signals at moments of the work of a real process; the same in hundreds of moments was run by hand


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_signals_at_any_moment_lose_nothing(study, number):
    assert evaluate().exit_code == 0
    whole = tables(study / "out")
    rng = random.Random(int(number))
    for moment in ("begin", "journal", "end"):
        evaluate("--force")
        for path in (study / "out").iterdir():
            path.unlink()
        process = subprocess.Popen(
            [sys.executable, "-m", "medloss", *EVAL, "--output", "out"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until = {"begin": ".lock", "journal": "journal.jsonl", "end": "cases.csv"}[moment]
        while process.poll() is None and not (study / "out" / until).exists():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.01))
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode in (130, -number, 0), said
        assert (process.returncode == 0) <= (moment == "end"), said
        assert "Traceback" not in said
        resumed = evaluate("--resume")
        assert resumed.exit_code == 0, resumed.output
        assert tables(study / "out") == whole
        assert not [path.name for path in (study / "out").iterdir() if path.name[0] == "."]


# What reaches the terminal


NASTY = "a\x1b[2J\u202eb\x07\x9b\u2066\x7f\udcff"


def test_what_a_terminal_obeys_is_written_out():
    assert visible(NASTY) == r"a\x1b[2J\u202eb\x07\x9b\u2066\x7f\udcff"
    assert visible("tab\tand\nline: äöü 肝 ✓") == "tab\tand\nline: äöü 肝 ✓"


def test_rich_texts_too(capsys):
    from rich.table import Table
    from rich.text import Text

    table = Table(NASTY)
    table.add_row(NASTY)
    console = make_console(width=200, force_terminal=True, color_system=None)
    console.print(table)
    console.print(NASTY, markup=False)
    console.print(Text(NASTY), soft_wrap=True)
    out = capsys.readouterr().out
    assert out.count(r"a\x1b[2J\u202eb\x07\x9b\u2066\x7f\udcff") == 3
    assert r"a\x1b[2J\u202eb\x9b" in out  # rich itself takes the bell out of its own texts
    assert not set(out) & set(NASTY[1:2] + "\u202e\x07\x9b\u2066\x7f\udcff")


def test_every_command_prints_by_this_alone():
    for name in ["__init__", *COMMANDS]:
        path = CLI / f"{name.replace('-', '_')}.py"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not called & {"print", "click.echo", "click.secho", "Console"}, path


def test_names_of_files_move_no_cursor(study):
    for side in ("pred", "ref"):
        (study / side / "c1.nii").rename(study / side / "c1\x1b[2J\u202e.nii")
        (study / side / "c2.nii").write_bytes(b"\x1b]0;title\x07")
        (study / side / "c2.nii").rename(study / side / "c2\x1b[1A.nii")
    labels = {"1": "liver\x1b[31m", "2": "\u202ereverse"}
    (study / "labels.json").write_text(json.dumps(labels))
    done = run("eval", "pred", "ref", "-m", "dice", "--labels", "labels.json", "--csv", "v.csv")
    assert done.exit_code == 1
    assert not {"\x1b", "\x07", "\u202e"} & set(done.output)
    assert r"c2\x1b[1A: " in done.output
    assert "c1\x1b[2J\u202e," in (study / "v.csv").read_text()  # a file keeps the name


# Cells that a spreadsheet would run


def test_cells_for_spreadsheets(study):
    names = ["=1+1", "-1", "@x", "'=1", "'tis", "plain"]
    image = (study / "ref" / "c0.nii").read_bytes()
    for side in ("pred", "ref"):
        for path in (study / side).iterdir():
            path.unlink()
        for name in names:
            (study / side / f"{name}.nii").write_bytes(image)
    (study / "labels.json").write_text(json.dumps({"1": "+liver", "2": "spleen"}))
    arguments = [*EVAL, "--labels", "labels.json", "--compare-definitions"]
    assert run(*arguments, "--output", "plain").exit_code == 0
    assert run(*arguments, "--output", "safe", "--csv-safe", "--csv", "v.csv").exit_code == 0
    for path in ("safe/cases.csv", "safe/definitions.csv", "v.csv"):
        with (study / path).open(newline="") as file:
            _, *lines = csv.reader(file)
        assert {line[0] for line in lines} == {"'=1+1", "'-1", "'@x", "''=1", "'tis", "plain"}
        assert {line[2] for line in lines} == {"'+liver", "spleen"}
        assert {line[4] for line in lines} >= {"1.0"}
    from medloss.evaluation.outputs.results import read_folder

    one, other = read_folder(study / "plain"), read_folder(study / "safe")
    assert (one.cases, one.lines) == (other.cases, other.lines)
    assert sorted(case.name for case in other.cases) == sorted(names)
    arguments = ["compare", "plain", "safe", "--name", "=a", "--name", "b", "--csv", "d.csv"]
    assert run(*arguments, "--csv-safe").exit_code == 0
    assert "'=a" in (study / "d.csv").read_text()
    for command in (EVAL[:-1], arguments[:-2]):
        done = run(*command, "--csv-safe")
        assert (done.exit_code, "--csv-safe needs --csv" in done.stderr) == (2, True)


def test_thousands_of_labels_take_linear_time(study):
    """Counted, not timed: how often the labels of a case are gone through."""
    from medloss.evaluation.records import CaseResult
    from medloss.scoring import Case

    labels = tuple(range(1, 5001))
    cube = np.zeros((2, 2, 2), np.uint8)
    case = Case(reference=cube, prediction=cube, labels=labels, spacing_mm=1.0)
    compared = 0

    class Counted(int):
        __hash__ = int.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return int(self) == other

    for label in labels[-50:]:
        case.status(Counted(label))
    assert compared <= 50 * 10
    for name in ("values", "statuses", "voxels"):
        assert hasattr(vars(CaseResult)[name], "attrname"), f"{name} is made once"
