"""Cross entropy, and its first polynomial term reweighted."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from medloss.base import SegmentationLoss, VoxelLoss, annotated_share, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term
from medloss.sums.ratios import Linear


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
        positive = times_class_weight(self, s.ce)
        if not prepared.is_exclusive:
            return positive + s.ce_neg
        if self.label_smoothing:
            spread = times_class_weight(self, s.nlog)
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
        return times_class_weight(self, s.t)

    def as_ratio(self, prepared: Prepared) -> tuple[Linear, Linear] | None:
        """The mean, of labels that are not smoothed."""
        if not prepared.is_exclusive:
            return (("ce", 1), ("ce_neg", 1)), (("v", 1),)
        if self.label_smoothing:
            return None
        if prepared.is_index or not self.include_background:
            return (("ce", 1),), (("t", 1),)
        return (("ce", 1),), (("v", 1 / prepared.values.shape[1]),)  # which each class has


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


def times_class_weight(loss: SegmentationLoss, value: Tensor) -> Tensor:
    """The value of each class that counts, (B, C, ...), times its weight."""
    weight = loss.class_weights(value.shape[1], value)
    return value if weight is None else value * along_classes(weight, value)


def along_classes(weight: Tensor, like: Tensor) -> Tensor:
    """One weight for each class, (C,), shaped to multiply (B, C, ...)."""
    return weight.view(1, -1, *[1] * (like.ndim - 2))


@options
class PolyLoss(CrossEntropyLoss):
    """Poly-1: cross entropy with its first polynomial term, 1 - p, reweighted.

    Formula:
        L = −log p_y + ε (1 − p_y), y the true class; sigmoid: the binary cross entropy plus
        ε (1 − p_t), p_t the probability of what is true, p or 1 − p;
        gamma > 0: the focal form α_t (1 − p_t)^γ (−log p_t) + ε (1 − p_t)^(γ + 1) of independent
        classes. The mean is that of ``cross_entropy``.
        Soft labels g: the expectation over the labels, Σ_c g_c (−log p_c + ε (1 − p_c)) and for
        sigmoid g (1 − p) + (1 − g) p in place of 1 − p_t; in the focal form ε |p − g|^(γ + 1).
        Smoothed labels are those of the cross entropy alone.

    Range: [0, ∞); the focal form with ε < 0 goes below 0.

    Empty target:
        finite value and full gradient; nothing to count gives 0.

    Args:
        epsilon: ε, at least −1; below, a perfect prediction would no longer be best. Positive
            values push harder where the model already is right.
        gamma: γ of the focal form.
        alpha: weight of positives in the focal form, 1 − α of negatives; none by default.
        label_smoothing: of the cross entropy, softmax only.
        weight: one number, or one for each class that counts; as in ``cross_entropy``, in the focal
            form for both halves of the class.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> round(PolyLoss(softmax=True, epsilon=1)(z, y).item(), 12)
        0.93204661791

    Source:
        Leng 2022, arXiv:2204.12511.
    """

    epsilon: float = 1.0
    gamma: float = 0.0
    alpha: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.epsilon >= -1:
            raise ValueError(f"epsilon: expected at least -1, got {self.epsilon!r}")
        if not self.gamma >= 0:
            raise ValueError(f"gamma: expected at least 0, got {self.gamma!r}")
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha: expected a number in [0, 1] or None, got {self.alpha!r}")
        if self.alpha is not None and not self.gamma:
            raise ValueError("alpha: it belongs to the focal form, needs gamma above 0")

    def check(self, prepared: Prepared) -> None:
        """The focal form is one of independent classes."""
        super().check(prepared)
        if self.gamma and prepared.is_exclusive:
            raise ValueError("gamma: the focal form is one of independent classes, needs sigmoid")

    def terms(self) -> tuple[str | Term, ...]:
        """Sums of the form that the options ask for."""
        if not self.gamma:
            return (*super().terms(), "tp", *(() if self.softmax else ("p",)))
        gamma = float(self.gamma)
        return (Term("focal", gamma), Term("focal_neg", gamma), Term("power", gamma + 1), "v")

    def per_class(self, s: ClassSums, prepared: Prepared) -> Tensor:
        """Weighted loss, (B, C, ...); softmax voxels (B, 1, ...)."""
        if self.gamma:
            positive, negative = (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)
            value = positive * s.focal + negative * s.focal_neg + self.epsilon * s.power
            return times_class_weight(self, value)
        missed = times_class_weight(self, s.t - s.tp)
        cross_entropy = super().per_class(s, prepared)
        if prepared.is_exclusive:
            return cross_entropy + self.epsilon * missed.sum(1, keepdim=True)
        return cross_entropy + self.epsilon * (missed + s.p - s.tp)
