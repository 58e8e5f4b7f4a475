"""Pictures that labels were drawn on, PNG and JPEG, in shades of grey: for looking at alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medloss.evaluation.reading.libraries import library
from medloss.evaluation.reading.opened import open_file
from medloss.evaluation.reading.pixels import UNKNOWN
from medloss.evaluation.reading.stored import Stored, sizes_alone, voxel_bytes

PHOTOS = (".png", ".jpg", ".jpeg")
"""Suffixes of such pictures. As labels a JPEG is refused, whose values change when it is saved."""


def read_photo(path: Path) -> Stored:
    """Columns and rows of a picture, colours as their brightness.

    Raises:
        CaseError: the file is damaged, or Pillow is not installed.
    """
    with (
        open_file(path) as file,
        library(path, "PIL.Image", "png", "picture") as pillow,
        pillow.open(file, formats=("PNG", "JPEG")) as picture,
    ):
        voxel_bytes(path, picture.size, 4)
        deep = picture.mode.startswith("I")  # 16 bits, whose conversion to 8 would cut them
        rows = np.array(picture if deep else picture.convert("L"))
    return Stored(rows.T, sizes_alone((UNKNOWN, UNKNOWN)), 2, space="")
