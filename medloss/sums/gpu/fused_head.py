"""Class sums of logits that a 1x1x1 convolution makes from features, all in one kernel."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from medloss.sums.gpu.backend import FUSED
from medloss.sums.gpu.kernels import class_sums_kernel, class_sums_slopes_kernel
from medloss.sums.gpu.plan import Plan, on_device_of, seen
from medloss.sums.gpu.tiles import Tile
from medloss.sums.request import Request, gradient_like

LEAST = 16
"""Rows and columns that a product on tensor cores has at least."""
TILE, FOLD = Tile(LEAST, 32, 4, 8), 8
"""Of the logits; what is summed lies with the threads of eight voxels."""
MOST_WEIGHTS = 1 << 13
"""Elements of a weight, padded, whose gradient the registers of a program hold."""
MOST_FEATURES = 1 << 7
"""Of which the 99 KB of shared memory that an RTX has hold a tile and the weight."""


class Head(NamedTuple):
    """The convolution and what it takes, float32.

    Args:
        features: (B, F, *spatial), float32 or 16 bits.
        weight: (C, F).
        bias: (C), or None.
    """

    features: Tensor
    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, features: Tensor, weight: Tensor, bias: Tensor | None) -> Head:
        """From a convolution's parameters."""
        of_bias = None if bias is None else bias.detach().float().contiguous()
        return cls(features.detach(), weight.detach().flatten(1).float().contiguous(), of_bias)

    @property
    def choices(self) -> dict[str, Any]:
        """What the kernels are compiled for."""
        features = self.weight.shape[1]
        return {"FEATURES": features, "PADDED": max(LEAST, triton.next_power_of_2(features))}


def why_not(weight: Tensor, dtype: torch.dtype) -> str | None:
    """Why the kernels cannot serve a head, or None.

    Args:
        weight: (C, F).
        dtype: what is computed in.
    """
    classes, features = (max(LEAST, triton.next_power_of_2(n)) for n in weight.shape)
    if dtype != torch.float32:
        return f"they compute in float32, not in {dtype}"
    if features > MOST_FEATURES:
        return f"there are more than {MOST_FEATURES} features"
    if classes * features > MOST_WEIGHTS:
        return f"the weight has more than {MOST_WEIGHTS} elements, padded to powers of two"
    return None


def sums(request: Request, head: Head) -> Tensor:
    """Sums of shape (B, K, C).

    Args:
        request: the input is there in shape only.
        head: what the logits are made of.
    """
    plan = Plan(request, gradient=False)
    programs = plan.programs(TILE)
    shape = (plan.batch, programs, len(request.terms), plan.classes)
    partial = head.features.new_empty(shape, dtype=torch.float32)
    with on_device_of(head.features):
        class_sums_kernel[(plan.batch * programs,)](
            *_read(plan, head), partial, plan.voxels, programs,
            **{**plan.choices, **head.choices}, ROWS=TILE.rows, VOXELS=TILE.voxels, FOLD=FOLD,
            num_warps=TILE.warps, **FUSED,
        )  # fmt: skip
        return partial.sum(1, dtype=torch.float64).float()


def slopes(request: Request, gradient: Tensor, head: Head) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by features, weight and bias for a gradient (B, K, C) of the sums."""
    plan = Plan(request, gradient=True)
    out = gradient_like(head.features)
    if not plan.terms:
        nothing = torch.zeros_like(head.weight)
        return out.zero_(), nothing, nothing[:, 0]
    programs = plan.programs(TILE)
    shape = (plan.batch * programs, plan.classes, head.weight.shape[1] + 1)
    partial = head.weight.new_empty(shape)
    with on_device_of(head.features):
        class_sums_slopes_kernel[(plan.batch * programs,)](
            *_read(plan, head), gradient.detach().float().contiguous(), seen(out.flatten(2)),
            partial, plan.voxels, programs,
            **{**plan.choices, **head.choices}, LOG_P=plan.has_log_p, SUMS=len(request.terms),
            ROWS=TILE.rows, VOXELS=TILE.voxels, num_warps=TILE.warps, **FUSED,
        )  # fmt: skip
        by_head = partial.sum(0, dtype=torch.float64).float()
    return out, by_head[:, :-1], by_head[:, -1]


def _read(plan: Plan, head: Head) -> tuple[Any, ...]:
    """What the kernels read: features in place of the logits."""
    _, _, *others = plan.read
    return seen(head.features.flatten(2)), (head.weight, head.bias), *others
