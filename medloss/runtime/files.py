"""Files that appear under their name only when all of them is written."""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

PARTIAL = ".partial."
"""In the name of a file that is being written."""


def check_output(path: Path, *, force: bool) -> None:
    """Raise if ``path`` cannot be written, before any work is done for it.

    Raises:
        ValueError: it exists and ``force`` is not set, or its folder is missing or not writable.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder")
    if path.exists() and not force:
        raise ValueError(f"{path} exists; --force overwrites it")
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is no folder to write {path.name} to")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path.parent} is not writable")


def make_folder(folder: Path) -> None:
    """Make a folder, or make sure that files can be written to the one that is there.

    Raises:
        ValueError: it is no folder, cannot be made, or cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; --output names a folder")
    if not folder.parent.is_dir():
        raise ValueError(f"{folder.parent} is no folder to make {folder.name} in")
    there = folder if folder.exists() else folder.parent
    if not os.access(there, os.W_OK):
        raise ValueError(f"{there} is not writable")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder} cannot be made: {error.strerror or error}") from error


class CannotWriteError(OSError):
    """A file could not be written; its name and the reason, in a sentence.

    Args:
        path: of the file.
        error: that writing raised.
    """

    def __init__(self, path: object, error: OSError) -> None:
        reason = error.strerror or str(error) or type(error).__name__
        super().__init__(f"{path} cannot be written: {reason}")
        self.errno = error.errno


unfinished: set[str] = set()
"""Files that are being written, under the names that they have until they are complete."""


@contextlib.contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """Where to write what appears as ``path`` when all is on the disk, and not after an error.

    Raises:
        CannotWriteError: the disk is full, the folder is gone, or the like; says which file.
    """
    partial = path.with_name(f".{os.getpid()}{PARTIAL}{path.name}")
    unfinished.add(str(partial))
    try:
        yield partial
        _to_disk(partial, os.O_RDWR)
        partial.replace(path)
        _to_disk(path.parent, os.O_RDONLY)
    except CannotWriteError:
        raise
    except OSError as error:
        raise CannotWriteError(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        unfinished.discard(str(partial))


def delete_unfinished(folder: Path) -> None:
    """Delete what processes left that were killed while they wrote; nobody may write now."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f".*{PARTIAL}*"):
            path.unlink(missing_ok=True)


def _to_disk(path: Path, flags: int) -> None:
    if os.name == "nt" and flags == os.O_RDONLY:
        return  # a folder cannot be opened there
    number = os.open(path, flags)
    try:
        os.fsync(number)
    except OSError as error:
        # Some network file systems cannot do this with folders, which is no reason to fail.
        if flags != os.O_RDONLY or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(number)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A file of text that appears when it is complete."""
    # A path may hold bytes that are no text, which must not cost the file.
    with (
        partial_file(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


def write_text(path: Path, text: str) -> None:
    """Write a file of text."""
    with whole_file(path) as file:
        file.write(text)


_RUN_BY_SPREADSHEETS = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def safe_cell(text: str) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula.

    Example:
        >>> safe_cell("=1+1"), safe_cell("case_1"), plain_cell(safe_cell("'=1+1"))
        ("'=1+1", 'case_1', "'=1+1")
    """
    return f"'{text}" if _RUN_BY_SPREADSHEETS.match(text) else text


def plain_cell(text: str) -> str:
    """What :func:`safe_cell` made a cell of."""
    return text[1:] if text[:1] == "'" and _RUN_BY_SPREADSHEETS.match(text) else text


def write_rows(path: Path, rows: Iterable[Iterable[Any]], *, safe: bool = False) -> None:
    """Write a CSV file: numbers in full, nothing where there is none.

    Args:
        path: of the file.
        rows: of cells, the names of the columns first.
        safe: texts are escaped that a spreadsheet would run.
    """

    def cell(value: Any) -> Any:
        if isinstance(value, float):
            return float.__repr__(value)
        return safe_cell(value) if safe and isinstance(value, str) else value

    with whole_file(path) as file:
        csv.writer(file, lineterminator="\n").writerows(map(cell, row) for row in rows)


def write_json_file(path: Path, content: Any) -> None:
    """Write JSON for everyone, where NaN and infinity are null."""
    with whole_file(path) as file:
        json.dump(finite(content), file, indent=1, allow_nan=False, default=str)
        file.write("\n")


def finite(content: Any) -> Any:
    """The same with ``None`` for every number that JSON cannot hold.

    Example:
        >>> finite({"mean": [0.5, float("nan")]})
        {'mean': [0.5, None]}
    """
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def write_nifti(
    path: Path, array: NDArray[Any], affine: NDArray[Any], *, placed: bool = True
) -> None:
    """Write an image in millimetres.

    Args:
        path: ``.nii`` or ``.nii.gz``, in a folder that is there.
        array: spatial axes first.
        affine: 4x4, voxel index to RAS+ millimetres.
        placed: whether the affine is a place in the patient; else only the voxel size is written.
    """
    import nibabel

    image = nibabel.Nifti1Image(array, affine if placed else None)
    if not placed:
        sizes = np.linalg.norm(affine[:3, :3], axis=0)[: array.ndim]
        image.header.set_zooms([*sizes, *[1.0] * (array.ndim - len(sizes))])
    image.header.set_xyzt_units("mm")
    with partial_file(path) as partial:
        nibabel.save(image, partial)
