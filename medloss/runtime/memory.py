"""Memory of large computations: fresh memory is slow to touch."""

from __future__ import annotations

import ctypes
import mmap
import sys
from threading import local

import numpy as np
import numpy.typing as npt
from torch import Tensor

LARGE_PAGE = 1 << 21
_ADVICE: int = getattr(mmap, "MADV_HUGEPAGE", 0) if sys.platform == "linux" else 0
_C = ctypes.CDLL(None) if _ADVICE else None
_kept = local()


def use_large_pages(tensor: Tensor) -> Tensor:
    """Ask for large pages before a fresh tensor is first written; its contents do not change.

    The first touch of a page of 4 KB costs as much as computing what goes into it.
    """
    start = tensor.data_ptr()
    first = -(-start // LARGE_PAGE) * LARGE_PAGE
    length = (start + tensor.nbytes - first) // LARGE_PAGE * LARGE_PAGE
    if _C is not None and length > 0:  # advice: nothing depends on whether it is taken
        _C.madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), ctypes.c_int(_ADVICE))
    return tensor


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
