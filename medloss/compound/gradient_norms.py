"""How strongly each term of a loss pulls at the logits."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def gradient_norms(values: Iterable[Tensor], logits: Tensor) -> list[Tensor]:
    """‖∂L_k/∂z‖ of each term k by the logits z, without its weight; the graph is kept.

    Args:
        values: of the terms; of several numbers the mean counts.
        logits: z, which the values were computed from.

    Raises:
        ValueError: the logits are no part of the graph.

    Example:
        >>> z = torch.tensor([3.0, 4.0], requires_grad=True)
        >>> [float(norm) for norm in gradient_norms([(z * z).sum() / 2, z.sum() * 0], z)]
        [5.0, 0.0]
    """
    if not logits.requires_grad:
        raise ValueError(
            "gradient_share, equal_gradient_norm: expected logits that require a gradient; with a "
            "FusedHead there are none"
        )
    norms = []
    for value in values:
        slope = None
        if value.requires_grad:
            (slope,) = torch.autograd.grad(
                value.mean() if value.ndim else value, logits, retain_graph=True, allow_unused=True
            )
        norms.append(logits.new_zeros(()) if slope is None else torch.linalg.vector_norm(slope))
    return norms
