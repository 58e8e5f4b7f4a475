"""Cross entropy with a penalty on the logits, for calibration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from medloss.base import SegmentationLoss, options
from medloss.base.options import under_another_name
from medloss.base.segmentation import OldNames
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term
from medloss.sums.numeric import ratio
from medloss_distribution.cross_entropy import cross_entropy_of


@options
class LogitPenaltyLoss(SegmentationLoss):
    """Cross entropy plus ``lambda_penalty`` times the mean penalty on the logits."""

    lambda_penalty: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lambda_penalty >= 0:
            raise ValueError(f"lambda_penalty: expected at least 0, got {self.lambda_penalty!r}")
        self.cross_entropy = cross_entropy_of(self)

    def check(self, prepared: Prepared) -> None:
        """Probabilities no longer tell the logits."""
        super().check(prepared)
        if prepared.activation == "probabilities":
            raise ValueError(
                f"{type(self).__name__}: expected logits with softmax=True or sigmoid=True, "
                f"got probabilities"
            )

    def penalty(self, z: Tensor, prepared: Prepared) -> Tensor:
        """Penalty on logits z (B, C, *spatial), of the same shape.

        For independent classes the caller gives each as two exclusive ones with logits 0 and z.
        """
        raise TypeError(f"{type(self).__name__}: a logit penalty must define penalty()")

    def compute(self, prepared: Prepared) -> Tensor:
        """Both terms, each with its own mean."""
        penalty = self.penalty(prepared.input, prepared)
        counts = torch.ones_like(penalty)
        if prepared.mask is not None:
            penalty, counts = penalty * prepared.mask, counts * prepared.mask
        both = ClassSums(torch.stack([penalty, counts], 1), (Term("penalty"), Term("count")))
        ce = self.cross_entropy
        both, _ = ce.counted(both, prepared, pool=False)
        value = ce.compute(prepared)
        if self.reduction == "mean":
            total = ClassSums(both.values.flatten(3).sum(3), both.terms).over_batch(self.batch)
            mean = ratio(total["penalty"].sum(), total["count"].sum())
            return value + self.lambda_penalty * mean
        each, count = both["penalty"], both["count"]
        if prepared.activation == "softmax":  # a voxel has one penalty: the mean over its classes
            valid = (count > 0).sum(1, keepdim=True)
            each = ratio(each.sum(1, keepdim=True), valid.to(each))
        if self.reduction == "sum":
            one = each.flatten(1).sum(1).view(-1, 1, 1)
            each = ClassSums(one, (Term("penalty"),)).over_batch(self.batch).values.sum()
        return value + self.lambda_penalty * each


@options
class MarginLabelSmoothingLoss(LogitPenaltyLoss):
    """Cross entropy that lets the largest logit lead by a margin and no more.

    Formula:
        L = CE + lambda_penalty · mean over voxels and classes of max(0, max_c z_c − z − margin), z
        the logit; sigmoid: each class is two exclusive ones with logits 0 and z.

    Needs logits, so softmax or sigmoid. Class weights are those of the cross entropy alone. Label
    smoothing pulls every logit; this leaves those within the margin alone.

    Range: [0, ∞]; not 0 at a perfect prediction surer than the margin; infinite logits cost
        infinitely much.

    Empty target:
        finite value and full gradient.

    Args:
        lambda_penalty: weight of the penalty.
        margin: lead that costs nothing; the paper has 10.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> round(MarginLabelSmoothingLoss(softmax=True, margin=1)(z, y).item(), 12)
        0.598889398048

    Source:
        Liu 2022, arXiv:2111.15430; in medical images: Murugesan 2024, arXiv:2401.14487.
    """

    margin: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.margin >= 0:
            raise ValueError(f"margin: expected at least 0, got {self.margin!r}")

    def penalty(self, z: Tensor, prepared: Prepared) -> Tensor:
        """The lead beyond the margin."""
        if prepared.activation == "softmax":
            return (z.amax(1, keepdim=True) - z - self.margin).relu()
        return (z.abs() - self.margin).relu() / 2


@options
class NACLLoss(LogitPenaltyLoss, OldNames):
    """Cross entropy that keeps logits near the class shares among the neighbours.

    Formula:
        L = CE + lambda_penalty · mean over voxels and classes of |τ − z|, z the logit, τ the share
        of the class in the 3 x 3 (x 3) window around the voxel, itself included;
        sigmoid: each class is two exclusive ones with logits 0 and z.

    Needs logits, so softmax or sigmoid. Class weights are those of the cross entropy alone.

    Range: [0, ∞); not 0 at a perfect prediction, whose logits it wants finite: an
        infinite one costs infinitely much.

    Empty target:
        finite value and full gradient.

    MONAI differs: near the image border it divides by the whole window, so that the shares no
    longer sum to 1 (``divide_by="window"``, which ``classes`` brings).

    Args:
        lambda_penalty: weight of the penalty.
        divide_by: ``"valid"``, the voxels of the window that count, or ``"window"``, all of it.
        classes: MONAI's number of classes, which brings MONAI's softmax and window unless others
            are asked for; the input has to have as many.
        dim: MONAI's number of spatial axes, likewise.
        kernel_size: voxels of the window along each axis, odd.
        kernel_ops: ``"mean"``, where all voxels of the window count alike, or ``"gaussian"``, whose
            window reaches 4 ``sigma``.
        distance_type: ``"l1"``, or ``"l2"`` for (τ − z)².
        alpha: MONAI's name of ``lambda_penalty``.
        sigma: of ``"gaussian"``, in voxels.

    Example:
        >>> import torch
        >>> p = torch.tensor([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]], dtype=torch.float64)
        >>> y = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
        >>> z = torch.cat([torch.zeros_like(p), p.logit()], 1)
        >>> round(NACLLoss(softmax=True)(z, y).item(), 12)
        0.533893844793

    Source:
        Murugesan 2023, arXiv:2303.06268; Murugesan 2024, arXiv:2401.14487.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    positional: ClassVar[tuple[str, ...]] = (
        "classes",
        "dim",
        "kernel_size",
        "kernel_ops",
        "distance_type",
        "alpha",
        "sigma",
    )

    divide_by: Literal["valid", "window"] | None = None
    classes: int | None = None
    dim: int | None = None
    kernel_size: int = 3
    kernel_ops: Literal["mean", "gaussian"] = "mean"
    distance_type: Literal["l1", "l2"] = "l1"
    alpha: float | None = None
    sigma: float = 1.0

    def __post_init__(self) -> None:
        under_another_name(self, "alpha", "lambda_penalty")
        if self.classes is not None:
            self.softmax = self.softmax or not (self.sigmoid or self.other_act is not None)
        if self.divide_by is None:
            self.divide_by = "valid" if self.classes is None else "window"
        super().__post_init__()
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: expected an odd number, got {self.kernel_size}")
        if not self.sigma > 0:
            raise ValueError(f"sigma: expected more than 0, got {self.sigma!r}")
        unused = ("sigma", "kernel_size")[self.kernel_ops == "gaussian"]
        default = getattr(type(self), unused)
        if getattr(self, unused) != default:
            raise ValueError(
                f"{unused}: expected {default}, as kernel_ops={self.kernel_ops!r} makes no use of "
                f"it, got {getattr(self, unused)!r}"
            )

    def check(self, prepared: Prepared) -> None:
        """Refuse an input of other classes or axes than were told."""
        super().check(prepared)
        shape = prepared.values.shape
        for name, found in (("classes", shape[1]), ("dim", len(shape) - 2)):
            told = getattr(self, name)
            if told not in (None, found):
                raise ValueError(f"{name}: expected {found}, as the input has, got {told}")

    def penalty(self, z: Tensor, prepared: Prepared) -> Tensor:
        """|τ − z|, for independent classes its mean with that of the rest, |(1 − τ) − 0|."""
        power = int(self.distance_type[1])
        share = self.share(prepared)
        penalty = (share - z).abs().pow(power)
        if prepared.activation == "softmax":
            return penalty
        return (penalty + (1 - share).pow(power)) / 2

    @torch.no_grad()
    def share(self, prepared: Prepared) -> Tensor:
        """τ, (B, C, *spatial)."""
        g = prepared.one_hot()
        counts = torch.ones_like(g[:, :1])
        if prepared.mask is not None:
            counts = (prepared.mask > 0).to(g)
        weights = [1.0] * self.kernel_size
        if self.kernel_ops == "gaussian":
            weights = of_normal(self.sigma)
        inside: Tensor = window_sum(g * counts, weights)
        if self.divide_by == "valid":
            return ratio(inside, window_sum(counts, weights))
        if self.kernel_ops == "gaussian":  # whose weights add up to 1
            return inside
        return inside / float(self.kernel_size ** (g.ndim - 2))


def window_sum(x: Tensor, weights: Sequence[float]) -> Tensor:
    """Weighted sum over a window along every spatial axis; beyond the image there is nothing.

    Args:
        x: (B, C, *spatial).
        weights: along one axis, an odd number of them; across a corner it is the product.
    """
    for axis in range(2, x.ndim):
        around = list(x.shape)
        around[axis] = len(weights) // 2
        beyond = x.new_zeros(around)
        wider, x = torch.cat([beyond, x, beyond], axis), torch.zeros_like(x)
        for k, weight in enumerate(weights):
            x = x.add(wider.narrow(axis, k, x.shape[axis]), alpha=weight)
    return x


def of_normal(sigma: float) -> list[float]:
    """What lies of a normal distribution in each voxel as far as 4 ``sigma``.

    Example:
        >>> [round(weight, 3) for weight in of_normal(0.5)]
        [0.001, 0.157, 0.683, 0.157, 0.001]
    """
    reach = int(4 * sigma + 0.5)
    below = [math.erf((k - 0.5) / (math.sqrt(2) * sigma)) for k in range(-reach, reach + 2)]
    return [(b - a) / 2 for a, b in itertools.pairwise(below)]
