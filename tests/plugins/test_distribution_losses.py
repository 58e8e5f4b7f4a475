"""Distribution losses: worked values, identities, corners and refusals."""

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
from medloss.distance import signed_distance

IN_MM: dict[str, Any] = {"spacing_mm": 1.0}
OPTIONS: dict[str, dict[str, Any]] = {
    "binary_cross_entropy": {"pos_weight": 3.0},
    "weighted_cross_entropy": {"beta": 3.0},
    "balanced_cross_entropy": {},
    "topk_cross_entropy": {"k": 0.3},
    "poly": {},
    "distance_penalized_cross_entropy": IN_MM,
    "border_weighted_cross_entropy": IN_MM,
    "svls_cross_entropy": {},
    "nacl": {},
    "margin_label_smoothing": {"margin": 1.0},
}
every_loss = pytest.mark.parametrize("name", OPTIONS)
derandomized = settings(max_examples=15, deadline=None, derandomize=True)


def two_cells() -> Tensor:
    y = torch.zeros(1, 1, 5, 9, dtype=torch.long)
    y[..., 1:4, 1:4] = y[..., 1:4, 5:8] = 1
    return y


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("binary_cross_entropy", {}, 0.428175628174),
        ("binary_cross_entropy", {"pos_weight": 2}, 0.598450836096),
        ("binary_cross_entropy", {"pos_weight": [2.0], "weight": 0.5}, 0.299225418048),
        ("weighted_cross_entropy", {}, 0.428175628174),
        ("weighted_cross_entropy", {"beta": 2}, 0.598450836096),
        ("weighted_cross_entropy", {"beta": 2, "normalise": "weights"}, 0.448838127072),
        ("balanced_cross_entropy", {}, 0.199483612032),
        ("balanced_cross_entropy", {"beta": 0.7}, 0.196562771621),
        ("poly", {"epsilon": -1, "gamma": 2, "alpha": 0.25}, -0.017855149176),
    ],
)
def test_binary_probabilities(name: str, options: dict[str, Any], expected: float) -> None:
    assert value(name, P, G, **options) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("weighted_cross_entropy", {"weight": (0.2, 1, 2)}, 0.416966937922),
        (
            "weighted_cross_entropy",
            {"weight": (0.2, 1, 2), "normalise": "voxels"},
            0.354421897234,
        ),
        ("weighted_cross_entropy", {"beta": (0.2, 1, 2)}, 0.416966937922),
        ("topk_cross_entropy", {"k": 0.5}, 0.892200137989),
        ("topk_cross_entropy", {"k": 0.1}, 1.104130605337),
        ("topk_cross_entropy", {"k": 1}, 0.548889398048),
        ("poly", {"epsilon": 1}, 0.93204661791),
        ("margin_label_smoothing", {"margin": 1}, 0.598889398048),
        ("margin_label_smoothing", {"margin": 10}, 0.548889398048),
    ],
)
def test_three_classes(name: str, options: dict[str, Any], expected: float) -> None:
    got = value(name, Z_MULTI, Y_MULTI, softmax=True, **options)
    assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("z", "options", "expected"),
    [
        (pair(Z), {"softmax": True}, 0.533893844793),
        (pair(Z), {"softmax": True, "divide_by": "window"}, 0.516764215163),
        (Z, {"sigmoid": True}, 0.533893844793),
    ],
)
def test_nacl(z: Tensor, options: dict[str, Any], expected: float) -> None:
    assert value("nacl", z, G, **options) == pytest.approx(expected, abs=1e-12)


def test_distance_penalty() -> None:
    p, g = block(2)
    name = "distance_penalized_cross_entropy"
    assert value(name, p, g, **IN_MM) == pytest.approx(0.392152224218, abs=1e-12)
    assert value("cross_entropy", p, g) == pytest.approx(0.230940070161, abs=1e-12)
    each = medloss.loss(name, reduction="none", **IN_MM)(p, g)
    plain = medloss.loss("cross_entropy", reduction="none")(p, g)
    penalty = [[1, 2, 2, 2, 1], [2, 2, 2, 2, 2], [2, 2, 1, 2, 2], [2, 2, 2, 2, 2], [1, 2, 2, 2, 1]]
    torch.testing.assert_close((each / plain)[0, 0], f64(penalty))


