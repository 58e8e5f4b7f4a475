"""A loss on class sums of a volume that is never there as a whole."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.base.additivity import prove
from medloss.base.segmentation import SegmentationLoss
from medloss.base.sums_recorder import added, sums_of, value_of
from medloss.base.targets import Extras, Prepared, Target
from medloss.sums import ClassSums


class LossInParts:
    """The exact value of a loss on a whole volume, from its parts one after the other.

    Formula:
        S = Σ over parts of the class sums of each; L = L(S), which is the loss of the joined parts.

    Sums are added in float64. Every voxel must be in exactly one part; parts may be of any shape
    and come in any order. Before the first part the loss has to prove, on a few random voxels, that
    its value follows from sums over parts. There is no gradient.

    Args:
        loss: a function of class sums, such as the region losses, cross entropy, focal, and
            compounds of such; ``boundary`` and its kin with a ready ``distance_map``.

    Raises:
        TypeError: ``loss`` is no loss of medloss.
        ValueError: it pools over ranks (``batch="world"``).

    Example:
        >>> import medloss
        >>> loss = medloss.loss("dice_ce", softmax=True)
        >>> logits, labels = torch.randn(1, 3, 6, 4, 4), torch.randint(0, 3, (1, 1, 6, 4, 4))
        >>> parts = LossInParts(loss)
        >>> for rows in (slice(0, 4), slice(4, 6)):
        ...     parts.add(logits[:, :, rows], labels[:, :, rows])
        >>> torch.allclose(parts.value(), loss(logits, labels))
        True
    """

    def __init__(self, loss: SegmentationLoss) -> None:
        if not isinstance(loss, SegmentationLoss):
            raise TypeError(f"loss: expected a loss of medloss, got {type(loss).__name__}")
        if any(getattr(each, "batch", False) == "world" for each in loss.modules()):
            raise ValueError(
                f"{type(loss).__name__}: expected batch False or True, got 'world': parts belong "
                f"to one process"
            )
        self.loss = loss
        self._totals: list[ClassSums] = []
        self._last: Prepared | None = None

    @torch.no_grad()
    def add(self, input: Tensor, target: Target, **extras: Any) -> None:
        """Take in a part.

        Args:
            input: (B, C, *spatial), logits or probabilities, as the loss takes them.
            target: the same voxels of the target, as the loss takes it.
            **extras: mask, present, distance_map and so on, likewise.

        Raises:
            NotAdditiveError: the loss is no function of sums over parts; a ValueError.
            ValueError: as the loss itself.
            TypeError: as the loss itself.
        """
        prepared = self.loss.prepare(input, target, Extras(**extras))
        if self._last is None:
            prove(self.loss, prepared)
        found = sums_of(self.loss, prepared)
        self._totals = added(self._totals, found) if self._totals else found
        self._last = prepared

    @torch.no_grad()
    def value(self) -> Tensor:
        """The loss of all parts together.

        Raises:
            ValueError: there was no part.
        """
        if self._last is None:
            raise ValueError("value: expected a part first, there was none")
        return value_of(self.loss, self._last, self._totals)
