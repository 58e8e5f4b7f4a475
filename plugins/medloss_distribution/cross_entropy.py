"""Cross entropy."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from medloss.base import SegmentationLoss, VoxelLoss, annotated_share, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term


@options
class CrossEntropyLoss(VoxelLoss):
    """Cross entropy: softmax over exclusive classes or sigmoid over independent ones.

    Formula:
        softmax: L = Σ_v w_y (−log p_y) / Σ_v w_y over the voxels v that count, y the true class;
        sigmoid: the mean over voxels and classes of −w g log p − (1 − g) log(1 − p).
        label_smoothing ε (softmax): g becomes (1 − ε) g + ε / C.

    Given probabilities of several classes (no activation, or ``other_act``) count as exclusive.
    With one channel for each class and softmax the sum is divided by the number of voxels, not of
    weights, as torch does for targets that are probabilities. Voxels of a class that does not count
    (``include_background=False``) or was not annotated (``present``) leave sum and divisor.

    Range: [0, ∞).

    Empty target:
        finite value and full gradient; nothing to count (all voxels ignored) gives 0.

    Args:
        label_smoothing: ε in [0, 1).

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> round(CrossEntropyLoss(softmax=True)(z, y).item(), 12)
        0.548889398048

    Source:
        Goodfellow, Bengio, Courville 2016, Deep Learning, section 6.2; label smoothing: Szegedy
        2015, arXiv:1512.00567.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing: expected [0, 1), got {self.label_smoothing!r}")
        if self.sigmoid and self.label_smoothing:
            raise ValueError("label_smoothing: it spreads over exclusive classes, needs softmax")

    def terms(self) -> tuple[str | Term, ...]:
        """Sums of all forms; which are used depends on what the input turns out to be."""
        smoothing = ("nlog",) if self.label_smoothing else ()
        return ("ce", *(() if self.softmax else ("ce_neg",)), "t", "v", *smoothing)

    def of_voxels(self, s: ClassSums, prepared: Prepared) -> ClassSums:
        """What labels are smoothed with, of the voxels that belong to the mean alone."""
        if not (self.label_smoothing and prepared.is_exclusive):
            return s
        share = annotated_share(prepared, include_background=self.include_background)
        if share is None:
            return s
        if s.values.ndim > 3:
            nlog = s.nlog * share
        else:
            weight = share if prepared.mask is None else share * prepared.mask
            nlog = replace(prepared, mask=weight).sums(("nlog",)).nlog
        values = list(s.values.unbind(1))
        values[s.terms.index(Term("nlog"))] = nlog
        return ClassSums(torch.stack(values, 1), s.terms)

    def per_class(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Weighted cross entropy, (B, C, ...); softmax voxels (B, 1, ...)."""
        weight = self.class_weights(s.ce.shape[1], s.ce)
        positive = s.ce if weight is None else s.ce * along_classes(weight, s.ce)
        if not prepared.is_exclusive:
            return positive + s.ce_neg
        if self.label_smoothing:
            spread = s.nlog if weight is None else s.nlog * along_classes(weight, s.nlog)
            share = self.label_smoothing / prepared.values.shape[1]
            positive = (1 - self.label_smoothing) * positive + share * spread
        return positive.sum(1, keepdim=True)

    def of_each_class(self, s: ClassSums, prepared: Prepared) -> tuple[Tensor, Tensor] | None:
        """Of exclusive classes those whose labels are not smoothed: over voxels of the class."""
        if prepared.is_exclusive and not self.label_smoothing:
            return s.ce, s.t
        return super().of_each_class(s, prepared)

    def normalizer(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Weights of the true classes, or the number of voxels (and independent classes)."""
        if not prepared.is_exclusive:
            return s.v
        if not prepared.is_index:
            return self.labelled(s, prepared)
        weight = self.class_weights(s.t.shape[1], s.t)
        return s.t if weight is None else s.t * along_classes(weight, s.t)


def cross_entropy_of(loss: SegmentationLoss) -> CrossEntropyLoss:
    """The cross entropy that a loss is built on: with its options."""
    names = (
        "include_background",
        "sigmoid",
        "softmax",
        "other_act",
        "reduction",
        "batch",
        "weight",
    )
    return CrossEntropyLoss(**{name: getattr(loss, name) for name in names})


def along_classes(weight: Tensor, like: Tensor) -> Tensor:
    """One weight for each class, (C,), shaped to multiply (B, C, ...)."""
    return weight.view(1, -1, *[1] * (like.ndim - 2))
