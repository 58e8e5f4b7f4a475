"""A fused head beside a convolution and a loss in float64."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

import torch
from torch import Tensor

import medloss
from medloss.sums.choice import VARIABLE

SPACE = (3, 5, 7)


def gradients(head: Any, features: Tensor, target: Any) -> list[Tensor]:
    """Loss, and its gradients by features, weight and bias."""
    leaf = features.detach().requires_grad_()
    value = head.loss(leaf, target)
    value.backward()
    assert leaf.grad is not None
    bias = [] if head.bias is None else [head.bias.grad]
    return [value.detach(), leaf.grad, head.weight.grad, *bias]


def errors_of_head(
    name: str,
    options: dict[str, Any],
    features: int,
    classes: int,
    dtype: torch.dtype,
    *,
    bias: bool,
    device: str,
    seed: int = 0,
) -> list[float]:
    """Relative errors of the loss and of all its gradients, which are asserted small.

    Args:
        name: of the loss.
        options: of the loss.
        features: channels of the input.
        classes: channels of the output.
        dtype: of the features.
        bias: whether the convolution has one.
        device: where the head is.
        seed: of the random numbers.
    """
    torch.manual_seed(seed)
    convolution = torch.nn.Conv3d(features, classes, 1, bias=bias)
    h = torch.randn(2, features, *SPACE).to(dtype)
    if "softmax" in options:
        label = torch.randint(0, classes, (2, 1, *SPACE))
    else:
        label = (torch.rand(2, classes, *SPACE) > 0.5).float()
    mask = torch.rand(2, 1, *SPACE) > 0.3
    h = h.masked_fill(~mask, torch.nan)  # what does not count may be anything
    target = {"label": label, "mask": mask.float()}
    head = medloss.FusedHead(convolution, medloss.loss(name, **options)).to(device)
    on_device = {key: each.to(device) for key, each in target.items()}
    found = [each.cpu() for each in gradients(head, h.to(device), on_device)]

    exact = torch.nn.Conv3d(features, classes, 1, bias=bias).double()
    exact.load_state_dict({k: v.double().cpu() for k, v in head.state_dict().items()})
    leaf = h.nan_to_num(0).double().requires_grad_()
    wide = {
        key: each.double() if each.is_floating_point() else each for key, each in target.items()
    }
    with mock.patch.dict(os.environ, {VARIABLE: "reference", "MEDLOSS_CHECKS": "off"}):
        value = medloss.loss(name, **options)(exact(leaf), wide)
    value.backward()
    expected = [value.detach(), leaf.grad, exact.weight.grad]
    if exact.bias is not None:
        expected.append(exact.bias.grad)
    errors = []
    for index, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        assert theirs is not None
        tolerance = 5e-3 if index == 1 and dtype == torch.bfloat16 else 2e-6
        errors.append(float((mine.double() - theirs).norm() / theirs.norm()))
        assert errors[-1] < tolerance, f"number {index} of value and gradients: {errors[-1]}"
    return errors
