"""The volumes of a batch, one for each sample and class, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

AT_ONCE = {"cpu": 1 << 20}
"""Voxels of the volumes that are worked on together: on a CPU they stay in cache."""
AT_ONCE_ELSEWHERE = 1 << 25
"""Elsewhere enough that starting an operation does not count."""

Lot = tuple[int, slice]
"""A sample and some of its classes."""


def lots(p: Tensor, skip: int) -> Iterator[Lot]:
    r"""All volumes of (B, C, \*spatial) but those of the first ``skip`` classes.

    Example:
        >>> list(lots(torch.zeros(2, 3, 4, 4), skip=1))
        [(0, slice(1, 3, None)), (1, slice(1, 3, None))]
    """
    at_once = max(1, AT_ONCE.get(p.device.type, AT_ONCE_ELSEWHERE) // max(1, p.shape[2:].numel()))
    for b in range(p.shape[0]):
        for first in range(skip, p.shape[1], at_once):
            yield b, slice(first, min(first + at_once, p.shape[1]))


def target_of(p: Tensor, target: Tensor, lot: Lot) -> Tensor:
    r"""The target of a lot in the dtype of ``p``, (N, \*spatial).

    Args:
        p: (B, C, \*spatial).
        target: of the same shape, or (B, 1, \*spatial) class indices.
        lot: of :func:`lots`.
    """
    b, classes = lot
    if target.shape[1] == p.shape[1]:
        return target[lot].to(p.dtype)
    numbers = torch.arange(classes.start, classes.stop, device=target.device, dtype=target.dtype)
    return (target[b] == numbers.view(-1, *[1] * (p.ndim - 2))).to(p.dtype)
