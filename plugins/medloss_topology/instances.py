"""What losses on instances share: the mean over the objects of a loss in the region of each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from medloss.base import SegmentationLoss, known_voxels, masks_of_classes, options, voxel_size
from medloss.base.targets import Extras, Prepared
from medloss.compound import WeightedSum
from medloss.distance import connected_components
from medloss.objects.spacing import SpacingLike
from medloss.runtime.eager import as_array, is_transformed, outside_graphs
from medloss.sums import ClassSums, Term, work_dtype
from medloss.sums.numeric import ratio
from medloss_topology.region_sums import SizeWeights, is_on_sums, values_on_sums

TOTALS = (Term("value"), Term("samples"))


@options
class InstancesLoss(SegmentationLoss):
    """Mean over the objects of each class of a loss on the region of the object.

    Every class is seen alone, against the rest. A class without objects has the value 0.

    Args:
        loss: of a single class, see :func:`of_single_class`.
        regions: ``"blob"``: all but the other objects of the class; ``"cells"``: what is nearer
            to the object than to any other.
        connectivity: of objects that are looked for here.
        spacing_mm: size of a voxel where the call does not say it.
        max_components: of a class in a sample, where the loss is evaluated for each of them.
        size_exponent: of the inverse size that voxels of a region weigh by; 0 for not at all.
        max_size_weight: largest of these weights.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    loss: SegmentationLoss
    regions: Regions = "blob"
    connectivity: int | None = None
    spacing_mm: SpacingLike | None = None
    max_components: int = 100
    size_exponent: float = 0.0
    max_size_weight: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.size_exponent >= 0:
            raise ValueError(f"size_exponent: expected at least 0, got {self.size_exponent!r}")
        for each in self.loss.modules() if self.size_exponent else ():
            if isinstance(each, SegmentationLoss) and not each.mask_is_a_weight:
                raise ValueError(
                    f"size_exponent: expected 0 for {type(each).__name__}, in which voxels cannot "
                    f"weigh more than others, got {self.size_exponent!r}"
                )
        if self.max_size_weight is not None and not (
            self.size_exponent > 0 and self.max_size_weight >= 1
        ):
            raise ValueError(
                f"max_size_weight: expected at least 1, beside a size_exponent above 0, "
                f"got {self.max_size_weight!r}"
            )
        if self.regions not in REGIONS:
            raise ValueError(f"regions: expected one of {REGIONS}, got {self.regions!r}")
        if not isinstance(self.max_components, int) or self.max_components < 1:
            raise ValueError(
                f"max_components: expected a whole number from 1 on, got {self.max_components!r}"
            )
        if self.connectivity not in (None, 1, 2, 3):
            raise ValueError(f"connectivity: expected None, 1, 2 or 3, got {self.connectivity!r}")

    # How many objects there are depends on the target, and scipy looks for them.
    @outside_graphs
    def compute(self, prepared: Prepared) -> Tensor:
        """The mean over objects, then classes, then samples."""
        given = prepared.extras.components
        batch, classes, *_ = prepared.values.shape
        first = 1 if prepared.is_exclusive or not self.include_background else 0
        present = prepared.present
        annotated = (
            torch.ones(batch, classes - first, dtype=torch.bool, device=prepared.values.device)
            if present is None
            else present[:, first:]
        )
        input = prepared.input
        values = [input[:0].flatten(2).sum(2)[:, first:]]  # of an empty batch there are no others
        for b in range(batch):
            found = {}
            for c in range(first, classes):
                if bool(annotated[b, c - first]):
                    numbers, count = objects(prepared, given, b, c, self.connectivity)
                    sizes = self._sizes(numbers > 0)
                    if count and self.regions == "cells":
                        numbers = cells(numbers, voxel_size(prepared, self.spacing_mm)[b])
                    if count:
                        found[c] = numbers, count, sizes
            values.append(self._sample(prepared, input[b : b + 1], b, first, found))
        value = torch.where(annotated, torch.cat(values), 0)
        value = ratio(value.sum(1, keepdim=True), annotated.sum(1, keepdim=True).to(value))
        if self.reduction == "none":
            return value
        samples = annotated.any(1, keepdim=True).to(value)
        total = ClassSums(torch.stack([value, samples], 1), TOTALS).over_batch(self.batch)
        if self.reduction == "sum":
            return total["value"].sum()
        return ratio(total["value"].sum(), total["samples"].sum())

    def _sample(
        self,
        prepared: Prepared,
        input: Tensor,
        sample: int,
        first: int,
        found: dict[int, tuple[Tensor, int, SizeWeights | None]],
    ) -> Tensor:
        """Value of each class of a sample, weighted; in the backward pass it is made again."""
        nothing = input.flatten()[:0].sum()  # 0, with a way back to the input
        values = [nothing] * (input.shape[1] - first)
        weight = self._buffers["class_weight"]
        for c, of in found.items():

            def of_class(
                input: Tensor, c: int = c, of: tuple[Tensor, int, SizeWeights | None] = of
            ) -> Tensor:
                return self._objects(_single(prepared, input, sample, c), *of).mean()

            value = _again(of_class, input)
            if weight is not None:  # of all classes, or of those that count: the last are the same
                own = weight if weight.ndim == 0 else weight[c - input.shape[1]]
                value = value * own.to(value)
            values[c - first] = value
        return torch.stack(values)[None]

    def _sizes(self, objects: Tensor) -> SizeWeights | None:
        if not self.size_exponent:
            return None
        return SizeWeights(objects, self.size_exponent, self.max_size_weight)

    def _objects(
        self, one: Prepared, regions: Tensor, count: int, sizes: SizeWeights | None
    ) -> Tensor:
        """Value of each object, (K,)."""
        loss = self.loss
        loss.check(one)
        shared = self.regions == "blob"
        if is_on_sums(loss):
            return values_on_sums(loss, one, regions, count, shared=shared, sizes=sizes)
        if count > self.max_components:
            raise ValueError(
                f"components: expected at most max_components={self.max_components} objects of a "
                f"class in a sample, as {type(loss).__name__} is evaluated for each of them, got "
                f"{count}; raise max_components, remove small objects from the label, or take a "
                f"loss on class sums, such as dice_ce, whose cost does not grow with their number"
            )
        each = [
            _of_region(loss, one, regions, k, shared=shared, sizes=sizes)
            for k in range(1, count + 1)
        ]
        return torch.stack(each)


