"""Values of the classes of a term, from the sums that its value was made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medloss.base import RegionLoss, SumsLoss, VoxelLoss
from medloss.base.targets import Prepared
from medloss.compound.breakdown import ClassValues, LastPass, TermValue
from medloss.sums import Activation, ClassSums, Term


def value_and_classes(
    loss: SumsLoss, sums: ClassSums, prepared: Prepared
) -> tuple[Tensor, ClassValues | None]:
    """Value of a loss on class sums, and of its classes where it tells them apart."""
    if isinstance(loss, RegionLoss) and type(loss).from_sums is RegionLoss.from_sums:
        s, present = loss.counted(sums, prepared)
        each = loss.per_class(s)
        value = loss.reduce_classes(each, present)
        return value, _of_all(loss, each.detach(), present, prepared)
    value = loss.from_sums(sums, prepared)
    if not isinstance(loss, VoxelLoss) or type(loss).from_sums is not VoxelLoss.from_sums:
        return value, None
    if loss.batch == "world":  # sums over all ranks are not at hand here
        return value, None
    with torch.no_grad():
        s, _ = loss.counted(sums.detach(), prepared, pool=False)
        found = loss.of_each_class(s, prepared)
    if found is None or found[0].shape != found[1].shape:
        return value, None
    return value, _of_all(loss, *found, prepared)


def _of_all(
    loss: SumsLoss, value: Tensor, counts: Tensor | None, prepared: Prepared
) -> ClassValues | None:
    """None where there is not one value for each class that counts."""
    first = 0 if loss.include_background else 1
    if value.shape[1] != prepared.values.shape[1] - first:
        return None
    return ClassValues(value, counts, first)


class ClosedPass(NamedTuple):
    """The last pass of a weighted sum in closed form: its terms are told by their formulas.

    Args:
        losses: by name.
        weights: theirs, and maybe of others.
        sums: (B, K, C), float64.
        terms: of the sums.
        activation: of the input.
        is_index: whether the target held class indices.
    """

    losses: Sequence[tuple[str, SumsLoss]]
    weights: dict[str, float | Tensor]
    sums: npt.NDArray[np.float64] | Tensor
    terms: tuple[Term, ...]
    activation: Activation
    is_index: bool

    def told(
        self, *, class_names: Sequence[str] | None, with_gradient: bool
    ) -> dict[str, TermValue]:
        """All of it as numbers."""
        batch, _, classes = self.sums.shape
        input = torch.empty(batch, classes)  # of which only the form is asked
        target = input[:, :1] if self.is_index else input
        prepared = Prepared.of_plain(input, self.activation, target)
        sums = ClassSums(torch.as_tensor(self.sums).unbind(1), self.terms)
        values: dict[str, Tensor | float] = {}
        each = {}
        for name, loss in self.losses:
            values[name], of_classes = value_and_classes(loss, sums.of(loss.terms()), prepared)
            if of_classes is not None:
                each[name] = of_classes
        weights = {name: self.weights[name] for name in values}
        seen = LastPass(values, weights, each, None)
        return seen.told(class_names=class_names, with_gradient=with_gradient)


class Passes:
    """Passes of a compound loss.

    Apart from it, since a module takes longer to set an attribute than to add up a small image.

    Attributes:
        last: what was seen in it.
        last_training: likewise.
        number: of training passes.
        since_step: those since the schedules were stepped.
    """

    def __init__(self) -> None:
        self.last: LastPass | ClosedPass | None = None
        self.last_training: LastPass | ClosedPass | None = None
        self.number = 0
        self.since_step = 0
