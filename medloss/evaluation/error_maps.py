"""Images of what a case got wrong: where, and how far from right."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medloss.evaluation.inputs.layers import Layer
from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.opened import note
from medloss.evaluation.reading.stored import PATIENT
from medloss.runtime.files import write_nifti

CORRECT, FALSE_POSITIVE, FALSE_NEGATIVE, OTHER_LABEL = 1, 2, 3, 4
"""Values of the map of errors, where neither map has a label: 0."""

_LONGEST_NAME = 150


def write_error_maps(
    folder: Path,
    name: str,
    layers: Sequence[Layer],
    grid: Image,
    ignored: NDArray[Any] | None = None,
) -> None:
    """Write ``NAME_errors.nii.gz`` and ``NAME_distances.nii.gz``.

    Classes that overlap do not fit into one volume: several layers become one more, last axis.

    Args:
        folder: that gets them; it is made if it is missing.
        name: of the case.
        layers: the label maps and their classes; any other value in them is background.
        grid: whose voxel size and place they have.
        ignored: where both are 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    errors: list[NDArray[Any]] = []
    distances: list[NDArray[Any]] = []
    for layer in layers:
        maps, codes = (layer.prediction, layer.reference), [*layer.codes.values()]
        if codes or len(layers) == 1:
            errors.append(error_map(*maps, codes))
            distances.append(distance_map(*maps, codes, grid.spacing_mm))
    for path, found in zip(map_paths(folder, name), (errors, distances), strict=True):
        for volume in found if ignored is not None else ():
            volume[ignored != 0] = 0
        array = found[0] if len(found) == 1 else np.stack(found, axis=-1)
        write_nifti(path, array, grid.affine, placed=grid.space == PATIENT)
        note(path)


def map_paths(folder: Path, name: str) -> tuple[Path, Path]:
    """The two files of a case."""
    stem = file_stem(name)
    return folder / f"{stem}_errors.nii.gz", folder / f"{stem}_distances.nii.gz"


def file_stem(name: str) -> str:
    """The name of a case as the name of a file: itself where that is safe.

    Example:
        >>> file_stem("patient.01"), file_stem("../a/b")
        ('patient.01', '_.._a_b_8e7e11e4')
    """
    safe = re.sub(r"[^\w.+-]|^(?=\.)", "_", name)
    if safe == name and len(name) <= _LONGEST_NAME:
        return name
    # Two names must not become one file.
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe[:_LONGEST_NAME]}_{digest}"


def error_map(
    prediction: NDArray[Any], reference: NDArray[Any], labels: Sequence[int]
) -> NDArray[np.uint8]:
    """0 where neither map has a label, 1 where both have the same, 2 where only the prediction has.

    3 where only the reference has one, 4 where they have different ones.

    Example:
        >>> error_map(np.array([0, 1, 1, 0, 1]), np.array([0, 1, 0, 2, 2]), [1, 2])
        array([0, 1, 2, 3, 4], dtype=uint8)
    """
    predicted, true = _counted(prediction, labels), _counted(reference, labels)
    errors = np.zeros(reference.shape, dtype=np.uint8, order="F")
    errors[predicted] = FALSE_POSITIVE
    errors[true] = FALSE_NEGATIVE
    errors[predicted & true] = OTHER_LABEL
    errors[predicted & (prediction == reference)] = CORRECT
    return errors


def distance_map(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    labels: Sequence[int],
    spacing_mm: Sequence[float],
) -> NDArray[np.float32]:
    """How far each wrong voxel is from a voxel of its label in the other map, in mm.

    Positive in a voxel that the prediction has wrongly: to the nearest voxel of that label in the
    reference. Negative where the prediction has nothing and the reference has a label: to the
    nearest voxel of that label in the prediction. From centre to centre; where the other map has
    none, the diagonal of the image. 0 where nothing is wrong.

    Example:
        >>> distance_map(np.array([[1, 1, 1, 0]]), np.array([[1, 0, 0, 2]]), [1, 2], (1.0, 2.0))
        array([[ 0.      ,  2.      ,  4.      , -8.062258]], dtype=float32)
    """
    diagonal = math.hypot(*(n * mm for n, mm in zip(reference.shape, spacing_mm, strict=True)))
    out = np.zeros(reference.shape, dtype=np.float32, order="F")
    covered = _counted(prediction, labels)
    for label, box in _boxes(prediction, reference, labels):
        one, other = prediction[box] == label, reference[box] == label
        part = out[box]
        for sign, wrong, right in ((1, one & ~other, other), (-1, other & ~covered[box], one)):
            if not wrong.any():
                continue
            if right.any():
                mm = ndimage.distance_transform_edt(~right, sampling=spacing_mm)
                part[wrong] = sign * mm[wrong]
            else:
                part[wrong] = sign * diagonal
    return out


def _counted(labels_of: NDArray[Any], labels: Sequence[int]) -> NDArray[np.bool_]:
    return np.isin(labels_of, [label for label in labels if label])


def _boxes(
    prediction: NDArray[Any], reference: NDArray[Any], labels: Sequence[int]
) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Each label with the smallest box that holds it in both maps: nothing outside matters."""
    wanted = sorted({label for label in labels if label})
    # Labels may be any number up to 2^31; find_objects lists every number up to the largest.
    table = np.array(wanted, dtype=np.int64)
    found = []
    for array in (prediction, reference):
        places = np.searchsorted(table, array).clip(max=len(table) - 1).astype(np.int32)
        places = np.where(table[places] == array, places + 1, 0) if wanted else places
        found.append(ndimage.find_objects(places, max_label=len(wanted)))
    for index, label in enumerate(wanted):
        both = [boxes[index] for boxes in found if boxes[index] is not None]
        if both:
            yield (
                label,
                tuple(
                    slice(min(s.start for s in axis), max(s.stop for s in axis))
                    for axis in zip(*both, strict=True)
                ),
            )
