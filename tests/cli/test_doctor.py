"""`medloss doctor`: what it says, and that it sees what is broken."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import medloss
from medloss.cli import main
from medloss.offers.host import Plugin, host
from medloss.runtime import threads
from medloss.workbench import doctor
from medloss.workbench.doctor import Observation


def broken(check: Any) -> dict[str, str]:
    return {finding.what: finding.value for finding in check() if finding.state == "broken"}


def test_doctor_finds_nothing_broken_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDLOSS_BACKEND", raising=False)
    done = CliRunner().invoke(main, ["doctor", "--json"])
    told = json.loads(done.stdout)
    assert done.exit_code == 0, told
    assert told["broken"] == 0
    found = {row["what"]: row["value"] for row in told["findings"]}
    assert found["medloss"].startswith(medloss.__version__)
    assert found["class sums, cpu, bfloat16"] == "numba: compiled loops on the CPU"
    assert re.fullmatch(r"dice_ce of a small case is 1\.1931", found["a loss, cpu"])
    assert found["imported"].split()[0] == str(len(list(host())))
    kept = re.match(r"(\d+) of (\d+) loops", found["compiled"])
    assert kept is not None
    assert 0 < int(kept[1]) <= int(kept[2])
    assert list(dict.fromkeys(row["heading"] for row in told["findings"])) == [
        heading for heading in doctor.CHECKS if heading in {r["heading"] for r in told["findings"]}
    ]


def test_what_is_broken_is_told_and_the_exit_code_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def torn() -> Iterator[Observation]:
        yield Observation("whole", "[fine]")
        raise RuntimeError("torn")

    monkeypatch.setattr(doctor, "CHECKS", {"Mine": [torn]})
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 1
    assert re.findall(r"\S.*\S", done.stdout) == [
        *("Mine", "whole  [fine]", "torn   broken: RuntimeError: torn"),
        "1 thing is broken.",
    ]


def test_faults_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLOSS_BAKEND", "numba")
    wanted = {"MEDLOSS_BAKEND": "no such setting; did you mean MEDLOSS_BACKEND?"}
    assert broken(doctor._settings) == wanted
    monkeypatch.setenv("MEDLOSS_BACKEND", "tritn")
    assert "expected one of" in broken(doctor._class_sums)["class sums, cpu, float32"]
    one = Plugin("bad", "bad", "medloss-bad", "1", "broken", "ImportError: no")
    monkeypatch.setattr(host(), "plugins", [one])
    assert broken(doctor._plugins) == {"bad (medloss-bad 1)": "broken: ImportError: no"}
    monkeypatch.setattr(host(), "plugins", [Plugin("idle", "idle", "medloss-idle", "1")])
    assert next(doctor._plugins()) == Observation(
        "idle (medloss-idle 1)", "nothing on offer: its hooks yield nothing", "note"
    )
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda _: ["numpy>=99.1", "nosuch>=2", "x; extra == 'y'"]
    )
    found = broken(doctor._versions)
    assert found.keys() == {"numpy", "nosuch"}
    assert found["nosuch"] == "not installed: pip install 'nosuch>=2'"
    assert found["numpy"].endswith("and at least 99.1 is needed: pip install 'numpy>=99.1'")


def test_a_folder_that_cannot_be_written_is_seen(tmp_path: Path) -> None:
    assert doctor.writable(tmp_path / "not" / "yet")
    (tmp_path / "file").touch()
    assert not doctor.writable(tmp_path / "file")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_limits_of_containers(
    files: dict[str, str], expected: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.quota(tmp_path) == expected
    monkeypatch.setattr(threads, "quota", lambda: expected)
    monkeypatch.setattr(threads, "allowed", lambda: 3)
    assert threads.processors() == {1.5: 2, 4.0: 3, None: 3}[expected]
    assert ("limit of the container" in threads.described()) == (expected is not None)


def test_more_threads_than_processors_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(doctor, "threads", SimpleNamespace(processors=lambda: 2, described=str))
    found = {finding.what: finding for finding in doctor._processors()}["threads of torch"]
    assert found.state == "note"
    assert "OMP_NUM_THREADS=2" in found.value


def test_optional_packages_are_those_of_the_extras() -> None:
    path = Path(medloss.__file__).parents[1] / "pyproject.toml"
    if not path.is_file():
        pytest.skip("medloss is not in its repository")
    extras = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for extra, (package, _) in doctor.OPTIONAL.items():
        assert any(text.startswith(f"{package}>=") for text in extras[extra]), extra
