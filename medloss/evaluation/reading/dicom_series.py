"""Series of images, which contours were drawn on: found by content, placed by positions."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.dicom_files import (
    dicom_errors,
    first,
    folder_files,
    is_dicom,
    read_dataset,
    read_header,
)
from medloss.evaluation.reading.dicom_grid import TO_RAS, SlicePlane, plane, stack
from medloss.evaluation.reading.opened import note
from medloss.evaluation.reading.stored import CaseError, Stored, imported, voxel_bytes

_TAGS = [
    *("SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Rows", "Columns"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("SpacingBetweenSlices", "SharedFunctionalGroupsSequence"),
    "PerFrameFunctionalGroupsSequence",
]


class Series(NamedTuple):
    """A grid that images span.

    Args:
        shape: columns, rows, slices.
        affine: voxel index to RAS+ mm.
        images: unique identifiers of the images.
        present: slices that there is an image of.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    images: frozenset[str]
    present: frozenset[int]


class _Slices(NamedTuple):
    """What is needed of one file: an image, or several frames."""

    path: Path
    image: str
    series: str
    frame_of_reference: str
    shape: tuple[int, int]
    planes: tuple[SlicePlane, ...]
    step_mm: float | None
    thickness_mm: float | None


def find_series(path: Path, wanted: set[str], frame_of_reference: str) -> Series | None:
    """The grid of a series that lies with a file; ``None`` where there is none.

    It is looked for in the file's folder, the folders in it, and those beside it.

    Args:
        path: of the file that refers to it.
        wanted: identifiers of series; the first that is found counts.
        frame_of_reference: of a series that is taken where none of the wanted is there.

    Raises:
        CaseError: several series have the frame of reference, or the images make no volume.
    """
    seen: list[_Slices] = []
    note(path.parent)
    for folder, beside in _folders(path):
        changed_ns = folder.stat().st_mtime_ns
        # Beside it lie other patients' folders too: one image tells whose a folder is.
        if beside and not _mine(_images(folder, changed_ns, 1), wanted, frame_of_reference):
            continue
        found = _images(folder, changed_ns)
        chosen = [each for each in found if each.series in wanted]
        if chosen:
            note(folder)
            return _grid(path, chosen)
        seen += _mine(found, wanted, frame_of_reference)
    series = {each.series for each in seen}
    if len(series) > 1:
        raise CaseError(
            f"{path} names no series of images that is here, and {len(series)} others share its "
            f"frame of reference; keep the one it was drawn on beside it"
        )
    return _grid(path, seen) if series else None


def read_series(folder: Path) -> Stored:
    """The images of the one series that a folder holds, in the modality's own units.

    Values are those of the rescale slope and intercept, Hounsfield units of a CT. Where a slice is
    missing they are NaN.

    Raises:
        CaseError: there are several series, or images that make no volume or cannot be read.
    """
    found = _images(folder, folder.stat().st_mtime_ns)
    several = len({each.series for each in found})
    if several != 1:
        raise CaseError(f"{folder} holds {several or 'no'} series of images where one is expected")
    grid = _grid(folder, list(found))
    voxel_bytes(folder, grid.shape, 4)
    array = np.full(grid.shape, np.nan, np.float32, order="F")
    to_voxel = np.linalg.inv(grid.affine)
    for each in found:
        with dicom_errors(each.path):
            frames = _frames(each.path)
        for place, frame in zip(each.planes, frames, strict=True):
            position = to_voxel @ TO_RAS @ np.array([*place.position, 1.0])
            array[:, :, round(float(position[2]))] = frame.T
    return Stored(array, grid.affine, 3)


def _frames(path: Path) -> Iterator[NDArray[np.float32]]:
    """Rows and columns of each frame of a file."""
    dataset = read_dataset(path)
    decode = imported(path, "pydicom.pixels", "dicom").pixel_array
    pixels = decode(dataset)
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise CaseError(f"{path} holds colours, no image in shades of grey")
    frames = pixels if pixels.ndim == 3 else pixels[None]
    shared = first(dataset, "SharedFunctionalGroupsSequence")
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or [dataset] * len(frames)
    for frame, group in zip(frames, groups, strict=True):
        name = "PixelValueTransformationSequence"
        scale = first(group, name) or first(shared, name) or dataset
        slope, shift = (scale.get(key) for key in ("RescaleSlope", "RescaleIntercept"))
        yield frame.astype(np.float32) * float(1 if slope is None else slope) + float(shift or 0)


def _mine(found: Iterable[_Slices], wanted: set[str], frame_of_reference: str) -> list[_Slices]:
    return [
        each
        for each in found
        if each.series in wanted or each.frame_of_reference == frame_of_reference != ""
    ]


def _folders(path: Path) -> Iterator[tuple[Path, bool]]:
    """Where to look, and whether it is beside the file's own folder."""
    own = path.parent.resolve()
    yield own, False
    for folder in _inside(own):
        yield folder, False
    for folder in _inside(own.parent):
        if folder != own:
            yield folder, True


def _inside(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and each.name[0] != ".")


@functools.lru_cache(maxsize=256)
def _images(folder: Path, changed_ns: int, most: int | None = None) -> tuple[_Slices, ...]:
    """Images in a folder, or the first of them, read once as long as it does not change."""
    found: list[_Slices] = []
    for path in folder_files(folder):
        if len(found) == most:
            break
        with path.open("rb") as file:
            if not is_dicom(file.read(132)):
                continue
        try:
            with dicom_errors(path):
                slices = _slices(path, read_header(path, _TAGS))
        except CaseError:
            continue  # no image, or none that could be placed; the series says what it lacks
        if slices:
            found.append(slices)
    return tuple(found)


def _slices(path: Path, dataset: Any) -> _Slices | None:
    shared = first(dataset, "SharedFunctionalGroupsSequence")
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or [dataset]
    planes = []
    for frame in frames:
        position, orientation, measures = (
            first(frame, name) or first(shared, name) or frame
            for name in (
                "PlanePositionSequence",
                "PlaneOrientationSequence",
                "PixelMeasuresSequence",
            )
        )
        if "ImagePositionPatient" not in position:
            return None
        planes.append(
            plane(
                position.ImagePositionPatient,
                orientation.ImageOrientationPatient,
                measures.PixelSpacing,
            )
        )
    step, thickness = (measures.get(n) for n in ("SpacingBetweenSlices", "SliceThickness"))
    return _Slices(
        path,
        str(dataset.SOPInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.get("FrameOfReferenceUID", "")),
        (int(dataset.Columns), int(dataset.Rows)),
        tuple(planes),
        None if step is None else float(step),
        None if thickness is None else float(thickness),
    )


def _grid(path: Path, found: list[_Slices]) -> Series:
    for each in found:
        note(each.path)
    sizes = {each.shape for each in found}
    if len(sizes) > 1:
        raise CaseError(f"{path} refers to a series with images of several sizes")
    planes = [plane for each in found for plane in each.planes]
    stacked = stack(found[0].path.parent, planes, None, found[0].step_mm or found[0].thickness_mm)
    if len({*stacked.places}) < len(planes):
        raise CaseError(f"{path} refers to a series with two images at one position")
    return Series(
        (*sizes.pop(), stacked.slices),
        stacked.affine,
        frozenset(each.image for each in found),
        frozenset(stacked.places),
    )
