"""The segments that 3D Slicer keeps in an NRRD file: names, values and layers.

A segment is the voxels of a layer that have a value. Both are a matter of the file: the same value
stands for something else in another layer and in another file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading import values
from medloss.evaluation.reading.stored import CaseError, Stored, voxel_bytes

SUFFIXES = (".seg.nrrd", ".seg.nhdr")

_KEY = re.compile(r"Segment(\d{1,6})_(\w{1,40})", re.ASCII)
_REPRESENTATION = "Segmentation_MasterRepresentation"


def is_segmentation(path: Path, keys: Mapping[str, str]) -> bool:
    """Whether an NRRD file with these keys is a segmentation of 3D Slicer."""
    named = path.name.lower().endswith(SUFFIXES)
    return named or any(key.startswith("Segmentation_") or _KEY.fullmatch(key) for key in keys)


def segmented(path: Path, stored: Stored, keys: Mapping[str, str]) -> Stored:
    """The segments: a label map where one layer holds them, else a channel for each.

    Channels are in the order of the segments. Outside of the file is background, for Slicer writes
    no more than what is painted; of nothing at all a single voxel of 0.

    Args:
        path: for the error texts.
        stored: voxels, with the layers last.
        keys: of the header.

    Raises:
        CaseError: the keys contradict the voxels or one another.
    """
    if stored.dimensions != 3:
        raise CaseError(
            f"{path} is a segmentation with {stored.dimensions} spatial axes; expected 3"
        )
    representation = keys.get(_REPRESENTATION, "").strip()
    if representation and "binary labelmap" not in representation.lower():
        raise CaseError(
            f"{path} is a segmentation made of {representation[:40]!r}; expected a binary "
            f"labelmap: convert it in 3D Slicer's module Segmentations"
        )
    if stored.array.dtype.kind not in "iu":
        raise CaseError(f"{path} has segments of type {stored.array.dtype}; expected whole numbers")
    layers = stored.array[..., None] if stored.array.ndim == 3 else stored.array
    segments = _segments(path, keys, layers.shape[-1])
    if not segments:
        if not layers.any():
            return stored._replace(array=layers[..., 0], cropped=True)
        return stored
    stored = stored._replace(cropped=True)
    used = {segment.layer for segment in segments}
    places = {(segment.layer, segment.value) for segment in segments}
    if len(used) == 1 and len(places) == len(segments):
        names = {segment.value: segment.name for segment in segments}
        codes = _codes({segment.value: segment.code for segment in segments})
        array, note = _label_map(layers[..., used.pop()], list(names))
        return stored._replace(array=array, names=names, codes=codes, note=note)
    voxel_bytes(path, (*layers.shape[:3], len(segments)), 1)
    channels = np.empty((*layers.shape[:3], len(segments)), np.uint8, order="F")
    for channel, segment in enumerate(segments):
        np.equal(layers[..., segment.layer], segment.value, out=channels[..., channel].view(bool))
    names = {channel: segment.name for channel, segment in enumerate(segments, start=1)}
    codes = _codes(dict(enumerate((segment.code for segment in segments), start=1)))
    return stored._replace(array=channels, names=names, codes=codes, channels="independent")


@dataclass(frozen=True)
class _Segment:
    name: str
    layer: int
    value: int
    code: str


def _segments(path: Path, keys: Mapping[str, str], layers: int) -> list[_Segment]:
    """By number, which is the order that Slicer shows them in."""
    found: dict[int, dict[str, str]] = {}
    for key, text in keys.items():
        if match := _KEY.fullmatch(key):
            found.setdefault(int(match[1]), {})[match[2]] = text
    # Files from before there were layers keep each segment in one of its own.
    stacked = layers > 1 and len(found) == layers
    stacked = stacked and not any("Layer" in segment for segment in found.values())
    segments = []
    for number in sorted(found):
        own = found[number]
        layer = _number(path, number, own, "Layer", number if stacked else 0)
        value = _number(path, number, own, "LabelValue", 1)
        if not value or layer >= layers:
            raise CaseError(
                f"{path} contradicts itself: Segment{number} has the value {value} in layer "
                f"{layer} of {layers}, counted from 0"
            )
        name = own.get("Name") or own.get("ID") or f"Segment {number}"
        name = " ".join(name.encode("utf-8", "replace").decode().split())
        segments.append(_Segment(name, layer, value, _code(own.get("Tags", ""))))
    return segments


def _code(tags: str) -> str:
    """What a segment is in a terminology, with its modifier: the third and fourth part of a tag.

    ``TerminologyEntry:context~category~type~modifier~...``, each ``scheme^value^meaning``.
    """
    entry = tags.partition("TerminologyEntry:")[2].partition("|")[0]
    words = (part.split("^") for part in entry.split("~")[2:4])
    return "+".join(f"{word[0]}:{word[1]}" for word in words if len(word) > 1 and word[1])


def _codes(codes: Mapping[int, str]) -> dict[int, str]:
    """Those that tell one segment from the others: the same one stands for all that are unnamed."""
    every = Counter(codes.values())
    return {label: code for label, code in codes.items() if code and every[code] == 1}


def _number(path: Path, number: int, own: Mapping[str, str], name: str, default: int) -> int:
    text = own.get(name, "").strip() or str(default)
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise CaseError(f"{path} is damaged: Segment{number}_{name} is {text[:40]!r}")
    return int(text)


def _label_map(layer: NDArray[Any], labels: Sequence[int]) -> tuple[NDArray[Any], str]:
    """The layer with nothing but the labels of segments, and a word on what else there was."""
    low = layer.min()
    if low < 0:
        layer = np.where(layer < 0, 0, layer)
    present = set(values.present_labels(layer))
    other = sorted(present - set(labels))
    if low < 0:
        other = [int(low), *other]
    if not other:
        return layer, ""
    kept = {label: label for label in labels if label in present}
    listed = ", ".join(map(str, other[:5])) + (", ..." if len(other) > 5 else "")
    note = f"voxels of no segment count as background: the values {listed}"
    return values.recode(layer, kept, keep=False), note
