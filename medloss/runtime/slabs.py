"""How much is worked on at a time, and the volumes of a batch in lots of that size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class AtOnce(NamedTuple):
    """How much is worked on together.

    Args:
        cpu: on a CPU, where what is made on the way stays in cache.
        elsewhere: enough that starting an operation does not count.
    """

    cpu: int
    elsewhere: int

    def on(self, device: torch.device) -> int:
        """On one device."""
        return self.cpu if device.type == "cpu" else self.elsewhere


ELEMENTS = AtOnce(1 << 18, 1 << 22)
"""Of a slab, where some temporaries are made of each."""
VOXELS = AtOnce(1 << 20, 1 << 25)
"""Of whole volumes."""
BYTES = AtOnce(1 << 23, 1 << 27)
"""Of all that is made of a slab."""

Slab = tuple[int, slice]
"""A sample and some of its voxels."""
Lot = tuple[int, slice]
"""A sample and some of its classes."""


def slabs(batch: int, voxels: int, at_once: int) -> Iterator[Slab]:
    """All voxels of all samples.

    Example:
        >>> list(slabs(1, voxels=5, at_once=3))
        [(0, slice(0, 3, None)), (0, slice(3, 6, None))]
    """
    for b in range(batch):
        for begin in range(0, voxels, at_once):
            yield b, slice(begin, begin + at_once)


def lots(p: Tensor, skip: int, size: AtOnce = VOXELS) -> Iterator[Lot]:
    r"""All volumes of (B, C, \*spatial) but those of the first ``skip`` classes.

    Example:
        >>> list(lots(torch.zeros(2, 3, 4, 4), skip=1))
        [(0, slice(1, 3, None)), (1, slice(1, 3, None))]
    """
    at_once = max(1, size.on(p.device) // max(1, p.shape[2:].numel()))
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
