"""Losses that share a pass over the voxels: each is what it is alone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from every_loss import scene
from torch import Tensor

import medloss
from medloss.base import LossInParts, NotAdditiveError, RegionLoss, SumsLoss, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term
from medloss.sums.numeric import ratio

# By name, each with its defaults and with others where sums have a parameter.
CHANGED: list[tuple[str, dict[str, Any]]] = [
    ("noise_robust_dice", {"exponent": 1.2}),
    ("focal", {"gamma": 0.5}),
    ("focal", {"gamma": 2.5, "include_background": False}),
    ("dice_focal", {"gamma": 1.0}),
    ("unified_focal", {"gamma": 0.25}),
    ("unified_focal", {"asymmetric": True, "gamma": 0.75}),
    ("dice", {"squared_pred": True, "include_background": False}),
    ("cross_entropy", {"label_smoothing": 0.2}),
    ("boundary", {"convention": "kervadec"}),
    ("boundary", {"include_background": False, "spacing_mm": 1.0}),
    ("hausdorff_dt", {"alpha": 1.0}),
    ("hausdorff_dt", {"one_sided": True}),
    ("generalized_surface", {"convention": "surface"}),
    ("compound", {"terms": [{"name": "focal", "gamma": 3.0}, "sensitivity_specificity"]}),
    ("blob", {"loss": {"name": "compound", "terms": ["noise_robust_dice", {"name": "focal"}]}}),
]


def on_sums() -> list[tuple[str, dict[str, Any]]]:
    """All on class sums, then those with other parameters."""
    found = []
    for record in medloss.list_losses():
        loss = medloss.loss(record.name, **record.example)
        if isinstance(loss, SumsLoss) and not record.example.get("sigmoid"):
            own = {k: v for k, v in record.example.items() if k != "softmax"}
            found.append((record.name, own))
    return [*found, *CHANGED]


ALL = on_sums()


def value_and_slope(loss: Any) -> tuple[Tensor, Tensor]:
    z, y, extras = scene()
    leaf = z.requires_grad_()
    value = loss(leaf, y, **extras)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@pytest.fixture(scope="module")
def alone() -> list[tuple[Tensor, Tensor]]:
    return [value_and_slope(medloss.loss(name, softmax=True, **own)) for name, own in ALL]


def compound(*which: int, weights: list[float], **more: Any) -> Any:
    terms = [{"name": ALL[k][0], **ALL[k][1]} for k in which]
    return medloss.loss("compound", terms=terms, weights=weights, softmax=True, **more)


def test_all_ordered_pairs(alone: list[tuple[Tensor, Tensor]]) -> None:
    assert len(ALL) > 35
    for a, b in itertools.permutations(range(len(ALL)), 2):
        found = value_and_slope(compound(a, b, weights=[1.0, 0.3]))
        for one, first, second in zip(found, alone[a], alone[b], strict=True):
            assert torch.allclose(one, first + 0.3 * second, atol=1e-12), (ALL[a], ALL[b])


def test_nested_and_in_any_order(alone: list[tuple[Tensor, Tensor]]) -> None:
    generator = torch.Generator().manual_seed(3)
    for _ in range(12):
        a, b, c, d = torch.randperm(len(ALL), generator=generator)[:4].tolist()
        inner = {"name": "compound", "weights": [2.0, 0.5]}
        inner["terms"] = [{"name": ALL[k][0], **ALL[k][1]} for k in (b, c)]
        outer = [{"name": ALL[a][0], **ALL[a][1]}, inner, {"name": ALL[d][0], **ALL[d][1]}]
        loss = medloss.loss("compound", terms=outer, weights=[1, 3, 1], softmax=True)
        for k, one in enumerate(value_and_slope(loss)):
            own = [alone[i][k] for i in (a, b, c, d)]
            expected = own[0] + 6 * own[1] + 1.5 * own[2] + own[3]
            assert torch.allclose(one, expected, atol=1e-12), (ALL[a], ALL[b], ALL[c], ALL[d])


MIXED = [
    "noise_robust_dice", "sensitivity_specificity",
    {"name": "focal", "gamma": 0.5}, {"name": "dice_focal", "gamma": 1.0},
]  # fmt: skip


@pytest.mark.parametrize("around", ["marginal", "deep_supervision", "blob"])
def test_in_what_wraps_a_compound(around: str) -> None:
    def value(terms: list[Any]) -> Tensor:
        inside = {"name": "compound", "terms": terms}
        return value_and_slope(medloss.loss(around, loss=inside, softmax=True))[1]

    each = [value([term]) for term in MIXED]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        found = value([MIXED[k] for k in order])
        torch.testing.assert_close(found, sum(each), rtol=1e-9, atol=1e-12)


def test_in_parts() -> None:
    z, y, _ = scene()
    loss = medloss.loss("compound", terms=MIXED, softmax=True)
    parts = LossInParts(loss)
    for rows in (slice(0, 2), slice(2, 5)):
        parts.add(z[:, :, rows], y[:, :, rows])
    torch.testing.assert_close(parts.value(), loss(z, y))


@pytest.mark.parametrize("name", ["region_wise", "margin_label_smoothing", "svls_cross_entropy"])
def test_a_loss_that_looks_beyond_its_sums_is_refused_whatever_the_voxels(name: str) -> None:
    """The penalty on logits is 0 for small ones: there sums alone would be right by chance."""
    z, y, _ = scene()
    with pytest.raises(NotAdditiveError):
        LossInParts(medloss.loss(name, softmax=True)).add(z, y, spacing_mm=1.0)


def test_a_target_that_the_loss_makes_of_each_voxel_is_summed() -> None:
    z, y, _ = scene()
    loss = medloss.loss("exclusion", softmax=True)
    parts, known = LossInParts(loss), {"present": torch.tensor([[True, True, False]] * len(z))}
    for rows in (slice(0, 2), slice(2, 5)):
        parts.add(z[:, :, rows], y[:, :, rows], **known)
    torch.testing.assert_close(parts.value(), loss(z, y, **known))


@options
class Mapped(RegionLoss):
    """A loss whose map has the name that others' maps have."""

    factor: float = 1.0

    def terms(self) -> tuple[Term, ...]:
        """Sum of p φ, and the number of voxels."""
        return (Term("map", map="m"), Term("v"))

    def maps(self, prepared: Prepared) -> dict[str, Tensor]:
        """φ."""
        return {"m": self.factor * torch.ones_like(prepared.input)}

    def per_class(self, s: ClassSums) -> Tensor:
        """Mean."""
        assert s.terms == self.terms()
        return ratio(s.map, s.v)


def test_maps_of_one_name_stay_apart() -> None:
    both = [Mapped(factor=1.0), Mapped(factor=5.0)]
    z, y, _ = scene()
    for order in (both, both[::-1]):
        loss = medloss.loss("compound", terms=order, softmax=True)
        torch.testing.assert_close(loss(z, y), z.new_tensor(2.0))


def test_what_is_ambiguous_raises() -> None:
    s = ClassSums(torch.ones(1, 3, 2), (Term("focal", 1.0), Term("focal", 2.0), Term("v")))
    with pytest.raises(AttributeError, match=r"several: s\['focal', 1.0\], s\['focal', 2.0\]"):
        s.focal  # noqa: B018
    assert s.of((Term("focal", 2.0),)).terms == (Term("focal", 2.0),)
    assert s.v.shape == s["focal", 1.0].shape == s.of(("v",)).v.shape == (1, 2)
