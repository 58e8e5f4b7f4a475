"""Poly-1 loss."""

from __future__ import annotations

from torch import Tensor

from medloss.base import options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term
from medloss_distribution.cross_entropy import CrossEntropyLoss, along_classes


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
            weight = self.class_weights(value.shape[1], value)
            return value if weight is None else value * along_classes(weight, value)
        missed = s.t - s.tp
        weight = self.class_weights(missed.shape[1], missed)
        if weight is not None:
            missed = missed * along_classes(weight, missed)
        cross_entropy = super().per_class(s, prepared)
        if prepared.is_exclusive:
            return cross_entropy + self.epsilon * missed.sum(1, keepdim=True)
        return cross_entropy + self.epsilon * (missed + s.p - s.tp)
