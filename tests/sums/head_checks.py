"""The fused head by Triton kernels: on a CUDA device, or in Triton's interpreter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from interpreted import DEVICE
from torch import Tensor

import medloss
from medloss.sums.gpu import head as heads

pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
SPACE = (3, 5, 7)


@pytest.fixture(autouse=True)
def _force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLOSS_BACKEND", "triton")


def gradients(head: Any, features: Tensor, target: Any) -> list[Tensor]:
    """Loss, and its gradients by features, weight and bias."""
    leaf = features.detach().requires_grad_()
    value = head.loss(leaf, target)
    value.backward()
    bias = torch.zeros(1) if head.bias is None else head.bias.grad
    return [value.detach(), leaf.grad, head.weight.grad, bias]


@pytest.mark.parametrize(
    ("name", "options", "features", "classes", "dtype", "bias"),
    [
        ("dice_ce", {"softmax": True}, 3, 5, torch.float32, True),
        ("dice_focal", {"softmax": True}, 17, 20, torch.float32, False),
        ("bce_dice", {"sigmoid": True}, 16, 2, torch.bfloat16, True),
    ],
)
def test_kernels_equal_the_convolution_and_the_loss(
    name: str, options: dict[str, Any], features: int, classes: int, dtype: Any, bias: bool
) -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv3d(features, classes, 1, bias=bias)
    h = torch.randn(2, features, *SPACE).to(dtype)
    if "softmax" in options:
        label = torch.randint(0, classes, (2, 1, *SPACE))
    else:
        label = (torch.rand(2, classes, *SPACE) > 0.5).float()
    mask = torch.rand(2, 1, *SPACE) > 0.3
    h = h.masked_fill(~mask, torch.nan)  # what does not count may be anything
    target = {"label": label, "mask": mask.float()}
    head = medloss.FusedHead(convolution, medloss.loss(name, **options)).to(DEVICE)
    on_device = {key: each.to(DEVICE) for key, each in target.items()}
    found = [each.cpu() for each in gradients(head, h.to(DEVICE), on_device)]

    exact = torch.nn.Conv3d(features, classes, 1, bias=bias).double()
    exact.load_state_dict({k: v.double().cpu() for k, v in head.state_dict().items()})
    leaf = h.nan_to_num(0).double().requires_grad_()
    wide = {
        key: each.double() if each.is_floating_point() else each for key, each in target.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDLOSS_BACKEND", "reference")
        value = medloss.loss(name, **options)(exact(leaf), wide)
    value.backward()
    assert leaf.grad is not None
    expected = [value.detach(), leaf.grad, exact.weight.grad]
    if bias:
        expected.append(exact.bias.grad)
    for index, (mine, theirs) in enumerate(zip(found, expected, strict=False)):
        tolerance = 5e-3 if index == 1 and dtype == torch.bfloat16 else 2e-6
        assert float((mine.double() - theirs).norm()) < tolerance * float(theirs.norm())


def test_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    kernels = heads.sums
    monkeypatch.setattr(heads, "sums", lambda *given: called.append(1) or kernels(*given))
    loss = medloss.loss("dice", softmax=True)
    label = torch.zeros(1, 1, 2, 2, dtype=torch.long, device=DEVICE)
    for channels in (4, 4096):  # too many weights for the registers: by slabs
        head = medloss.FusedHead(torch.nn.Conv2d(channels, 3, 1), loss).to(DEVICE)
        head.loss(torch.ones(1, channels, 2, 2, device=DEVICE), label).backward()
    assert called == [1]
