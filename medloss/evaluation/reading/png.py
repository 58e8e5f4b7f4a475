"""PNG: labels as grey values or as numbers of a palette, by Pillow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.foreign import WAYS
from medloss.evaluation.reading.libraries import library
from medloss.evaluation.reading.opened import open_file
from medloss.evaluation.reading.pixels import UNKNOWN, pixel_labels
from medloss.evaluation.reading.stored import (
    DEFLATE_RATIO,
    CaseError,
    Stored,
    check_stored,
    voxel_bytes,
)

_BITS = {"1": 8, "L": 8, "P": 8, "I;16": 16, "I;16B": 16, "I": 32}  # as they are decoded
_ENOUGH = 1 << 16
_MARK, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def read_png(path: Path) -> Stored:
    """Labels of columns and rows; the resolution of a PNG is that of a printer, and no voxel size.

    Raises:
        CaseError: the file is damaged, or holds colours; or Pillow is not installed.
    """
    return pixel_labels(read_pixels(path), (UNKNOWN, UNKNOWN))


def read_pixels(path: Path) -> NDArray[Any]:
    """Rows and columns of labels, as they are stored.

    Raises:
        CaseError: as :func:`read_png`.
    """
    with open_file(path) as file:
        start = file.read(len(_MARK))
        if start != _MARK:
            way = f"; it is {WAYS['.jpg']}" if start.startswith(_JPEG) else ""
            raise CaseError(f"{path} is not a PNG file{way}")
        file.seek(0)
        return _pixels(path, file)


def _pixels(path: Path, file: BinaryIO) -> NDArray[Any]:
    with (
        library(path, "PIL.Image", "png", "PNG picture") as pillow,
        pillow.open(file, formats=("PNG",)) as picture,
    ):
        mode, frames = picture.mode, getattr(picture, "n_frames", 1)
        if frames > 1:
            raise CaseError(f"{path} is an animation of {frames} pictures, not a label map")
        if mode not in _BITS:
            raise CaseError(
                f"{path} holds colours or transparency ({mode}), and not which label each of them "
                f"stands for; save the labels themselves, as a grey or an indexed PNG"
            )
        size = voxel_bytes(path, picture.size, _BITS[mode] // 8)
        stored = file.seek(0, 2)
        file.seek(0)
        # A bit a pixel is the least that it is stored in.
        check_stored(path, math.ceil(size / 8) - _ENOUGH, stored, DEFLATE_RATIO)
        array = np.array(picture)
    # Where a pixel is a bit, Pillow gives True as 255.
    return array.view(np.uint8) != 0 if array.dtype.kind == "b" else array
