"""DICOM files: which are segmentations, and their data sets, whatever is wrong with them.

Names of DICOM files say nothing. What one is, is told from its first bytes, without a library, so
that looking through a folder costs little.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medloss.evaluation.reading.opened import note, open_file
from medloss.evaluation.reading.stored import CaseError, imported

SEGMENTATION, LABEL_MAP, STRUCTURES = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
    "1.2.840.10008.5.1.4.1.1.481.3",
)
"""SOP classes: segmentations whose segments are frames of their own, those that are label maps, and
sets of contours."""

_CLASS = re.compile(  # the class of the file, stated before the data set, or in it
    rb"(?:\x02\0\x02\0UI..|\x08\0\x16\0(?:UI..|....)|\0\x08\0\x16UI..)"
    rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(?:66\.4|66\.7|481\.3)(?![\d.])",
    re.DOTALL,
)
_START = 1 << 12
_OTHERS = 64
"""So many files that are no DICOM, and the folder holds something else."""


def is_segmentation(path: Path) -> bool:
    """Whether a file is a DICOM SEG or RTSTRUCT, or a folder holds one."""
    if not path.is_dir():
        return bool(_CLASS.search(_start(path)))
    others = 0
    for each in folder_files(path):
        start = _start(each)
        if _CLASS.search(start):
            return True
        others += not is_dicom(start)
        if others > _OTHERS:
            return False
    return False


def is_series(path: Path) -> bool:
    """Whether a path is a folder whose first file is a DICOM image."""
    if not path.is_dir():
        return False
    start = next((_start(each) for each in folder_files(path)), b"")
    return is_dicom(start) and not _CLASS.search(start)


def is_dicom(start: bytes) -> bool:
    r"""Whether a file that begins so is DICOM, with its preamble or without.

    Example:
        >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"\x5c\x01\0\0")
        (True, False)
    """
    return start[128:132] == b"DICM" or start[:2] in (b"\x08\0", b"\x02\0")


def one_segmentation(path: Path) -> Path:
    """The file itself, or the one segmentation that a folder holds.

    Raises:
        CaseError: the folder holds several, which are noted as all that is in it.
    """
    if not path.is_dir():
        return path
    note(path)
    found = [each for each in folder_files(path) if _CLASS.search(_start(each))]
    if len(found) == 1:
        return found[0]
    names = ", ".join(each.name for each in found[:5]) or "none"
    raise CaseError(
        f"{path} holds {len(found)} DICOM segmentations ({names}) where a case has one; give the "
        f"file instead of the folder"
    )


def folder_files(folder: Path) -> list[Path]:
    """The files of a folder that are not hidden, by name."""
    return sorted(each for each in folder.iterdir() if each.name[0] != "." and each.is_file())


def read_dataset(path: Path) -> Any:
    """The data set of a file, noted as it is now.

    Raises:
        CaseError: pydicom is not installed.
        Exception: pydicom may raise anything of a damaged file; see :func:`dicom_errors`.
    """
    pydicom = imported(path, "pydicom", "dicom")
    with open_file(path) as file:
        return pydicom.dcmread(file, force=True)


def read_header(path: Path, tags: list[str]) -> Any:
    """Some elements of a file, which is only looked at and not noted; raises as above."""
    pydicom = imported(path, "pydicom", "dicom")
    return pydicom.dcmread(path, force=True, specific_tags=tags, stop_before_pixels=True)


@contextlib.contextmanager
def dicom_errors(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file leads to into one sentence; pydicom's warnings are not shown.

    Raises:
        CaseError: names the file, and what is missing or wrong.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (CaseError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        missing = isinstance(error, AttributeError) and error.name
        reason = f"it has no {error.name}" if missing else " ".join(str(error).split())  # type: ignore[attr-defined]
        raise CaseError(
            f"{path} is a damaged DICOM file: {reason[:200] or type(error).__name__}"
        ) from error


def first(dataset: Any, *sequences: str) -> Any:
    """The first item of a sequence, in it that of the next, and so on; ``None`` without one."""
    for name in sequences:
        items = dataset.get(name) if dataset is not None else None
        dataset = items[0] if items else None
    return dataset


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_START)
    except OSError:
        return b""
