"""The class sums that a loss asks for, and its value with other sums than those of its voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

import torch
from torch import Tensor

from medloss.base.segmentation import SegmentationLoss
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term, work_dtype


class NotAdditiveError(ValueError):
    """The value of a loss does not follow from class sums over parts."""


_VOXELS = ("input", "target", "raw", "label", "mask", "extras")


@dataclass(frozen=True, kw_only=True)
class _Part(Prepared):
    """A part whose sums are kept, or give way to the sums of all parts."""

    name: str
    whole: Prepared
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
        return self.whole.is_index

    def sums(
        self, terms: Sequence[str | Term], maps: Mapping[str, Tensor] | None = None
    ) -> ClassSums:
        """Class sums, of this part or of all."""
        if not self.totals:
            own = self.whole.sums(terms, maps)
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


def _part(loss: SegmentationLoss, prepared: Prepared, totals: Sequence[ClassSums] = ()) -> _Part:
    own = {each.name: getattr(prepared, each.name) for each in fields(prepared)}
    return _Part(**own, name=type(loss).__name__, whole=prepared, totals=totals)


def sums_of(loss: SegmentationLoss, prepared: Prepared) -> list[ClassSums]:
    """The class sums that a loss asks for, in that order, in float64."""
    part = _part(loss, prepared)
    _evaluate(loss, part)
    if not part.found:
        part.refuse()
    return [ClassSums(sums.values.double(), sums.terms) for sums in part.found]


def value_of(loss: SegmentationLoss, prepared: Prepared, totals: list[ClassSums]) -> Tensor:
    """The loss with other sums than those of its voxels."""
    dtype = work_dtype(prepared.values)
    sums = [ClassSums(total.values.to(dtype), total.terms) for total in totals]
    return _evaluate(loss, _part(loss, prepared, sums))


def _evaluate(loss: SegmentationLoss, prepared: Prepared) -> Tensor:
    with torch.autocast(prepared.values.device.type, enabled=False):
        return loss.evaluate(prepared)


def added(totals: list[ClassSums], found: list[ClassSums]) -> list[ClassSums]:
    """Both together."""
    return [total + sums for total, sums in zip(totals, found, strict=True)]
