"""Computing never depends on where compiled loops can be kept, and what is compiled is said."""

from __future__ import annotations

import errno
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import pytest
from numba.core import caching

from medloss.runtime import keeping

LOOPS = """
from medloss.runtime.compiling import Loops
from trial.part import factor

@Loops("{what}").kernel
def times(x):
    return factor(x) * x
"""
PART = """
from medloss.runtime.compiling import Loops

@Loops("{what}").part
def factor(x):
    return {factor}
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes the two modules, and imports them as a new process would."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(keeping, "_said", set())
    monkeypatch.setenv(keeping.QUIET, "0")
    # Python's own cache does not see a change within a second that keeps the length.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def module(name: str, text: str) -> ModuleType:
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, made)
        spec.loader.exec_module(made)
        return made

    def both(factor: int = 2, what: str = "a test") -> Any:
        keeping._content.cache_clear()
        keeping._said.clear()
        module("trial.part", PART.format(what=what, factor=factor))
        return module("trial.loops", LOOPS.format(what=what)).times

    return both


def counts(before: keeping.CompiledKernels) -> tuple[int, int, int]:
    now = keeping.record()
    return now.compiled - before.compiled, now.loaded - before.loaded, now.lost - before.lost


def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba finds no folder: each of its locators needs one that can be written."""
    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])


def test_it_is_said_once_and_only_when_something_is_compiled(
    load: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before, times = keeping.record(), load()
    assert capsys.readouterr().err == ""  # an import compiles nothing
    assert (times(3), times(3.0)) == (6, 6.0)
    out, told = capsys.readouterr()
    assert out == ""
    assert told.startswith("medloss: compiling loops for a test, some seconds at their first use")
    assert told.count("\n") == 1
    assert str(tmp_path / "kept") in told
    assert counts(before) == (2, 0, 0)
    assert load()(4) == 8
    assert counts(before) == (2, 1, 0)
    assert capsys.readouterr().err == ""


def test_silence(
    load: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(keeping.QUIET, "1")
    assert load(what="silence")(3) == 6
    assert capsys.readouterr().err == ""


def test_without_any_folder_it_computes_and_names_the_variable(
    load: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere(monkeypatch)
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(nowhere)  # what numba makes of it
    before, times = keeping.record(), load()
    assert (times(3), times(3.0)) == (6, 6.0)
    told = capsys.readouterr().err
    assert "NUMBA_CACHE_DIR" in told
    assert told.count("\n") == 1
    assert counts(before) == (2, 0, 2)


def test_a_folder_that_may_not_be_written_any_more_is_read(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load()(3) == 6
    nowhere(monkeypatch)
    before = keeping.record()
    assert load()(3) == 6
    assert counts(before) == (0, 1, 0)


def test_a_full_disk(
    load: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_data", full)
    before, times = keeping.record(), load()
    assert (times(3), times(3.0)) == (6, 6.0)
    told = capsys.readouterr().err
    assert told.count("No space left on device") == 1
    assert "NUMBA_CACHE_DIR" in told
    assert counts(before) == (2, 0, 2)


@pytest.mark.parametrize("what", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [b"", b"not a pickle", None])
def test_a_damaged_file(
    load: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, what: str, damage: bytes | None
) -> None:
    assert load()(3) == 6
    (file,) = (tmp_path / "kept").glob(f"*/*.{what}")
    file.write_bytes(file.read_bytes()[:-40] if damage is None else damage)
    capsys.readouterr()
    before = keeping.record()
    assert load()(3) == 6
    told = capsys.readouterr().err
    assert "cannot be read" in told
    assert counts(before) == (1, 0, 0)
    assert load()(3) == 6  # mended
    assert counts(before) == (1, 1, 0)


def test_a_change_in_a_part_of_another_module_is_noticed(load: Any) -> None:
    assert load(factor=2)(3) == 6
    assert load(factor=5)(3) == 15
