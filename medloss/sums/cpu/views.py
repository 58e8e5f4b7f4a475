"""torch tensors as numpy arrays that the kernels read, without a copy where that is possible."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

# numpy has no bfloat16 and numba no float16: the kernels know both by integers of their bits.
AS_STORED = {torch.bfloat16: torch.uint16, torch.float16: torch.int16, torch.bool: torch.uint8}
LABELS = (torch.uint8, torch.int64)
READABLE = (torch.float32, torch.float64, torch.uint8, torch.int32, torch.int64)


def view(tensor: Tensor) -> npt.NDArray[Any]:
    """The same memory."""
    as_stored = AS_STORED.get(tensor.dtype)
    plain = tensor.detach()
    array: npt.NDArray[Any] = (plain if as_stored is None else plain.view(as_stored)).numpy()
    return array


def dense(tensor: Tensor) -> npt.NDArray[Any]:
    """(B, C, V); a dtype that the kernels do not read becomes float32."""
    known = tensor.dtype in READABLE or tensor.dtype in AS_STORED
    return view(tensor if known else tensor.float())


def index(tensor: Tensor) -> npt.NDArray[Any]:
    """(B, 1, V) to (B, V), contiguous."""
    known = tensor.dtype in LABELS
    return view((tensor if known else tensor.long())[:, 0].contiguous())
