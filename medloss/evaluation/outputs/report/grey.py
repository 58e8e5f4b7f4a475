"""Images below the outlines: on the grid of the labels, through a window, as small PNG files."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.inputs.geometry import check_same_grid, reoriented, unknown_place
from medloss.evaluation.outputs.report.orientation import Box
from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.stored import CaseError

PRESETS = {
    "ct-soft": (40.0, 400.0),
    "ct-lung": (-600.0, 1500.0),
    "ct-bone": (400.0, 1800.0),
    "ct-brain": (40.0, 80.0),
    "ct-liver": (60.0, 160.0),
}
"""Level and width in Hounsfield units."""

PERCENTILES = "percentiles"
_LOW, _HIGH = 0.5, 99.5
_AIR_HU, _DENSE_HU = -500.0, 100.0
"""Values of a CT reach from below the one to above the other."""

_LUNG_HU, _BONE_HU = -400.0, 250.0
_MOST_SAMPLES = 1 << 20


@dataclass(frozen=True)
class Window:
    """Grey values from black to white.

    Args:
        low: black, and everything below.
        high: white, and everything above.
        name: what it is, for the caption.
        ct: whether the values are Hounsfield units.
    """

    low: float
    high: float
    name: str
    ct: bool = False

    def grey(self, values: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Values as grey from 0 to 255; NaN is black.

        Example:
            >>> Window(0, 100, "").grey(np.array([-5.0, 50.0, np.inf, np.nan]))
            array([  0, 128, 255,   0], dtype=uint8)
        """
        finite = np.nan_to_num(values, nan=self.low, posinf=self.high, neginf=self.low)
        scaled = (finite - self.low) / (self.high - self.low)
        found: NDArray[np.uint8] = np.rint(255 * scaled.clip(0, 1)).astype(np.uint8)
        return found


class Backdrop:
    """The image of a case where the voxels of its reference lie.

    Args:
        image: grey values.
        reference: on whose grid they are wanted.

    Attributes:
        note: what was done to the image, else empty.

    Raises:
        CaseError: the two do not lie on one grid, and one cannot be brought to the other.
    """

    def __init__(self, image: Image, reference: Image) -> None:
        self.path, self.note = image.path, image.note
        self._array: NDArray[Any] = image.array
        self._matrix: NDArray[np.float64] | None = None
        try:
            check_same_grid(image, reference, called="image")
        except CaseError as error:
            if (turned := reoriented(image, reference)) is not None:
                self._array = turned.array
                return
            if unknown_place(image, reference) or (len(image.shape), len(reference.shape)) != (
                3,
                3,
            ):
                raise CaseError(f"{image.path} cannot be shown: {error}") from error
            matrix = np.linalg.solve(image.affine, reference.affine).astype(np.float64)
            self._check_overlap(image, reference, matrix)
            self._matrix = matrix
            said = "the image lies on another grid and is interpolated"
            self.note = f"{self.note}; {said}" if self.note else said

    @staticmethod
    def _check_overlap(image: Image, reference: Image, matrix: NDArray[np.float64]) -> None:
        """Raise where no corner region of the reference is inside of the image."""
        ends = np.array(np.meshgrid(*[(0, n - 1) for n in reference.shape])).reshape(3, -1)
        corners = matrix[:3, :3] @ ends + matrix[:3, 3:]
        apart = (corners.max(axis=1) < 0) | (corners.min(axis=1) > np.array(image.shape) - 1)
        if apart.any():
            raise CaseError(f"{image.path} cannot be shown: it lies beside the reference")

    def values(self, box: Box) -> NDArray[np.float32]:
        """Of a part of the reference, by its own axes; outside of the image they are NaN."""
        if self._matrix is None:
            part = box[: self._array.ndim]
            return self._array[part].astype(np.float32)
        from scipy import ndimage

        start = np.array([each.start for each in box])
        linear = self._matrix[:3, :3]
        found: NDArray[np.float32] = ndimage.affine_transform(
            self._array,
            linear,
            offset=linear @ start + self._matrix[:3, 3],
            output_shape=tuple(each.stop - each.start for each in box),
            output=np.float32,
            order=1,
            cval=np.nan,
            prefilter=False,
        )
        return found

    def sample(self) -> NDArray[np.float64]:
        """Values from all over the image, so many that percentiles are stable."""
        step = max(1, math.ceil((self._array.size / _MOST_SAMPLES) ** (1 / self._array.ndim)))
        found = self._array[(slice(None, None, step),) * self._array.ndim].astype(np.float64)
        return found[np.isfinite(found)]


