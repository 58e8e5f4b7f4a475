"""DICOM RTSTRUCT: contours in millimetres, drawn on the grid of their series or of another file."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.contours import ON_A_LINE, fill, overlap_partly
from medloss.evaluation.reading.dicom_files import first
from medloss.evaluation.reading.dicom_grid import TO_RAS
from medloss.evaluation.reading.dicom_series import Series, find_series
from medloss.evaluation.reading.stored import CaseError, Drawn, Rule, Stored, voxel_bytes

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_CONTOUR_DATA = 0x30060050
_FLAT_VOXELS = 0.1
"""How far the points of a contour may lie from their common plane, in slices."""

RULES: dict[Rule, str] = {
    "inclusive": f"or within {ON_A_LINE:g} voxel of a line",
    "strict": f"and not within {ON_A_LINE:g} voxel of a line",
}


@dataclass
class _Structure:
    """A region of interest.

    Args:
        name: as it is written.
        contours: closed ones, (N, 3) points in RAS+ mm.
        images: that the file says the contours were drawn on.
        others: kinds of contours that are no outline of anything, with how many there are.
    """

    name: str
    contours: list[NDArray[np.float64]] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)


def read_structures(path: Path, dataset: Any) -> Drawn:
    """The regions of interest of a file, and the grid of the images beside it.

    Raises:
        CaseError: it holds no closed contours, or contradicts itself.
    """
    structures = _structures(path, dataset)
    drawable = [each for each in structures if each.contours or not each.others]
    if not drawable:
        listed = ", ".join(_other(each) for each in structures) or "nothing"
        raise CaseError(f"{path} holds no closed contours ({listed}), and nothing else is a mask")
    reference = first(dataset, "ReferencedFrameOfReferenceSequence")
    frame = str(
        dataset.get("FrameOfReferenceUID")
        or (reference.get("FrameOfReferenceUID") if reference is not None else "")
        or ""
    )
    series = find_series(path, _wanted(dataset), frame)
    return Drawn(
        functools.partial(_draw, path, structures, drawable, series),
        "has contours, and the images that they were drawn on are neither beside it nor in a "
        "folder there, nor has the other file of the case a place in the patient; contours make a "
        "mask on a grid of voxels alone",
        None if series is None else (series.shape, series.affine),
    )


def _draw(
    path: Path,
    structures: Sequence[_Structure],
    drawable: Sequence[_Structure],
    series: Series | None,
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
    rule: Rule,
) -> Stored:
    if len(shape) != 3:
        raise CaseError(f"{path} has contours in space, which need a grid of 3 axes, not {shape}")
    across = _across(path, drawable, affine)
    present = range(shape[across]) if series is None else series.present
    notes = [
        f"contours as voxels: a centre is in where it is inside (even-odd) {RULES[rule]}",
        *(_other(each) for each in structures if each.others),
    ]
    planes: list[tuple[int, int, NDArray[np.bool_]]] = []
    for label, structure in enumerate(drawable, start=1):
        found, told = _planes(structure, shape, affine, across, present, rule)
        planes += [(label, place, mask) for place, mask in found.items()]
        notes += [f"{structure.name}: {each}" for each in told]
    few = sum(len(points) < 3 for each in drawable for points in each.contours)
    if few:
        notes.append(f"{few} contours have one or two points, and hold the voxels that these touch")
    if series is not None:
        named = [image for each in drawable for image in each.images]
        broken = sum(image not in series.images for image in named)
        if broken:
            notes.append(
                f"{broken} of {len(named)} contours name an image that is not in the series; their "
                f"positions decide"
            )
    array = _combined(path, planes, shape, across, len(drawable))
    return Stored(
        array,
        affine,
        3,
        f"{path.name}: {'; '.join(notes)}",
        channels="independent" if array.ndim == 4 else None,
        names={n: each.name for n, each in enumerate(drawable, start=1) if each.name},
        cropped=True,
    )


def _planes(
    structure: _Structure,
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
    across: int,
    present: Sequence[int] | frozenset[int] | range,
    rule: Rule,
) -> tuple[dict[int, NDArray[np.bool_]], list[str]]:
    """Masks by slice, and what should be known of how they came about."""
    by_slice: dict[int, list[NDArray[np.float64]]] = {}
    outside, between = 0, 0
    inside_axes = [axis for axis in range(3) if axis != across]
    for points in structure.contours:
        voxels = _voxels(points, affine)
        height = float(voxels[:, across].mean())
        place = round(height)
        if place not in present or abs(height - place) > 0.5:
            outside += 1
            continue
        between += abs(height - place) > _FLAT_VOXELS
        by_slice.setdefault(place, []).append(voxels[:, inside_axes])
    flat = (shape[inside_axes[0]], shape[inside_axes[1]])
    masks = {place: fill(contours, flat, rule) for place, contours in sorted(by_slice.items())}
    told = []
    if outside:
        told.append(f"{outside} of {len(structure.contours)} contours lie outside the images")
    if between:
        told.append(f"{between} contours lie between slices and count for the nearest")
    partly = sum(overlap_partly(contours, flat) for contours in by_slice.values())
    if partly:
        told.append(f"contours overlap partly in {partly} slices, where even-odd leaves a hole")
    skipped = 0 if not masks else max(masks) - min(masks) + 1 - len(masks)
    if skipped:
        told.append(f"{skipped} slices between its contours have none and are empty")
    if structure.contours and not any(mask.any() for mask in masks.values()):
        told.append("its contours hold no voxel centre, so that it is empty")
    if not structure.contours:
        told.append("it has no contours and is empty")
    return masks, told


def _combined(
    path: Path,
    planes: Sequence[tuple[int, int, NDArray[np.bool_]]],
    shape: tuple[int, ...],
    across: int,
    count: int,
) -> NDArray[Any]:
    """One label map, or a channel of each structure where two of them share a voxel."""
    dtype = np.min_scalar_type(count)
    voxel_bytes(path, shape, dtype.itemsize)
    array: NDArray[Any] = np.zeros(shape, dtype, order="F")
    for label, place, mask in planes:
        plane = np.moveaxis(array, across, 0)[place]
        if plane[mask].any():
            break
        plane[mask] = label
    else:
        return array
    voxel_bytes(path, (*shape, count), 1)
    array = np.zeros((*shape, count), np.uint8, order="F")
    for label, place, mask in planes:
        np.moveaxis(array, across, 0)[place, ..., label - 1][mask] = 1
    return array


def _across(path: Path, structures: Sequence[_Structure], affine: NDArray[np.float64]) -> int:
    """The axis of the grid that is across the planes of all contours."""
    spread = np.zeros(3)
    for structure in structures:
        for points in structure.contours:
            spread = np.maximum(spread, np.ptp(_voxels(points, affine), axis=0))
    axis = int(spread.argmin())
    if spread[axis] > _FLAT_VOXELS:
        raise CaseError(
            f"{path} has contours that are not parallel to the slices of the images: they lie in "
            f"{spread[axis]:.3g} slices at once"
        )
    return axis if spread.any() else 2


def _voxels(points: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    inverse = np.linalg.inv(affine)
    voxels: NDArray[np.float64] = points @ inverse[:3, :3].T + inverse[:3, 3]
    return voxels


def _structures(path: Path, dataset: Any) -> list[_Structure]:
    found = {
        int(each.ROINumber): _Structure(str(each.get("ROIName", "") or ""))
        for each in dataset.StructureSetROISequence
    }
    for item in dataset.get("ROIContourSequence") or ():
        number = int(item.ReferencedROINumber)
        if number not in found:
            raise CaseError(
                f"{path} has contours of the structure {number}, which it does not name"
            )
        structure = found[number]
        for contour in item.get("ContourSequence") or ():
            kind = str(contour.get("ContourGeometricType", ""))
            if kind not in _CLOSED:
                structure.others[kind] = structure.others.get(kind, 0) + 1
                continue
            structure.contours.append(_points(path, contour))
            structure.images += [
                str(image.ReferencedSOPInstanceUID)
                for image in (contour.get("ContourImageSequence") or ())[:1]
            ]
    return [found[number] for number in sorted(found)]


def _points(path: Path, contour: Any) -> NDArray[np.float64]:
    element = contour.get_item(_CONTOUR_DATA)
    value = getattr(element, "value", None)
    if isinstance(value, bytes):  # as it stands in the file: parsed thirty times as fast
        numbers = np.array(value.strip(b" \0").split(b"\\"), dtype=np.float64)
    else:
        numbers = np.array(value if value is not None else (), dtype=np.float64)
    if not numbers.size or numbers.size % 3 or not np.isfinite(numbers).all():
        raise CaseError(f"{path} is damaged: a contour has {numbers.size} coordinates")
    numbers *= np.tile(np.diag(TO_RAS)[:3], len(numbers) // 3)
    return numbers.reshape(-1, 3)


def _wanted(dataset: Any) -> set[str]:
    """The series that the file refers to."""
    return {
        str(series.SeriesInstanceUID)
        for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for series in study.get("RTReferencedSeriesSequence") or ()
    }


def _other(structure: _Structure) -> str:
    kinds = ", ".join(f"{count} {kind or 'unnamed'}" for kind, count in structure.others.items())
    return f"{structure.name}: not a mask and not scored: {kinds or 'no contours'}"
