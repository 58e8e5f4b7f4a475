"""How fast this machine moves memory: a copy that alternates with what is measured."""

from __future__ import annotations

import torch

LARGE = 256 << 20
"""Bytes of a buffer: larger than any cache."""


class Copy:
    """A copy between two warm buffers; calling it copies once.

    Args:
        device: where the buffers are.
        size: bytes of each.
    """

    def __init__(self, device: str, size: int = LARGE) -> None:
        self._from = torch.ones(size // 4, device=device)
        self._to = torch.ones_like(self._from)
        self.moved_bytes = 2 * self._from.nbytes

    def __call__(self) -> None:
        """Copy once."""
        self._to.copy_(self._from)


def floor_bytes(batch: int, classes: int, voxels: int, itemsize: int, label_itemsize: int) -> int:
    """What forward plus backward of any loss has to move.

    Logits and labels are read by each of the two, the gradient is written:
    B V (3 C itemsize + 2 label_itemsize).

    Example:
        >>> floor_bytes(batch=1, classes=2, voxels=10, itemsize=4, label_itemsize=8)
        400
    """
    return batch * voxels * (3 * classes * itemsize + 2 * label_itemsize)
