"""`medloss list` and `medloss info` as a user meets them."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from medloss._version import __version__
from medloss.cli import COMMANDS, SECTIONS, main
from medloss.cli.options import SectionedCommand
from medloss.evaluation.reading.formats import with_own_readers
from medloss.offers.cards import argument_help, read_card
from medloss.offers.host import host

OFFERS = [("loss", o) for o in host().losses] + [("metric", o) for o in host().metrics]


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "140"}).invoke(main, arguments)


def test_version() -> None:
    assert run("--version").output == f"medloss, version {__version__}\n"


def test_help_names_every_command() -> None:
    assert run("list").exit_code == 0  # importing that command must not hide the builtin list
    done = run("--help")
    told = done.output
    assert done.exit_code == 0, (done.exception, done.output)
    assert all(command in told for command in ("check", "eval", "info", "list"))


@pytest.mark.parametrize(("kind", "offer"), OFFERS, ids=[f"{k}-{o.record.name}" for k, o in OFFERS])
def test_list_shows_name_family_plugin_version_and_summary(kind: str, offer: Any) -> None:
    record = offer.record
    lines = [line.split() for line in run("list", "--long", "--kind", kind).output.splitlines()]
    (row,) = [line for line in lines if line[:1] == [record.name]]
    assert row[1:4] == [record.family, "medloss", __version__]
    assert row[4:7] == record.summary.split()[:3]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--kind", "loss", "--family", "boundary"],
            {
                "boundary",
                "boundary_dou",
                "generalized_surface",
                "hausdorff_dt",
                "hausdorff_erosion",
                "log_hausdorff_dt",
                "region_wise",
                "shape_aware",
                "surface_dice",
            },
        ),
        (
            ["--kind", "metric", "--family", "region"],
            {
                "accuracy",
                "dice",
                "jaccard",
                "mcc",
                "precision",
                "sensitivity",
                "specificity",
                "relative_volume_error",
                "volume_difference",
                "volume_similarity",
            },
        ),
        (["dice", "--kind", "metric"], {"dice"}),
        (["medloss:tversky"], {"tversky"}),
    ],
)
def test_list_filters(arguments: list[str], expected: set[str]) -> None:
    told = json.loads(run("list", "--json", *arguments).output)
    assert {row["name"] for row in told["losses"] + told["metrics"]} == expected


def test_list_is_a_line_for_each_under_its_family() -> None:
    lines = run("list").output.splitlines()
    families = {(o.record.kind, o.record.family) for _, o in OFFERS}
    assert len(lines) <= len([*with_own_readers()]) + len(families) + 3
    assert lines[0] == "Boundary losses"
    (nsd,) = [line for line in lines if line.startswith("  normalized_surface_dice ")]
    summary = host().metrics.find("nsd").record.summary
    assert nsd == f"  normalized_surface_dice (nsd, surface_dice)  {summary}"
    metrics = run("list", "--kind", "metric", "--family", "region").output.splitlines()
    assert metrics[0] == "Region metrics"
    assert [line.split()[0] for line in metrics[1:]] == sorted(
        o.record.name for o in host().metrics if o.record.family == "region"
    )


def test_a_terminal_cuts_the_lines_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    done = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["list", "--kind", "loss"])
    lines = re.sub(r"\x1b\[[\d;]*m", "", done.output).splitlines()
    assert max(map(len, lines)) == 80
    assert any(line.endswith("\N{HORIZONTAL ELLIPSIS}") for line in lines)


def test_help_is_in_groups() -> None:
    """A command of more than a dozen options has all of them under headings, --help last."""
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
        assert all(option.help for option in options), name
        grouped = isinstance(command, SectionedCommand)
        assert grouped or len(options) <= 12, name
        if grouped:
            placed = [option for names in command.sections.values() for option in names]
            assert sorted(placed) == sorted(option.name for option in options), name
    told = run("--help").output
    assert re.findall(r"^(\w.*):$", told, re.MULTILINE) == ["Options", *SECTIONS]
    assert len(COMMANDS) == sum(map(len, SECTIONS.values()))


def test_list_json_tells_plugins_too() -> None:
    told = json.loads(run("list", "--json").output)
    assert {p["name"] for p in told["plugins"]} >= {"region", "compound"}
    assert told["losses"][0].keys() >= {"name", "target", "cites", "needs", "alone", "version"}


def test_list_bundle_prints_the_block() -> None:
    told = run("list", "focal_tversky", "--bundle").output
    block = json.loads("{" + told.partition("\n")[2] + "}")
    assert block["loss"] == {"_target_": "medloss.losses.FocalTverskyLoss", "softmax": True}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "focal_tverski"], "did you mean focal_tversky"),
        (["list", "--family", "regoin"], "expected one of boundary, compound"),
        (["list", "--json", "--bundle"], "expected one of them"),
        (["list", "--kind", "lss"], "'loss', 'metric'"),
        (["info", "dcie"], "did you mean dice"),
        (["info"], "expected the NAME of a loss, metric, reader or profile"),
        (["info", "--env"], "--env: 'medloss doctor' shows versions, machine and backends"),
        (["lits"], "no command is called 'lits'; did you mean list?"),
        (["list", "--famly", "region"], "No such option '--famly'. Did you mean '--family'?\n"),
        (["zzz"], f"no command is called 'zzz'; there are: {', '.join(COMMANDS)}"),
    ],
)
def test_usage_errors_are_one_sentence(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert words in done.output
    assert "Traceback" not in done.output


def test_broken_plugins_are_listed_with_the_reason(tmp_path: Path) -> None:
    info = tmp_path / "medloss_bad-3.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: medloss-bad\nVersion: 3.0\n")
    (info / "entry_points.txt").write_text("[medloss]\nbad = medloss_bad\n")
    (tmp_path / "medloss_bad.py").write_text("raise RuntimeError('[no] such thing')\n")
    command = [sys.executable, "-m", "medloss", "list"]
    env = {"PYTHONPATH": str(tmp_path), "COLUMNS": "160", "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    expected = "broken: plugin 'bad' of medloss-bad 3.0: RuntimeError: [no] such thing"
    assert expected in done.stdout
    assert "generalized_dice" in done.stdout
    strict = subprocess.run(
        command, capture_output=True, text=True, env={**env, "MEDLOSS_STRICT": "1"}
    )
    assert strict.returncode == 2
    assert "'bad' of medloss-bad 3.0 is broken" in strict.stderr
    assert "Traceback" not in strict.stderr


def test_debug_shows_the_traceback() -> None:
    done = run("--debug", "info", "dcie")
    assert type(done.exception).__name__ == "PluginError"


@pytest.mark.parametrize(("kind", "offer"), OFFERS, ids=[f"{k}-{o.record.name}" for k, o in OFFERS])
def test_every_card_is_complete(kind: str, offer: Any) -> None:
    record = offer.record
    done = run("info", record.name, "--kind", kind)
    assert done.exit_code == 0, done.output
    told = done.output
    for title in ("Formula", "Range", "Source", "In a MONAI bundle"):
        assert f"\n{title}\n" in told
    assert record.summary in told
    assert "not computed" not in told
    target = offer.load()
    if kind == "loss":
        assert all(case in told for case in ("perfect", "all wrong", "empty target, p = 0.9"))
        names = inspect.signature(target).parameters.keys()
        assert names <= argument_help(target).keys(), "an option without a word about it"
    else:
        assert all(case in told for case in ("perfect", "missed", "spurious", "both_empty"))


def test_info_shows_both_where_a_loss_and_a_metric_share_a_name() -> None:
    told = run("info", "dice").output
    assert "dice (region loss" in told
    assert "dice (region metric" in told


def test_cards_are_read_from_docstrings() -> None:
    def documented() -> None:
        """First line.

        A paragraph that
        goes on.

        Range: [0, 1].

        Formula:
            a = b
            + c;
            d = e.

        After the sections.

        Args:
            x: one
                and more.
        """

    card = read_card(documented)
    assert card.summary == "First line."
    assert card.sections["Range"] == "[0, 1]."
    assert card.sections["Formula"] == "a = b + c;\nd = e."
    assert card.sections["Notes"] == "A paragraph that goes on.\nAfter the sections."
    assert argument_help(documented) == {"x": "one and more."}
