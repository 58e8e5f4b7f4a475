"""Files are whole or not there, also where there is no room for them."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from medloss.runtime import files
from medloss.runtime.files import (
    CannotWriteError,
    delete_unfinished,
    partial_file,
    plain_cell,
    safe_cell,
    write_json_file,
    write_text,
)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with partial_file(path) as partial:
        partial.write_text("after")
        assert path.read_text() == "before"
        assert files.unfinished == {str(partial)}
    assert path.read_text() == "after"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]
    assert not files.unfinished


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_what_was_there_and_names_the_file(tmp_path, monkeypatch, step):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.json"
    path.write_text("before")
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    elif step == "replace":
        monkeypatch.setattr("pathlib.Path.replace", full)
    else:
        monkeypatch.setattr("json.dump", full)
    with pytest.raises(CannotWriteError, match=r"a\.json cannot be written: No space") as failed:
        write_json_file(path, {})
    assert failed.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="it has no limits of this kind")
def test_a_limit_of_the_system(tmp_path):
    import resource

    path, before = tmp_path / "a.txt", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        write_text(path, "x" * 1000)
        with pytest.raises(CannotWriteError, match=r"a\.txt cannot be written: File too large"):
            write_text(path, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "x" * 1000
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_what_killed_processes_left_is_deleted(tmp_path):
    (tmp_path / ".12.partial.cases.csv").write_text("half")
    (tmp_path / ".hidden").write_text("somebody's")
    delete_unfinished(tmp_path)
    delete_unfinished(tmp_path / "gone")
    assert [each.name for each in tmp_path.iterdir()] == [".hidden"]


@pytest.mark.parametrize("first", "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
def test_a_cell_that_would_run_is_escaped_and_read_back(first):
    for text in (f"{first}1+1", f"'{first}1", f"''{first}"):
        assert safe_cell(text) == f"'{text}"
        assert plain_cell(safe_cell(text)) == text
    for text in ("", "case", "'", "'tis", "1=2", " =1"):
        assert plain_cell(safe_cell(text)) == safe_cell(text) == text
