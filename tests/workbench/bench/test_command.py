from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from medloss.cli import main
from medloss.workbench.bench import environment
from medloss.workbench.bench.loss_rivals import LossRival
from medloss.workbench.bench.results import dumps, loads

TINY = ("--shape", "2,3,12,12,12", "--rounds", "2", "--quick", "--threads", "1")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


def test_one_loss_beside_monai(tmp_path):
    target = tmp_path / "found.json"
    result = run("dice", *TINY, "--rivals", "monai", "--json", target)
    assert result.exit_code == 0, result.output
    assert "equal" in result.stdout
    assert f"Wrote {target}." in result.stdout
    assert max(map(len, result.stdout.replace(str(target), "").splitlines())) <= 100
    report = loads(target.read_text())
    assert report.settings["rounds"] == 2
    assert report.settings["shapes"] == "2,3,12,12,12"
    assert json.loads(target.read_text())["format"] == 1
    assert report.environment["torch"]


def test_losses_by_argument_and_option_once_each(tmp_path):
    target = tmp_path / "found.json"
    result = run(
        "dice", "--loss", "focal", "--loss", "dice", *TINY, "--rivals", "none", "--json", target
    )
    assert result.exit_code == 0, result.output
    assert [c.name for c in loads(target.read_text()).tables[0].contests] == ["dice", "focal"]


def test_small_inputs_take_many_calls_a_round(tmp_path, monkeypatch):
    monkeypatch.setattr("medloss.cli.bench._SMALL_SHAPES", ((2, 2, 8, 8), (2, 3, 4, 4, 4)))
    target, page, picture = (tmp_path / name for name in ("a.json", "a.md", "a.svg"))
    files = ("--json", target, "--markdown", page, "--plot", picture)
    result = run("--small", "--rounds", "2", "--rivals", "monai", "--threads", "1", *files)
    assert result.exit_code == 0, result.output
    report = loads(target.read_text())
    assert report.settings["calls"] == 20
    assert report.settings["memory"] is False
    assert report.settings["shapes"] == "2,2,8,8 2,3,4,4,4"
    losses = ["dice", "dice_ce", "tversky", "focal", "generalized_dice, no smoothing"]
    for table in report.tables:
        assert [contest.name for contest in table.contests] == losses
        assert "the time of a round is the median of 20 calls in a row" in table.notes
        for contest in table.contests:
            assert [(len(e.wall_s), e.extra_bytes) for e in contest.entries] == [(2, None)] * 2
            assert contest.rivals[0].check == "equal"
            assert len(contest.copy_s) == 2
    assert "logits 1.0 kB" in page.read_text()
    assert "logits 1.0 kB" in result.stdout
    assert picture.stat().st_size


def test_small_inputs_of_losses_and_types_that_are_named(tmp_path):
    from medloss.cli.bench import _SMALL_SHAPES

    target = tmp_path / "a.json"
    few = ("--rounds", "1", "--rivals", "none", "--dtype", "bfloat16", "--json", target)
    assert run("dice", "--small", *few).exit_code == 0
    report = loads(target.read_text())
    assert len(report.tables) == len(_SMALL_SHAPES)
    assert {table.settings["dtype"] for table in report.tables} == {"bfloat16"}
    assert {len(table.contests) for table in report.tables} == {1}


def test_a_wrong_rival_is_exit_code_1(monkeypatch):
    wrong = LossRival("torch", "wrong", "0", lambda classes: lambda x, y: 0 * x.sum())
    monkeypatch.setattr("medloss.workbench.bench.losses.rivals", lambda: {"dice": (wrong,)})
    result = run("dice", *TINY, "--no-memory")
    assert result.exit_code == 1
    assert "DIFFERS" in result.stdout
    assert "Error: dice, wrong: values differ by" in result.stdout


def test_a_missing_rival_is_listed(monkeypatch):
    from medloss.workbench.bench import loss_rivals

    monkeypatch.setitem(
        loss_rivals.SOURCES, "exacta", loss_rivals.Source("no_such_package", "pip install it")
    )
    result = run("dice", *TINY, "--rivals", "exacta", "--no-memory")
    assert result.exit_code == 0
    assert "missing" in result.stdout
    assert "no_such_package is not installed (pip install it)" in result.stdout


