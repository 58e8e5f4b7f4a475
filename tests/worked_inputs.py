"""Small inputs with worked float64 values (computed from each paper's formula by hand)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import medloss


def f64(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# Binary, 2 x 3 voxels, false positives and false negatives of different size.
P = f64([[[[0.9, 0.4, 0.3], [0.2, 0.05, 0.6]]]])
G = torch.tensor([[[[1, 1, 0], [0, 0, 0]]]])
Z = P.logit()

# The same and a second sample with an empty target.
P_BATCH = torch.cat([P, torch.full_like(P, 0.1)])
G_BATCH = torch.cat([G, torch.zeros_like(G)])

# Three classes, four voxels, the last one wrong; class 2 absent in Y_ABSENT.
Z_MULTI = f64([[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]])[None, :, None]
Y_MULTI = torch.tensor([[[[0, 1, 2, 0]]]])
Y_ABSENT = torch.tensor([[[[0, 1, 0, 0]]]])


def block(ndim: int) -> tuple[Tensor, Tensor]:
    """A block of 3 per axis in an image of 5, one near miss and one far false positive."""
    g = torch.zeros(1, 1, *[5] * ndim, dtype=torch.float64)
    inner = (..., *[slice(1, 4)] * ndim)
    g[inner] = 1
    p = 0.1 + 0.7 * g
    p[(..., *[1] * ndim)] = 0.3
    p[(..., *[0] * (ndim - 1), 4)] = 0.7
    return p, g


def one_hot(y: Tensor, classes: int) -> Tensor:
    return torch.stack([(y[:, 0] == c) for c in range(classes)], 1).double()


def value(name: str, input: Tensor, target: Any, extras: Any = None, **options: Any) -> float:
    return float(medloss.loss(name, **options)(input, target, **(extras or {})))


def gradient(name: str, input: Tensor, target: Any, /, **options: Any) -> Tensor:
    leaf = input.detach().clone().requires_grad_()
    medloss.loss(name, **options)(leaf, target).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def pair(z: Tensor) -> Tensor:
    """Two exclusive classes with logits 0 and z."""
    return torch.cat([torch.zeros_like(z), z], 1)


def random_case(seed: int, classes: int = 3, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(2, classes, 4, 5, 3, generator=generator, dtype=torch.float64)
    return z, torch.randint(0, classes, (2, 1, 4, 5, 3), generator=generator)
