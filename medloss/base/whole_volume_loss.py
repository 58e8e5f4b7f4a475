"""A loss on class sums of a volume that is never there as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

import torch
from torch import Tensor

from medloss.base.segmentation import SegmentationLoss
from medloss.base.targets import Extras, Prepared, Target
from medloss.sums import ClassSums, Term, class_sums, work_dtype


class NotAdditiveError(ValueError):
    """The value of a loss does not follow from class sums over parts."""


_VOXELS = ("input", "target", "raw", "label", "mask", "extras")


@dataclass(frozen=True, kw_only=True)
class _Part(Prepared):
    """A part whose sums are kept, or give way to the sums of all parts."""

    name: str
    found: list[ClassSums] = field(default_factory=list)
    totals: Sequence[ClassSums] = ()

    def __getattribute__(self, name: str) -> Any:
        # Maps of the voxels may be made before they are summed; the value has the sums alone.
        if name in _VOXELS and self.found:
            self.refuse()
        return super().__getattribute__(name)

    @property
    def is_index(self) -> bool:
        """Whether the target holds class indices."""
        target: Tensor = self._own("target")
        return target.shape[1] != self.values.shape[1]

    def _own(self, name: str) -> Any:
        """A field, after the sums too."""
        return super().__getattribute__(name)

    def sums(
        self, terms: Sequence[str | Term], maps: Mapping[str, Tensor] | None = None
    ) -> ClassSums:
        """Class sums, of this part or of all."""
        if not self.totals:
            given = self.values, self._own("target"), terms
            mask = self._own("mask")
            own = class_sums(*given, activation=self.activation, mask=mask, maps=maps)
        elif len(self.found) < len(self.totals):
            own = self.totals[len(self.found)]
        else:
            self.refuse()
        self.found.append(own)
        return own

    def each_voxel(
        self, terms: Sequence[str | Term], maps: Mapping[str, Tensor] | None = None
    ) -> ClassSums:
        """Refused."""
        self.refuse()

    def refuse(self) -> NoReturn:
        """Say what the loss is not."""
        raise NotAdditiveError(
            f"{self.name} with these options needs every voxel at once, expected a function of "
            f"class sums"
        )


class LossInParts:
    """The exact value of a loss on a whole volume, from its parts one after the other.

    Formula:
        S = Σ over parts of the class sums of each; L = L(S), which is the loss of the joined parts.

    Sums are added in float64. Every voxel must be in exactly one part; parts may be of any shape
    and come in any order. There is no gradient.

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
        part = self._part(prepared)
        self._evaluate(part)
        if not part.found:
            part.refuse()
        if not self.loss.is_additive(prepared):
            raise NotAdditiveError(
                f"{type(self.loss).__name__} with these options looks beyond a voxel, so that the "
                f"sums of parts are not those of the whole; expected a function of class sums, or "
                f"a ready map"
            )
        found = [ClassSums(sums.values.double(), sums.terms) for sums in part.found]
        if self._totals:
            found = [a + b for a, b in zip(self._totals, found, strict=True)]
        self._totals, self._last = found, prepared

    @torch.no_grad()
    def value(self) -> Tensor:
        """The loss of all parts together.

        Raises:
            ValueError: there was no part.
        """
        if self._last is None:
            raise ValueError("value: expected a part first, there was none")
        dtype = work_dtype(self._last.values)
        totals = [ClassSums(total.values.to(dtype), total.terms) for total in self._totals]
        return self._evaluate(self._part(self._last, totals))

    def _part(self, prepared: Prepared, totals: Sequence[ClassSums] = ()) -> _Part:
        own = {each.name: getattr(prepared, each.name) for each in fields(prepared)}
        return _Part(**own, name=type(self.loss).__name__, totals=totals)

    def _evaluate(self, part: Prepared) -> Tensor:
        with torch.autocast(part.values.device.type, enabled=False):
            return self.loss.evaluate(part)
