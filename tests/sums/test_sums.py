"""Class sums: additive, over patches and over ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import multiprocessing

import medloss
from medloss.sums import ClassSums, Term, class_sums

TERMS = (
    *("tp", "p", "t", "pp", "tt", "l1", "sqt", "ce", "nlog", "v"),
    *(Term("focal", 2.0), Term("power", 1.5), Term("map", map="m"), Term("map2", map="m")),
)


def volume() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, 4, 6, 8, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (2, 1, 4, 6, 8), generator=generator)
    return z, y, torch.randn(z.shape, generator=generator, dtype=torch.float64)


def test_sums_of_patches_add_up_to_the_whole() -> None:
    z, y, phi = volume()
    whole = class_sums(z, y, TERMS, activation="softmax", maps={"m": phi})
    parts = [
        class_sums(z[..., c], y[..., c], TERMS, activation="softmax", maps={"m": phi[..., c]})
        for c in (slice(0, 3), slice(3, 8))
    ]
    joined = parts[0] + parts[1]
    torch.testing.assert_close(joined.values, whole.values)
    assert joined.terms == whole.terms


def test_terms_by_hand() -> None:
    z, y, phi = volume()
    p = z.softmax(1)
    g = torch.nn.functional.one_hot(y[:, 0], 3).movedim(-1, 1).double()
    s = class_sums(z, y, TERMS, activation="softmax", maps={"m": phi})
    space = (2, 3, 4)
    torch.testing.assert_close(s.tp, (p * g).sum(space))
    torch.testing.assert_close(s.pp, (p**2).sum(space))
    torch.testing.assert_close(s.l1, (p - g).abs().sum(space))
    torch.testing.assert_close(s.sqt, ((p - g) ** 2 * g).sum(space))
    torch.testing.assert_close(s["power", 1.5], ((p - g).abs() ** 1.5).sum(space))
    torch.testing.assert_close(s["map2", "m"], ((p - g) ** 2 * phi).sum(space))
    torch.testing.assert_close(s.ce, -(g * p.log()).sum(space))
    torch.testing.assert_close(s["focal", 2.0], -(g * (1 - p) ** 2 * p.log()).sum(space))
    torch.testing.assert_close(s["map", "m"], (p * phi).sum(space))
    torch.testing.assert_close(s.v, torch.full((2, 3), 192.0, dtype=torch.float64))


def test_sums_of_other_terms_cannot_be_added() -> None:
    z, y, _ = volume()
    one = class_sums(z, y, ("tp",), activation="softmax")
    with pytest.raises(ValueError, match="other: expected sums of"):
        one + class_sums(z, y, ("p",), activation="softmax")
    with pytest.raises(AttributeError, match="not among the summed terms"):
        one.p  # noqa: B018


def test_a_term_asked_for_twice_is_summed_once() -> None:
    z, y, _ = volume()
    s = class_sums(z, y, ("tp", "p", "tp"), activation="softmax")
    assert isinstance(s, ClassSums)
    assert s.values.shape == (2, 2, 3)


def test_a_map_may_be_given_second() -> None:
    z, y, phi = volume()
    second: Any = ("map", "m")
    s = class_sums(z, y, (Term(*second),), activation="softmax", maps={"m": phi})
    assert s.terms == (Term("map", map="m"),)
    assert torch.equal(s[second], s[Term(*second)])
    assert torch.equal(s[second], s["map", "m"])


POOLED = ("dice", "generalized_dice", "dice_ce")


def _rank(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    found = {}
    for name in POOLED:
        z, y, _ = volume()
        mine = z[rank : rank + 1].requires_grad_()
        value = medloss.loss(name, softmax=True, batch="world")(mine, y[rank : rank + 1])
        value.backward()
        found[name] = (value.detach(), mine.grad)
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_ranks_equal_one_with_the_joined_batch(tmp_path: Path) -> None:
    multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name in POOLED:
        z, y, _ = volume()
        z.requires_grad_()
        value = medloss.loss(name, softmax=True, batch=True)(z, y)
        value.backward()
        assert z.grad is not None
        for rank, found in enumerate(ranks):
            torch.testing.assert_close(found[name][0], value.detach())
            # DistributedDataParallel divides the sum of the ranks' gradients by their number
            torch.testing.assert_close(found[name][1] / 2, z.grad[rank : rank + 1])


def test_world_without_other_ranks_is_the_batch() -> None:
    z, y, _ = volume()
    world = medloss.loss("dice", softmax=True, batch="world")(z, y)
    assert world == medloss.loss("dice", softmax=True, batch=True)(z, y)
