"""Losses that are functions of per-class sums over voxels, or means over voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor

from medloss.base.segmentation import SegmentationLoss
from medloss.base.targets import Prepared
from medloss.runtime.eager import evaluate_now, numbers_may_be_read
from medloss.sums import Activation, ClassSums, Term, any_over_batch, work_dtype
from medloss.sums.numeric import ratio
from medloss.sums.ratios import Linear, Ratio, RatioSum, WeightedRatios, weighted_ratios
from medloss.sums.terms import as_terms


class SumsLoss(SegmentationLoss):
    """A loss that is a function of per-class sums over voxels."""

    def terms(self) -> Sequence[str | Term]:
        """The terms to sum."""
        raise TypeError(f"{type(self).__name__}: a loss on class sums must define terms()")

    def maps(self, prepared: Prepared) -> Mapping[str, Tensor]:
        """Maps of shape (B, C, *spatial) for terms that need one, by name."""
        return {}

    def is_additive(self, prepared: Prepared) -> bool:
        """Where no map is made of the target."""
        own = type(self)
        return own.maps is SumsLoss.maps and own.compute is SumsLoss.compute

    def compute(self, prepared: Prepared) -> Tensor:
        """Sum the terms and form the loss."""
        closed = by_ratios([(1.0, self)], prepared)
        if closed is not None:
            if does_as(self, SumsLoss):
                self._kept.keep(prepared, closed[1].ratios)
            return closed[0]
        return self.from_sums(prepared.sums(self.terms(), self.maps(prepared)), prepared)

    def of_kept_form(self, input: Any, target: Any) -> Tensor | None:
        """Value of the loss where an earlier call settled all about it, or None."""
        found = self._kept.value(input, target)
        return None if found is None else found[0]

    def from_sums(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """The reduced loss from sums over all classes, background included."""
        raise TypeError(f"{type(self).__name__}: a loss on class sums must define from_sums()")

    def as_ratio(self, prepared: Prepared) -> tuple[Linear, Linear] | None:
        """The loss as a ratio of two linear forms of the sums, where it is one.

        It is asked of losses that say so themselves, without class weights, for
        ``reduction="mean"``. Above and below are those of each sample and class for a
        :class:`RegionLoss`, which is 1 minus the smoothed ratio, and those of the whole for a
        :class:`VoxelLoss`. The formula stays what is true; this is what is fast.
        """
        return None

    def counted(
        self, s: ClassSums, prepared: Prepared, *, pool: bool = True
    ) -> tuple[ClassSums, Tensor | None]:
        """Sums of the classes that count, over the batch where asked, and which were annotated."""
        present = prepared.present
        if present is not None:
            s = s.only(present)
        if pool and self.batch is not False:
            s = s.over_batch(self.batch)
            present = None if present is None else any_over_batch(present, self.batch)
        if not self.include_background:
            s = s.without_background()
            present = None if present is None else present[:, 1:]
        return s, present


class RegionLoss(SumsLoss):
    """A loss with one value for each (sample, class): :meth:`per_class`."""

    def per_class(self, s: ClassSums) -> Tensor:
        """Loss of each sample and class, (B, C), from its sums."""
        raise TypeError(f"{type(self).__name__}: a region loss must define per_class()")

    def volume_exponent(self) -> int | None:
        """Where :meth:`as_ratio` is of all classes together: each is weighted by Σy^−exponent."""
        return None

    def from_sums(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Weight the classes and reduce over those that were annotated."""
        s, present = self.counted(s, prepared)
        return self.reduce_classes(self.per_class(s), present)