def parse_window(text: str) -> str | tuple[float, float]:
    """A preset, or level and width.

    Raises:
        ValueError: neither.

    Example:
        >>> parse_window("40, 400"), parse_window("ct-lung")
        ((40.0, 400.0), 'ct-lung')
    """
    if text in (*PRESETS, PERCENTILES):
        return text
    try:
        level, width = (float(word) for word in text.split(","))
    except ValueError:
        level, width = math.nan, math.nan
    if not (math.isfinite(level) and 0 < width < math.inf):
        raise ValueError(
            f"--window: expected LEVEL,WIDTH such as 40,400, {', '.join(PRESETS)} or "
            f"{PERCENTILES}, got {text!r}"
        )
    return level, width


def window_of(
    sample: NDArray[np.float64], labelled: NDArray[np.floating], asked: str = "", kind: str = ""
) -> Window:
    """Through which window an image is shown.

    Values are Hounsfield units where somebody says CT, or where they reach from air to dense tissue
    as no other modality's do. Then the values below the labels tell the preset: lung, bone or soft
    tissue. Everything else goes by percentiles.

    Args:
        sample: values from all over the image.
        labelled: values where the labels are.
        asked: what the user wants, empty for nothing.
        kind: modality, where a file says it.

    Example:
        >>> ct = np.array([-1000.0, 40.0, 900.0])
        >>> window_of(ct, np.array([-800.0])).name, window_of(ct, np.array([50.0])).low
        ('lung window', -160.0)
        >>> window_of(ct, ct, asked="300,100")
        Window(low=250.0, high=350.0, name='level 300, width 100', ct=True)
    """
    if not sample.size:
        return Window(0.0, 1.0, "no finite value")
    low, high = float(sample.min()), float(sample.max())
    ct = kind.upper() == "CT" or (not kind and low <= _AIR_HU and high >= _DENSE_HU)
    given = parse_window(asked) if asked else ""
    if isinstance(given, tuple):
        level, width = given
        return Window(level - width / 2, level + width / 2, f"level {level:g}, width {width:g}", ct)
    labelled = labelled[np.isfinite(labelled)]
    if not given and ct:
        middle = float(np.median(labelled)) if labelled.size else 0.0
        given = "ct-lung" if middle < _LUNG_HU else "ct-bone" if middle > _BONE_HU else "ct-soft"
    if given in PRESETS:
        level, width = PRESETS[given]
        word = {"ct-soft": "soft tissue"}.get(given, given.removeprefix("ct-"))
        return Window(level - width / 2, level + width / 2, f"{word} window", ct=True)
    low, high = (float(x) for x in np.percentile(sample, [_LOW, _HIGH]))
    if not high > low:
        low, high = float(sample.min()), float(sample.max())
    high = high if high > low else low + 1.0
    return Window(low, high, f"{_LOW:g} to {_HIGH:g} % of its values", ct)


def shrunk(rows: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    """A picture whose sides have so many pixels at most, as means over blocks.

    Example:
        >>> shrunk(np.array([[0, 10, 20, 30]], dtype=np.uint8), 2)
        array([[ 5, 25]], dtype=uint8)
    """
    for axis in (0, 1):
        if (block := math.ceil(rows.shape[axis] / most)) > 1:
            starts = np.arange(0, rows.shape[axis], block)
            sums = np.add.reduceat(rows.astype(np.float32), starts, axis=axis)
            lengths = np.diff(np.append(starts, rows.shape[axis]))
            rows = np.rint(sums / lengths.reshape([-1, 1] if axis == 0 else [1, -1])).astype("u1")
    return rows


def data_uri(rows: NDArray[np.uint8]) -> str:
    """A grey-scale PNG of ``rows[y, x]``, as text that stands for it in a page."""
    height, width = rows.shape
    lines = np.zeros((height, width + 1), np.uint8)
    # Each pixel as the difference from its left neighbour, which PNG calls filter 1.
    lines[:, 0] = 1
    lines[:, 1:] = np.diff(rows, axis=1, prepend=np.uint8(0))
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
