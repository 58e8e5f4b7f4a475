"""Region losses beyond Dice and Tversky: worked values, identities, corners and large volumes."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, multiprocessing
from worked_inputs import (
    Y_ABSENT,
    Y_MULTI,
    Z_MULTI,
    G,
    P,
    Z,
    block,
    f64,
    gradient,
    one_hot,
    random_case,
    value,
)

import medloss
from medloss.histograms.plain import soft_histogram
from medloss.sums import ClassSums, Term
from medloss_region.lovasz import lovasz_of_histogram, lovasz_weights

EXACT: dict[str, Any] = {"smooth_nr": 0, "smooth_dr": 0}
SOFTMAX: dict[str, Any] = {"softmax": True, **EXACT}
SOFT = f64([[[[0.8, 0.6, 0.1], [0, 0, 0.3]]]])
DISTANCES = ((0, 1, 1), (1, 0, 0.5), (1, 0.5, 0))
SHARED_BY_CLASSES = ("log_cosh_dice", "generalized_wasserstein_dice", "penalty_generalized_dice")
EACH_CLASS = (
    "jaccard",
    "sensitivity_specificity",
    "asymmetric_similarity",
    "noise_robust_dice",
    "jaccard_metric",
    "dice_semimetric",
    "mcc",
    "tvmf_dice",
    "lovasz_softmax",
    "lovasz_hinge",
)
close = torch.testing.assert_close


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("jaccard", EXACT, 0.587301587302),
        ("jaccard", {**EXACT, "squared_pred": True}, 0.398843930636),
        ("log_cosh_dice", EXACT, 0.084035647523),
        ("sensitivity_specificity", {}, 0.12621875),
        ("sensitivity_specificity", {"sensitivity_weight": 0.1}, 0.1293125),
        ("asymmetric_similarity", EXACT, 0.392086330935),
        ("noise_robust_dice", EXACT, 0.354102124456),
        ("noise_robust_dice", {**EXACT, "exponent": 1}, 0.534296028881),
        ("noise_robust_dice", {**EXACT, "exponent": 2}, 0.249097472924),
        ("mcc", EXACT, 0.652339151563),
        ("tvmf_dice", {"kappa": 0}, 0.057543877646),
        ("tvmf_dice", {"kappa": 2}, 0.656981264833),
        ("tvmf_dice", {"kappa": 32}, 3.229690913795),
        ("lovasz_softmax", {}, 0.455),
    ],
)
def test_binary_probabilities(name: str, options: dict[str, Any], expected: float) -> None:
    assert value(name, P, G, **options) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "target", "options", "expected"),
    [
        ("jaccard", Y_MULTI, SOFTMAX, 0.56621453112),
        ("log_cosh_dice", Y_MULTI, SOFTMAX, 0.077280028025),
        ("generalized_wasserstein_dice", Y_MULTI, SOFTMAX, 0.372287926617),
        (
            "generalized_wasserstein_dice",
            Y_MULTI,
            {**SOFTMAX, "distances": DISTANCES},
            0.296323492062,
        ),
        ("penalty_generalized_dice", Y_MULTI, SOFTMAX, 0.17024128635),
        ("lovasz_softmax", Y_MULTI, {"softmax": True}, 0.435611389166),
        ("lovasz_softmax", Y_MULTI, {"softmax": True, "classes": "all"}, 0.435611389166),
        ("lovasz_softmax", Y_ABSENT, {"softmax": True}, 0.545613695514),
        ("lovasz_softmax", Y_ABSENT, {"softmax": True, "classes": "all"}, 0.625608141872),
    ],
)
def test_three_classes(name: str, target: Tensor, options: dict[str, Any], expected: float) -> None:
    assert value(name, Z_MULTI, target, **options) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "variant", "expected"),
    [
        ("jaccard_metric", "jml1", 0.396226415094),
        ("jaccard_metric", "jml2", 0.472972972973),
        ("dice_semimetric", "dml1", 0.247058823529),
        ("dice_semimetric", "dml2", 0.309734513274),
    ],
)
def test_soft_labels(name: str, variant: str, expected: float) -> None:
    assert value(name, P, SOFT, variant=variant, **EXACT) == pytest.approx(expected, abs=1e-12)
    assert value(name, SOFT, SOFT, variant=variant, **EXACT) == pytest.approx(0, abs=1e-15)
    assert value(name, SOFT, SOFT, variant=variant) == pytest.approx(0, abs=1e-15)


def test_lovasz_hinge_is_formed_on_logits_and_for_each_class() -> None:
    assert value("lovasz_hinge", Z, G, sigmoid=True) == pytest.approx(0.94970191704, abs=1e-11)
    labels = one_hot(Y_MULTI, 3)
    assert value("lovasz_hinge", Z_MULTI, labels, sigmoid=True) == pytest.approx(0.9028, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        (
            "jaccard",
            EXACT,
            [-0.0285714286, -0.0761904762, 0.0275132275, 0.0209624591, 0.00622323003, 0.0314436886],
        ),
        ("lovasz_hinge", {}, [0, -0.5, 0.0833333333, 0, 0, 0.166666667]),
        (
            "noise_robust_dice",
            {**EXACT, "exponent": 2},
            [-0.0168530803, -0.0969896649, 0.0273252616, 0.013879498, 0.00103011899, 0.0624577409],
        ),
    ],
)
def test_gradients_on_logits(name: str, options: dict[str, Any], expected: list[float]) -> None:
    got = gradient(name, Z, G, sigmoid=True, **options)
    close(got.flatten(), f64(expected), rtol=1e-8, atol=1e-9)


def _corner(target: str, logit: float) -> tuple[Tensor, Tensor]:
    g = {"empty": [0] * 6, "object": [1, 1, 0, 0, 0, 0], "full": [1] * 6}[target]
    sign = 2 * f64(g) - 1 if target == "object" else torch.ones(6, dtype=torch.float64)
    return (logit * sign).view(1, 1, 2, 3), torch.tensor(g).view(1, 1, 2, 3)


CORNERS = (
    ("empty", math.log(1 / 9)),
    ("empty", math.log(1e-4 / (1 - 1e-4))),
    ("empty", -40.0),
    ("object", 12.0),
    ("object", 40.0),
    ("object", -12.0),
    ("full", math.log(1 / 9)),
)


@pytest.mark.parametrize(
    ("name", "options", "row"),
    [
        (
            "jaccard",
            {"smooth_nr": 2e-5, "smooth_dr": 2e-5},
            "1/2.5e-6 0.9836/0.0027 2.549e-12/4.2e-13 1.843e-5/3.1e-6 0/0 1/1e-6 0.9/0.015",
        ),
        (
            "log_cosh_dice",
            {},
            "0.4338/1.9e-6 0.4214/0.002 0/0 4.247e-11/1.4e-11 0/0 0.4338/1.6e-6 0.3029/0.017",
        ),
        (
            "sensitivity_specificity",
            {},
            "0.0095/0.0028 9.498e-9/3.2e-9 0/0 3.775e-11/1.8e-11 0/0 1/2.9e-6 0.0405/0.0013",
        ),
        (
            "noise_robust_dice",
            {},
            "3.162/0.24 0.5963/0.15 0/0 2.284e-8/5.7e-9 0/0 1/1.5e-6 0.8454/0.024",
        ),
        ("tvmf_dice", {}, "3.88/0 3.88/0 3.88/0 0/0 0/0 3.88/5.1e-7 0/0"),
        ("jaccard_metric", EXACT, "1/0 1/0 1/0 1.843e-5/3.1e-6 0/0 1/1e-6 0.9/0.015"),
        ("dice_semimetric", EXACT, "1/0 1/0 1/0 9.216e-6/1.5e-6 0/0 1/2e-6 0.8182/0.025"),
        ("mcc", {}, "1/0 1/0 1/0 1.39e-5/2.3e-6 7.812e-8/0 2/2.3e-6 1/0"),
        ("lovasz_hinge", {}, "0/0 0/0 0/0 0/0 0/0 13/0.5 3.197/0.17"),
        (
            "lovasz_softmax",
            {},
            "0.1/0.09 9.999e-5/1e-4 0/0 6.144e-6/2e-6 0/0 1/3.1e-6 0.9/0.015",
        ),
    ],
)
def test_corners(name: str, options: dict[str, Any], row: str) -> None:
    """Value / largest gradient, in the digits of a measured table."""
    for corner, cell in zip(CORNERS, row.split(), strict=True):
        expected, steepest = (float(number) for number in cell.split("/"))
        z, g = _corner(*corner)
        assert value(name, z, g, sigmoid=True, **options) == pytest.approx(
            expected, rel=6e-4, abs=1e-12
        ), corner
        largest = float(gradient(name, z, g, sigmoid=True, **options).abs().max())
        assert largest == pytest.approx(steepest, rel=0.06, abs=1e-12), corner


@pytest.mark.parametrize(
    ("name", "options", "row"),
    [
        (
            "generalized_wasserstein_dice",
            {},
            "1/1.4e-7 1/1.8e-9 8.534e-6/3.4e-7 1/4.9e-7 0/0",
        ),
        ("lovasz_softmax", {}, "0.1/0.0036 0.9/0.0036 6.144e-6/4.3e-7 1/5e-7 0/0"),
        (
            "lovasz_softmax",
            {"classes": "all"},
            "0.1/0.047 0.9/0.047 6.144e-6/4.3e-7 1/5e-7 0/0",
        ),
    ],
)
def test_corners_of_two_classes(name: str, options: dict[str, Any], row: str) -> None:
    _, g = block(2)
    sign, nine = 2 * g - 1, math.log(9)
    empty, ones = torch.zeros_like(g), torch.ones_like(g)
    cases = ((-nine * ones, empty), (nine * ones, empty), (12 * sign, g), (-12 * sign, g))
    for (logit, y), cell in zip((*cases, (40 * sign, g)), row.split(), strict=True):
        expected, steepest = (float(number) for number in cell.split("/"))
        z = torch.cat([-logit / 2, logit / 2], 1)
        assert value(name, z, y, softmax=True, **options) == pytest.approx(
            expected, rel=6e-4, abs=1e-12
        )
        largest = float(gradient(name, z, y, softmax=True, **options).abs().max())
        assert largest == pytest.approx(steepest, rel=0.06, abs=1e-12)


@given(st.integers(0, 10**6), st.floats(0, 3))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_identities(seed: int, beta: float) -> None:
    z, y = random_case(seed)
    each = {"softmax": True, "reduction": "none"}

    def of(name: str, **options: Any) -> Tensor:
        result: Tensor = medloss.loss(name, **{**each, **options})(z, y)
        return result

    dice = of("dice", **EXACT)
    close(of("jaccard", **EXACT), 2 * dice / (1 + dice))
    close(of("jaccard"), of("dice", jaccard=True))
    close(of("jaccard", **EXACT), of("tversky", fp_weight=1, fn_weight=1, **EXACT))
    share = 1 / (1 + beta**2)
    close(
        of("asymmetric_similarity", beta=beta), of("tversky", fp_weight=share, fn_weight=1 - share)
    )
    close(of("asymmetric_similarity", beta=1), of("tversky"))
    close(of("noise_robust_dice", exponent=2), of("dice", squared_pred=True))
    for variant in ("jml1", "jml2"):
        close(of("jaccard_metric", variant=variant), of("jaccard"))
    for variant in ("dml1", "dml2"):
        close(of("dice_semimetric", variant=variant), of("dice"))
    close(of("penalty_generalized_dice", k=0), of("generalized_dice"))
    close(of("log_cosh_dice"), of("dice").mean(1, keepdim=True).cosh().log())
    pair = z[:, :2], y.clamp_max(1)
    wasserstein = medloss.loss("generalized_wasserstein_dice", **each)(*pair)
    close(wasserstein, medloss.loss("dice", include_background=False, **each)(*pair))


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_soft_labels_are_best_met_exactly(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    g, other = torch.rand(2, 1, 2, 3, 4, generator=generator, dtype=torch.float64)
    soft: tuple[tuple[str, dict[str, Any]], ...] = (
        ("jaccard", {"soft_label": True}),
        ("jaccard", {"squared_pred": True}),
        ("log_cosh_dice", {"soft_label": True}),
        ("asymmetric_similarity", {"soft_label": True}),
        ("jaccard_metric", {"variant": "jml1"}),
        ("jaccard_metric", {"variant": "jml2"}),
        ("dice_semimetric", {"variant": "dml1"}),
        ("dice_semimetric", {"variant": "dml2"}),
        ("noise_robust_dice", {}),
        ("lovasz_softmax", {}),
    )
    for name, options in soft:
        assert value(name, g, g, **options) == pytest.approx(0, abs=1e-12)
        assert 0 <= value(name, other, g, **options) <= (4 if name == "noise_robust_dice" else 1)
    assert value("jaccard", g, g) > 0.05  # the plain form is not


@given(st.integers(0, 10**6), st.sampled_from(["sort", "histogram"]))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_lovasz_of_hard_predictions_is_the_jaccard_error(seed: int, method: str) -> None:
    _, y = random_case(seed, classes=4)
    _, predicted = random_case(seed + 1, classes=3)
    p, g = one_hot(predicted, 4).bool(), one_hot(y, 4).bool()
    union = (p | g).sum((2, 3, 4))
    expected = 1 - (p & g).sum((2, 3, 4)) / union.clamp_min(1).double()
    loss = medloss.loss("lovasz_softmax", classes="all", method=method, reduction="none")
    close(loss(p.double(), y), torch.where(union > 0, expected, 0), rtol=0, atol=1e-12)


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_the_order_of_voxels_is_no_matter(seed: int) -> None:
    z, y = random_case(seed)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    shuffled = z.flatten(2)[..., order].view_as(z), y.flatten(2)[..., order].view_as(y)
    for name in (*EACH_CLASS, *SHARED_BY_CLASSES):
        loss = medloss.loss(name, softmax=True)
        close(loss(*shuffled), loss(z, y))


@pytest.mark.parametrize("name", EACH_CLASS)
def test_two_softmax_channels_equal_one_sigmoid_channel(name: str) -> None:
    z, y = random_case(0, classes=2)
    two = medloss.loss(name, softmax=True, include_background=False)
    one = medloss.loss(name, sigmoid=True)
    close(two(z, y), one(z[:, 1:] - z[:, :1], y))


@pytest.mark.parametrize("name", EACH_CLASS)
def test_weights_multiply_each_class(name: str) -> None:
    z, y = random_case(0)
    options = {"softmax": True, "reduction": "none"}
    plain = medloss.loss(name, **options)(z, y)
    weighted = medloss.loss(name, weight=(0.5, 1, 2), **options)(z, y)
    close(weighted, plain * f64([0.5, 1, 2]))
    with pytest.raises(ValueError, match="weight: expected None where a single class counts"):
        medloss.loss(name, sigmoid=True, weight=[2.0])(z[:, :1], y.clamp_max(1))
    with pytest.raises(ValueError, match="weight: expected 3 values"):
        medloss.loss(name, weight=(1, 2), **options)(z, y)


@pytest.mark.parametrize("name", SHARED_BY_CLASSES)
def test_all_classes_together_have_one_value_and_no_weight(name: str) -> None:
    z, y = random_case(0)
    assert medloss.loss(name, softmax=True, reduction="none")(z, y).shape == (2, 1)
    with pytest.raises(ValueError, match="weight: expected None"):
        medloss.loss(name, weight=(1, 2, 3))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in (*EACH_CLASS, *SHARED_BY_CLASSES)),
        ("lovasz_softmax", {"method": "histogram"}),
    ],
)
def test_a_pooled_batch_is_one_image(name: str, options: dict[str, Any]) -> None:
    z, y = random_case(0)
    loss = medloss.loss(name, softmax=True, batch=True, reduction="none", **options)
    joined = torch.cat([z[:1], z[1:]], 2), torch.cat([y[:1], y[1:]], 2)
    close(loss(z, y), loss(*joined))
    present = torch.tensor([[True, True, False], [True, True, True]])
    y = y.clamp_max(1)
    absent = z.clone()
    absent[0, 2] += 3
    pooled = medloss.loss(name, sigmoid=True, batch=True, **options)
    close(pooled(absent, one_hot(y, 3), present=present), pooled(z, one_hot(y, 3), present=present))


@pytest.mark.parametrize("name", ["jaccard", "log_cosh_dice", "mcc", "tvmf_dice"])
def test_gradcheck_of_second_order(name: str) -> None:
    z, y = random_case(0, scale=1.0)
    z, y = z[:1, :, :2, :2, :2].requires_grad_(), y[:1, :, :2, :2, :2]
    loss = medloss.loss(name, softmax=True)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, y), (z,))


def test_mcc_is_that_of_the_counts_and_counts_no_class_twice() -> None:
    z, y = random_case(1, classes=2)
    hard = z.argmax(1, keepdim=True)
    tp, tn = ((hard == c) & (y == c) for c in (1, 0))
    fp, fn = ((hard == c) & (y != c) for c in (1, 0))
    a, b, c, d = (int(each[0].sum()) for each in (tp, tn, fp, fn))
    by_hand = (a * b - c * d) / math.sqrt((a + c) * (a + d) * (b + c) * (b + d))
    each = medloss.loss("mcc", reduction="none", **EXACT)
    got = each(one_hot(hard, 2), y)
    assert float(got[0, 1]) == pytest.approx(1 - by_hand, abs=1e-12)
    close(got[:, 0], got[:, 1])
    close(each(one_hot(1 - hard, 2), y), 2 - got)


def test_mcc_of_volumes_whose_products_overflow_float32() -> None:
    million = 2**20
    tp, p, t, v = (n * million for n in (30_000, 50_000, 40_000, 900_000))
    terms = tuple(Term(name) for name in ("tp", "p", "t", "v"))
    sums = ClassSums(torch.tensor([tp, p, t, v], dtype=torch.float32).view(1, 4, 1), terms)
    loss = medloss.loss("mcc")
    expected = 1 - (v * tp - p * t) / math.sqrt(p * t * (v - p) * (v - t))
    assert float(loss.per_class(sums)) == pytest.approx(expected, rel=1e-6)
    assert loss.per_class(sums).dtype == torch.float32


def test_mcc_of_a_full_target_stays_chance_whatever_the_rounding_of_the_sums() -> None:
    terms = tuple(Term(name) for name in ("tp", "p", "t", "v"))
    sums = ClassSums(torch.tensor([1000.001, 1000, 4096, 4096]).view(1, 4, 1), terms)
    assert float(medloss.loss("mcc").per_class(sums)) == 1


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_mcc_of_an_empty_or_full_target_is_chance(target: float) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1, 1, 9, 9, 9, generator=generator)
    y = torch.full_like(z, target)
    assert value("mcc", z, y, sigmoid=True) == 1
    assert float(gradient("mcc", z, y, sigmoid=True).abs().max()) == 0


def _wasserstein_by_hand(p: Tensor, g: Tensor, distances: Any) -> float:
    """Voxel by voxel, class by class."""
    overlap = wrong = 0.0
    classes = range(p.shape[1])
    for index in itertools.product(*(range(n) for n in p.shape[2:])):
        for true in classes:
            share = float(g[(0, true, *index)])
            moved = sum(distances[true][c] * float(p[(0, c, *index)]) for c in classes)
            wrong += share * moved
            overlap += share * (distances[true][0] - moved) if true else 0
    return 1 - 2 * overlap / (2 * overlap + wrong)


@pytest.mark.parametrize(
    "distances",
    [DISTANCES, ((0, 2, 3), (2, 0, 3), (5, 9, 0)), ((0, 0.8, 0.6), (0.8, 0, 0.5), (0.6, 0.5, 0))],
)
def test_wasserstein_dice_of_any_distances(distances: Any) -> None:
    z, y = random_case(3)
    p, g = z[:1].softmax(1), one_hot(y[:1], 3)
    soft = 0.9 * g + 0.1 / 3
    options = {"distances": distances, **EXACT}
    name = "generalized_wasserstein_dice"
    assert value(name, p, y[:1], **options) == pytest.approx(_wasserstein_by_hand(p, g, distances))
    for target in (g, soft):
        by_hand = _wasserstein_by_hand(p, target, distances)
        assert value(name, p, target, **options) == pytest.approx(by_hand)
    tensor = medloss.loss(name, distances=torch.tensor(distances), **EXACT)
    assert float(tensor(p, y[:1])) == pytest.approx(value(name, p, y[:1], **options))


def test_wasserstein_dice_knows_no_other_background() -> None:
    name, options = "generalized_wasserstein_dice", {"softmax": True, "distances": DISTANCES}
    without = value(name, Z_MULTI, Y_MULTI, include_background=False, **options)
    assert without == value(name, Z_MULTI, Y_MULTI, **options)
    with pytest.raises(ValueError, match="input: expected 2 or more classes"):
        medloss.loss(name)(P, G)
    with pytest.raises(ValueError, match="distances: expected a row and a column for each of 2"):
        medloss.loss(name, **options)(Z_MULTI[:, :2], Y_MULTI.clamp_max(1))


def test_wasserstein_maps_are_never_larger_than_the_logits() -> None:
    z, y = random_case(0, classes=7)
    loss = medloss.loss("generalized_wasserstein_dice", softmax=True)
    maps = loss.maps(loss.prepare(z, y, medloss.base.targets.Extras()))
    assert [tuple(each.shape) for each in maps.values()] == [tuple(z.shape)] * 2


@given(st.integers(0, 10**6), st.sampled_from([0.3, 3.0, 30.0]), st.sampled_from([2, 4, 64, 1024]))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_histogram_is_off_by_at_most_its_widest_cell(seed: int, scale: float, bins: int) -> None:
    z, y = random_case(seed, scale=scale)
    options = {"softmax": True, "reduction": "none", "classes": "all"}
    exact = medloss.loss("lovasz_softmax", **options)(z, y)
    counted = medloss.loss("lovasz_softmax", method="histogram", bins=bins, **options)(z, y)
    assert float((counted - exact).abs().max()) <= 2 / bins - 2 / bins**2 + 1e-12


def test_histogram_of_many_voxels_is_near_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.zeros(1, 1, 40, 40, 40, dtype=torch.long)
    y[..., 5:15, 5:15, 5:15] = 1
    y[..., 30:34, 30:34, 30:34] = 2
    z = 2 * torch.randn(1, 3, 40, 40, 40, generator=generator, dtype=torch.float64)
    z.scatter_add_(1, y, torch.full_like(y, 4, dtype=torch.float64))
    by = [{"softmax": True, "method": method} for method in ("sort", "histogram")]
    exact, counted = (value("lovasz_softmax", z, y, **options) for options in by)
    assert counted == pytest.approx(exact, abs=1e-5)
    exact_slope, slope = (gradient("lovasz_softmax", z, y, **options) for options in by)
    assert float((slope - exact_slope).norm() / exact_slope.norm()) < 0.05
    single = value("lovasz_softmax", z.float(), y, **by[1])
    assert single == pytest.approx(counted, abs=1e-6)


def test_gradcheck_of_the_histogram() -> None:
    z, y = random_case(0, scale=1.0)
    z, y = z[:, :, :2, :2, :2].requires_grad_(), y[..., :2, :2, :2]
    for options in ({}, {"batch": True}):
        loss = medloss.loss(
            "lovasz_softmax", softmax=True, method="histogram", classes="all", bins=16, **options
        )
        assert torch.autograd.gradcheck(lambda x, loss=loss: loss(x, y), (z,))
        assert torch.autograd.gradgradcheck(lambda x, loss=loss: loss(x, y), (z,))


@pytest.mark.parametrize("method", ["sort", "histogram"])
def test_lovasz_leaves_out_masked_voxels_and_classes(method: str) -> None:
    z, y = random_case(0)
    loss = medloss.loss("lovasz_softmax", softmax=True, method=method)
    mask = torch.ones(2, 1, 4, 5, 3)
    mask[:, :, 2:] = 0
    spoilt = z.clone()
    spoilt[:, :, 2:] = torch.nan
    close(loss(spoilt, y, mask=mask), loss(z[:, :, :2], y[:, :, :2]))
    close(loss(z, y, mask=mask * 0.5), loss(z, y, mask=mask))
    assert loss(z, y, mask=mask * 0) == 0
    twice = torch.cat([z, z[:, :, :1]], 2), torch.cat([y, y[:, :, :1]], 2)
    once = torch.ones(2, 1, 5, 5, 3)
    once[:, :, [0, 4]] = 0.5  # two halves make a whole
    close(loss(*twice, mask=once), loss(z, y))


@pytest.mark.parametrize("method", ["sort", "histogram"])
def test_lovasz_in_half_precision(method: str) -> None:
    z, y = random_case(0)
    z = z.bfloat16()
    loss = medloss.loss("lovasz_softmax", softmax=True, method=method)
    assert loss(z, y).dtype == torch.float32
    close(loss(z, y).double(), loss(z.double(), y), rtol=1e-5, atol=1e-6)
    assert gradient("lovasz_softmax", z, y, softmax=True, method=method).dtype == torch.bfloat16


def test_where_no_class_is_present_all_of_them_count() -> None:
    z, _ = random_case(0)
    y = torch.zeros(2, 1, 4, 5, 3, dtype=torch.long)
    y[1, :, 0] = 1
    options = {"softmax": True, "include_background": False}
    each = medloss.loss("lovasz_softmax", reduction="none", **options)(z, y)
    p = z.softmax(1)[:, 1:].flatten(2).amax(2)
    close(each[0], p[0])  # the largest false positive of each class
    assert float(each[1, 1]) == 0  # left out beside a class that is present
    slope = gradient("lovasz_softmax", z[:1], y[:1], **options)
    assert float(slope.abs().max()) > 1e-3
    mean = medloss.loss("lovasz_softmax", **options)(z, y)
    close(mean, each.sum() / 3)


def test_sorted_sums_stay_exact_beyond_what_float32_counts() -> None:
    """One voxel that weighs 2²⁴ stands for as many: float32 would add nothing to it."""
    many = 4096
    errors = torch.linspace(1, 0, 1 + many)
    heavy = torch.cat([torch.tensor([2.0**24]), torch.ones(many)])
    steps = lovasz_weights(errors, heavy, torch.zeros_like(heavy))
    close(steps[1:], torch.full((many,), 1 / (2**24 + many)), rtol=1e-5, atol=0)
    last = torch.cat([torch.zeros(many), torch.tensor([2.0**24])])
    steps = lovasz_weights(errors, last, torch.cat([heavy[:-1], torch.zeros(1)]))
    wrong = 2**24 + torch.arange(many, dtype=torch.float64)  # false positives come first
    close(steps[1:-1], (wrong / (2**24 + wrong)).diff().float(), rtol=1e-5, atol=0)
    histogram = soft_histogram(torch.full_like(errors, 0.5), heavy, torch.zeros_like(heavy), 1024)
    assert float(histogram.sum()) == 2**24 + many
    assert float(lovasz_of_histogram(histogram)) == pytest.approx(0.5, abs=1e-3)


def test_equal_errors_keep_their_order() -> None:
    ones = torch.ones(4)
    steps = lovasz_weights(0.5 * ones, torch.tensor([0.0, 1, 0, 1]), torch.tensor([1.0, 0, 1, 0]))
    close(steps, torch.tensor([1 / 3, 1 / 3, 1 / 12, 1 / 4]))


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_lovasz_hinge_is_zero_once_every_margin_is_one(seed: int) -> None:
    z, y = random_case(seed)
    g = one_hot(y, 3)
    certain = (2 * g - 1) * (1 + z.abs())
    assert value("lovasz_hinge", certain, g, sigmoid=True) == 0
    assert float(gradient("lovasz_hinge", certain, g, sigmoid=True).abs().max()) == 0
    winner = z.scatter(1, y, z.amax(1, keepdim=True) + 1 + 1e-9)
    assert value("lovasz_hinge", winner, y, softmax=True) == 0
    assert value("lovasz_hinge", winner.scatter_add(1, y, -0.1 * g), y, softmax=True) > 0
    shifted = z + torch.linspace(-9, 9, 60, dtype=torch.float64).view(1, 1, 4, 5, 3)
    close(
        value("lovasz_hinge", shifted, y, softmax=True), value("lovasz_hinge", z, y, softmax=True)
    )


def test_lovasz_hinge_wants_logits() -> None:
    for options in ({}, {"other_act": torch.sigmoid}):
        with pytest.raises(ValueError, match=r"input: expected logits, with sigmoid=True"):
            medloss.loss("lovasz_hinge", **options)(P, G)


def test_tvmf_dice_is_blind_to_scale_as_its_card_says() -> None:
    g = G.double()
    assert value("tvmf_dice", 0.001 * g, G) == pytest.approx(0, abs=1e-12)
    assert value("dice", 0.001 * g, G) > 0.99
    assert value("tvmf_dice", torch.full_like(P, 0.1), torch.ones_like(G)) == pytest.approx(0)


def test_noise_robust_dice_of_an_empty_target_peaks_where_its_card_says() -> None:
    voxels, smooth = 10_000, 1e-5
    p = torch.full((1, 1, 100, 100), math.sqrt(3 * smooth / voxels), dtype=torch.float64)
    peak = value("noise_robust_dice", p, torch.zeros_like(p))
    assert peak == pytest.approx(0.57 * (voxels / smooth) ** 0.25, rel=1e-2)
    for factor in (0.8, 1.25):
        assert value("noise_robust_dice", factor * p, torch.zeros_like(p)) < peak


def test_each_half_of_sensitivity_specificity_ends_with_its_class() -> None:
    name = "sensitivity_specificity"
    square = float(P.square().mean())
    missed = float((1 - P).square().mean())
    assert value(name, P, torch.zeros_like(G)) == pytest.approx(0.95 * square, abs=1e-12)
    assert value(name, P, torch.ones_like(G)) == pytest.approx(0.05 * missed, abs=1e-12)


def test_log_cosh_is_exact_near_zero() -> None:
    tiny = torch.tensor([[[[1.0, 1e-6]]]])
    g = torch.tensor([[[[1, 0]]]])
    dice = value("dice", tiny.double(), g, **EXACT)
    got = value("log_cosh_dice", tiny.double(), g, **EXACT)
    assert got == pytest.approx(dice**2 / 2, rel=1e-5, abs=0)
    assert value("log_cosh_dice", tiny, g, **EXACT) >= 0


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("sensitivity_specificity", {"sensitivity_weight": 1.5}, "sensitivity_weight: expected"),
        ("asymmetric_similarity", {"beta": -1}, "beta: expected at least 0"),
        ("noise_robust_dice", {"exponent": 0.5}, r"exponent: expected a number in \[1, 2\]"),
        ("jaccard_metric", {"variant": "dml1"}, "variant: expected one of"),
        ("dice_semimetric", {"variant": "jml1"}, "variant: expected one of"),
        ("penalty_generalized_dice", {"k": -1}, "k: expected at least 0"),
        ("tvmf_dice", {"kappa": -1}, "kappa: expected at least 0"),
        ("lovasz_softmax", {"classes": "some"}, "classes: expected one of"),
        ("lovasz_softmax", {"method": "guess"}, "method: expected one of"),
        ("lovasz_softmax", {"bins": 0}, "bins: expected an even number"),
        ("lovasz_softmax", {"bins": 2.5}, "bins: expected an even number"),
        ("lovasz_softmax", {"batch": "world"}, "batch: .*method='histogram' allows"),
        ("lovasz_hinge", {"batch": "world"}, "batch: expected False or True"),
        ("generalized_wasserstein_dice", {"distances": [[0, 1]]}, "distances: .*square"),
        ("generalized_wasserstein_dice", {"distances": [[0, -1], [1, 0]]}, "distances: .*square"),
        ("generalized_wasserstein_dice", {"distances": [[1, 1], [1, 0]]}, "distances: .*diagonal"),
        (
            "generalized_wasserstein_dice",
            {"distances": [[0, 1, 1], [1, 0, 2], [1, 1, 0]]},
            "distances: .*twice as far",
        ),
        ("generalized_wasserstein_dice", {"distances": [[0, 1], [0, 0]]}, "distances: .*twice"),
    ],
)
def test_options_that_cannot_be_meant(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        medloss.loss(name, **options)


POOLED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lovasz_softmax", {"method": "histogram"}),
    ("generalized_wasserstein_dice", {"distances": DISTANCES}),
    ("log_cosh_dice", {}),
    ("mcc", {}),
)


def _rank(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    found = []
    for name, options in POOLED:
        z, y = random_case(0)
        mine = z[rank : rank + 1].clone().requires_grad_()
        loss = medloss.loss(name, softmax=True, batch="world", **options)
        here = loss(mine, y[rank : rank + 1])
        here.backward()
        found.append((here.detach(), mine.grad))
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_ranks_equal_one_with_the_joined_batch(tmp_path: Path) -> None:
    multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    z, y = random_case(0)
    for (name, options), *found in zip(POOLED, *ranks, strict=True):
        options = {"softmax": True, "batch": True, **options}
        slope = gradient(name, z, y, **options)
        for rank, (there, mine) in enumerate(found):
            assert float(there) == pytest.approx(value(name, z, y, **options), abs=1e-12)
            close(mine / 2, slope[rank : rank + 1])
