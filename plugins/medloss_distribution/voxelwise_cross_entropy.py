"""Losses on the cross entropy of each voxel, where no class sum can give them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medloss.base import SegmentationLoss, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term, log_p_true
from medloss.sums.numeric import ratio
from medloss_distribution.cross_entropy import (
    CrossEntropyLoss,
    cross_entropy_of,
    times_class_weight,
)

VALUE_AND_WEIGHT = (Term("value"), Term("weight"))


@options
class EachVoxelLoss(SegmentationLoss):
    """A mean over voxels with a value and a weight for each: :meth:`each`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cross_entropy = cross_entropy_of(self)

    def each(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Weighted value of each voxel and the weight it counts with, (B, 1 or C, *spatial)."""
        raise TypeError(f"{type(self).__name__}: a loss on each voxel must define each()")

    def compute(self, prepared: Prepared) -> Tensor:
        """Divide the sum of the values by that of the weights."""
        value, weight = self.each(prepared)
        if self.reduction == "none":
            return value
        pair = torch.stack([value.flatten(2).sum(2), weight.flatten(2).sum(2)], 1)
        sums = ClassSums(pair, VALUE_AND_WEIGHT).over_batch(self.batch)
        total = sums["value"].sum()
        return total if self.reduction == "sum" else ratio(total, sums["weight"].sum())

    def of_images(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Sums of value and weight of each image, or with ``batch`` of all, (B, 1)."""
        pair = torch.stack(
            [each.flatten(1).sum(1, keepdim=True) for each in self.each(prepared)], 1
        )
        sums = ClassSums(pair, VALUE_AND_WEIGHT).over_batch(self.batch)
        return sums["value"], sums["weight"]

    def counted(self, value: Tensor, weight: Tensor, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Value, times the class weight, and weight of what counts, (B, 1 or C, *spatial).

        Args:
            value: (B, C, *spatial), of each voxel and class; of exclusive classes the sum counts.
            weight: of the same shape.
            prepared: checked inputs, whose mask is applied here.
        """
        ce, both = self.cross_entropy, torch.stack([value, weight], 1)
        if prepared.mask is not None:
            both = both * prepared.mask[:, None]
        sums, _ = ce.counted(ClassSums(both, VALUE_AND_WEIGHT), prepared, pool=False)
        value, weight = sums["value"], sums["weight"]
        value = times_class_weight(self, value)
        if prepared.is_exclusive:
            return value.sum(1, keepdim=True), weight.sum(1, keepdim=True)
        return value, weight


def weighed(
    ce: CrossEntropyLoss, prepared: Prepared, map: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Weighted cross entropy times a map, and the weight of each voxel without it.

    Args:
        ce: says how.
        prepared: checked inputs.
        map: (B, 1 or C, *spatial); of exclusive classes that of the true one counts.
    """
    one_counts = prepared.is_index and prepared.activation == "softmax"
    if one_counts and map is None and not ce.label_smoothing:
        return _of_true_class(ce, prepared)
    voxels = prepared.each_voxel(ce.terms())
    counted, _ = ce.counted(voxels, prepared, pool=False)
    weight = ce.normalizer(counted, prepared)
    if map is not None:
        voxels = ClassSums(voxels.values * map[:, None], voxels.terms)
        counted, _ = ce.counted(voxels, prepared, pool=False)
    value = ce.per_class(counted, prepared)
    return value, weight.sum(1, keepdim=True) if prepared.is_exclusive else weight


def _of_true_class(ce: CrossEntropyLoss, prepared: Prepared) -> tuple[Tensor, Tensor]:
    """As :func:`weighed`, from one number a voxel: the others are those of other classes."""
    input, label = prepared.input, prepared.target
    log_p = log_p_true(input, label, prepared.mask)
    batch, classes = input.shape[:2]
    of_class = torch.ones(batch, classes, dtype=log_p.dtype, device=log_p.device)
    if prepared.present is not None:
        of_class = of_class * prepared.present
    if not ce.include_background:
        of_class[:, 0] = 0
    given = ce.class_weights(classes - (not ce.include_background), log_p)
    if given is not None:
        of_class[:, 0 if ce.include_background else 1 :] *= given
    known = (label >= 0) & (label < classes)
    weight = of_class.gather(1, label.long().where(known, 0).flatten(1)).view_as(label)
    weight = weight.where(known, 0)
    if prepared.mask is not None:
        weight = weight * prepared.mask.to(weight)
    return -log_p * weight, weight


@options
class TopKCrossEntropyLoss(EachVoxelLoss):
    """Cross entropy over the hardest fraction of the voxels.

    Formula:
        L = Σ w_y (−log p_y) / Σ w_y over the n voxels with the largest w_y (−log p_y),
        n = max(1, ⌈k N⌉), N the number of voxels that count; sigmoid: over voxels and classes.

    The hardest voxels are those of each image; with ``batch=True`` those of the batch, as in
    nnU-Net. Voxels that are masked, ignored or of weight 0 do not count towards N. Voxels that are
    equally hard share what is left of n. ``reduction="none"`` gives one value for each image.

    Range: [0, ∞).

    Empty target:
        finite value, and a gradient on the worst false positives.

    Args:
        k: fraction of the voxels, in (0, 1]; 1 is cross entropy.
        batch: pool the voxels of the batch; ``"world"`` is refused, as it would take every voxel of
            every rank.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> round(TopKCrossEntropyLoss(softmax=True, k=0.5)(z, y).item(), 12)
        0.892200137989

    Source:
        Wu 2016, arXiv:1605.06885.
    """

    k: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.k <= 1:
            raise ValueError(f"k: expected a fraction in (0, 1], got {self.k!r}")
        if self.batch == "world":
            raise ValueError("batch: expected False or True, the hardest of all ranks are unknown")

    def each(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Value and weight of the voxels chosen, 0 elsewhere."""
        value, weight = weighed(self.cross_entropy, prepared)
        rows = 1 if self.batch else value.shape[0]
        shape = (rows, value.numel() // max(1, rows))
        flat, counts = value.detach().reshape(shape), weight.reshape(shape) > 0
        chosen = torch.empty_like(flat)
        for out, *row in zip(chosen, flat, counts, strict=True):
            out.copy_(self.choose(*row))
        chosen = chosen.view_as(value)
        return value * chosen, weight * chosen

    def choose(self, value: Tensor, counts: Tensor) -> Tensor:
        """1 for the hardest of the entries that count, less for ties at the border, else 0."""
        if not value.numel():
            return torch.zeros_like(value)
        hardness, all_of_them = value.masked_fill(~counts, -math.inf), counts.sum()
        share = (self.k * all_of_them.double()).round(decimals=6)  # 0.1 · 30 is 3, not 3 + 4e-16
        n = share.ceil().clamp_min(1).long()
        border = nth_largest(hardness, n)
        above, tied = (value > border) & counts, (value == border) & counts
        chosen = above + tied * ((n - above.sum()) / tied.sum()).to(value)
        return torch.where(all_of_them > 0, chosen, 0)

    def compute(self, prepared: Prepared) -> Tensor:
        """As its base, but one value for each image where none is asked to be reduced."""
        if self.reduction != "none":
            return super().compute(prepared)
        return ratio(*self.of_images(prepared))


def nth_largest(values: Tensor, n: Tensor) -> Tensor:
    """The ``n``-th largest of (N,), for a whole number n; a device is not waited for.

    Example:
        >>> nth_largest(torch.tensor([3.0, 1, 2]), torch.tensor(2))
        tensor(2.)
    """
    if values.device.type == "cpu":
        return values.kthvalue(len(values) - int(n) + 1).values
    return values.sort(descending=True).values.index_select(0, n[None] - 1)[0]