def _of_region(
    loss: SegmentationLoss,
    one: Prepared,
    regions: Tensor,
    number: int,
    *,
    shared: bool,
    sizes: SizeWeights | None,
) -> Tensor:
    """The loss with the voxels beyond a region masked, or cut off where they are on the outside."""
    inside = regions == number
    box: tuple[slice, ...] = tuple(slice(None) for _ in regions.shape)
    if shared:
        inside = inside | (regions == 0)
    else:
        ends = [(axis.min(), axis.max() + 1) for axis in inside.nonzero(as_tuple=True)]
        box = tuple(slice(int(first), int(end)) for first, end in ends)
    cut = (slice(None), slice(None), *box)
    mask = inside[box][None, None].to(work_dtype(one.values))
    if one.mask is not None:
        mask = mask * one.mask[cut]
    if sizes is not None:
        objects = sizes.objects[box][None, None]
        counted = mask.double()
        weights = sizes.of((counted * objects).sum(), (counted * ~objects).sum())
        mask = mask * torch.where(objects, *weights).to(mask)
    extras = one.extras
    part = replace(
        one,
        target=one.target[cut],
        raw=one.raw[cut],
        label=one.label[cut],
        mask=mask,
        extras=replace(
            extras,
            distance_map=None if extras.distance_map is None else extras.distance_map[cut],
            skeleton=None if extras.skeleton is None else extras.skeleton[cut],
        ),
    )

    def value(values: Tensor) -> Tensor:
        return loss.compute(replace(part, values=values[cut]))

    return _again(value, one.values)


