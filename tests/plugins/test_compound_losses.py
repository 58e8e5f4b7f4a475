"""Compound losses: worked values, identities, corners and refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from worked_inputs import (
    Y_MULTI,
    Z_MULTI,
    G,
    P,
    Z,
    block,
    f64,
    gradient,
    one_hot,
    pair,
    random_case,
    value,
)

import medloss

EXACT: dict[str, Any] = {"smooth_nr": 0, "smooth_dr": 0}
SMOOTH_1: dict[str, Any] = {"smooth_nr": 1, "smooth_dr": 1}
TINY: dict[str, Any] = {"smooth_nr": 1e-8, "smooth_dr": 1e-8}
NAMES = [
    "bce_dice",
    "dice_topk",
    "combo",
    "exponential_logarithmic",
    "unified_focal",
    "structural_similarity",
]
every_loss = pytest.mark.parametrize("name", NAMES)
derandomized = settings(max_examples=15, deadline=None, derandomize=True)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("bce_dice", SMOOTH_1, 0.767625169459),
        ("combo", {**EXACT, "non_negative": False}, -0.185090924417),
        ("combo", {**SMOOTH_1, "non_negative": False}, -0.223231322314),
        ("combo", {**EXACT, "beta": 0.7, "non_negative": False}, -0.19385344565),
        ("combo", EXACT, 0.5 - 0.185090924417),
        ("unified_focal", EXACT, 0.355848288241),
        ("unified_focal", {**EXACT, "asymmetric": True}, 0.307280991912),
        ("unified_focal", {**EXACT, "gamma": 0.2}, 0.292437798818),
        ("unified_focal", {**EXACT, "gamma": 0.2, "asymmetric": True}, 0.278809197865),
    ],
)
def test_binary(name: str, options: dict[str, Any], expected: float) -> None:
    assert value(name, P, G, **options) == pytest.approx(expected, abs=1e-12)
    assert value(name, Z, G, sigmoid=True, **options) == pytest.approx(expected, abs=1e-12)
    if name == "unified_focal":
        got = value(name, pair(Z), G, softmax=True, **options)
        assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("dice_topk", {**EXACT, "k": 0.5}, 1.290424090343),
        ("exponential_logarithmic", {}, 0.84350876216),
        ("exponential_logarithmic", TINY, 0.920584503961),
    ],
)
def test_three_classes(name: str, options: dict[str, Any], expected: float) -> None:
    got = value(name, Z_MULTI, Y_MULTI, softmax=True, **options)
    assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "case", "options", "expected"),
    [
        ("bce_dice", (P, G), SMOOTH_1, {"binary_cross_entropy": 0.428175628174}),
        (
            "exponential_logarithmic",
            (Z_MULTI, Y_MULTI),
            {"softmax": True},
            {"logarithmic_dice": 0.718447410234, "power_cross_entropy": 1.343754169863},
        ),
        ("unified_focal", (P, G), EXACT, {"tversky": 0.569630741492, "focal": 0.14206583499}),
        (
            "unified_focal",
            (P, G),
            {**EXACT, "asymmetric": True},
            {"tversky": 0.444638391027, "focal": 0.169923592797},
        ),
    ],
)
def test_terms(
    name: str, case: tuple[Tensor, Tensor], options: dict[str, Any], expected: dict[str, float]
) -> None:
    loss = medloss.loss(name, **options)
    loss(*case)
    for term, of_term in expected.items():
        assert loss.breakdown()[term].value == pytest.approx(of_term, abs=1e-12)


def test_structural_similarity() -> None:
    """The catalogue has ...038529, from rounded variances of constant windows."""
    p, g = block(2)
    name, only = "structural_similarity", {"lambda_ce": 0, "lambda_structure": 1}
    got = value(name, p, g, border="reflect", **only)
    assert got == pytest.approx(0.326077068757, abs=1e-12)
    assert got == pytest.approx(0.326077038529, abs=1e-7)
    mixed = value(name, p, g, border="reflect")
    assert mixed == pytest.approx((got + value("cross_entropy", p, g)) / 2)
    none = medloss.loss(name, reduction="none", border="reflect", **only)(p, g)
    assert none.shape[:2] == (1, 1)
    assert value(name, p, g, **only) != pytest.approx(got)


def test_structural_error_by_hand() -> None:
    """One row, window 3: every moment written out."""
    p, g = f64([[[[0.1, 0.6, 0.8, 0.3]]]]), f64([[[[0, 0, 1, 1]]]])
    side = math.exp(-1 / 4.5)

    def standardised(x: list[float], i: int) -> float:
        seen = [(j, 1.0 if j == i else side) for j in (i - 1, i, i + 1) if 0 <= j < 4]
        total = sum(w for _, w in seen)
        mean = sum(w * x[j] for j, w in seen) / total
        deviation = math.sqrt(sum(w * (x[j] - mean) ** 2 for j, w in seen) / total)
        return (x[i] - mean + 0.01) / (deviation + 0.01)

    rows = g.flatten().tolist(), p.flatten().tolist()
    error = [abs(standardised(rows[0], i) - standardised(rows[1], i)) for i in range(4)]
    kept = [e > 0.6 * max(error) for e in error]
    assert 0 < sum(kept) < 4
    ce = [-math.log(b if a else 1 - b) for a, b in zip(*rows, strict=True)]
    expected = sum(e * c for e, c, k in zip(error, ce, kept, strict=True) if k) / sum(kept)
    options = {"lambda_ce": 0, "lambda_structure": 1, "beta": 0.6}
    assert value("structural_similarity", p, g, **options) == pytest.approx(expected, abs=1e-12)


def test_structure_of_exclusive_classes_is_that_of_the_true_one() -> None:
    z, y = random_case(0)
    z, y = z[:1], y[:1]
    only = {"lambda_ce": 0, "lambda_structure": 1, "softmax": True, "beta": 0.5}
    loss = medloss.loss("structural_similarity", **only)
    g = one_hot(y, 3)
    error = loss.losses["structure"].error(g, z.softmax(1), None)
    kept = g * (error > 0.5 * error.amax((2, 3, 4), keepdim=True))
    expected = (error * kept * -z.log_softmax(1)).sum() / kept.sum()
    assert 0 < kept.sum() < g.sum()
    torch.testing.assert_close(loss(z, y), expected)


@pytest.mark.parametrize("border", ["valid", "reflect"])
def test_structural_windows_may_be_larger_than_the_image(border: str) -> None:
    p, g = block(3)
    options = {"window": 9, "border": border}
    assert math.isfinite(value("structural_similarity", p[..., :2], g[..., :2], **options))


def test_structure_is_of_each_image_or_of_the_batch() -> None:
    p, g = block(2)
    p, g = torch.cat([p, g.flip(2) * 0.6 + 0.1]), torch.cat([g, g])
    only = {"lambda_ce": 0, "lambda_structure": 1}
    each = medloss.loss("structural_similarity", reduction="none", **only)(p, g)
    apart = value("structural_similarity", p, g, **only)
    pooled = value("structural_similarity", p, g, batch=True, **only)
    assert apart == pytest.approx(float(each.mean()))
    assert float(each.min()) < pooled < float(each.max())
    assert pooled != pytest.approx(apart)


def test_structure_is_blind_to_a_constant_prediction_but_the_loss_is_not() -> None:
    empty = torch.zeros(1, 1, 5, 5)
    p = torch.full((1, 1, 5, 5), 0.9)
    assert value("structural_similarity", p, empty, lambda_ce=0) < 1e-12
    assert value("structural_similarity", p, empty) == pytest.approx(-math.log(0.1) / 2)


CERTAIN, SURE = 12.0, math.log(9)


@pytest.mark.parametrize(
    ("name", "options", "unlikely", "likely", "perfect", "wrong"),
    [
        # an absent class has no frequency here; counted as one voxel, 0.6974 and 1.284
        ("exponential_logarithmic", {}, 0.69543, 1.27851, 0.02957, 1.73),
        ("unified_focal", {"smooth_nr": 1e-7, "smooth_dr": 1e-7}, 0.3192, 0.9165, 0.001272, 3.332),
        (
            "unified_focal",
            {"smooth_nr": 1e-7, "smooth_dr": 1e-7, "asymmetric": True},
            0.2723,
            0.8978,
            0.0007115,
            3.332,
        ),
    ],
)
def test_corners(
    name: str, options: Any, unlikely: float, likely: float, perfect: float, wrong: float
) -> None:
    _, g = block(2)
    y, empty = g.long(), torch.zeros(1, 1, 5, 5, dtype=torch.long)
    cases = [
        (torch.full_like(g, -SURE), empty),
        (torch.full_like(g, SURE), empty),
        (CERTAIN * (2 * g - 1), y),
        (CERTAIN * (1 - 2 * g), y),
    ]
    got = [value(name, pair(z), target, softmax=True, **options) for z, target in cases]
    assert got == pytest.approx([unlikely, likely, perfect, wrong], rel=1e-3)


@every_loss
@pytest.mark.parametrize("fill", [0, 1, None])
@pytest.mark.parametrize("scale", [1.0, 40.0, 1e4])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_corners_are_finite_and_wrong_ones_teach(
    name: str, fill: int | None, scale: float, activation: str
) -> None:
    _, g = block(2)
    g = g if fill is None else torch.full_like(g, fill)
    for sign in (1, -1):
        z = (sign * scale * (2 * g - 1)).float()
        z = pair(z) if activation == "softmax" else z
        slope = gradient(name, z, g.long(), **{activation: True})
        assert slope.isfinite().all()
        # one against the rest under softmax: log(1 − p) has lost its slope at p = 1
        far = scale > 1 and (name, activation) == ("bce_dice", "softmax")
        # the slope of a power of −log p falls with its value
        least = 1e-6 if name == "exponential_logarithmic" else 1e-4
        assert sign > 0 or far or slope.abs().max() > least


def test_a_perfect_prediction_costs_nothing() -> None:
    y = torch.zeros(1, 1, 5, 5, dtype=torch.long)
    y[..., 1:3, 1:3] = 1
    z = 200 * (one_hot(y, 2) - 0.5)
    for name in NAMES:
        assert value(name, z, y, softmax=True) == pytest.approx(0, abs=1e-12), name
    assert value("combo", z, y, softmax=True, non_negative=False) == pytest.approx(-0.5)


def test_both_forms_of_combo_pull_alike() -> None:
    """Towards more overlap: the survey's printed sign would reverse the Dice part."""
    for reduction in ("mean", "sum", "none"):
        of = [
            medloss.loss("combo", alpha=0.3, reduction=reduction, non_negative=non_negative)
            for non_negative in (True, False)
        ]
        shift = of[0](P, G) - of[1](P, G)
        torch.testing.assert_close(shift, torch.full_like(shift, 0.7))
    slopes = [
        gradient("combo", Z, G, sigmoid=True, alpha=0, non_negative=non_negative)
        for non_negative in (True, False)
    ]
    torch.testing.assert_close(*slopes)
    torch.testing.assert_close(slopes[0], gradient("dice", Z, G, sigmoid=True))


