"""Small DICOM files written by the elements that a reader depends on, and nothing by a reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

SEG, LABEL_MAP, RT, CT = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
    "1.2.840.10008.5.1.4.1.1.481.3",
    "1.2.840.10008.5.1.4.1.1.2",
)
FRAME, SERIES = "1.2.3.4", "1.2.3.5"
AXES = (1, 0, 0, 0, 1, 0)


def item(**elements: Any) -> Any:
    found = pydicom.Dataset()
    for name, value in elements.items():
        setattr(found, name, value)
    return found


def one(**elements: Any) -> Any:
    return pydicom.Sequence([item(**elements)])


def save(path: Path, dataset: Any, sop_class: str, *, preamble: bool = True) -> Path:
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3.6")
    path.parent.mkdir(parents=True, exist_ok=True)
    if preamble:
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.save_as(path, enforce_file_format=True)
    else:
        dataset.save_as(path, implicit_vr=True, little_endian=True)
    return path


def write_seg(
    path: Path,
    frames: Sequence[tuple[int, float, np.ndarray]],
    names: Mapping[int, str],
    *,
    kind: str = "BINARY",
    spacing: tuple[float, float] = (2.0, 1.0),
    step: float | None = 3.0,
    thickness: float | None = 3.0,
    axes: Sequence[float] = AXES,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    codes: Mapping[int, tuple[str, str]] | None = None,
    shared_segment: bool = False,
    frame_of_reference: str | None = FRAME,
    **more: Any,
) -> Path:
    """Frames (segment, height along the normal in mm, rows x columns of values).

    ``spacing`` is between rows, then between columns, as DICOM has it.
    """
    rows, columns = frames[0][2].shape
    normal = np.cross(axes[:3], axes[3:])
    groups, planes = [], []
    for segment, height, pixels in frames:
        position = [float(x) for x in np.round(np.asarray(origin) + height * normal, 6)]
        group = item(PlanePositionSequence=one(ImagePositionPatient=position))
        if not shared_segment and kind != "LABELMAP":
            group.SegmentIdentificationSequence = one(ReferencedSegmentNumber=segment)
        groups.append(group)
        planes.append(np.asarray(pixels))
    measures = item(PixelSpacing=[*spacing])
    if step is not None:
        measures.SpacingBetweenSlices = step
    if thickness is not None:
        measures.SliceThickness = thickness
    shared = item(
        PlaneOrientationSequence=one(ImageOrientationPatient=[*axes]),
        PixelMeasuresSequence=pydicom.Sequence([measures]),
    )
    if shared_segment:
        shared.SegmentIdentificationSequence = one(ReferencedSegmentNumber=frames[0][0])
    segments = []
    for number, name in names.items():
        segment = item(SegmentNumber=number, SegmentLabel=name)
        if codes and number in codes:
            scheme, value = codes[number]
            segment.SegmentedPropertyTypeCodeSequence = one(
                CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=name
            )
        segments.append(segment)
    stack = np.stack(planes)
    bits = 1 if kind == "BINARY" else 8
    content = np.packbits(stack.ravel() != 0, bitorder="little") if bits == 1 else stack
    raw = content.astype(np.uint8).tobytes()
    dataset = item(
        Modality="SEG",
        SegmentationType=kind,
        Rows=rows,
        Columns=columns,
        NumberOfFrames=len(frames),
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=0,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        SegmentSequence=pydicom.Sequence(segments),
        SharedFunctionalGroupsSequence=pydicom.Sequence([shared]),
        PerFrameFunctionalGroupsSequence=pydicom.Sequence(groups),
    )
    if frame_of_reference is not None:
        dataset.FrameOfReferenceUID = frame_of_reference
    for name, value in more.items():
        setattr(dataset, name, value)
    dataset.add_new("PixelData", "OB", raw + bytes(len(raw) % 2))
    return save(path, dataset, LABEL_MAP if kind == "LABELMAP" else SEG)


def write_series(
    folder: Path,
    heights: Sequence[float],
    shape: tuple[int, int] = (10, 12),
    *,
    spacing: tuple[float, float] = (2.0, 1.0),
    thickness: float = 3.0,
    series: str = SERIES,
    frame_of_reference: str = FRAME,
    pixels: Sequence[np.ndarray] = (),
    scale: tuple[float, float] = (1.0, 0.0),
) -> Path:
    """Images of rows x columns in a shuffled order of names without suffixes.

    ``pixels`` are their 16 bits, which ``scale`` (slope, intercept) makes values of.
    """
    for number, height in enumerate(heights):
        name = f"{(7 * number + 3) % 1000:03d}_{number}"
        found = {}
        if pixels:
            found = {
                "SamplesPerPixel": 1,
                "PhotometricInterpretation": "MONOCHROME2",
                **dict.fromkeys(("BitsAllocated", "BitsStored"), 16),
                "HighBit": 15,
                "PixelRepresentation": 0,
                "RescaleSlope": scale[0],
                "RescaleIntercept": scale[1],
                "PixelData": np.asarray(pixels[number], "<u2").tobytes(),
            }
        save(
            folder / name,
            item(
                **found,
                Modality="CT",
                SOPInstanceUID=f"1.2.3.9.{number}",
                SeriesInstanceUID=series,
                FrameOfReferenceUID=frame_of_reference,
                Rows=shape[0],
                Columns=shape[1],
                ImagePositionPatient=[0.0, 0.0, float(height)],
                ImageOrientationPatient=[*AXES],
                PixelSpacing=[*spacing],
                SliceThickness=thickness,
            ),
            CT,
        )
    return folder


def write_rt(
    path: Path,
    structures: Mapping[str, Sequence[tuple[str, Sequence[Sequence[float]]]]],
    *,
    series: str = SERIES,
    frame_of_reference: str = FRAME,
    images: Sequence[str] = (),
    preamble: bool = True,
) -> Path:
    """Contours (kind, points in mm) by the names of their structures, listed in reverse order."""
    regions, contours = [], []
    for number, (name, drawn) in enumerate(structures.items(), start=1):
        regions.append(item(ROINumber=number, ROIName=name))
        sequence = []
        for kind, points in drawn:
            contour = item(
                ContourGeometricType=kind,
                NumberOfContourPoints=len(points),
                ContourData=[f"{x:.4f}" for point in points for x in point],
            )
            if images:
                contour.ContourImageSequence = one(ReferencedSOPInstanceUID=images[0])
            sequence.append(contour)
        told = item(ReferencedROINumber=number)
        if sequence:
            told.ContourSequence = pydicom.Sequence(sequence)
        contours.append(told)
    reference = one(SeriesInstanceUID=series)
    dataset = item(
        Modality="RTSTRUCT",
        StructureSetROISequence=pydicom.Sequence(regions),
        ROIContourSequence=pydicom.Sequence(contours[::-1]),
        ReferencedFrameOfReferenceSequence=one(
            FrameOfReferenceUID=frame_of_reference,
            RTReferencedStudySequence=one(RTReferencedSeriesSequence=reference),
        ),
    )
    return save(path, dataset, RT, preamble=preamble)
