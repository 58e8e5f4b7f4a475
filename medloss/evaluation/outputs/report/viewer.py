"""Whole cases packed into a page, so that its slices can be scrolled through.

Labels are packed without loss, as the numbers of classes; images as 256 shades. What a page has no
room for is cut to the labels and their surroundings, then the image is made coarser, and the page
says so.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.inputs.layers import Layer
from medloss.evaluation.outputs.names import called
from medloss.evaluation.outputs.pages import value
from medloss.evaluation.outputs.report.grey import PRESETS, Window
from medloss.evaluation.outputs.report.opened_case import OpenedCase
from medloss.evaluation.outputs.report.orientation import Box, Display
from medloss.evaluation.outputs.report.planes import grown, tight_box
from medloss.evaluation.outputs.report.underlay import Underlay
from medloss.evaluation.reading import values
from medloss.evaluation.reading.stored import CaseError
from medloss.evaluation.records import Measure, ScoredLabel

MOST_CASES = 10
"""As many of the worst cases are shown where nobody names any."""

ROOM_BYTES = 11_000_000
"""All cases of a page together, as text."""

_MOST_BYTES = 3_000_000
"""Of one case, however few there are."""

_MARGIN_MM = 20.0
_MOST_VOXELS = 32_000_000
"""Of the labels of a case: a browser keeps two bytes of each, and more where classes overlap."""

_BEST_RATIO = 3
"""Voxels of an image to a byte of the page at most; where there are more, the image is made coarser
before it is tried."""

_LEAST_VOXELS = 64
_SLAB_VOXELS = 8_000_000
_CT_EDGES = ((-1050.0, 0), (-160.0, 56), (240.0, 216), (1600.0, 255))
"""Where Hounsfield units become shades: most of the shades are for soft tissue."""


@dataclass(frozen=True)
class ViewerCase:
    """A case to scroll through.

    Args:
        name: of the case.
        problem: why it cannot be shown, else empty.
        facts: what the page has to know of it, as JSON has it.
        blocks: voxels, as text; ``facts`` names them by their place here.
    """

    name: str
    problem: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    blocks: tuple[str, ...] = ()


def pack(opened: OpenedCase, measure: Measure | None, cases: int) -> ViewerCase:
    """Pack a case.

    Args:
        opened: its files.
        measure: whose value stands beside each label.
        cases: that share the room of the page.
    """
    name = opened.case.name
    if opened.case.error:
        return ViewerCase(name, f"the case failed: {opened.case.error}")
    try:
        return _packed(opened, measure, min(_MOST_BYTES, ROOM_BYTES // cases))
    except CaseError as error:
        return ViewerCase(name, str(error))


def _packed(opened: OpenedCase, measure: Measure | None, room: int) -> ViewerCase:
    labels, layers = opened.every_layer()
    if not labels:
        raise CaseError("neither file holds any label that was scored")
    display = opened.display
    anywhere = np.zeros(opened.case.shape, dtype=bool, order="F")
    for layer in layers:
        for side in (layer.reference, layer.prediction):
            anywhere |= _numbered(side, layer) != 0
    inside = tight_box(display.turned(anywhere))
    box = grown(inside, display, _MARGIN_MM)
    steps = _steps(box, display)
    notes = []
    if max(steps) > 1:
        shown = " x ".join(map(str, steps))
        notes.append(
            f"Labels are shown at every {shown} voxels alone, so that the smallest parts may lack"
        )
    blocks: list[str] = []
    facts: list[dict[str, Any]] = []
    for layer in layers:
        places = []
        for array in (layer.reference, layer.prediction):
            kept = display.turned(array)[box][tuple(slice(None, None, step) for step in steps)]
            numbers = _numbered(kept, layer)
            places.append(len(blocks))
            blocks.append(_text(numbers.transpose(2, 1, 0)))
        facts.append({"reference": places[0], "prediction": places[1], "bytes": numbers.itemsize})
    taken = sum(map(len, blocks))
    if taken > room:
        raise CaseError(
            f"its labels take {taken / 1e6:.1f} MB of the page, which has {room / 1e6:.1f} MB for "
            f"each case; ask for fewer cases with --viewer CASE"
        )
    image = None
    if underlay := opened.underlay:
        window = underlay.window(anywhere, inside)
        image, block = _image(underlay, display.voxel_mm, window, box, steps, room - taken)
        if image:
            notes += [image.pop("said")]
            image["block"] = len(blocks)
            blocks.append(block)
        else:
            notes.append("The image has no room beside the labels")
    notes += filter(None, [opened.no_image])
    return ViewerCase(
        opened.case.name,
        facts={
            "name": opened.case.name,
            "size": [math.ceil((b.stop - b.start) / s) for b, s in zip(box, steps, strict=True)],
            "mm": [mm * s for mm, s in zip(display.voxel_mm, steps, strict=True)],
            "letters": display.letters,
            "names": display.names,
            "planes": display.planes,
            # Numbers of slices in the file: of the first, and from one to the next.
            "first": [display.number(axis, part.start) for axis, part in enumerate(box)],
            "step": [-s if b else s for b, s in zip(display.backward, steps, strict=True)],
            "count": display.size,
            "labels": [
                {"title": label.title, "value": _value(opened, label, measure)} for label in labels
            ],
            "measure": called(measure) if measure else "",
            "layers": facts,
            "image": image,
            "notes": notes,
        },
        blocks=tuple(blocks),
    )


def _value(opened: OpenedCase, label: ScoredLabel, measure: Measure | None) -> str:
    found = opened.case.values.get((label.key, measure.name)) if measure else None
    if found is None or measure is None:
        return ""
    said = value(found.value, measure.unit)
    return said if found.status == "ok" else f"{said}, {found.status.replace('_', ' ')}"


def _steps(box: Box, display: Display) -> list[int]:
    """Which voxels of labels are kept: all, if they are not too many, else of the finest axes."""
    size = [part.stop - part.start for part in box]
    steps = [1, 1, 1]
    while math.prod(n // s for n, s in zip(size, steps, strict=True)) > _MOST_VOXELS:
        mm = [length * step for length, step in zip(display.voxel_mm, steps, strict=True)]
        steps[mm.index(min(mm))] *= 2
    return steps


def _numbered(array: NDArray[Any], layer: Layer) -> NDArray[Any]:
    """A map with the numbers of its classes among all, from 1."""
    changes = {code: int(number) for number, code in layer.codes.items()}
    found = values.recode(array, changes, keep=False)
    return found.astype("<u2" if max(changes.values()) > 255 else np.uint8, copy=False)


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 6)).decode("ascii")


# The image


def _image(
    underlay: Underlay,
    mm: Sequence[float],
    window: Window,
    box: Box,
    steps: Sequence[int],
    room: int,
) -> tuple[dict[str, Any] | None, str]:
    """Facts of an image and its shades, as fine as there is room for."""
    shades = _shades(underlay, window)
    factors = [1, 1, 1]
    size = [part.stop - part.start for part in box]
    while math.prod(n / f for n, f in zip(size, factors, strict=True)) > _BEST_RATIO * room:
        _coarser(factors, mm)
    while True:
        rows = _coded(underlay, shades, box, factors)
        # Each shade as the difference from its left neighbour, which is mostly small.
        block = _text(np.diff(rows, axis=2, prepend=np.uint8(0)))
        if len(block) <= room:
            break
        if rows.size < _LEAST_VOXELS:
            return None, ""
        _coarser(factors, mm)
    said = underlay.caption(window)
    if max(factors) > 1:
        said += f"; means of {' x '.join(map(str, factors))} voxels along x, y and z"
    windows = [(window.name, window.low, window.high)]
    if window.ct:
        windows += [
            (name, level - width / 2, level + width / 2) for name, (level, width) in PRESETS.items()
        ]
    return {
        "size": rows.shape[::-1],
        # In the voxels of the labels that are kept.
        "factors": [factor / step for factor, step in zip(factors, steps, strict=True)],
        "shades": [float(f"{shade:.6g}") for shade in shades],
        "unit": "HU" if window.ct else "",
        "windows": windows,
        "said": said,
    }, block


def _coarser(factors: list[int], mm: Sequence[float]) -> None:
    """Blocks twice as long along the finest axes, and along those that are hardly coarser."""
    finest = min(m * f for m, f in zip(mm, factors, strict=True))
    for axis in range(3):
        if mm[axis] * factors[axis] < 1.5 * finest:
            factors[axis] *= 2


def _shades(underlay: Underlay, window: Window) -> NDArray[np.float64]:
    """The value that each of 256 shades stands for, in ascending order."""
    if window.ct:
        units, places = zip(*_CT_EDGES, strict=True)
        return np.interp(np.arange(256), places, units)
    found = underlay.sample
    low, high = np.percentile(found, [0.1, 99.9]) if found.size else (0.0, 1.0)
    low, high = min(low, window.low), max(high, window.high)
    return np.linspace(low, high, 256)


def _coded(
    underlay: Underlay, shades: NDArray[np.float64], box: Box, factors: Sequence[int]
) -> NDArray[np.uint8]:
    """Shades of the image in a part, as means over blocks: rows of x, then y, then z."""
    between = (shades[1:] + shades[:-1]) / 2
    x, y, z = box
    deep = max(1, _SLAB_VOXELS // max(1, (x.stop - x.start) * (y.stop - y.start)))
    deep = max(factors[2], deep // factors[2] * factors[2])
    slabs = []
    for start in range(z.start, z.stop, deep):
        part = x, y, slice(start, min(z.stop, start + deep))
        slab = underlay.values(part).transpose(2, 1, 0)
        low, high = float(shades[0]), float(shades[-1])
        slab = np.nan_to_num(slab, nan=low, posinf=high, neginf=low)
        for axis, factor in enumerate(reversed(factors)):
            slab = _means(slab, axis, factor)
        slabs.append(np.searchsorted(between, slab).astype(np.uint8))
    return np.concatenate(slabs)


def _means(array: NDArray[np.floating], axis: int, factor: int) -> NDArray[np.floating]:
    """Over so many neighbours; the last ones may be fewer."""
    if factor == 1:
        return array
    starts = np.arange(0, array.shape[axis], factor)
    lengths = np.diff(np.append(starts, array.shape[axis]))
    shape = [-1 if i == axis else 1 for i in range(array.ndim)]
    return np.add.reduceat(array, starts, axis=axis) / lengths.reshape(shape)