def test_combo_weighs_the_background_by_one_minus_beta() -> None:
    """The tutorial's bracket makes it alpha (1 - alpha), the same for 0.3 and 0.7."""
    nothing = torch.zeros_like(G)
    for beta in (0.3, 0.7):
        got = value("combo", Z, nothing, sigmoid=True, alpha=1, beta=beta)
        plain = value("cross_entropy", Z, nothing, sigmoid=True)
        assert got == pytest.approx((1 - beta) * plain)


@given(st.integers(0, 10**6))
@derandomized
def test_identities(seed: int) -> None:
    z, y = random_case(seed)
    dense = one_hot(y, 3)

    def of(name: str, **options: Any) -> float:
        return value(name, z, y, softmax=True, **options)

    dice, ce = of("dice"), of("cross_entropy")
    assert of("dice_topk", k=1) == pytest.approx(of("dice_ce"))
    assert of("dice_topk", lambda_topk=0) == pytest.approx(dice)
    assert of("combo", alpha=0) == pytest.approx(dice)
    assert of("combo", alpha=1, beta=None) == pytest.approx(of("balanced_cross_entropy"))
    assert of("bce_dice") == pytest.approx(dice + of("binary_cross_entropy"))
    sigmoid = {"sigmoid": True}
    assert value("bce_dice", z, dense, **sigmoid) == pytest.approx(
        value("dice_ce", z, dense, **sigmoid)
    )
    assert of("structural_similarity", lambda_structure=0, lambda_ce=1) == pytest.approx(ce)
    # linear powers, every class as frequent: plain logarithm of Dice and √3 times cross entropy
    linear = {"gamma_dice": 1, "gamma_ce": 1, "frequencies": (2, 2, 2)}
    assert of("exponential_logarithmic", **linear, lambda_dice=0, lambda_ce=1) == pytest.approx(
        3**0.5 * ce
    )
    score = 1 - medloss.loss("dice", softmax=True, reduction="none", **SMOOTH_1)(z, y)
    assert of("exponential_logarithmic", **linear, lambda_dice=1, lambda_ce=0) == pytest.approx(
        float(-score.log().mean())
    )
    # gamma = 0: the Tversky loss of every class and weighted cross entropy
    for asymmetric in (False, True):
        flat = {"gamma": 0, "delta": 0.7, "asymmetric": asymmetric}
        assert of("unified_focal", lambda_tversky=1, **flat) == pytest.approx(
            of("tversky", fp_weight=0.3, fn_weight=0.7)
        )
        assert of("unified_focal", lambda_tversky=0, **flat) == pytest.approx(
            of("weighted_cross_entropy", weight=(0.3, 0.7, 0.7), normalise="voxels")
        )


