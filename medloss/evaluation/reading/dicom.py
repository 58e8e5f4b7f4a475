"""DICOM: segmentations (SEG) and sets of contours (RTSTRUCT), by pydicom.

What a file means is decided here; pydicom parses it, and any failure of parsing is one sentence.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medloss.evaluation.reading.dicom_files import (
    LABEL_MAP,
    SEGMENTATION,
    STRUCTURES,
    one_segmentation,
)
from medloss.evaluation.reading.opened import open_file
from medloss.evaluation.reading.stored import CaseError, Drawn, Stored, imported


def read_dicom(path: Path) -> Stored | Drawn:
    """DICOM SEG (binary, fractional, label map) and RTSTRUCT, a file or a folder with one of them.

    Raises:
        CaseError: the file is damaged, has no place in three dimensions, or pydicom is missing.
    """
    file = one_segmentation(path)
    with dicom_errors(file):
        dataset = read_dataset(file)
        kind = str(dataset.get("SOPClassUID", ""))
        if kind in (SEGMENTATION, LABEL_MAP):
            from medloss.evaluation.reading.dicom_segmentation import read_segmentation

            return read_segmentation(file, dataset)
        if kind == STRUCTURES:
            from medloss.evaluation.reading.dicom_structures import read_structures

            return read_structures(file, dataset)
    named = dataset.get("Modality") or kind or "nothing that is known"
    raise CaseError(f"{file} is DICOM of another kind ({named}); expected SEG or RTSTRUCT")


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
