"""Values and gradients worked by hand from each paper's formula, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from worked_inputs import G_BATCH, P_BATCH, Y_ABSENT, Y_MULTI, Z_MULTI, G, P, Z, block, f64

from medloss import loss

EXACT: dict[str, Any] = {"smooth_nr": 0, "smooth_dr": 0}
SMOOTH_1: dict[str, Any] = {"smooth_nr": 1, "smooth_dr": 1}
SOFTMAX: dict[str, Any] = {"softmax": True, **EXACT}


def value(name: str, input: torch.Tensor, target: Any, **options: Any) -> float:
    return float(loss(name, **options)(input, target))


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("dice", EXACT, 0.415730337079),
        ("dice", SMOOTH_1, 0.339449541284),
        ("dice", {}, 0.415729402855),
        ("dice", {**EXACT, "squared_pred": True}, 0.249097472924),
        ("dice", {**EXACT, "jaccard": True}, 0.587301587302),
        ("dice", {**EXACT, "jaccard": True, "squared_pred": True}, 0.398843930636),
        ("tversky", {**EXACT, "fp_weight": 0.3, "fn_weight": 0.7}, 0.391100702576),
        ("tversky", {**EXACT, "fp_weight": 0.7, "fn_weight": 0.3}, 0.438444924406),
        ("tversky", {**EXACT, "alpha": 0.7, "beta": 0.3}, 0.438444924406),
        ("focal_tversky", EXACT, 0.494557106827),
        ("focal_tversky", {**EXACT, "exponent": 4 / 3}, 0.286012355585),
        ("cross_entropy", {}, 0.428175628174),
        ("cross_entropy", {"weight": [2.0]}, 0.598450836096),
        ("focal", {"other_act": torch.nn.Identity(), "alpha": 0.25}, 0.060165684158),
        ("focal", {"other_act": torch.nn.Identity(), "alpha": 0.5, "gamma": 0}, 0.214087814087),
    ],
)
def test_binary_probabilities(name: str, options: dict[str, Any], expected: float) -> None:
    assert value(name, P, G, **options) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("dice", SOFTMAX, 0.398223952354),
        ("dice", {**SOFTMAX, "squared_pred": True}, 0.208817919812),
        ("dice", {**SOFTMAX, "include_background": False}, 0.442936343112),
        ("dice", {**SOFTMAX, "jaccard": True}, 0.56621453112),
        ("generalized_dice", SOFTMAX, 0.417959566582),
        ("generalized_dice", {**SOFTMAX, "w_type": "simple"}, 0.403227561021),
        ("generalized_dice", {**SOFTMAX, "w_type": "uniform"}, 0.383157219862),
        ("tversky", {**SOFTMAX, "fp_weight": 0.3, "fn_weight": 0.7}, 0.394258432386),
        ("focal_tversky", SOFTMAX, 0.496467112772),
        ("focal_tversky", {**SOFTMAX, "reduction": "sum"}, 1.489401338317),
        ("cross_entropy", {"softmax": True}, 0.548889398048),
        ("cross_entropy", {"softmax": True, "weight": (0.2, 1, 2)}, 0.416966937922),
        ("cross_entropy", {"softmax": True, "label_smoothing": 0.1}, 0.644722731381),
        # the mean divides by classes too, as MONAI's; the papers' number is 3 times as large
        ("focal", {"softmax": True}, 0.168588381244 / 3),
        ("focal", {"softmax": True, "alpha": (0.25, 0.75, 0.75)}, 0.064244635624 / 3),
        ("focal", {"softmax": True, "gamma": 0}, 0.548889398048 / 3),
        ("focal", {}, 0.167499447887),
        ("dice_ce", SOFTMAX, 0.947113350402),
        ("dice_focal", {**SOFTMAX, "lambda_focal": 3}, 0.566812333598),
    ],
)
def test_three_classes(name: str, options: dict[str, Any], expected: float) -> None:
    assert value(name, Z_MULTI, Y_MULTI, **options) == pytest.approx(expected, abs=1e-12)


def test_cross_entropy_of_soft_targets_divides_by_voxels() -> None:
    dense = torch.nn.functional.one_hot(Y_MULTI[:, 0], 3).movedim(-1, 1).double()
    weighted = value("cross_entropy", Z_MULTI, dense, softmax=True, weight=(0.2, 1, 2))
    assert weighted == pytest.approx(0.354421897234, abs=1e-12)


@pytest.mark.parametrize(
    ("batch", "smooth", "expected"),
    [
        (False, 0, 0.707865168539),
        (False, 1e-5, 0.707856368233),
        (False, 1, 0.357224770642),
        (True, 0, 0.485148514851),
        (True, 1e-5, 0.485147554163),
        (True, 1, 0.404958677686),
    ],
)
def test_dice_of_each_sample_and_of_the_batch(batch: bool, smooth: float, expected: float) -> None:
    got = value("dice", P_BATCH, G_BATCH, batch=batch, smooth_nr=smooth, smooth_dr=smooth)
    assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("ndim", "spacing_mm", "convention", "expected"),
    [
        (2, 1.0, "kervadec", 0.072568542495),
        (2, 1.0, "symmetric", -0.195431457505),
        (3, 1.0, "kervadec", 0.096928319641),
        (3, (3, 1, 1), "kervadec", 0.164238378926),
        (3, 1.0, "symmetric", -0.071871680359),
        (3, (3, 1, 1), "symmetric", -0.004561621074),
    ],
)
def test_boundary(ndim: int, spacing_mm: Any, convention: str, expected: float) -> None:
    p, g = block(ndim)
    got = value("boundary", p, g, spacing_mm=spacing_mm, convention=convention)
    assert got == pytest.approx(expected, abs=1e-12)


def test_boundary_is_least_at_the_target() -> None:
    _, g = block(2)
    least = value("boundary", g, g, spacing_mm=1.0, convention="kervadec")
    assert least == pytest.approx(-0.04, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        (
            "dice",
            EXACT,
            [-0.0286327484, -0.0763539957, 0.0275722762, 0.0210074486, 0.00623658629, 0.0315111728],
        ),
        (
            "dice",
            {**EXACT, "squared_pred": True},
            [-0.0168530803, -0.0969896649, 0.0273252616, 0.013879498, 0.00103011899, 0.0624577409],
        ),
        (
            "dice",
            {**EXACT, "jaccard": True},
            [-0.0285714286, -0.0761904762, 0.0275132275, 0.0209624591, 0.00622323003, 0.0314436886],
        ),
        (
            "tversky",
            {**EXACT, "fp_weight": 0.3, "fn_weight": 0.7},
            [-0.0344542009, -0.0918778691, 0.0179675203, 0.0136895392, 0.00406408196, 0.0205343089],
        ),
        (
            "focal_tversky",
            EXACT,
            [-0.0326761813, -0.0871364833, 0.0170403008, 0.0129830863, 0.00385435376, 0.0194746295],
        ),
        (
            "cross_entropy",
            {},
            [-0.0166666667, -0.1, 0.05, 0.0333333333, 0.00833333333, 0.1],
        ),
        (
            "focal",
            {"alpha": 0.25},
            [
                -0.000120687053,
                -0.0199954888,
                0.00899263037,
                0.00278514841,
                4.60803935e-05,
                0.0599864663,
            ],
        ),
    ],
)
def test_gradients_on_logits(name: str, options: dict[str, Any], expected: list[float]) -> None:
    z = Z.clone().requires_grad_()
    loss(name, sigmoid=True, **options)(z, G).backward()
    assert z.grad is not None
    torch.testing.assert_close(z.grad.flatten(), f64(expected), rtol=1e-8, atol=1e-10)


def test_an_absent_class_takes_the_largest_weight_in_generalized_dice() -> None:
    p = Z_MULTI.softmax(1)[0, :, 0]
    g = torch.stack([(Y_ABSENT[0, 0, 0] == c) for c in range(3)]).double()
    weight = f64([1 / 9, 1, 1])
    by_hand = 1 - 2 * (weight * (p * g).sum(1)).sum() / (weight * (p + g).sum(1)).sum()
    got = value("generalized_dice", Z_MULTI, Y_ABSENT, **SOFTMAX)
    assert got == pytest.approx(float(by_hand), abs=1e-12)
