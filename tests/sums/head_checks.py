"""The fused head by Triton kernels: on a CUDA device, or in Triton's interpreter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from interpreted import DEVICE
from sums.head_cases import errors_of_head

import medloss
from medloss.sums.gpu import backend
from medloss.sums.gpu.residence import NoRoomError

pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")


@pytest.fixture(autouse=True)
def _force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLOSS_BACKEND", "triton")


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
    errors_of_head(name, options, features, classes, dtype, bias=bias, device=DEVICE)


def test_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    kernels = backend.sums
    monkeypatch.setattr(
        backend, "sums", lambda *given: called.append(len(given)) or kernels(*given)
    )
    loss = medloss.loss("dice", softmax=True)
    label = torch.zeros(1, 1, 2, 2, dtype=torch.long, device=DEVICE)
    for channels in (4, 4096):  # too many weights for the registers: by slabs
        head = medloss.FusedHead(torch.nn.Conv2d(channels, 3, 1), loss).to(DEVICE)
        head.loss(torch.ones(1, channels, 2, 2, device=DEVICE), label).backward()
    assert called.count(2) == 1


def test_by_slabs_where_a_device_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward each go another way, to the same numbers."""

    def none(*given: Any) -> int:
        raise NoRoomError("no room")

    torch.manual_seed(0)
    head = medloss.FusedHead(torch.nn.Conv2d(4, 3, 1), medloss.loss("dice", softmax=True))
    h = torch.randn(1, 4, 5, 6, device=DEVICE)
    label = torch.randint(0, 3, (1, 1, 5, 6), device=DEVICE)
    found = []
    for stages in (backend.stages_that_fit, none):
        monkeypatch.setattr(backend, "stages_that_fit", stages)
        leaf = h.clone().requires_grad_()
        value = head.to(DEVICE).loss(leaf, label)
        found.append((value.detach(), *torch.autograd.grad(value, [leaf, head.weight, head.bias])))
    torch.testing.assert_close(found[0], found[1])
