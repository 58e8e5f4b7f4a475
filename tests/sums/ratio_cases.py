"""Losses in closed form by a kernel, beside their formulas in plain torch and float64."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor

import medloss
from medloss.base import on_sums
from medloss.sums.choice import VARIABLE

KINDS: dict[str, list[dict[str, Any]]] = {
    "dice": [{}, {"squared_pred": True}, {"soft_label": True, "jaccard": True}],
    "tversky": [{"fp_weight": 0.3, "fn_weight": 0.8}],
    "focal": [{"gamma": 1.5}],
    "cross_entropy": [{}],
    "dice_ce": [{}, {"lambda_dice": 0.3, "lambda_ce": 1 / 3}],
    "dice_focal": [{"lambda_focal": 2.0}],
}


def cases() -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Names, options, and whether there is a mask: each kind, and activation, cut and pooling."""
    shared = itertools.product(("softmax", "sigmoid"), (True, False), (True, False))
    kinds = [(name, kind) for name, kinds in KINDS.items() for kind in kinds]
    for n, (activation, background, batch) in enumerate(shared):
        for name, kind in (kinds[n % len(kinds)], kinds[(n + 4) % len(kinds)]):
            common = {activation: True, "include_background": background, "batch": batch}
            yield name, {**common, **kind}, n % 3 == 0


def inputs(shape: tuple[int, ...], *, masked: bool, seed: int = 0) -> tuple[Tensor, Tensor, Any]:
    """Logits in float64, labels, and a mask or None."""
    random = torch.Generator().manual_seed(seed)
    one = (shape[0], 1, *shape[2:])
    z = 3 * torch.randn(shape, generator=random, dtype=torch.float64)
    y = torch.randint(0, shape[1], one, generator=random)
    return z, y, torch.rand(one, generator=random) < 0.8 if masked else None


def value_and_slope(
    loss: torch.nn.Module, z: Tensor, y: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Value, and the gradient of thrice the value."""
    leaf = z.detach().clone().requires_grad_()
    value = loss(leaf, y, mask=mask)
    return value.detach(), torch.autograd.grad(3 * value, leaf)[0]


def by_formula(
    loss: torch.nn.Module, z: Tensor, y: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The same on the CPU, with derivatives by torch, of sums in plain torch."""
    given = [each if each is None else each.cpu() for each in (z, y, mask)]
    with (
        mock.patch.dict(os.environ, {VARIABLE: "reference"}),
        mock.patch.object(on_sums, "weighted_ratios", return_value=None),
    ):
        return value_and_slope(loss, *given)  # type: ignore[arg-type]


def errors_of_ratios(
    name: str,
    options: dict[str, Any],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    *,
    masked: bool = False,
    device: str = "cpu",
    seed: int = 0,
) -> list[float]:
    """Relative errors of value and gradient, and that they are small."""
    from medloss.sums.gpu import ratios

    z, y, mask = inputs(shape, masked=masked, seed=seed)
    z, loss = z.to(dtype), medloss.loss(name, **options)
    exact, exact_slope = by_formula(loss, z.double(), y, mask)
    on_device = [None if each is None else each.to(device) for each in (z, y, mask)]
    with mock.patch.object(ratios, "of_partial", wraps=ratios.of_partial) as kernel:
        value, slope = value_and_slope(loss.to(device), *on_device)  # type: ignore[arg-type]
    if kernel.call_count != 1:
        raise ValueError(f"{name}: {kernel.call_count} launches of the kernel, expected 1")
    limit = 1e-12 if dtype == torch.float64 else 1e-6
    steps = max(10 * limit, torch.finfo(dtype).eps)
    errors = [
        float((value.cpu().double() - exact).abs() / exact.abs().clamp_min(1)),
        float((slope.cpu().double() - exact_slope).abs().max() / exact_slope.abs().max()),
    ]
    if not (errors[0] <= limit and errors[1] <= steps):
        raise ValueError(f"{name}: off by {errors}, expected at most {limit} and {steps}")
    return errors
