"""Losses on bins of probability and on shares: worked values, an own reading, edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from worked_inputs import Y_ABSENT, Y_MULTI, Z_MULTI, G, P, Z

import medloss
from medloss.losses import HardL1ACELoss, L1ACELoss, RegionSizeLoss, SoftL1ACELoss

Floats = NDArray[np.float64]
BOTH = pytest.mark.parametrize("binning", ["hard", "soft"])


def own_ace(p: Floats, g: Floats, w: Floats, bins: int, binning: str) -> float:
    """Of one class, voxel by voxel as the definition has it."""
    centres = (np.arange(bins) + 0.5) / bins
    if binning == "hard":
        weights = (np.clip(np.ceil(p * bins), 1, bins)[:, None] == np.arange(1, bins + 1)) * 1.0
    else:
        inside = np.clip(p, centres[0], centres[-1])
        weights = np.maximum(0, 1 - bins * np.abs(inside[:, None] - centres))
    weights = weights * w[:, None]
    total = weights.sum(0)
    filled = total >= (0.01 if binning == "soft" else 1e-300)
    gaps = np.abs((weights * p[:, None]).sum(0) - (weights * g[:, None]).sum(0))
    return float((gaps[filled] / total[filled]).mean())


def gradient(loss: Any, input: Tensor, target: Tensor, **given: Any) -> tuple[float, Tensor]:
    leaf = input.clone().requires_grad_()
    value = loss(leaf, target, **given)
    value.backward()
    assert leaf.grad is not None
    return float(value.detach()), leaf.grad


@pytest.mark.parametrize(
    ("binning", "bins", "expected", "slopes"),
    [
        ("hard", 4, 0.24375, [-0.25, -0.125, -0.125, 0.125, 0.125, 0.25]),
        ("soft", 4, 0.20625, [-0.25, -1.415, -0.3325, -0.1325, 0.125, 0.685]),
        ("hard", 20, 0.308333333333, None),
        ("soft", 20, 0.308333333333, None),
    ],
)
def test_binary_worked_values(
    binning: Any, bins: int, expected: float, slopes: list[float] | None
) -> None:
    value, found = gradient(L1ACELoss(num_bins=bins, binning=binning), P, G)
    assert value == pytest.approx(expected, abs=1e-12)
    if slopes is not None:
        assert found.flatten().tolist() == pytest.approx(slopes, abs=1e-12)


def test_several_classes_worked_values() -> None:
    for binning, expected in (("hard", 0.267456567391), ("soft", 0.273135356027)):
        loss = medloss.loss("l1_ace", softmax=True, binning=binning)
        assert float(loss(Z_MULTI, Y_MULTI)) == pytest.approx(expected, abs=1e-12)
    own = {"softmax": True, "reduction": "none", "ignore_empty_classes": False}
    values = medloss.loss("l1_ace", **own)(Z_MULTI, Y_ABSENT)
    assert values.flatten().tolist() == pytest.approx([0.492979, 0.262294, 0.420338], abs=1e-6)
    assert float(values.mean()) == pytest.approx(0.391870644278, abs=1e-12)
    present = float(L1ACELoss(softmax=True)(Z_MULTI, Y_ABSENT))
    assert present == pytest.approx(0.377637, abs=1e-6)
    assert present == pytest.approx(float(values[0, :2].mean()))
    released = float(HardL1ACELoss(softmax=True)(Z_MULTI, Y_ABSENT))
    assert released == pytest.approx(0.251757949591, abs=1e-8), "float32 there"


@BOTH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_equals_an_own_reading_with_masks_and_soft_labels(binning: Any, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(4)
    z = (2 * torch.randn(2, 3, 9, 7, 5, generator=generator)).to(dtype)
    g = torch.rand(2, 3, 9, 7, 5, generator=generator)
    mask = (torch.rand(2, 1, 9, 7, 5, generator=generator) > 0.3).float()
    loss = L1ACELoss(sigmoid=True, num_bins=7, binning=binning, reduction="none")
    found = loss(z, g, mask=mask)
    p = z.to(torch.promote_types(dtype, torch.float32)).sigmoid().double().numpy()
    expected = [
        [
            own_ace(
                p[b, c].ravel(), g[b, c].double().numpy().ravel(), mask[b, 0].numpy().ravel(),
                7, binning,
            )
            for c in range(3)
        ]
        for b in range(2)
    ]  # fmt: skip
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=2e-5)
    beyond = z.clone()
    beyond[(mask == 0).expand_as(z)] = torch.nan
    torch.testing.assert_close(loss(beyond, g, mask=mask), found, rtol=0, atol=0)


def test_exact_edges_belong_to_the_lower_bin() -> None:
    p = torch.tensor([[[0.25, 0.5, 0.0, 1.0]]], dtype=torch.float64)
    g = torch.tensor([[[1, 0, 0, 1]]])
    value = float(L1ACELoss(num_bins=4)(p, g))
    assert value == pytest.approx((0.375 + 0.5 + 0) / 3), "bins 1, 2 and 4"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_probability_at_a_centre_has_a_gradient(dtype: torch.dtype) -> None:
    """The released form has 0/0 in a bin that is empty, and all gradients NaN."""
    for p in ([10.5 / 20, 0.9], [0.125, 0.375, 0.625], [0.5 / 20], [19.5 / 20, 1.0]):
        x = torch.tensor(p, dtype=dtype).view(1, 1, -1, 1)
        for bins in (20, 4):
            value, slopes = gradient(
                L1ACELoss(num_bins=bins, binning="soft"), x, torch.ones_like(x)
            )
            assert np.isfinite(value)
            assert slopes.isfinite().all()
            assert bool((slopes != 0).any())


@BOTH
def test_what_is_right_costs_nothing_and_place_is_not_seen(binning: Any) -> None:
    g = torch.tensor([1, 0, 0, 0], dtype=torch.float64).view(1, 1, 4)
    loss = L1ACELoss(binning=binning)
    value, slopes = gradient(loss, g, g)
    assert (value, float(slopes.abs().max())) == (0, 0)
    assert float(loss(torch.full_like(g, 0.25), g)) == pytest.approx(0, abs=1e-15)
    assert float(loss(torch.full_like(g, 0.1), torch.ones_like(g))) == pytest.approx(0.9)
    value, slopes = gradient(loss, torch.full_like(g, 0.9), torch.zeros_like(g))
    assert (value, float(slopes.abs().max())) == (0, 0), "an empty class is left out"
    counted = L1ACELoss(binning=binning, ignore_empty_classes=False)
    assert float(counted(torch.full_like(g, 0.9), torch.zeros_like(g))) == pytest.approx(0.9)


def test_one_stray_voxel_weighs_as_much_as_ten_thousand() -> None:
    p = torch.full((1, 1, 10001), 0.02, dtype=torch.float64)
    p[..., 0] = 0.97
    value, slopes = gradient(L1ACELoss(ignore_empty_classes=False), p, torch.zeros_like(p))
    assert value == pytest.approx(0.495)
    assert float(slopes[0, 0, 0] / slopes[0, 0, 1]) == pytest.approx(1e4)


@BOTH
def test_bins_of_the_batch_are_pooled(binning: Any) -> None:
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(3, 2, 4, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 2, (3, 1, 4, 5), generator=generator)
    loss = L1ACELoss(softmax=True, num_bins=5, binning=binning, batch=True)
    joined = z.transpose(0, 1).reshape(1, 2, 12, 5), y.transpose(0, 1).reshape(1, 1, 12, 5)
    torch.testing.assert_close(loss(z, y), loss(*joined))


def test_second_derivatives_of_soft_bins() -> None:
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(1, 2, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, 2, (1, 1, 3, 4), generator=generator)
    loss = L1ACELoss(softmax=True, num_bins=3, binning="soft")
    assert torch.autograd.gradgradcheck(lambda x: loss(x, y), (z,))


def test_monais_names_take_its_arguments_by_place() -> None:
    hard = HardL1ACELoss(10, False, True, False, True, None, "sum", None)
    assert (hard.num_bins, hard.include_background, hard.softmax, hard.reduction) == (
        10,
        False,
        True,
        "sum",
    )
    soft = SoftL1ACELoss(10, True, False, True, False, None, "mean", None, 0.5)
    assert (soft.binning, soft.empty_weight, soft.sigmoid) == ("soft", 0.5, True)
    with pytest.raises(TypeError, match="lower bin"):
        HardL1ACELoss(right=True)
    with pytest.raises(ValueError, match="binning: expected 'soft', got 'hard'"):
        SoftL1ACELoss(binning="hard")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bins": 0}, "num_bins: expected at least 1"),
        ({"binning": "fuzzy"}, "binning: expected one of 'hard', 'soft'"),
        ({"empty_weight": -1.0}, "empty_weight: expected at least 0"),
    ],
)
def test_impossible_bins_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        L1ACELoss(**options)


class TestRegionSize:
    def test_worked_values(self) -> None:
        value, slopes = gradient(RegionSizeLoss(sigmoid=True), Z, G)
        assert value == pytest.approx(0.075, abs=1e-12)
        assert slopes.flatten()[:3].tolist() == pytest.approx([0.015, 0.04, 0.035], abs=1e-12)
        nearly_hard = RegionSizeLoss(sigmoid=True, temperature=10)
        assert float(nearly_hard(Z, G)) == pytest.approx(3.4991837e-5, abs=1e-12)
        value, slopes = gradient(RegionSizeLoss(softmax=True), Z_MULTI, Y_MULTI)
        assert value == pytest.approx(0.113558728951, abs=1e-12)
        assert float(slopes[..., 3].flatten()[0]) == pytest.approx(-0.030196759, abs=1e-9)
        for options, expected in (
            ({"temperature": 10.0}, 0.166666515078),
            ({"difference": "kl"}, 0.069589119),
        ):
            found = float(RegionSizeLoss(softmax=True, **options)(Z_MULTI, Y_MULTI))
            assert found == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("temperature", [1.0, 10.0])
    def test_beside_another_loss_it_is_added(self, temperature: float) -> None:
        size = {"name": "region_size", "temperature": temperature}
        both = medloss.loss("compound", terms=["dice_ce", size], weights=[1, 0.5], softmax=True)
        value, slopes = gradient(both, Z_MULTI, Y_MULTI)
        parts = [
            gradient(loss, Z_MULTI, Y_MULTI)
            for loss in (
                medloss.loss("dice_ce", softmax=True),
                RegionSizeLoss(softmax=True, temperature=temperature),
            )
        ]
        assert value == pytest.approx(parts[0][0] + 0.5 * parts[1][0])
        torch.testing.assert_close(slopes, parts[0][1] + 0.5 * parts[1][1])
        ce = medloss.loss("compound", terms=["cross_entropy", "region_size"], softmax=True)
        assert float(ce(Z_MULTI, Y_MULTI)) == pytest.approx(0.662448126999, abs=1e-12)

    def test_the_pass_is_that_of_dice_ce(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from medloss.base.targets import Prepared

        asked: list[set[str]] = []
        plain = Prepared.sums

        def counted(self: Prepared, terms: Any, maps: Any = None) -> Any:
            asked.append({str(getattr(term, "name", term)) for term in terms})
            return plain(self, terms, maps)

        monkeypatch.setattr(Prepared, "sums", counted)
        medloss.loss("compound", terms=["dice_ce", "region_size"], softmax=True)(Z_MULTI, Y_MULTI)
        assert len(asked) == 1
        assert asked[0] >= {"p", "t", "tp", "ce", "v"}

    def test_voxels_that_count_and_classes_that_are_absent(self) -> None:
        mask = torch.ones_like(Y_MULTI)
        mask[..., 3] = 0
        cut = RegionSizeLoss(softmax=True)(Z_MULTI[..., :3], Y_MULTI[..., :3])
        torch.testing.assert_close(RegionSizeLoss(softmax=True)(Z_MULTI, Y_MULTI, mask=mask), cut)
        value, slopes = gradient(RegionSizeLoss(sigmoid=True), Z, torch.zeros_like(G))
        assert value == pytest.approx(float(P.mean()))
        assert bool((slopes > 0).all()), "all of it is pushed down"

    def test_permutations_of_the_truth_cost_nothing(self) -> None:
        g = G.double()
        for difference in ("absolute", "kl"):
            loss = RegionSizeLoss(difference=difference)
            assert float(loss(g.flip(-1), g)) == pytest.approx(0, abs=1e-15)

    def test_divergence_of_two_exclusive_classes_is_that_of_one(self) -> None:
        two = torch.cat([torch.zeros_like(Z), Z], 1)
        one = float(RegionSizeLoss(sigmoid=True, difference="kl")(Z, G))
        for background in (True, False):
            loss = RegionSizeLoss(softmax=True, difference="kl", include_background=background)
            assert float(loss(two, G)) == pytest.approx(one)

    def test_what_was_not_annotated_is_one_class(self) -> None:
        present = torch.tensor([[True, True, False]])
        found = RegionSizeLoss(softmax=True, difference="kl")(Z_MULTI, Y_MULTI, present=present)
        p, g = Z_MULTI.softmax(1).flatten(2).mean(2)[0], torch.tensor([0.5, 0.25, 0.25])
        assert float(found) == pytest.approx(float((g * (g / p).log()).sum()))

    def test_a_temperature_without_logits_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"expected logits .* for temperature=10,"):
            RegionSizeLoss(temperature=10)(P, G)
        with pytest.raises(ValueError, match="temperature: expected more than 0"):
            RegionSizeLoss(temperature=0)
