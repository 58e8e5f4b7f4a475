"""DICOM: segmentations (SEG) and sets of contours (RTSTRUCT), by pydicom.

What a file means is decided here; pydicom parses it, and any failure of parsing is one sentence.
"""

from __future__ import annotations

from pathlib import Path

from medloss.evaluation.reading.dicom_files import (
    LABEL_MAP,
    SEGMENTATION,
    STRUCTURES,
    dicom_errors,
    one_segmentation,
    read_dataset,
)
from medloss.evaluation.reading.dicom_segmentation import read_segmentation
from medloss.evaluation.reading.dicom_structures import read_structures
from medloss.evaluation.reading.stored import CaseError, Drawn, Stored


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
            return read_segmentation(file, dataset)
        if kind == STRUCTURES:
            return read_structures(file, dataset)
    named = dataset.get("Modality") or kind or "nothing that is known"
    raise CaseError(f"{file} is DICOM of another kind ({named}); expected SEG or RTSTRUCT")
