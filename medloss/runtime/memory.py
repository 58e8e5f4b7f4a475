"""Memory of large computations: fresh memory is slow to touch."""

from __future__ import annotations

import ctypes
import mmap
import sys

from torch import Tensor

LARGE_PAGE = 1 << 21
_ADVICE: int = getattr(mmap, "MADV_HUGEPAGE", 0) if sys.platform == "linux" else 0
_C = ctypes.CDLL(None) if _ADVICE else None


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