def test_svls_kernel_and_value() -> None:
    y = torch.zeros(1, 1, 3, 3, 3, dtype=torch.long)
    y[..., 1, 1, 1] = 1
    z = torch.zeros(1, 2, 3, 3, 3, dtype=torch.float64)
    z[:, 1] = 1
    assert value("svls_cross_entropy", z, y, softmax=True) == pytest.approx(
        1.276224650481, abs=1e-12
    )
    # −log p is 1 more for class 0 than for class 1: the cross entropy tells the smoothed label
    each = medloss.loss("svls_cross_entropy", softmax=True, reduction="none")(z, y)[0, 0]
    smoothed = 1 - (each - math.log(1 + math.exp(-1)))
    for place, expected in [
        ((1, 1, 1), 0.5),
        ((0, 1, 1), 0.030823473546),
        ((0, 0, 1), 0.018695381745),
        ((0, 0, 0), 0.011339322223),
    ]:
        assert float(smoothed[place]) == pytest.approx(expected, abs=1e-12)


def test_svls_leaves_the_interior_alone() -> None:
    y = torch.zeros(1, 1, 6, 6, dtype=torch.long)
    y[..., :3, :] = 1
    z = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    smoothed, plain = (
        medloss.loss(name, softmax=True, reduction="none")(z, y)[0, 0]
        for name in ("svls_cross_entropy", "cross_entropy")
    )
    torch.testing.assert_close(smoothed[[0, 1, 4, 5]], plain[[0, 1, 4, 5]])
    assert ((smoothed - plain)[[2, 3]].abs() > 1e-3).any()