def test_nothing_is_overwritten_silently(tmp_path, monkeypatch, report):
    monkeypatch.setattr("medloss.workbench.bench.losses.run", lambda *arguments: report)
    target = tmp_path / "found.json"
    target.write_text("mine")
    result = run("dice", "--json", target)
    assert result.exit_code == 2
    assert "--force overwrites it" in " ".join(result.stderr.split())
    assert target.read_text() == "mine"
    assert run("dice", "--json", target, "--force").exit_code == 1  # the report holds an error
    assert loads(target.read_text()) == report


def test_a_file_is_shown_instead_of_measuring(tmp_path, report):
    source, page = tmp_path / "found.json", tmp_path / "found.md"
    source.write_text(dumps(report))
    result = run("--from", source, "--markdown", page)
    assert result.exit_code == 1  # it holds a disagreement
    assert "12500" in result.stdout
    assert "| 12500 |" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("dicee",), "did you mean dice"),
        (("--shape", "2,14"), "such as 2,14,96,96,96, got '2,14'"),
        (("--shape", "a,b,c"), "got 'a,b,c'"),
        (("--rivals", "monai,keras"), "got 'keras'"),
        (("--plot", "a.gif"), "ends in .png or .svg"),
        (("--json", "a", "--markdown", "a"), "two outputs name the same file"),
        (("--from", "no.json"), "no.json does not exist"),
        (("--from", "no.json", "--rounds", "3"), "--rounds has no use"),
        (("--from", "no.json", "dice"), "has no use"),
        (("--rounds", "0"), "0 is not in the range"),
        (("--small", "--shape", "2,2,8,8"), "of shapes of its own, so --shape has no use"),
        (("--small", "--no-memory"), "so --memory has no use"),
        (("--small", "--quick"), "so --quick has no use"),
        (("--small", "--metrics"), "--metrics measures no loss, so --small has no use"),
        (("--small", "--distances"), "--distances measures no loss, so --small has no use"),
        (("--small", "--case", "a"), "--case is an option of --metrics"),
        (("--small", "--from", "no.json"), "--from measures nothing, so --small has no use"),
    ],
)
def test_wrong_commands(arguments, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert text in " ".join(result.stderr.split())


def test_a_plot_without_matplotlib_is_refused_before_measuring(tmp_path, monkeypatch):
    monkeypatch.setattr("medloss.workbench.bench.plot.find_spec", lambda name: None)
    monkeypatch.setattr(
        "medloss.workbench.bench.losses.run", lambda *arguments: pytest.fail("measured")
    )
    result = run("dice", "--plot", tmp_path / "a.png")
    assert result.exit_code == 2
    assert "the extra bench of medloss" in result.stderr


def test_a_warm_heap_needs_another_process(monkeypatch):
    class ReplacedError(Exception):
        pass

    def replace(program: str, arguments: list[str], variables: dict[str, str]) -> None:
        assert program == sys.executable
        assert arguments == sys.orig_argv
        assert variables["MALLOC_MMAP_MAX_"] == "0"
        raise ReplacedError

    monkeypatch.setattr(os, "execve", replace)
    monkeypatch.setattr(environment.platform, "libc_ver", lambda: ("glibc", "2.36"))
    for name in environment.WARM_HEAP:
        monkeypatch.delenv(name, raising=False)
    result = run("dice", *TINY, "--warm-heap")
    assert "Starting again with MALLOC_MMAP_MAX_=0" in result.stderr
    assert "ReplacedError" in result.stderr
    monkeypatch.setattr(environment.platform, "libc_ver", lambda: ("", ""))
    result = run("dice", *TINY, "--warm-heap")
    assert result.exit_code == 2
    assert "glibc" in result.stderr


@pytest.mark.skipif(environment.platform.libc_ver()[0] != "glibc", reason="the heap is glibc's")
def test_the_new_process_has_the_warm_heap():
    code = (
        "from medloss.workbench.bench.environment import is_warm, restart_warm\n"
        "print(is_warm())\n"
        "is_warm() or restart_warm()"
    )
    variables = {k: v for k, v in os.environ.items() if k not in environment.WARM_HEAP}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables
    )
    assert done.stdout.split() == ["False", "True"]