@given(st.integers(0, 10**6))
@derandomized
def test_two_softmax_channels_equal_one_sigmoid_channel(seed: int) -> None:
    z, y = random_case(seed, classes=2)
    z = z[:, 1:] - z[:, :1]
    for name, options in (
        ("unified_focal", {}),
        ("unified_focal", {"asymmetric": True, "gamma": 0.3, "delta": 0.8}),
        ("exponential_logarithmic", {"lambda_dice": 0}),
        ("combo", {"alpha": 1, "beta": 0.8}),
        ("combo", {"alpha": 1, "beta": None}),
    ):
        one = value(name, z, y, sigmoid=True, **options)
        assert one == pytest.approx(value(name, pair(z), y, softmax=True, **options), rel=1e-10)


@given(st.integers(0, 10**6), st.sampled_from(["softmax", "sigmoid"]))
@derandomized
def test_a_batch_has_the_mean_of_its_samples(seed: int, activation: str) -> None:
    z, y = random_case(seed)
    target = y if activation == "softmax" else one_hot(y, 3)
    options = {activation: True}
    for name in NAMES:
        each = [value(name, z[i : i + 1], target[i : i + 1], **options) for i in range(2)]
        assert value(name, z, target, **options) == pytest.approx(sum(each) / 2), name


@every_loss
def test_a_batch_of_one_process_is_the_batch_of_the_world(name: str) -> None:
    z, y = random_case(0)
    if name == "dice_topk":
        with pytest.raises(ValueError, match="batch: expected False or True"):
            medloss.loss(name, softmax=True, batch="world")
        return
    here, world = (value(name, z, y, softmax=True, batch=batch) for batch in (True, "world"))
    assert here == world


