"""Losses on class sums, for many regions at once: the voxels are summed by region."""

from __future__ import annotations

from dataclasses import dataclass

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
    loss: SegmentationLoss,
    one: Prepared,
    regions: Tensor,
    count: int,
    *,
    shared: bool,
    sizes: SizeWeights | None = None,
) -> Tensor:
    """The loss in each region, (K,).

    Args:
        loss: one of which :func:`is_on_sums` is true.
        one: a class of a sample, (1, 1, *spatial).
        regions: number of the region of each voxel, from 1 on.
        count: of regions, K.
        shared: whether voxels of 0 belong to every region, rather than to none.
        sizes: what object and background of a region weigh; None for 1.
    """
    terms = as_terms(_terms(loss))
    if sizes is None:
        sums = sums_of_regions(one, terms, regions, count)
        values = sums.values[1:] + sums.values[:1] if shared else sums.values[1:]
    else:  # the voxels of an object and the others of its region apart
        both = regions * 2 + sizes.objects
        sums = sums_of_regions(one, as_terms([*terms, "v"]), both, 2 * count + 1)
        on_object, beside = sums.values[3::2], sums.values[:1] if shared else sums.values[2::2]
        voxels = [ClassSums(s, sums.terms).v[:, None] for s in (on_object, beside)]
        inside, outside = sizes.of(voxels[0], voxels[1])
        values = inside * on_object + outside * beside
    return _value(loss, ClassSums(values, sums.terms), one)[:, 0]


@dataclass(frozen=True)
class SizeWeights:
    r"""Weights of voxels by the size of what they belong to, an object or the rest of its region.

    In a region of N voxels with C of the object each of them weighs N C^−γ / (C^(1−γ) + R^(1−γ)),
    each of the R others N R^−γ / (C^(1−γ) + R^(1−γ)), so that all of them weigh N: with γ = 1 an
    object weighs as much as its background, with γ = 0 each voxel weighs 1.

    Args:
        objects: which voxels belong to one, (\*spatial).
        exponent: γ.
        most: larger weights are cut off there.
    """

    objects: Tensor
    exponent: float
    most: float | None = None

    def of(self, inside: Tensor, outside: Tensor) -> tuple[Tensor, Tensor]:
        """Weight of a voxel of the object and of the rest.

        Args:
            inside: voxels of the object.
            outside: voxels of the rest, which may be none.

        Example:
            >>> SizeWeights(torch.ones(1), 1.0).of(torch.tensor(1.0), torch.tensor(14.0))
            (tensor(7.5000), tensor(0.5357))
        """
        inside, outside = inside.detach(), outside.detach()
        # Of nothing the weight is of no use, but has to be a number.
        raised = [torch.where(n > 0, n, 1) ** -self.exponent for n in (inside, outside)]
        share = ratio(inside + outside, inside * raised[0] + outside * raised[1])
        found = [share * each for each in raised]
        if self.most is not None:
            found = [each.clamp_max(self.most) for each in found]
        return found[0], found[1]


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
