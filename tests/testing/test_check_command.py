"""``medloss check``: what it runs, prints and returns."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from medloss.cli import COMMANDS, main
from medloss.offers.folders import as_if_installed, read_project
from medloss.offers.host import host

PLUGIN = """
from medloss import Metric, hookimpl

@hookimpl
def medloss_metrics():
    words = dict(family="region", summary="Overlap over union.", facts=("counts",))
    yield Metric(name="good_overlap", target="testing.good_metrics:good_metric", better="higher",
                 **words)
    yield Metric(name="bad_overlap", target="testing.broken_metrics:forgiving", better="higher",
                 **words)
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A distribution on the path, as an installer would put it there."""
    (tmp_path / "medloss_for_check.py").write_text(PLUGIN)
    info = tmp_path / "medloss_for_check-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: medloss-for-check\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[medloss]\nchecked = medloss_for_check\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    host.cache_clear()
    yield "medloss-for-check"
    host.cache_clear()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments])


@pytest.fixture(autouse=True)
def command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "check", "Hold losses and metrics to the contract.")


@pytest.mark.parametrize("name", ["checked", "medloss-for-check", "medloss-for-check:checked"])
def test_a_plugin_is_checked_whole(plugin: str, name: str) -> None:
    done = run("--plugin", name, "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert [row["name"] for row in told["checked"]] == [
        "medloss-for-check:bad_overlap",
        "medloss-for-check:good_overlap",
    ]
    failed = [
        (row["name"], check["check"])
        for row in told["checked"]
        for check in row["checks"]
        if check["verdict"] == "failed"
    ]
    assert failed == [("medloss-for-check:bad_overlap", "missed_and_spurious_are_not_perfect")]
    assert (told["failed"], told["exempt"]) == (1, 0)


def test_one_name_is_checked_and_success_is_0(plugin: str) -> None:
    done = run("good_overlap")
    assert done.exit_code == 0, done.output
    assert "metric medloss-for-check:good_overlap (1.2)" in done.stdout
    assert "symmetries_change_nothing" in done.stdout
    assert "0 failed" in done.stdout


def test_a_failure_says_what_was_demanded_and_what_came(plugin: str) -> None:
    done = run("bad_overlap")
    assert done.exit_code == 1
    words = " ".join(done.stdout.split())
    assert "failed medloss-for-check:bad_overlap: missed_and_spurious_are_not_perfect" in words
    assert "a missed class has 1" in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected a NAME, a FOLDER or --plugin NAME"),
        (["dice", "--plugin", "region"], "expected a NAME, a FOLDER or --plugin NAME"),
        (["dise"], "did you mean dice"),
        (["--plugin", "regoin"], "no plugin or distribution is called 'regoin'; there are: "),
        (["--plugin", "compound", "--kind", "metric"], "'compound' offers no metric"),
    ],
)
def test_what_cannot_be_checked_is_2(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())


def test_a_broken_plugin_is_2_with_its_reason(plugin: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("MEDLOSS_DISABLE", "checked")
    host.cache_clear()
    done = run("--plugin", plugin)
    assert done.exit_code == 2
    assert "is disabled: listed in MEDLOSS_DISABLE" in " ".join(done.stderr.split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plugin that is not installed, with a family of its own."""
    source = PLUGIN.replace("region", "overlap").replace("good_overlap", "own_overlap")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "medloss_uninstalled.py").write_text(
        source.partition('    yield Metric(name="bad')[0]
    )
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "medloss-uninstalled"\nversion = "0.3"\n'
        '[project.entry-points.medloss]\nown = "medloss_uninstalled"\n'
    )
    return tmp_path


def test_a_folder_is_checked_that_is_not_installed(folder: Path) -> None:
    path = [*sys.path]
    done = run(str(folder), "--json")
    assert done.exit_code == 0, done.output
    assert [row["name"] for row in json.loads(done.stdout)["checked"]] == [
        "medloss-uninstalled:own_overlap"
    ]
    assert "Remark: medloss-uninstalled:own_overlap: family 'overlap': nobody else" in done.stderr
    assert sys.path == path
    assert "medloss-uninstalled" not in {each.distribution for each in host().plugins}


@pytest.mark.parametrize("place", ["lib", ".", "lab"])
def test_modules_are_found_where_builders_let_them_lie(folder: Path, place: str) -> None:
    inner = folder / place
    inner.mkdir(exist_ok=True)
    (folder / "src" / "medloss_uninstalled.py").rename(inner / "medloss_uninstalled.py")
    assert read_project(folder).sources == [inner.resolve()]


def test_what_is_installed_gives_way_to_the_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier version, whose entry point had another name, and whose name another spelling."""
    installed = tmp_path_factory.mktemp("site")
    (installed / "medloss_uninstalled.py").write_text("")
    info = installed / "medloss_uninstalled-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: Medloss_Uninstalled\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[medloss]\nearlier = medloss_uninstalled\n")
    monkeypatch.syspath_prepend(installed)
    with as_if_installed(folder) as name:
        found = [each for each in host().plugins if "ninstalled" in each.distribution]
        assert [(each.name, each.version, each.state) for each in found] == [("own", "0.3", "ok")]
        assert len(host().of_plugin(name)) == 1


def test_a_project_of_setuptools_alone_is_told_the_way(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"\n')
    (tmp_path / "setup.py").write_text("")
    done = run(str(tmp_path))
    assert done.exit_code == 2
    assert "install it and name it by --plugin, for setup.py is not read" in done.output


PROJECTS = {
    "": "expected a folder with a pyproject.toml",
    "[project": "cannot be read",
    "[tool.ruff]": "expected a name in [project]",
    '[project]\nname = "../up"': "expected a name in [project]",
    '[project]\nname = "mine"': "expected entry points, [project.entry-points.medloss]",
    '[project]\nname = "mine"\n[project.entry-points.monai]\na = "b"': "got monai",
    '[project]\nname = "mine"\n[project.entry-points.medloss]\na = 3': "no table of texts",
    '[project]\nname = "mine"\n[project.entry-points.medloss]\na = "nowhere"': (
        "No module named 'nowhere'"
    ),
    '[project]\nname = "mine"\n[project.entry-points."medloss.losses"]\na = "b"': "is not read",
    '[tool.poetry]\nname = "mine"\n[tool.poetry.plugins.medloss_plugins]\na = "b"': "is not read",
}


@pytest.mark.parametrize("project", PROJECTS)
def test_a_folder_that_is_no_plugin_is_refused_in_words(tmp_path: Path, project: str) -> None:
    if project:
        (tmp_path / "pyproject.toml").write_text(project)
    done = run(str(tmp_path))
    assert done.exit_code == 2
    assert PROJECTS[project] in done.output


def test_a_file_is_no_folder(folder: Path) -> None:
    done = run(str(folder / "pyproject.toml"))
    assert done.exit_code == 2
    assert "expected a folder with a pyproject.toml, got a file" in done.output


def test_a_folder_comes_alone(folder: Path) -> None:
    done = run(str(folder), "dice")
    assert done.exit_code == 2
    assert "alone" in done.output
