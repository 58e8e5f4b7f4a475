"""The same code on a CUDA device: losses follow their input, whatever device they were made on."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import medloss
from medloss.offers.host import host

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
OFFERS = [*host().losses]
every_loss = pytest.mark.parametrize("offer", OFFERS, ids=[o.record.name for o in OFFERS])


def case(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, 24, 20, 16, generator=generator, dtype=torch.float64).to(dtype)
    return z, torch.randint(0, 3, (2, 1, 24, 20, 16), generator=generator)


def value_and_gradient(loss: Any, z: torch.Tensor, target: Any) -> tuple[Any, Any]:
    leaf = z.detach().clone().requires_grad_()
    value = loss(leaf, target)
    value.backward()
    return value.detach(), leaf.grad


@every_loss
def test_cuda_equals_cpu(offer: Any) -> None:
    z, y = case()
    loss = offer.load()(**offer.record.example)  # made on the CPU and left there
    mask = torch.rand(2, 1, 24, 20, 16, generator=torch.Generator().manual_seed(1)) > 0.2
    target = {"label": y, "mask": mask, "spacing_mm": (0.8, 1.0, 2.5)}
    on_cuda = {k: v.cuda() if isinstance(v, torch.Tensor) else v for k, v in target.items()}
    expected = value_and_gradient(loss, z, target)
    value, gradient = value_and_gradient(loss, z.cuda(), on_cuda)
    assert value.is_cuda
    torch.testing.assert_close((value.cpu(), gradient.cpu()), expected, rtol=1e-5, atol=1e-7)


@every_loss
def test_a_label_on_the_host_is_brought_along(offer: Any) -> None:
    z, y = case()
    loss = offer.load()(**offer.record.example)
    assert loss(z.cuda(), {"label": y, "spacing_mm": 1.0}).is_cuda


@every_loss
def test_autocast_half_precision(offer: Any) -> None:
    z, y = case(torch.float16)
    loss = offer.load()(**offer.record.example)
    target = {"label": y.cuda(), "spacing_mm": 1.0}
    with torch.autocast("cuda", dtype=torch.float16):
        value, gradient = value_and_gradient(loss, z.cuda(), target)
    expected = loss(z.double(), {"label": y, "spacing_mm": 1.0})
    torch.testing.assert_close(value.cpu().double(), expected, rtol=1e-5, atol=1e-6)
    assert gradient.dtype == torch.float16
    assert gradient.isfinite().all()


def test_class_weights_follow_the_input() -> None:
    z, y = case()
    for name in ("dice", "cross_entropy", "dice_ce", "focal"):
        loss = medloss.loss(name, softmax=True, weight=[0.2, 1.0, 2.0])
        torch.testing.assert_close(loss(z.cuda(), y.cuda()).cpu(), loss(z, y))


def test_metrics_take_cuda_tensors() -> None:
    _, y = case()
    one_hot = torch.nn.functional.one_hot(y[:, 0], 3).movedim(-1, 1)
    metric = medloss.metrics.Hausdorff95Metric(spacing_mm=1.0)
    metric(one_hot.cuda(), one_hot.cuda())
    assert float(metric.aggregate()) == 0