class VoxelLoss(SumsLoss):
    """A loss that is a mean over voxels: :meth:`per_class` is linear in the terms.

    Being linear, it gives the sum over voxels from summed terms and the value of each voxel from
    the terms of each voxel, so that ``reduction="none"`` needs no second formula.
    """

    def per_class(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Weighted loss, (B, C, ...), linear in the terms."""
        raise TypeError(f"{type(self).__name__}: a voxel loss must define per_class()")

    def normalizer(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """What the sum is divided by, (B, C)."""
        return s.v

    def labelled(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Number of voxels of exclusive classes that belong to the mean, (B, C) to be added up.

        Those whose class counts and was annotated: :func:`~medloss.base.annotated_share` of each.
        """
        if prepared.present is None and self.include_background:
            return s.v[:, :1]
        return s.t

    def of_each_class(self, s: ClassSums, prepared: Prepared) -> tuple[Tensor, Tensor] | None:
        """Sums over the voxels of each class and their numbers, (B, C) each, without a weight.

        None where a voxel belongs to no class alone: there the loss does not tell its classes
        apart.
        """
        if not tells_classes_apart(self, prepared):
            return None
        return self.per_class(s, prepared), self.normalizer(s, prepared)

    def of_voxels(self, s: ClassSums, prepared: Prepared) -> ClassSums:
        """The terms, summed or of each voxel, as this loss takes them: from which voxels."""
        return s

    def from_sums(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Divide the sum over everything by the number, or weight, of what was summed."""
        if self.reduction == "none":
            return self.each_voxel(prepared)
        s, _ = self.counted(self.of_voxels(s, prepared), prepared)
        total = self.per_class(s, prepared)
        if self.reduction == "sum":
            return self.summed(total, s)
        return ratio(total.sum(), self.normalizer(s, prepared).sum())

    def summed(self, total: Tensor, s: ClassSums) -> Tensor:
        """``reduction="sum"``."""
        return total.sum()

    def each_voxel(self, prepared: Prepared) -> Tensor:
        """``reduction="none"``: (B, C, *spatial)."""
        voxels = prepared.each_voxel(self.terms(), self.maps(prepared))
        voxels = self.of_voxels(voxels, prepared)
        return self.per_class(self.counted(voxels, prepared, pool=False)[0], prepared)


def tells_classes_apart(loss: VoxelLoss, prepared: Prepared) -> bool:
    """Whether a voxel loss has values of classes: it says so, or each class has all voxels."""
    return not prepared.is_exclusive or type(loss).of_each_class is not VoxelLoss.of_each_class


def annotated_share(prepared: Prepared, *, include_background: bool = True) -> Tensor | None:
    """How much of the label of each voxel names classes that count, (B, 1, *spatial).

    Of exclusive classes a voxel belongs to a mean by that share: with 1 where its class counts and
    was annotated, with 0 where it was not, or is a background that does not count, and in between
    for soft labels. Independent classes have a mean of their own each, over every voxel.

    Args:
        prepared: checked inputs.
        include_background: whether class 0 counts.

    Returns:
        None where every class counts, and with it every voxel.
    """
    if prepared.present is None and include_background:
        return None
    batch, classes = prepared.values.shape[:2]
    counts = torch.ones(batch, classes, dtype=torch.bool, device=prepared.values.device)
    if prepared.present is not None:
        counts = prepared.present.clone()
    if not include_background:
        counts[:, 0] = False
    dtype = work_dtype(prepared.values)
    if prepared.is_index:
        label = prepared.target.long()
        known = (label >= 0) & (label < classes)
        of_label = counts.gather(1, label.where(known, 0).flatten(1)).view_as(label)
        return (of_label & known).to(dtype)
    shaped = counts.reshape(batch, classes, *[1] * (prepared.values.ndim - 2))
    return (prepared.target.to(dtype) * shaped).sum(1, keepdim=True)


def does_as(loss: SegmentationLoss, base: type[SegmentationLoss]) -> bool:
    """Whether a loss comes to its value as a base class does, with no step of its own."""
    steps = ("prepare", "check", "evaluate", "compute")
    own = type(loss)
    return all(getattr(own, step) is getattr(base, step) for step in steps) and not any(
        step in vars(loss) for step in steps
    )


def by_ratios(
    losses: Sequence[tuple[float, SumsLoss]], prepared: Prepared
) -> tuple[Tensor, RatioSum] | None:
    """The weighted sum of losses in closed form, or None where one of them has none here."""
    tensors = prepared.values, prepared.target, prepared.mask
    if not numbers_may_be_read(*tensors):
        return None
    ratios = ratios_of(losses, prepared)
    if ratios is None:
        return None
    found = ratios.of(*tensors)
    return evaluate_now(found, *tensors), found


def ratios_of(
    losses: Sequence[tuple[float, SumsLoss]], prepared: Prepared
) -> WeightedRatios | None:
    """The weighted sum of losses as ratios of sums, or None where one of them is none here."""
    if prepared.present is not None:
        return None
    if type(prepared).sums is not Prepared.sums:  # whose values are not those that are summed
        return None
    terms: list[str | Term] = []
    parts = []
    for weight, loss in losses:
        found = _ratio_of(loss, prepared)
        if found is None:
            return None
        parts.append((float(weight), found))
        terms += loss.terms()
    formula = partial(_formula, tuple(losses), prepared.activation)
    tensors = prepared.values, prepared.target, prepared.mask
    return weighted_ratios(
        *tensors, terms, activation=prepared.activation, parts=parts, formula=formula
    )


def _ratio_of(loss: SumsLoss, prepared: Prepared) -> Ratio | None:
    if (
        "as_ratio" not in vars(type(loss))  # a subclass may have another formula
        or loss.reduction != "mean"
        or loss.batch == "world"
        or loss._buffers["class_weight"] is not None
    ):
        return None
    found = loss.as_ratio(prepared)
    if found is None:
        return None
    smooth = exponent = None
    if isinstance(loss, RegionLoss):
        smooth, exponent = (loss.smooth_nr, loss.smooth_dr), loss.volume_exponent()
    first = 0 if loss.include_background else 1
    return Ratio(*found, smooth, first, bool(loss.batch), exponent)


def _formula(
    losses: Sequence[tuple[float, SumsLoss]],
    activation: Activation,
    sums: ClassSums,
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
) -> Tensor:
    given = Prepared.of_plain(input, activation, target, mask)
    values = [w * loss.from_sums(sums.of(loss.terms()), given) for w, loss in losses]
    return reduce(torch.add, values)


def sums_of_each(losses: Sequence[SumsLoss], prepared: Prepared) -> list[ClassSums]:
    """The sums of each loss and nothing else, from one pass over the voxels.

    What several ask for is summed once. Maps of one name that are not the same tensor are apart.

    Args:
        losses: any, none too.
        prepared: checked inputs.
    """
    maps: dict[str, Tensor] = {}
    own: list[tuple[Term, ...]] = []
    asked: list[tuple[Term, ...]] = []
    for loss in losses:
        names = {}
        for name, given in loss.maps(prepared).items():
            known_as = name
            while maps.setdefault(known_as, given) is not given:
                known_as += "'"
            names[name] = known_as
        own.append(as_terms(loss.terms()))
        asked.append(tuple(_with_map(term, names) for term in own[-1]))
    everything = [term for terms in asked for term in terms]
    if not everything:
        return [ClassSums((), ()) for _ in losses]
    whole = prepared.sums(everything, maps)
    pairs = zip(own, asked, strict=True)
    return [ClassSums(tuple(whole[each] for each in there), here) for here, there in pairs]


def _with_map(term: Term, names: dict[str, str]) -> Term:
    """The term with its map as the pass knows it."""
    return term if term.map is None else Term(term.name, None, names.get(term.map, term.map))
