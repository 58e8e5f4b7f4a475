"""torch tensors as numpy arrays that the kernels read, without a copy where that is possible."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# numpy has no bfloat16 and numba no float16: the kernels know both by integers of their bits.
AS_STORED = {torch.bfloat16: torch.uint16, torch.float16: torch.int16, torch.bool: torch.uint8}
LABELS = (torch.uint8, torch.int64)

OWN, BFLOAT16, FLOAT16, BYTE, LONG = range(5)
"""Which of the arrays of a :data:`Stored` holds the tensor; the first is of the work dtype."""

_DTYPES = (None, np.uint16, np.int16, np.uint8, np.int64)
_KINDS = {torch.bfloat16: BFLOAT16, torch.float16: FLOAT16, torch.uint8: BYTE, torch.bool: BYTE}

Stored = tuple[Any, ...]
"""Kind, and an array (B, C, V) for each one: empty but one. So a kernel is compiled once, not once
for each dtype of each tensor."""

_empty = {
    work: tuple(np.zeros((0, 0, 0), dtype or work) for dtype in _DTYPES)
    for work in (np.float32, np.float64)
}


def view(tensor: Tensor) -> npt.NDArray[Any]:
    """The same memory."""
    as_stored = AS_STORED.get(tensor.dtype)
    plain = tensor.detach()
    array: npt.NDArray[Any] = (plain if as_stored is None else plain.view(as_stored)).numpy()
    return array


def stored(tensor: Tensor, work: Any) -> Stored:
    """A tensor (B, C, V); a dtype that the kernels do not read becomes the work dtype."""
    kind = _KINDS.get(tensor.dtype, OWN)
    if kind == OWN:
        tensor = tensor.to(torch.float64 if work is np.float64 else torch.float32)
    return _at(kind, view(tensor), work)


def index(tensor: Tensor, work: Any) -> Stored:
    """Class indices (B, 1, V), contiguous."""
    tensor = (tensor if tensor.dtype in LABELS else tensor.long()).contiguous()
    return _at(BYTE if tensor.dtype == torch.uint8 else LONG, view(tensor), work)


def _at(kind: int, array: npt.NDArray[Any], work: Any) -> Stored:
    arrays = _empty[work]
    return (kind, *arrays[:kind], array, *arrays[kind + 1 :])
