"""The value of a term, and of each of its classes, from class sums that are there anyway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from medloss.base import RegionLoss, SumsLoss, VoxelLoss
from medloss.base.targets import Prepared
from medloss.sums import ClassSums
from medloss_distribution.cross_entropy import CrossEntropyLoss


class ClassValues(NamedTuple):
    """Values of classes as the mean Σ value / Σ count over the samples.

    Args:
        value: (B, C), for the classes that count.
        counts: (B, C), or None for a plain mean.
        first: index of the first class that counts.
    """

    value: Tensor
    counts: Tensor | None
    first: int

    def means(self) -> Tensor:
        """Value of each class, (C,); NaN where nothing counted."""
        if self.counts is None:
            return self.value.mean(0)
        return self.value.sum(0) / self.counts.sum(0)


def from_sums(
    loss: SumsLoss, sums: ClassSums, prepared: Prepared
) -> tuple[Tensor, ClassValues | None]:
    """Value of a loss on class sums, and of its classes where it tells them apart."""
    if isinstance(loss, RegionLoss) and type(loss).from_sums is RegionLoss.from_sums:
        s, present = loss.counted(sums, prepared)
        each = loss.per_class(s)
        return loss.reduce_classes(each, present), _of_region(loss, each, present, prepared)
    value = loss.from_sums(sums, prepared)
    if isinstance(loss, VoxelLoss) and type(loss).from_sums is VoxelLoss.from_sums:
        return value, _of_voxels(loss, sums, prepared)
    return value, None


def _of_region(
    loss: RegionLoss, each: Tensor, present: Tensor | None, prepared: Prepared
) -> ClassValues | None:
    first = 0 if loss.include_background else 1
    if each.shape[1] != prepared.values.shape[1] - first:
        return None
    each = each.detach()
    if present is None:
        return ClassValues(each, None, first)
    return ClassValues(torch.where(present, each, 0), present, first)


def _of_voxels(loss: VoxelLoss, sums: ClassSums, prepared: Prepared) -> ClassValues | None:
    """Means over the voxels of each class: of independent classes, or of plain cross entropy.

    Sums over all ranks are not at hand here, and a mean over one rank is not what the value is.
    """
    if loss.batch == "world":
        return None
    first = 0 if loss.include_background else 1
    with torch.no_grad():
        s, _ = loss.counted(sums.detach(), prepared, pool=False)
        if not prepared.is_exclusive:
            value, count = loss.per_class(s, prepared), loss.normalizer(s, prepared)
        elif isinstance(loss, CrossEntropyLoss) and not loss.label_smoothing:
            value, count = s.ce, s.t
        else:
            return None
    if value.shape != count.shape or value.shape[1] != prepared.values.shape[1] - first:
        return None
    return ClassValues(value, count, first)


def named(values: ClassValues, names: Sequence[str] | None) -> dict[int | str, float]:
    """Means by index, or by name where all classes, background included, have one."""
    means = enumerate(values.means().tolist(), values.first)
    return {index if names is None else names[index]: mean for index, mean in means}