def _again(function: Callable[[Tensor], Tensor], input: Tensor) -> Tensor:
    """Evaluate without keeping what the backward pass needs; it evaluates again."""
    if is_transformed(input):  # which know no checkpoint
        return function(input)
    result: Tensor = checkpoint(function, input, use_reentrant=False, preserve_rng_state=False)
    return result


def of_single_class(loss: SegmentationLoss) -> SegmentationLoss:
    """A copy of a loss for one class against the rest; its schedules stay those of the original."""
    single = copy.deepcopy(loss)
    for theirs, own in zip(list(loss.modules()), list(single.modules()), strict=True):
        if isinstance(own, SegmentationLoss):
            own.include_background, own.batch, own.reduction = True, False, "mean"
            own.softmax, own.sigmoid, own.other_act, own.ignore_index = False, False, None, None
            own.weight = own._buffers["class_weight"] = None
        if isinstance(own, WeightedSum) and isinstance(theirs, WeightedSum):
            own.schedule, own.class_names, own.gradient_share = theirs.schedule, None, False
    return single


def _single(prepared: Prepared, input: Tensor, sample: int, class_: int) -> Prepared:
    """One class of one sample against the rest: of softmax, log p − log(1 − p) is its logit."""
    b, c = slice(sample, sample + 1), slice(class_, class_ + 1)
    values, activation = input[:, c], prepared.activation
    if activation == "softmax":
        others = torch.cat([input[:, :class_], input[:, class_ + 1 :]], 1)
        values, activation = values - others.logsumexp(1, keepdim=True), "sigmoid"
    if prepared.is_index:
        target = (prepared.target[b] == class_).to(values.dtype)
    else:
        target = prepared.target[b, c].to(values.dtype)
    extras = prepared.extras
    return Prepared(
        values=values,
        activation=activation,
        target=target,
        raw=values,
        label=target,
        mask=None if prepared.mask is None else prepared.mask[b],
        present=None,
        spacing=prepared.spacing.of_sample(sample),
        extras=Extras(
            distance_map=None if extras.distance_map is None else extras.distance_map[b, c],
            skeleton=None if extras.skeleton is None else extras.skeleton[b, c],
        ),
    )


Regions = Literal["blob", "cells"]
REGIONS: tuple[Regions, ...] = ("blob", "cells")


def objects(
    prepared: Prepared, given: Tensor | None, sample: int, class_: int, connectivity: int | None
) -> tuple[Tensor, int]:
    r"""Numbers of the known objects of a class in a sample, (\*spatial), and how many there are.

    Args:
        prepared: checked inputs.
        given: the ready map, or None: connected components are looked for, on the CPU.
        sample: which of the batch.
        class_: which one.
        connectivity: of the components, see :func:`medloss.distance.connected_components`.
    """
    mask = masks_of_classes(prepared)[sample, class_]
    known = known_voxels(prepared)
    if known is not None:
        mask = mask & known[sample, 0]
    if given is None:
        found = torch.from_numpy(connected_components(as_array(mask[None]), connectivity))
        return found.to(mask.device), int(found.max()) if found.numel() else 0
    # A patch of a volume has some of its numbers, and voxels of 0 where no object was counted.
    mask = mask & (given[sample, 0] > 0)
    numbers, which = torch.unique(given[sample, 0][mask], return_inverse=True)
    found = torch.zeros_like(given[sample, 0])
    found[mask] = which + 1
    return found, len(numbers)


def cells(found: Tensor, spacing_mm: Sequence[float] | Tensor) -> Tensor:
    """The nearest object of each voxel, as ``per_component_dice`` has it.

    Args:
        found: numbers of objects, 0 where there is none; at least one.
        spacing_mm: size of a voxel.

    Example:
        >>> cells(torch.tensor([[1, 0, 0, 0, 2]]), (1.0, 1.0))
        tensor([[1, 1, 1, 2, 2]])
    """
    from medloss.objects.cells import nearest_objects  # numba

    nearest = nearest_objects(as_array(found), [float(step) for step in spacing_mm])
    return torch.from_numpy(nearest.astype(np.int64)).to(found.device)
