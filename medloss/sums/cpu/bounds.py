"""The least and the largest of 64-bit integers, in one pass at the speed of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medloss.sums.cpu import kernel


@kernel
def _bounds(values: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
    low, high = values[0], values[0]
    for i in range(values.size):
        low, high = min(low, values[i]), max(high, values[i])
    found[0], found[1] = low, high


def bounds(values: Tensor) -> tuple[Tensor, Tensor]:
    """Both, of a contiguous tensor on the CPU that is not empty.

    Example:
        >>> [each.item() for each in bounds(torch.tensor([[3, -1], [2, 7]]))]
        [-1, 7]
    """
    found = np.empty(2, np.int64)
    _bounds(values.view(-1).numpy(), found)
    low, high = torch.from_numpy(found)
    return low, high
