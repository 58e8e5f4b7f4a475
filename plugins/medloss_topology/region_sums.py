"""Losses on class sums, for many regions at once: the voxels are summed by region."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.base import RegionLoss, SegmentationLoss, SumsLoss, VoxelLoss
from medloss.base.targets import Prepared
from medloss.compound import WeightedSum
from medloss.sums import ClassSums, Term
from medloss.sums.numeric import ratio
from medloss.sums.terms import as_terms


def is_on_sums(loss: SegmentationLoss) -> bool:
    """Whether a loss of a region follows from class sums over its voxels, and these from theirs."""
    if isinstance(loss, WeightedSum):
        mixes = type(loss).compute is WeightedSum.compute
        mixes = mixes and type(loss)._combined is WeightedSum._combined
        terms = loss.losses.values()
        return mixes and all(isinstance(t, SegmentationLoss) and is_on_sums(t) for t in terms)
    if not isinstance(loss, SumsLoss) or type(loss).compute is not SumsLoss.compute:
        return False
    if isinstance(loss, RegionLoss):
        plain = type(loss).from_sums is RegionLoss.from_sums
    else:
        plain = isinstance(loss, VoxelLoss) and type(loss).from_sums is VoxelLoss.from_sums
    # A map of the target knows nothing of regions.
    return plain and not any(term.map is not None for term in as_terms(loss.terms()))


def values_on_sums(
    loss: SegmentationLoss, one: Prepared, regions: Tensor, count: int, *, shared: bool
) -> Tensor:
    """The loss in each region, (K,).

    Args:
        loss: one of which :func:`is_on_sums` is true.
        one: a class of a sample, (1, 1, *spatial).
        regions: number of the region of each voxel, from 1 on.
        count: of regions, K.
        shared: whether voxels of 0 belong to every region, rather than to none.
    """
    sums = sums_of_regions(one, as_terms(_terms(loss)), regions, count)
    values = sums.values[1:] + sums.values[:1] if shared else sums.values[1:]
    return _value(loss, ClassSums(values, sums.terms), one)[:, 0]


def sums_of_regions(
    one: Prepared, terms: tuple[Term, ...], regions: Tensor, count: int
) -> ClassSums:
    """Class sums over the voxels of each region, and of 0: (K + 1, terms, 1)."""
    where = regions.flatten()
    each = one.each_voxel(terms).values.flatten(2)[0]
    # one after the other, so in float64
    empty = torch.zeros(count + 1, dtype=torch.float64, device=each.device)
    sums = [empty.index_add(0, where, row.double()) for row in each]
    return ClassSums(torch.stack(sums, 1)[..., None].to(each.dtype), terms)


def _terms(loss: SegmentationLoss) -> list[str | Term]:
    if isinstance(loss, WeightedSum):
        return [term for each in loss.terms_on_sums() for term in each.terms()]
    return list(loss.terms()) if isinstance(loss, SumsLoss) else []


def _value(loss: SegmentationLoss, s: ClassSums, one: Prepared) -> Tensor:
    """The loss with each row of the sums, (K, 1)."""
    if isinstance(loss, WeightedSum):
        terms = [
            loss.schedule.times(name, _value(term, s, one))
            for name, term in loss.losses.items()
            if isinstance(term, SegmentationLoss)
        ]
        return torch.stack(terms).sum(0)
    if isinstance(loss, SumsLoss):
        s = s.of(loss.terms())
    if isinstance(loss, RegionLoss):
        return loss.per_class(s)
    if isinstance(loss, VoxelLoss):
        return ratio(loss.per_class(s, one), loss.normalizer(s, one))
    raise TypeError(f"{type(loss).__name__}: expected a loss on class sums")