def test_svls_behind_a_mask_with_a_corner_equals_replication() -> None:
    """A masked frame of any width continues the image as its border does."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1, 3, 5, 6, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (1, 1, 5, 6, 4), generator=generator)
    mask = torch.zeros(1, 1, 5, 6, 4)
    inner = (..., slice(1, 4), slice(2, 6), slice(0, 3))
    mask[inner] = 1
    loss = medloss.loss("svls_cross_entropy", softmax=True)
    torch.testing.assert_close(loss(z, y, mask=mask), loss(z[inner], y[inner]))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_border_weights(activation: str) -> None:
    y = two_cells()
    z = torch.zeros(1, 1, 5, 9, dtype=torch.float64)
    z = pair(z) if activation == "softmax" else z
    options = {activation: True, "reduction": "none", **IN_MM}
    each = medloss.loss("border_weighted_cross_entropy", **options)(z, y)[0, 0] / math.log(2)
    assert float(each[2, 4]) - 1 == pytest.approx(9.231163463866, abs=1e-12)
    assert float(each[0, 0]) - 1 == pytest.approx(4.280804635860, abs=1e-12)
    torch.testing.assert_close(each[y[0, 0] == 1], torch.ones(18, dtype=torch.float64))


def test_border_weights_are_in_millimetres() -> None:
    z, y = pair(torch.zeros(1, 1, 5, 9, dtype=torch.float64)), two_cells()
    name = "border_weighted_cross_entropy"
    of_2_mm = value(name, z, y, softmax=True, sigma_mm=10, spacing_mm=2.0)
    assert of_2_mm == pytest.approx(value(name, z, y, softmax=True, **IN_MM), abs=1e-12)
    wide = value(name, z, y, softmax=True, spacing_mm=(1.0, 2.0))
    assert wide < value(name, z, y, softmax=True, **IN_MM)
    with pytest.raises(ValueError, match="spacing_mm: expected the size of a voxel"):
        value(name, z, y, softmax=True)


def test_instances_may_be_given() -> None:
    z, y = pair(torch.zeros(1, 1, 5, 9, dtype=torch.float64)), two_cells()
    name, options = "border_weighted_cross_entropy", {"softmax": True, **IN_MM}
    found = value(name, z, y, **options)
    numbered = y.clone()
    numbered[..., 5:] *= 7
    assert value(name, z, y, {"components": numbered}, **options) == found
    assert value(name, z, y, {"components": y}, **options) == pytest.approx(math.log(2))
    halves = y.clone()  # touching instances, which no connected component could tell apart
    halves[..., 3:4, :] *= 2
    assert value(name, z, y, {"components": halves}, **options) > math.log(2) + 0.1
    with pytest.raises(ValueError, match=r"components: expected \[1, 1, 5, 9\]"):
        value(name, z, y, {"components": numbered[0]}, **options)
    with pytest.raises(ValueError, match="components: expected numbers of at least 0"):
        value(name, z, y, {"components": numbered - 1}, **options)


def test_objects_of_different_classes_are_different_objects() -> None:
    z = torch.zeros(1, 3, 5, 9, dtype=torch.float64)
    y = two_cells()
    joined = y.clone()
    joined[..., 2, 4] = 1  # one component of one class
    name, options = "border_weighted_cross_entropy", {"softmax": True, **IN_MM}
    assert value(name, z, joined, **options) == pytest.approx(math.log(3))
    joined[..., 4:] *= 2
    assert value(name, z, joined, **options) > math.log(3) + 0.1


def test_a_far_instance_changes_nothing_that_counts() -> None:
    """Only the neighbourhood of each instance is looked at."""
    y = torch.zeros(1, 1, 4, 90, dtype=torch.long)
    y[..., 1, 2] = y[..., 1, 6] = y[..., 1, 80] = 1
    z = pair(torch.zeros(1, 1, 4, 90, dtype=torch.float64))
    options = {"softmax": True, "sigma_mm": 2.0, "reduction": "none", **IN_MM}
    loss = medloss.loss("border_weighted_cross_entropy", **options)
    cut = loss(z[..., :60], y[..., :60])
    torch.testing.assert_close(loss(z, y)[..., :40], cut[..., :40], rtol=0, atol=1e-6)


def test_a_ready_distance_map_needs_no_spacing_and_may_have_any_scale() -> None:
    p, g = block(3)
    name = "distance_penalized_cross_entropy"
    ready = signed_distance(g > 0.5, ((3.0, 1.0, 1.0),), convention="symmetric").double()
    expected = value(name, p, g, spacing_mm=(3.0, 1.0, 1.0))
    for scale in (1.0, -0.1):
        got = value(name, p, g, {"distance_map": scale * ready})
        assert got == pytest.approx(expected, rel=1e-6)
    assert expected != pytest.approx(value(name, p, g, **IN_MM))
    with pytest.raises(ValueError, match="spacing_mm: expected the size of a voxel"):
        value(name, p, g)


def test_distance_penalty_without_a_border_and_without_depth() -> None:
    name, z = "distance_penalized_cross_entropy", torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    for fill in (0, 1):
        y = torch.full((1, 1, 4, 4), fill)
        assert value(name, z, y, sigmoid=True, **IN_MM) == pytest.approx(math.log(2))
    y[..., 2:] = 0
    y[..., :1] = 0  # one column is foreground: all of it is border, φ = 1
    each = medloss.loss(name, sigmoid=True, reduction="none", **IN_MM)(z, y) / math.log(2)
    torch.testing.assert_close(each[0, 0, 0], f64([2, 2, 2, 1]))


BINARY_GRADIENT = [-0.0166666667, -0.1, 0.05, 0.0333333333, 0.00833333333, 0.1]
POSITIVE = f64([1, 1, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("binary_cross_entropy", {}, f64(BINARY_GRADIENT)),
        ("weighted_cross_entropy", {"beta": 2}, f64(BINARY_GRADIENT) * (1 + POSITIVE)),
        ("balanced_cross_entropy", {}, f64(BINARY_GRADIENT) * (1 + POSITIVE) / 3),
        ("topk_cross_entropy", {"k": 1 / 3}, f64([0, -0.3, 0, 0, 0, 0.3])),
    ],
)
def test_gradients_on_logits(name: str, options: dict[str, Any], expected: Tensor) -> None:
    got = gradient(name, Z, G, sigmoid=True, **options).flatten()
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)


CERTAIN, SURE = 12.0, math.log(9)


def corner(foreground: Any) -> Tensor:
    return pair(torch.as_tensor(foreground, dtype=torch.float64).expand(1, 1, 5, 5))


@pytest.mark.parametrize(
    ("name", "options", "unlikely", "likely", "perfect", "wrong"),
    [
        ("topk_cross_entropy", {}, 0.1054, 2.303, 6.144e-06, 12),
        ("poly", {}, 0.2054, 3.203, 1.229e-05, 13),
        ("nacl", {}, 0.2652, 2.462, 0.6282, 12.63),
        ("distance_penalized_cross_entropy", IN_MM, 0.1054, 2.303, 1.106e-05, 21.6),
    ],
)
def test_corners(
    name: str, options: Any, unlikely: float, likely: float, perfect: float, wrong: float
) -> None:
    _, g = block(2)
    y, empty = g.long(), torch.zeros(1, 1, 5, 5, dtype=torch.long)
    cases = [(-SURE, empty), (SURE, empty), (CERTAIN * (2 * g - 1), y), (CERTAIN * (1 - 2 * g), y)]
    got = [value(name, corner(z), target, softmax=True, **options) for z, target in cases]
    assert got == pytest.approx([unlikely, likely, perfect, wrong], rel=6e-4)


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
        slope = gradient(name, z, g.long(), **{activation: True}, **OPTIONS[name])
        assert slope.isfinite().all()
        saturated_binary = name == "binary_cross_entropy" and activation == "softmax"
        assert sign > 0 or saturated_binary or slope.abs().max() > 1e-4


def test_balanced_cross_entropy_keeps_a_gradient_on_empty_and_full_targets() -> None:
    for fill in (0, 1):
        y = torch.full((1, 1, 5, 5), fill)
        plain = gradient("binary_cross_entropy", torch.zeros(1, 1, 5, 5), y, sigmoid=True)
        clamped = gradient(
            "balanced_cross_entropy", torch.zeros(1, 1, 5, 5), y, sigmoid=True, least=0.02
        )
        torch.testing.assert_close(clamped, 0.02 * plain)


def test_balanced_cross_entropy_of_each_image_or_of_the_batch() -> None:
    z = torch.cat([Z, Z.flip(3)])
    g = torch.cat([G, torch.ones_like(G)])
    share = (1 - 8 / 12, 8 / 12)
    ce = medloss.loss("cross_entropy", sigmoid=True, reduction="none")(z, g)
    expected = torch.where(g == 1, share[0] * ce, share[1] * ce)
    for reduction, total in (("mean", expected.mean()), ("none", expected)):
        loss = medloss.loss("balanced_cross_entropy", sigmoid=True, batch=True, reduction=reduction)
        torch.testing.assert_close(loss(z, g), total)
    assert value("balanced_cross_entropy", z, g, sigmoid=True) < float(expected.mean())


def test_topk_counts_what_is_valid_and_weighs_by_class() -> None:
    ce = f64([0.169846, 0.680270, 0.241311, 1.104131])
    mask = torch.tensor([[[[1, 1, 1, 0]]]])
    name, options = "topk_cross_entropy", {"softmax": True}
    half = value(name, Z_MULTI, Y_MULTI, {"mask": mask}, k=0.5, **options)
    assert half == pytest.approx(float((ce[1] + ce[2]) / 2), abs=1e-6)
    least = value(name, Z_MULTI, Y_MULTI, {"mask": mask}, k=0.01, **options)
    assert least == pytest.approx(float(ce[1]), abs=1e-6)
    weighted = value(name, Z_MULTI, Y_MULTI, k=0.5, weight=(0.5, 1, 10), **options)
    assert weighted == pytest.approx(float((10 * ce[2] + ce[1]) / 11), abs=1e-6)
    without = value(name, Z_MULTI, Y_MULTI, k=0.5, include_background=False, **options)
    assert without == pytest.approx(float(ce[1]), abs=1e-6)
    assert value(name, Z_MULTI, Y_MULTI, {"mask": 0 * mask}, **options) == 0


def test_topk_fraction_is_not_rounded_up_by_float_error() -> None:
    z = torch.arange(100, dtype=torch.float64).view(1, 1, 10, 10)
    assert 0.07 * 100 > 7
    got = value("topk_cross_entropy", z, torch.zeros_like(z), sigmoid=True, k=0.07)
    assert got == pytest.approx(96, abs=1e-9)


def test_topk_of_the_batch() -> None:
    z = torch.cat([Z_MULTI, -Z_MULTI])
    y = torch.cat([Y_MULTI, Y_MULTI])
    ce = medloss.loss("cross_entropy", softmax=True, reduction="none")(z, y)
    options = {"softmax": True, "k": 0.25}
    pooled = value("topk_cross_entropy", z, y, batch=True, **options)
    assert pooled == pytest.approx(float(ce.flatten().topk(2).values.mean()))
    apart = value("topk_cross_entropy", z, y, **options)
    assert apart == pytest.approx(float(ce.flatten(1).amax(1).mean()))
    assert pooled > apart
    none = medloss.loss("topk_cross_entropy", batch=True, reduction="none", **options)(z, y)
    assert none.shape == (1, 1)


def test_equally_hard_voxels_share_what_is_left() -> None:
    z, y = torch.zeros(1, 1, 2, 5), torch.zeros(1, 1, 2, 5)
    z[0, 0, 0, 0] = 3
    got = value("topk_cross_entropy", z, y, sigmoid=True, k=0.3)
    assert got == pytest.approx((math.log(1 + math.exp(3)) + 2 * math.log(2)) / 3)
    slope = gradient("topk_cross_entropy", z, y, sigmoid=True, k=0.3).flatten()
    torch.testing.assert_close(slope[1:], torch.full((9,), 0.5 * (2 / 9) / 3))


@given(st.integers(0, 10**6))
@derandomized
def test_special_cases_are_cross_entropy(seed: int) -> None:
    z, y = random_case(seed)
    weight = {"weight": (0.2, 1.0, 2.0)}
    mask = torch.rand(2, 1, 4, 5, 3, generator=torch.Generator().manual_seed(seed)) > 0.3
    for activation, target in (("softmax", y), ("sigmoid", one_hot(y, 3))):
        for options in ({}, weight, {"include_background": False}, {"reduction": "sum"}):
            common = {activation: True, **options}
            ce = value("cross_entropy", z, target, {"mask": mask}, **common)
            for name, special in (
                ("topk_cross_entropy", {"k": 1}),
                ("poly", {"epsilon": 0}),
                ("nacl", {"lambda_penalty": 0}),
                ("margin_label_smoothing", {"lambda_penalty": 0}),
                ("margin_label_smoothing", {"margin": 1e3}),
                ("weighted_cross_entropy", {}),
            ):
                got = value(name, z, target, {"mask": mask}, **common, **special)
                assert got == pytest.approx(ce, rel=1e-10), (name, special)
    ce = value("cross_entropy", z, y, softmax=True)
    assert value("poly", z, y, softmax=True, label_smoothing=0.1, epsilon=0) == pytest.approx(
        value("cross_entropy", z, y, softmax=True, label_smoothing=0.1)
    )
    no_border = value("border_weighted_cross_entropy", z, y, softmax=True, w0=0, **IN_MM)
    assert no_border == pytest.approx(ce)
    flat = {"distance_map": torch.ones_like(z)}  # everything is as near as anything else
    doubled = value("distance_penalized_cross_entropy", z, y, flat, softmax=True)
    assert doubled == pytest.approx(2 * ce)
    for target in (one_hot(y, 3), torch.rand(2, 3, 4, 5, 3, dtype=torch.float64)):
        binary = value("binary_cross_entropy", z, target, sigmoid=True)
        half = value("balanced_cross_entropy", z, target, sigmoid=True, beta=0.5)
        assert half == pytest.approx(binary / 2)
        assert binary == pytest.approx(value("cross_entropy", z, target, sigmoid=True))
        focal = value("focal", z, target, gamma=2, alpha=0.25)
        poly = value("poly", z, target, sigmoid=True, gamma=2, alpha=0.25, epsilon=0)
        assert focal == pytest.approx(poly)


@given(st.integers(0, 10**6))
@derandomized
def test_two_softmax_channels_equal_one_sigmoid_channel(seed: int) -> None:
    z, y = random_case(seed, classes=2)
    z = z[:, 1:] - z[:, :1]
    # one counts a pair of channels twice; the other divides differently by default, as torch does
    unequal = ("binary_cross_entropy", "weighted_cross_entropy")
    cases = [
        *((name, options) for name, options in OPTIONS.items() if name not in unequal),
        ("weighted_cross_entropy", {"beta": 3.0, "normalise": "weights"}),
        ("weighted_cross_entropy", {"beta": 3.0, "normalise": "voxels"}),
        ("balanced_cross_entropy", {"beta": 0.8}),
        ("poly", {"epsilon": -0.5}),
    ]
    for name, options in cases:
        one = value(name, z, y, sigmoid=True, **options)
        assert one == pytest.approx(value(name, pair(z), y, softmax=True, **options), rel=1e-10)


@given(st.integers(0, 10**6), st.sampled_from(["softmax", "sigmoid"]))
@derandomized
def test_a_batch_has_the_mean_of_its_samples(seed: int, activation: str) -> None:
    z, y = random_case(seed)
    target = y if activation == "softmax" else one_hot(y, 3)
    for name, options in OPTIONS.items():
        common = {activation: True, **options}
        if name == "weighted_cross_entropy":  # a mean over weights is one of samples only by chance
            common["normalise"] = "voxels"
        each = [value(name, z[i : i + 1], target[i : i + 1], **common) for i in range(2)]
        assert value(name, z, target, **common) == pytest.approx(sum(each) / 2), name


@given(st.integers(0, 10**6))
@derandomized
def test_losses_of_single_voxels_do_not_care_for_their_order(seed: int) -> None:
    z, y = random_case(seed)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    shuffled = z.flatten(2)[..., order].view_as(z), y.flatten(2)[..., order].view_as(y)
    for name in [*list(OPTIONS)[:5], "margin_label_smoothing"]:
        options = {"softmax": True, **OPTIONS[name]}
        assert value(name, *shuffled, **options) == pytest.approx(value(name, z, y, **options))
    assert value("nacl", *shuffled, softmax=True) != pytest.approx(
        value("nacl", z, y, softmax=True)
    )


@every_loss
def test_reductions_agree_under_a_mask_and_weights(name: str) -> None:
    z, y = random_case(0)
    mask = torch.rand(2, 1, 4, 5, 3, generator=torch.Generator().manual_seed(1)) > 0.3
    options = {"softmax": True, "weight": (0.2, 1.0, 2.0), **OPTIONS[name]}
    each, total = (
        medloss.loss(name, reduction=reduction, **options)(z, y, mask=mask)
        for reduction in ("none", "sum")
    )
    if name == "topk_cross_entropy":  # a mean for each image
        assert each.shape == (2, 1)
        return
    torch.testing.assert_close(each.sum(), total)
    assert (each * ~mask == 0).all()


@every_loss
def test_a_batch_of_one_process_is_the_batch_of_the_world(name: str) -> None:
    z, y = random_case(0)
    if name == "topk_cross_entropy":
        with pytest.raises(ValueError, match="batch: expected False or True"):
            medloss.loss(name, softmax=True, batch="world")
        return
    options = {"softmax": True, **OPTIONS[name]}
    here, world = (value(name, z, y, batch=batch, **options) for batch in (True, "world"))
    assert here == pytest.approx(world, rel=1e-14)  # one in closed form, one by the formula


def test_weights_without_background() -> None:
    ce = f64([0.169846, 0.680270, 0.241311, 1.104131])  # of the classes 0, 1, 2, 0
    options = {"softmax": True, "include_background": False, "weight": (1, 3)}
    weighted = value("weighted_cross_entropy", Z_MULTI, Y_MULTI, **options)
    assert weighted == pytest.approx(float((ce[1] + 3 * ce[2]) / 4), abs=1e-6)
    voxels = value("weighted_cross_entropy", Z_MULTI, Y_MULTI, normalise="voxels", **options)
    assert voxels == pytest.approx(float((ce[1] + 3 * ce[2]) / 2), abs=1e-6)
    balanced = value("balanced_cross_entropy", Z_MULTI, Y_MULTI, **options)
    assert balanced == pytest.approx(float(0.75 * (ce[1] + 3 * ce[2]) / 2), abs=1e-6)


@pytest.mark.parametrize("name", ["nacl", "margin_label_smoothing"])
def test_calibration_losses_want_logits(name: str) -> None:
    with pytest.raises(ValueError, match="expected logits with softmax=True"):
        value(name, P, G)


def test_calibration_penalties_leave_out_what_does_not_count() -> None:
    z, y = random_case(0)
    common = {"softmax": True, "include_background": False, "lambda_penalty": 1.0}
    ce = value("cross_entropy", z, y, softmax=True, include_background=False)
    lead = (z.amax(1, keepdim=True) - z - 1).relu()[:, 1:]
    got = value("margin_label_smoothing", z, y, margin=1.0, **common)
    assert got == pytest.approx(ce + float(lead.mean()))
    each = medloss.loss("margin_label_smoothing", margin=1.0, reduction="none", **common)(z, y)
    plain = medloss.loss("cross_entropy", softmax=True, include_background=False, reduction="none")(
        z, y
    )
    torch.testing.assert_close(each - plain, lead.mean(1, keepdim=True))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("binary_cross_entropy", {"pos_weight": -1}, "pos_weight: expected finite numbers"),
        ("binary_cross_entropy", {"pos_weight": [[1.0]]}, "pos_weight: expected finite numbers"),
        ("weighted_cross_entropy", {"beta": math.nan}, "beta: expected finite numbers"),
        ("weighted_cross_entropy", {"normalise": "classes"}, "normalise: expected one of"),
        ("balanced_cross_entropy", {"beta": 1.5}, "beta: expected a number in"),
        ("balanced_cross_entropy", {"least": 0}, "least: expected a number in"),
        ("topk_cross_entropy", {"k": 10}, "k: expected a fraction"),
        ("topk_cross_entropy", {"k": 0}, "k: expected a fraction"),
        ("poly", {"epsilon": -2}, "epsilon: expected at least -1"),
        ("poly", {"gamma": -1}, "gamma: expected at least 0"),
        ("poly", {"gamma": 1, "alpha": 2}, "alpha: expected a number in"),
        ("poly", {"alpha": 0.25}, "alpha: it belongs to the focal form"),
        ("border_weighted_cross_entropy", {"w0": -1}, "w0: expected at least 0"),
        ("border_weighted_cross_entropy", {"sigma_mm": 0}, "sigma_mm: expected more than 0"),
        ("svls_cross_entropy", {"sigma": 0}, "sigma: expected more than 0"),
        ("nacl", {"lambda_penalty": -1}, "lambda_penalty: expected at least 0"),
        ("nacl", {"divide_by": "all"}, "divide_by: expected one of"),
        ("margin_label_smoothing", {"margin": -1}, "margin: expected at least 0"),
    ],
)
def test_wrong_options_are_refused_by_name(name: str, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        medloss.loss(name, softmax=True, **options)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("binary_cross_entropy", {"pos_weight": (1, 2)}, "pos_weight: expected a number or 3"),
        ("weighted_cross_entropy", {"beta": (1, 2)}, "beta: expected a number or 3"),
        ("weighted_cross_entropy", {"weight": (1, 2)}, "weight: expected 3 values"),
        ("poly", {"gamma": 1}, "gamma: the focal form"),
    ],
)
def test_options_that_do_not_fit_the_input_are_refused(name: str, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        value(name, Z_MULTI, Y_MULTI, softmax=True, **options)
