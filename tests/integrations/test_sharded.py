"""Networks in shards and recomputed activations: two ranks with one batch equal one rank."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, multiprocessing, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

import medloss

TERMS = {"terms": ["dice", "cross_entropy", {"name": "boundary", "spacing_mm": 1.0}]}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 3, 1))


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 1, 6, 7, 8, generator=generator)
    return images, torch.randint(0, 3, images.shape, generator=generator)


def one_rank() -> tuple[Tensor, list[Tensor]]:
    net, (images, labels) = network(), batch()
    value = medloss.loss("compound", softmax=True, batch=True, **TERMS)(net(images), labels)
    value.backward()
    return value.detach(), [each.grad for each in net.parameters() if each.grad is not None]


def _rank(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    net, (images, labels) = network(), batch()
    mesh = init_device_mesh("cpu", (2,))
    for part in (net[0], net[2], net):
        fully_shard(part, mesh=mesh)
    loss = medloss.loss("compound", softmax=True, batch="world", **TERMS)
    own = slice(2 * rank, 2 * rank + 2)
    value = loss(net(images[own]), labels[own])
    value.backward()
    whole = [each.grad.full_tensor() for each in net.parameters() if each.grad is not None]
    torch.save((value.detach(), whole), f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_sharded_ranks_equal_one(tmp_path: Path) -> None:
    multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=2)
    expected, gradients = one_rank()
    for rank in range(2):
        value, found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert float(value) == pytest.approx(float(expected), rel=1e-5)
        assert len(found) == len(gradients) == 4
        for mine, theirs in zip(found, gradients, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-7)


def test_recomputed_activations_change_nothing() -> None:
    expected, gradients = one_rank()
    net, (images, labels) = network(), batch()
    loss = medloss.loss("compound", softmax=True, batch=True, **TERMS)
    value = loss(checkpoint(net, images, use_reentrant=False), labels)
    value.backward()
    torch.testing.assert_close(value.detach(), expected)
    for each, theirs in zip(net.parameters(), gradients, strict=True):
        torch.testing.assert_close(each.grad, theirs)
