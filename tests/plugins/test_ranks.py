"""``batch="world"``: ranks with uneven batches train as one with all of their samples."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import multiprocessing

from medloss.offers.host import host
from medloss.testing.loss_subject import LossSubject, value_and_gradient
from medloss.testing.scenes import Scene

SHARES = (slice(0, 1), slice(1, 3), slice(3, 3))
"""The last rank has nothing: it must still take its part in the sums."""
REFUSED = {"dice_topk", "lovasz_hinge", "lovasz_softmax", "topk_cross_entropy"}
OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lovasz_softmax", {"method": "histogram"}),
    ("blob", {"loss": "dice_ce", "lambda_instances": 3.0}),
    ("blob", {"loss": "focal", "regions": "cells", "spacing_mm": 1.0}),
    ("cross_entropy", {"label_smoothing": 0.2}),
)


def cases() -> Iterator[tuple[str, LossSubject, dict[str, Any], Scene]]:
    """Every loss, its mean and its sum, with a class that one rank does not know."""
    offers = {o.record.name: o for o in host().losses if o.plugin.distribution == "medloss"}
    named = [(name, {}) for name in offers] + list(OPTIONS)
    for name, options in named:
        subject = LossSubject(offers[name], options)
        scene = subject.scene(batch=3, shape=(5, 4, 3))
        scene = Scene(scene.logits.double(), scene.target, scene.extras)
        present = torch.ones(3, subject.classes, dtype=torch.bool)
        present[0, -1] = False
        for reduction in ("mean", "sum"):
            yield name, subject, {"reduction": reduction}, scene.given(present=present)


def _rank(rank: int, folder: str) -> None:
    os.environ["MEDLOSS_BACKEND"] = "reference"
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=len(SHARES)
    )
    found: list[Any] = []
    for _, subject, options, scene in cases():
        try:
            loss = subject.build(batch="world", **options)
        except ValueError as refusal:
            found.append(str(refusal))
            continue
        found.append(value_and_gradient(loss, scene.moved(operator.itemgetter(SHARES[rank]))))
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_uneven_ranks_equal_one_with_the_joined_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDLOSS_BACKEND", "reference")
    multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=len(SHARES))
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(len(SHARES))]
    refused = set()
    for (name, subject, options, scene), *there in zip(cases(), *ranks, strict=True):
        if isinstance(there[0], str):
            assert there[0].startswith("batch: expected False or True")
            refused.add(name)
            continue
        value, slope = value_and_gradient(subject.build(batch=True, **options), scene)
        what = f"{name} {subject.given} {options}"
        for share, (of_rank, mine) in zip(SHARES, there, strict=True):
            torch.testing.assert_close(of_rank, value, msg=f"{what}: {of_rank} is not {value}")
            # gradients are averaged over ranks
            error = float((mine / len(SHARES) - slope[share]).abs().max()) if len(mine) else 0.0
            assert error <= 1e-7 * float(slope.abs().max()) + 1e-12, f"{what}: {error}"
    assert refused == REFUSED
