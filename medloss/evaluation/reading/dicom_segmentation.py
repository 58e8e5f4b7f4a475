"""DICOM segmentations: frames of segments, put where their positions say.

A frame that a file leaves out is empty, and so is a segment without any frame. Arrays begin as
zeros that the machine has not given memory for, and only slices with a frame are written, so that
a few frames far apart take the memory of the frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.dicom_files import LABEL_MAP, first
from medloss.evaluation.reading.dicom_grid import Planes, plane, stack
from medloss.evaluation.reading.dicom_series import find_series
from medloss.evaluation.reading.stored import (
    CaseError,
    Channels,
    Stored,
    check_stored,
    imported,
    voxel_bytes,
)

_BACKGROUND = "DCM:125040"
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")
"""Transfer syntaxes whose frames are not compressed, in this byte order."""

_GAP = 1.5
"""Farther apart than this, in thicknesses of a slice, and there may be slices between two."""

_HALF = "a segment is where it is at least 0.5"


class _Frames(NamedTuple):
    """Pixels frame by frame.

    Args:
        segments: number of the segment of each frame; none of label maps.
        planes: where they lie.
        shape: rows and columns.
        pixels: of a frame, by its index.
    """

    segments: list[int]
    planes: Planes
    shape: tuple[int, int]
    pixels: Callable[[int], NDArray[Any]]

    def each(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Segment, slice and pixels of each frame."""
        for index, (segment, place) in enumerate(
            zip(self.segments, self.planes.places, strict=True)
        ):
            yield segment, place, self.pixels(index)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Columns, rows and slices."""
        return self.shape[1], self.shape[0], self.planes.slices


def read_segmentation(path: Path, dataset: Any) -> Stored:
    """The segments of a SEG: a label map where none overlaps another, else a channel of each.

    Args:
        path: for the error texts.
        dataset: of the file.

    Raises:
        CaseError: it has no place in three dimensions, or contradicts itself.
    """
    if dataset.get("TotalPixelMatrixRows") or dataset.get("TotalPixelMatrixColumns"):
        raise CaseError(
            f"{path} is a segmentation of a slide, in tiles: it has slide coordinates and no place "
            f"in a patient"
        )
    described = {int(each.SegmentNumber): each for each in dataset.SegmentSequence}
    names = {number: str(each.get("SegmentLabel", "")) for number, each in described.items()}
    codes = {number: _code(path, each) for number, each in described.items()}
    frames = _frames(path, dataset, {*described})
    if dataset.SOPClassUID == LABEL_MAP or dataset.get("SegmentationType") == "LABELMAP":
        array, names, note = _label_map(path, dataset, frames, names, codes)
        channels: Channels | None = None
    elif dataset.SegmentationType == "FRACTIONAL":
        array, note = _fractions(path, dataset, frames, sorted(names))
        channels = "independent"
    elif dataset.SegmentationType == "BINARY":
        combined = _combined(path, frames, max(names))
        array = _channels(path, frames, sorted(names)) if combined is None else combined
        channels, note = ("independent", "") if combined is None else (None, "")
    else:
        raise CaseError(f"{path} is a segmentation of the type {dataset.SegmentationType!r}")
    if channels:
        names, codes, changed = _in_order(names, codes)
        note = "; ".join(filter(None, (note, changed)))
    gaps = frames.planes.slices - len({*frames.planes.places})
    if gaps:
        empty = f"{gaps} of {frames.planes.slices} slices have no frame and are empty"
        note = "; ".join(filter(None, (note, empty)))
    return Stored(
        array,
        frames.planes.affine,
        3,
        f"{path.name}: {note}" if note else "",
        channels=channels,
        names={number: name for number, name in names.items() if name},
        codes={number: code for number, code in codes.items() if code and number in names},
        cropped=True,
    )


def _frames(path: Path, dataset: Any, described: set[int]) -> _Frames:
    shared = first(dataset, "SharedFunctionalGroupsSequence")
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    count = int(dataset.get("NumberOfFrames") or 1)
    shape = int(dataset.Rows), int(dataset.Columns)
    if dataset.get("FrameOfReferenceUID") is None or not any(
        _group(each, shared, "PlanePositionSequence") for each in groups
    ):
        raise CaseError(
            f"{path} does not say where its frames lie (a radiograph?): no geometry, so that "
            f"neither distances nor volumes follow from it"
        )
    if len(groups) != count:
        raise CaseError(f"{path} is damaged: {count} frames, and places of {len(groups)}")
    planes, segments = [], []
    for each in groups:
        measures = _group(each, shared, "PixelMeasuresSequence")
        planes.append(
            plane(
                _group(each, shared, "PlanePositionSequence").ImagePositionPatient,
                _group(each, shared, "PlaneOrientationSequence").ImageOrientationPatient,
                measures.PixelSpacing,
            )
        )
        told = _group(each, shared, "SegmentIdentificationSequence")
        segments.append(0 if told is None else int(told.ReferencedSegmentNumber))
    label_map = dataset.SOPClassUID == LABEL_MAP or dataset.get("SegmentationType") == "LABELMAP"
    unknown = set() if label_map else {*segments} - described
    if unknown:
        raise CaseError(f"{path} has frames of segment {min(unknown)}, which it does not describe")
    step, thickness = (
        None if measures.get(name) is None else float(measures.get(name))
        for name in ("SpacingBetweenSlices", "SliceThickness")
    )
    found = stack(path, planes, step, thickness)
    apart_mm = float(np.linalg.norm(found.affine[:3, 2]))
    if step is None and thickness and apart_mm > _GAP * thickness:
        # Are slices between them left out, or are there none? The images know.
        step = _step_of_images(path, dataset)
        found = stack(path, planes, step, thickness)
    keys = list(zip([0] * count if label_map else segments, found.places, strict=True))
    if len({*keys}) < count:
        segment, place = next(key for key in keys if keys.count(key) > 1)
        raise CaseError(f"{path} has two frames of segment {segment} at slice {place}")
    return _Frames(segments, found, shape, _pixels(path, dataset, count, shape))


def _step_of_images(path: Path, dataset: Any) -> float | None:
    """From slice to slice of the images that were segmented, in mm, where they are at hand."""
    wanted = {str(each.SeriesInstanceUID) for each in dataset.get("ReferencedSeriesSequence") or ()}
    try:
        series = find_series(path, wanted, str(dataset.FrameOfReferenceUID))
    except CaseError:  # not one series, or none that is a volume
        return None
    return None if series is None else float(np.linalg.norm(series.affine[:3, 2]))


def _pixels(
    path: Path, dataset: Any, count: int, shape: tuple[int, int]
) -> Callable[[int], NDArray[Any]]:
    """What gives the pixels of a frame."""
    bits, size = int(dataset.BitsAllocated), shape[0] * shape[1]
    if bits not in (1, 8, 16):
        raise CaseError(f"{path} has {bits} bits a pixel; expected 1, 8 or 16")
    syntax = dataset.file_meta.get("TransferSyntaxUID") if "file_meta" in vars(dataset) else None
    if syntax is not None and str(syntax) not in _NATIVE:
        decode = imported(path, "pydicom.pixels", "dicom").pixel_array

        def decoded(index: int) -> NDArray[Any]:
            try:
                frame: NDArray[Any] = decode(dataset, index=index)
            except (RuntimeError, NotImplementedError) as error:
                raise CaseError(
                    f"{path} has frames that are compressed as {syntax.name}, which nothing "
                    f"installed here decodes: {' '.join(str(error).split())[:150]}"
                ) from error
            return frame.reshape(shape)

        return decoded
    content = memoryview(dataset.PixelData)
    # Frames of one bit run on without padding: the next begins within a byte of the last.
    check_stored(path, -(-count * size * bits // 8), len(content))

    def native(index: int) -> NDArray[Any]:
        start = index * size
        if bits > 1:
            width = bits // 8
            raw = content[start * width : (start + size) * width]
            return np.frombuffer(raw, f"<u{width}").reshape(shape)
        packed = np.frombuffer(content[start // 8 : -(-(start + size) // 8)], np.uint8)
        return np.unpackbits(packed, bitorder="little")[start % 8 :][:size].reshape(shape)

    return native


def _combined(path: Path, frames: _Frames, highest: int) -> NDArray[Any] | None:
    """All segments as one label map; nothing where two of them share a voxel."""
    array = _zeros(path, frames.grid, np.min_scalar_type(highest))
    for segment, place, pixels in frames.each():
        here = pixels != 0
        there = array[:, :, place].T
        if there[here].any():
            return None
        there[here] = segment
    return array


def _channels(path: Path, frames: _Frames, numbers: Sequence[int]) -> NDArray[np.uint8]:
    array = _zeros(path, (*frames.grid, len(numbers)), np.dtype(np.uint8))
    channel = {number: index for index, number in enumerate(numbers)}
    for segment, place, pixels in frames.each():
        array[:, :, place, channel[segment]].T[:] = pixels != 0
    return array


def _fractions(
    path: Path, dataset: Any, frames: _Frames, numbers: Sequence[int]
) -> tuple[NDArray[np.float32], str]:
    whole = int(dataset.MaximumFractionalValue)
    if not 1 <= whole <= 255:
        raise CaseError(f"{path} has the MaximumFractionalValue {whole}; expected 1 to 255")
    array = _zeros(path, (*frames.grid, len(numbers)), np.dtype(np.float32))
    channel = {number: index for index, number in enumerate(numbers)}
    for segment, place, pixels in frames.each():
        if pixels.max() > whole:
            raise CaseError(f"{path} holds the fraction {pixels.max()} of {whole}")
        if pixels.any():
            array[:, :, place, channel[segment]].T[:] = pixels / np.float32(whole)
    kind = str(dataset.get("SegmentationFractionalType", "")).lower() or "fraction"
    return array, f"{kind} in steps of 1/{whole}: {_HALF}"


def _label_map(
    path: Path,
    dataset: Any,
    frames: _Frames,
    names: Mapping[int, str],
    codes: Mapping[int, str],
) -> tuple[NDArray[Any], dict[int, str], str]:
    """The label map with 0 as background, the names of its labels, and what was changed."""
    padding = dataset.get("PixelPaddingValue")
    if padding is not None:
        background = {int(padding)}
    else:
        background = {number for number, code in codes.items() if code == _BACKGROUND}
    classes = {number: name for number, name in names.items() if number not in background}
    note, moved = "", 0
    if 0 in classes:  # 0 is a segment, and no other program's label map has that
        moved = max(names) + 1
        classes[moved] = classes.pop(0)
        note = f"segment 0 ({classes[moved]}) is label {moved}"
    array = _zeros(path, frames.grid, np.min_scalar_type(max([*classes, moved, 255])))
    for _, place, pixels in frames.each():
        plane = array[:, :, place].T
        plane[:] = pixels
        if moved:
            plane[pixels == 0] = moved
        for each in background - {0}:
            plane[pixels == each] = 0
    return array, classes, note


def _in_order(
    names: Mapping[int, str], codes: Mapping[int, str]
) -> tuple[dict[int, str], dict[int, str], str]:
    """Names and codes by the number of the channel, from 1, and a word where it is another one."""
    numbers = sorted(names)
    note = ""
    if numbers != list(range(1, len(numbers) + 1)):
        note = f"its segments {', '.join(map(str, numbers))} are channels 1 to {len(numbers)}"
    order = dict(enumerate(numbers, start=1))
    return (
        {label: names[number] for label, number in order.items()},
        {label: codes[number] for label, number in order.items()},
        note,
    )


def _zeros(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    voxel_bytes(path, shape, dtype.itemsize)
    return np.zeros(shape, dtype, order="F")


def _group(frame: Any, shared: Any, name: str) -> Any:
    """What a frame says, or all frames share."""
    own = first(frame, name)
    return first(shared, name) if own is None else own


def _code(path: Path, segment: Any) -> str:
    """What a segment is in a terminology, with its modifiers, such as a side."""
    kind = first(segment, "SegmentedPropertyTypeCodeSequence")
    if kind is None:
        return ""
    modifiers = kind.get("SegmentedPropertyTypeModifierCodeSequence") or segment.get(
        "SegmentedPropertyTypeModifierCodeSequence"
    )
    renamed = imported(path, "pydicom.sr._snomed_dict", "dicom").mapping["SRT"]
    words = []
    for each in (kind, *(modifiers or ())):
        scheme = str(each.get("CodingSchemeDesignator", ""))
        value = str(each.get("CodeValue", ""))
        if scheme == "SRT" and value in renamed:  # SNOMED's own new numbers for the old ones
            scheme, value = "SCT", renamed[value]
        words.append(f"{scheme}:{value}")
    return "+".join(words)
