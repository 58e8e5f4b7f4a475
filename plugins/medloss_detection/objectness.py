"""Losses of logits in detectors: whether an anchor holds an object, and of which class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.loss import _Loss

from medloss.sums.numeric import power
from medloss_detection.boxes import at_least_float32

BALANCE = {1: (1.0,), 2: (4.0, 1.0), 3: (4.0, 1.0, 0.4)}
MANY_LEVELS = (4.0, 1.0, 0.25, 0.06, 0.02)
MOMENTUM = 0.9999


def iou_targets(overlap: Tensor, iou_ratio: float = 1.0) -> Tensor:
    """What the objectness of a matched anchor shall be: the IoU of its prediction, or in part 1.

    Formula:
        t = (1 − r) + r max(IoU, 0), without gradient.

    Args:
        overlap: IoU, or CIoU as in YOLOv7, of predicted and true boxes.
        iou_ratio: r in [0, 1]; 0 asks for 1 whatever the overlap.

    Example:
        >>> iou_targets(torch.tensor([0.5, -0.2]), 0.8)
        tensor([0.6000, 0.2000])
    """
    return (1 - iou_ratio) + iou_ratio * overlap.detach().clamp_min(0)


def focal_bce(logits: Tensor, target: Tensor, gamma: float = 0.0) -> Tensor:
    """Binary cross entropy with soft targets, faded out where the prediction is right already.

    Formula:
        BCE(p, t) |1 − p_t|^γ with p_t = t p + (1 − t) (1 − p); γ = 0 is binary cross entropy.

    Returns:
        The shape of the logits.

    Example:
        >>> focal_bce(torch.zeros(1), torch.ones(1), gamma=2.0)
        tensor([0.1733])
    """
    logits = at_least_float32(logits)
    target = target.to(logits)
    value = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if gamma == 0:
        return value
    p = logits.sigmoid()
    # t (1 − p) + (1 − t) p is 1 − p_t without the rounding of a difference from 1
    return value * power(target * (1 - p) + (1 - target) * p, gamma)


def classification_loss(
    logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, gamma: float = 0.0
) -> Tensor:
    """Binary cross entropy of the classes of matched anchors, each class on its own.

    Formula:
        mean over anchors and classes of BCE(p, t), t = 1 − ε/2 for the true class, ε/2 for others,
        with the smoothing ε; faded by :func:`focal_bce` with γ.

    A single class tells nothing that objectness does not: 0, as in YOLOv7. No anchors: 0.

    Args:
        logits: (P, C).
        labels: (P,), class indices.
        label_smoothing: ε in [0, 1].
        gamma: γ, 0 for no fading.

    Example:
        >>> classification_loss(torch.zeros(1, 2), torch.tensor([1]), label_smoothing=0.1)
        tensor(0.6931)
    """
    if logits.shape[1] == 1 or not len(logits):
        return at_least_float32(logits).sum() * 0
    target = torch.full_like(logits, label_smoothing / 2, dtype=torch.float32)
    target.scatter_(1, labels[:, None], 1 - label_smoothing / 2)
    return focal_bce(logits, target, gamma).mean()


class ObjectnessLoss(_Loss):
    """Objectness loss: cross entropy with IoU targets, weighted by feature level.

    Formula:
        L = Σ_l b_l mean over the anchors of level l of BCE(σ(z), t) with the weight b_l of a level.

    With ``autobalance`` each training pass moves the weights towards levels of equal loss:
    b_l ← 0.9999 b_l + 0.0001 / L_l, then all are divided by that of the ``reference_level``. They
    are a buffer, so that a checkpoint keeps them.

    Range: [0, ∞).

    Empty:
        without anchors: 0. An image without objects: all targets are 0, which is finite and pushes
        false positives down.

    Args:
        levels: number of feature levels.
        balance: weight of each level, from fine to coarse; YOLOv7's by default: 4, 1, 0.4 for
            three levels, the first of 4, 1, 0.25, 0.06, 0.02 for more, 4, 1 for two, 1 for one.
        autobalance: whether the weights follow the losses of the levels.
        reference_level: the level whose weight stays 1 with ``autobalance``; the second by default.
        gamma: γ, fades anchors that are right already as the focal loss does; 0 does not.

    Example:
        >>> loss = ObjectnessLoss(levels=2, balance=(4.0, 1.0))
        >>> z, t = torch.zeros(1, 6), torch.zeros(1, 6)
        >>> round(loss(z, t, anchors_per_level=(4, 2)).item(), 4)
        3.4657

    Source:
        YOLOv7, Wang 2022, arXiv:2207.02696, and its code.
    """

    level_balance: Tensor

    def __init__(
        self,
        levels: int = 1,
        balance: Sequence[float] | None = None,
        *,
        autobalance: bool = False,
        reference_level: int | None = None,
        gamma: float = 0.0,
    ) -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(f"levels: expected at least 1, got {levels!r}")
        if balance is None:
            balance = BALANCE.get(levels, MANY_LEVELS[:levels])
        if len(balance) != levels or not all(weight >= 0 for weight in balance):
            raise ValueError(
                f"balance: expected {levels} weights of at least 0, one for each level, "
                f"got {tuple(balance)}"
            )
        reference = min(1, levels - 1) if reference_level is None else reference_level
        if not 0 <= reference < levels:
            raise ValueError(f"reference_level: expected one of {levels} levels, got {reference!r}")
        if autobalance and not balance[reference] > 0:
            raise ValueError(
                f"balance: expected more than 0 for the reference level, got {tuple(balance)}"
            )
        if not gamma >= 0:
            raise ValueError(f"gamma: expected at least 0, got {gamma!r}")
        self.levels, self.autobalance, self.gamma = levels, autobalance, gamma
        self.reference_level = reference
        self.register_buffer("level_balance", torch.tensor(balance, dtype=torch.float32))

    def forward(
        self, input: Tensor, target: Tensor, anchors_per_level: Sequence[int] | None = None
    ) -> Tensor:
        """The loss of a batch.

        Args:
            input: (B, N) objectness logits of all anchors, level after level.
            target: (B, N) in [0, 1], see :func:`iou_targets`; 0 where no true box is matched.
            anchors_per_level: numbers that sum up to N; not needed for a single level.

        Raises:
            ValueError: shapes or numbers that do not fit.
        """
        if input.ndim != 2 or input.shape != target.shape:
            raise ValueError(
                f"input, target: expected (B, N) logits and targets of equal shape, "
                f"got {tuple(input.shape)} and {tuple(target.shape)}"
            )
        parts = list(anchors_per_level or [input.shape[1]])
        if len(parts) != self.levels or sum(parts) != input.shape[1]:
            raise ValueError(
                f"anchors_per_level: expected {self.levels} numbers with the sum "
                f"{input.shape[1]}, got {parts}"
            )
        values = torch.split(focal_bce(input, target, self.gamma), parts, 1)
        losses = torch.stack([v.mean() if v.numel() else v.sum() for v in values])
        # A copy, as the graph keeps it while autobalance moves the weights in place.
        total = (self.level_balance.to(losses, copy=True) * losses).sum()
        if self.autobalance and self.training and torch.is_grad_enabled():
            self._follow(losses.detach())
        return total

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"levels={self.levels}, balance={tuple(self.level_balance.tolist())}, "
            f"autobalance={self.autobalance}, reference_level={self.reference_level}, "
            f"gamma={self.gamma}"
        )

    def _follow(self, losses: Tensor) -> None:
        balance = self.level_balance
        moved = MOMENTUM * balance + (1 - MOMENTUM) / losses.to(balance).clamp_min(1e-6)
        balance.copy_(moved / moved[self.reference_level])