def test_unified_focal_of_several_classes_by_hand() -> None:
    p = Z_MULTI.softmax(1)[0, :, 0]
    g = one_hot(Y_MULTI, 3)[0, :, 0]
    delta, gamma = 0.7, 0.25
    tp, fp, fn = (p * g).sum(1), (p * (1 - g)).sum(1), ((1 - p) * g).sum(1)
    missed = 1 - tp / (tp + delta * fn + (1 - delta) * fp)
    tversky = (missed[0] + missed[1] ** 0.75 + missed[2] ** 0.75) / 3
    right = (p * g).sum(0)
    background = (1 - delta) * (1 - right) ** gamma
    focal = torch.where(g[0] == 1, background, delta) * -right.log()
    options = {"delta": delta, "gamma": gamma, "asymmetric": True, "lambda_tversky": 0.2}
    got = value("unified_focal", Z_MULTI, Y_MULTI, softmax=True, **options, **EXACT)
    assert got == pytest.approx(float(0.2 * tversky + 0.8 * focal.mean()), abs=1e-12)
    without = {**options, "include_background": False}
    expected = 0.2 * (missed[1:] ** 0.75).mean() + 0.8 * focal[g[0] == 0].mean()
    got = value("unified_focal", Z_MULTI, Y_MULTI, softmax=True, **without, **EXACT)
    assert got == pytest.approx(float(expected), abs=1e-12)


