"""Arrays that a thread reuses from block to block: fresh memory is slow to touch."""

from __future__ import annotations

from threading import local

import numpy as np
import numpy.typing as npt

_kept = local()


class Scratch:
    """Tiles, rows, labels and bins for one thread.

    Args:
        classes: C.
        size: voxels in a tile.
        tiles: how many, 0 to 2.
        rows: how many rows.
        dtype: that of the computation.
    """

    def __init__(
        self, classes: int, size: int, tiles: int, rows: int, dtype: npt.DTypeLike
    ) -> None:
        # One row more than classes, finite, stands for labels that are no class.
        self.tiles = (np.zeros((tiles, classes + 1, size), dtype),) if tiles else ()
        # -1: where the target holds no labels, none is equal to a class
        self.rows_and_labels = np.zeros((rows, size), dtype), np.full(size, -1, np.int32)
        self.bins = np.zeros((4, classes + 1))


def scratch(classes: int, size: int, tiles: int, rows: int, dtype: npt.DTypeLike) -> Scratch:
    """The calling thread's, made anew when the last call wanted another."""
    wanted = (classes, size, tiles, rows, np.dtype(dtype))
    if getattr(_kept, "wanted", None) != wanted:
        _kept.wanted, _kept.scratch = wanted, Scratch(*wanted)
    made: Scratch = _kept.scratch
    return made
