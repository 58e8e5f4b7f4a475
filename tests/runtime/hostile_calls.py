"""Calls of every compiled loop with what should not be there; run with checks of every index.

Started by the test beside this file, as numba checks indices only if it is told before it starts.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch

from medloss.distance import signed_distance
from medloss.objects.component_runs import component_runs
from medloss.scoring import Case
from medloss.scoring.presets import PRESETS
from medloss.sums import Term, class_sums

RARE = (float("nan"), float("inf"), float("-inf"), 3e38, -3e38, 1e-45)
LABELS = (-(2**63), 2**63 - 1, -1, 255, 256, 2**32, 2**32 + 1, 2**31)
MAPPED = (Term("tp_map", map="m"), Term("t_map", map="m"), Term("map", map="m"))
TERMS = (
    ("tp", "p", "t", "ce"),
    ("tp", "p", Term("focal", 0.5), *MAPPED),
    ("pp", "l1", "ce_neg", Term("focal_neg", 1.5), Term("power", 0.5), *MAPPED),
)


def spoiled(tensor: torch.Tensor, values: tuple[Any, ...], random: torch.Generator) -> torch.Tensor:
    """A tensor with some other values at random places."""
    flat = tensor.flatten()
    places = torch.randperm(len(flat), generator=random)[: max(len(flat) // 5, 1)]
    for n, place in enumerate(places):
        flat[place] = values[n % len(values)]
    return flat.view(tensor.shape)


def sums(random: torch.Generator) -> None:
    """Class sums and gradients, of logits that lie in memory in other ways, inside guards."""
    for classes, shape in ((1, (1, 1)), (2, (0, 3)), (3, (5, 67)), (12, (4097,))):
        whole = torch.randn(2, classes + 2, *shape, generator=random)
        logits = spoiled(whole[:, 1:-1], RARE, random)
        labels = torch.randint(0, classes, (2, 1, *shape), generator=random)
        soft = spoiled(torch.rand(2, classes, *shape, generator=random), RARE, random)
        targets = [spoiled(labels, LABELS, random), spoiled(labels.byte(), (7, 255), random), soft]
        maps = {"m": spoiled(torch.randn(2, classes, *shape, generator=random), RARE, random)}
        mask = spoiled(torch.rand(2, 1, *shape, generator=random), (0.0, float("nan")), random)
        for target in targets:
            for terms in TERMS:
                for activation in ("softmax", "sigmoid")[: 1 + (terms is TERMS[-1])]:
                    leaf = logits.detach().requires_grad_()
                    found = class_sums(
                        leaf, target, terms, activation=activation, mask=mask, maps=maps
                    )
                    found.values.sum().backward()
                    assert leaf.grad is not None
                    assert leaf.grad.shape == logits.shape


def distances(random: torch.Generator) -> None:
    """Distance maps of empty, full and thin masks."""
    for shape in ((1, 1, 1), (2, 1, 9), (7, 3), (1, 64, 1), (5, 6, 7)):
        for share in (0.0, 0.1, 1.0):
            mask = torch.rand(1, 2, *shape, generator=random) < share
            for spacing in (1.0, 1e-30, 1e30):
                signed_distance(mask, [[spacing] * len(shape)])


def scores(random: np.random.Generator) -> None:
    """Facts of label maps; the last time the maps change after they were looked at."""
    for shape in ((1, 1), (1, 9, 1), (5, 6), (4, 1, 70), (6, 7, 8)):
        for dtype, most in ((np.uint8, 2), (np.uint8, 255), (np.int16, 300), (np.int64, 2**40)):
            maps = [random.integers(0, most, shape, endpoint=True).astype(dtype) for _ in range(2)]
            maps[0][random.random(shape) < 0.7] = 0
            ignored = random.random(shape) < 0.1
            for preset in PRESETS:
                case = Case(*maps, labels=(1, 2), spacing_mm=1.0, preset=preset, ignored=ignored)
                for label in (1, 2):
                    case.counts(label)
                    case.surfaces(label)
    changing = np.ones((4, 5, 6), np.uint8)
    case = Case(changing, changing.copy(), labels=(1,), spacing_mm=1.0)
    case.counts(1)
    changing[:] = 255
    case.surfaces(1)


def runs(random: np.random.Generator) -> None:
    """Objects of masks, some of them not inside any other."""
    for shape in ((1, 1), (1, 1, 9), (6, 7, 8)):
        for share in (0.0, 0.3, 1.0):
            one, other = (component_runs(random.random(shape) < share, 2) for _ in range(2))
            one.within(other)
            one.grown(2)
            one.painted()


if __name__ == "__main__":
    assert numba.config.BOUNDSCHECK
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    sums(generator)
    distances(generator)
    scores(np.random.default_rng(0))
    runs(np.random.default_rng(0))
    print("all calls came back")