def test_class_frequencies() -> None:
    name, only = "exponential_logarithmic", {"lambda_dice": 0, "lambda_ce": 1}
    counted = value(name, Z_MULTI, Y_MULTI, softmax=True, **only)
    given_too = value(name, Z_MULTI, Y_MULTI, softmax=True, frequencies=(200, 100, 100), **only)
    assert given_too == pytest.approx(counted)
    rare = value(name, Z_MULTI, Y_MULTI, softmax=True, frequencies=(2, 1, 0.01), **only)
    assert rare > counted + 1
    share = value(name, Z, G, sigmoid=True, frequencies=[1 / 3], **only)
    assert share == pytest.approx(value(name, Z, G, sigmoid=True, **only))
    mask = torch.tensor([[[[1, 1, 0, 1]]]])  # class 2 is not there
    masked = value(name, Z_MULTI, Y_MULTI, {"mask": mask}, softmax=True, **only)
    ce = f64([0.169846, 0.680270, 1.104131]) ** 0.3
    assert masked == pytest.approx(float((ce * f64([1.5, 3, 1.5]).sqrt()).mean()), abs=1e-6)
    y = torch.cat([Y_MULTI, torch.zeros_like(Y_MULTI)])
    z = torch.cat([Z_MULTI, Z_MULTI])
    pooled = value(name, z, y, softmax=True, batch=True, **only)
    expected = value(name, z, y, softmax=True, frequencies=(6, 1, 1), **only)
    assert pooled == pytest.approx(expected)


@every_loss
def test_class_weights_and_masks_reach_every_term(name: str) -> None:
    z, y = random_case(0)
    options = {"softmax": True, "batch": True}
    once, twice = (value(name, z, y, weight=w, **options) for w in ((1, 1, 1), (2, 2, 2)))
    if name == "dice_topk":  # its cross entropy is a weighted mean
        assert once == pytest.approx(value(name, z, y, **options))
        return
    halves = {"structural_similarity": value("cross_entropy", z, y, softmax=True) / 2}
    assert twice == pytest.approx(2 * once - halves.get(name, 0))
    assert once == pytest.approx(value(name, z, y, **options))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("bce_dice", {"pos_weight": -1}, "pos_weight: expected finite numbers"),
        ("bce_dice", {"lambda_dice": -1}, "dice: expected a weight of at least 0"),
        ("dice_topk", {"k": 10}, "k: expected a fraction"),
        ("combo", {"alpha": 1.5}, "alpha: expected a number in"),
        ("combo", {"beta": -1}, "beta: expected a number in"),
        ("exponential_logarithmic", {"gamma_dice": 0}, "gamma_dice: expected more than 0"),
        ("exponential_logarithmic", {"gamma_ce": -1}, "gamma_ce: expected more than 0"),
        ("exponential_logarithmic", {"frequencies": (1, 0)}, "frequencies: expected a number"),
        ("unified_focal", {"delta": 2}, "delta: expected a number in"),
        ("unified_focal", {"gamma": 1}, "gamma: expected a number in"),
        ("unified_focal", {"lambda_tversky": -1}, "lambda_tversky: expected a number in"),
        ("structural_similarity", {"window": 4}, "window: expected an odd number"),
        ("structural_similarity", {"window": 1}, "window: expected an odd number"),
        ("structural_similarity", {"sigma": 0}, "sigma: expected more than 0"),
        ("structural_similarity", {"constant": 0}, "constant: expected more than 0"),
        ("structural_similarity", {"beta": 1}, "beta: expected a number in"),
        ("structural_similarity", {"border": "zeros"}, "border: expected one of"),
    ],
)
def test_wrong_options_are_refused_by_name(name: str, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        medloss.loss(name, softmax=True, **options)


def test_frequencies_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="frequencies: expected 3 values, got 2"):
        value("exponential_logarithmic", Z_MULTI, Y_MULTI, softmax=True, frequencies=(1.0, 2.0))
    with pytest.raises(ValueError, match="frequencies: expected shares below 1"):
        value("exponential_logarithmic", Z, G, sigmoid=True, frequencies=[2.0])
