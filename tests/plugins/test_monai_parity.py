"""Swapping `_target_` from MONAI's losses to ours keeps every number, except its defects.

Each known defect of MONAI 1.6.1 has a test of its own that states both values.
"""

from __future__ import annotations

import itertools
from typing import Any

import monai.losses
import pytest
import torch
from worked_inputs import Y_MULTI, Z_MULTI, one_hot

import medloss.losses

BOTH_SIDES = {"rtol": 1e-6, "atol": 1e-9}


def logits(classes: int, ndim: int = 3, batch: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(batch, classes, *[5, 4, 6][:ndim], generator=generator)


def labels(classes: int, ndim: int = 3, batch: int = 2, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, classes, (batch, 1, *[5, 4, 6][:ndim]), generator=generator)


def check(name: str, input: torch.Tensor, target: torch.Tensor, **options: Any) -> None:
    """Equal value and equal gradient on the input."""
    results = []
    for module in (monai.losses, medloss.losses):
        leaf = input.clone().requires_grad_()
        value = getattr(module, name)(**options)(leaf, target.clone())
        value.sum().backward()
        results.append((value.detach().squeeze(), leaf.grad))
    (theirs, their_grad), (ours, our_grad) = results
    torch.testing.assert_close(ours, theirs, **BOTH_SIDES)
    # sums of terms that nearly cancel: a rounding step of the largest is all one may ask
    torch.testing.assert_close(our_grad, their_grad, rtol=1e-5, atol=2e-7)


REGION_OPTIONS = [
    {},
    {"include_background": False},
    {"batch": True},
    {"batch": True, "include_background": False, "reduction": "sum"},
    {"reduction": "none"},
    {"smooth_nr": 1.0, "smooth_dr": 1.0},
    {"smooth_nr": 0.0, "smooth_dr": 1e-6},
    {"ignore_index": 1},
    {"ignore_index": 2, "include_background": False},
]
DICE_OPTIONS = [
    {"squared_pred": True},
    {"jaccard": True},
    {"squared_pred": True, "jaccard": True, "batch": True},
    {"soft_label": True},
    {"weight": [0.2, 1.0, 2.0]},
    {"weight": [1.0, 2.0], "include_background": False},
    {"weight": 3.0},
]
TVERSKY_OPTIONS = [{"alpha": 0.3, "beta": 0.7}, {"soft_label": True, "alpha": 0.7, "beta": 0.3}]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *itertools.product(["DiceLoss"], REGION_OPTIONS + DICE_OPTIONS),
        *itertools.product(["TverskyLoss"], REGION_OPTIONS + TVERSKY_OPTIONS),
    ],
)
def test_region_losses_on_class_indices(name: str, options: dict[str, Any], ndim: int) -> None:
    check(name, logits(3, ndim), labels(3, ndim), softmax=True, to_onehot_y=True, **options)


@pytest.mark.parametrize("name", ["DiceLoss", "TverskyLoss"])
@pytest.mark.parametrize("options", [{}, {"batch": True}, {"reduction": "none"}])
def test_region_losses_multi_label_and_single_channel(name: str, options: dict[str, Any]) -> None:
    multi = (torch.rand(2, 3, 5, 4, 6, generator=torch.Generator().manual_seed(3)) > 0.6).float()
    check(name, logits(3), multi, sigmoid=True, **options)
    check(name, logits(1), labels(2), sigmoid=True, **options)
    check(name, logits(3).sigmoid(), multi, **options)


@pytest.mark.parametrize("name", ["DiceLoss", "TverskyLoss", "FocalLoss"])
@pytest.mark.parametrize("ignore_index", [255, -1])
def test_sentinel_labels_are_ignored(name: str, ignore_index: int) -> None:
    target = labels(3)
    target[:, :, 2] = ignore_index
    activation = {"use_softmax": True} if name == "FocalLoss" else {"softmax": True}
    if name == "FocalLoss":  # MONAI's mean is C times too large there: compare the sums
        activation["reduction"] = "none"
    check(name, logits(3), target, to_onehot_y=True, ignore_index=ignore_index, **activation)


def test_all_zero_one_hot_voxels_are_ignored() -> None:
    target = one_hot(labels(3), 3).float()
    target[:, :, 2] = 0
    for name in ("DiceLoss", "TverskyLoss"):
        check(name, logits(3), target, softmax=True, ignore_index=255)


@pytest.mark.parametrize("w_type", ["square", "simple", "uniform"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"include_background": False},
        {"batch": True},
        {"soft_label": True},
        {"reduction": "sum"},
    ],
)
def test_generalized_dice_without_smoothing(w_type: str, options: dict[str, Any]) -> None:
    check(
        "GeneralizedDiceLoss",
        logits(3),
        labels(3),
        softmax=True,
        to_onehot_y=True,
        w_type=w_type,
        smooth_nr=0.0,
        smooth_dr=0.0,
        **options,
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gamma": 0.5},
        {"gamma": 0.0},
        {"alpha": 0.25},
        {"alpha": [0.5, 0.7, 0.8]},
        {"weight": [0.2, 1.0, 2.0]},
        {"weight": 2.0},
        {"reduction": "sum"},
        {"reduction": "none"},
    ],
)
@pytest.mark.parametrize("use_softmax", [False, True])
def test_focal(options: dict[str, Any], use_softmax: bool) -> None:
    check("FocalLoss", logits(3), labels(3), to_onehot_y=True, use_softmax=use_softmax, **options)


@pytest.mark.parametrize("options", [{}, {"weight": [1.0, 2.0]}, {"alpha": 0.3}])
def test_sigmoid_focal_without_background(options: dict[str, Any]) -> None:
    check("FocalLoss", logits(3), labels(3), to_onehot_y=True, include_background=False, **options)


DICE_CE_OPTIONS = [
    {},
    {"include_background": False},
    {"squared_pred": True, "batch": True},
    {"jaccard": True, "reduction": "sum"},
    {"lambda_dice": 0.5, "lambda_ce": 2.0},
    {"label_smoothing": 0.1},
    {"weight": torch.tensor([0.2, 1.0, 2.0])},
    {"weight": torch.tensor([0.2, 1.0, 2.0]), "include_background": False, "label_smoothing": 0.2},
]


@pytest.mark.parametrize("options", DICE_CE_OPTIONS)
def test_dice_ce(options: dict[str, Any]) -> None:
    check("DiceCELoss", logits(3), labels(3), softmax=True, to_onehot_y=True, **options)
    dense = one_hot(labels(3), 3).float()
    check("DiceCELoss", logits(3), dense, softmax=True, **options)


@pytest.mark.parametrize("options", [{}, {"weight": torch.tensor([3.0])}, {"lambda_ce": 0.1}])
def test_dice_ce_single_channel(options: dict[str, Any]) -> None:
    check("DiceCELoss", logits(1), labels(2).float(), sigmoid=True, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gamma": 1.0, "lambda_focal": 2.0},
        {"include_background": False},
        {"alpha": 0.3},
        {"weight": [0.2, 1.0, 2.0]},
        {"reduction": "none"},
        {"reduction": "sum", "batch": False},
    ],
)
def test_dice_focal_under_sigmoid(options: dict[str, Any]) -> None:
    check("DiceFocalLoss", logits(3), labels(3), sigmoid=True, to_onehot_y=True, **options)


# --- where MONAI is wrong ---------------------------------------------------------------------


def test_d1_dice_focal_with_softmax_takes_the_focal_loss_of_a_sigmoid() -> None:
    options = {"softmax": True, "to_onehot_y": True, "lambda_dice": 0.0}
    theirs = float(monai.losses.DiceFocalLoss(**options)(Z_MULTI, Y_MULTI))
    ours = float(medloss.losses.DiceFocalLoss(**options)(Z_MULTI, Y_MULTI))
    assert theirs == pytest.approx(0.167499, abs=1e-6)  # sigmoid focal
    assert ours == pytest.approx(0.056196, abs=1e-6)  # softmax focal, 0.168588 / 3 classes


def test_d2_focal_without_background_renormalises_over_the_foreground() -> None:
    options = {
        "use_softmax": True,
        "to_onehot_y": True,
        "include_background": False,
        "reduction": "none",
    }
    theirs = monai.losses.FocalLoss(**options)(Z_MULTI, Y_MULTI)
    ours = medloss.losses.FocalLoss(**options)(Z_MULTI, Y_MULTI)
    assert float(theirs[0, 0, 0, 1]) == pytest.approx(0.06757, abs=1e-5)
    assert float(ours[0, 0, 0, 1]) == pytest.approx(0.16569, abs=1e-5)


def test_d3_dice_ce_of_independent_labels_takes_a_softmax_cross_entropy() -> None:
    target = (torch.rand(2, 3, 5, 4, 6, generator=torch.Generator().manual_seed(3)) > 0.6).float()
    input = logits(3)
    options = {"sigmoid": True, "lambda_dice": 0.0}
    theirs = float(monai.losses.DiceCELoss(**options)(input, target))
    ours = float(medloss.losses.DiceCELoss(**options)(input, target))
    softmax_ce = float(torch.nn.functional.cross_entropy(input, target))
    bce = float(torch.nn.functional.binary_cross_entropy_with_logits(input, target))
    assert theirs == pytest.approx(softmax_ce)
    assert ours == pytest.approx(bce)
    assert (theirs, ours) == pytest.approx((2.2276, 1.1090), abs=1e-4)


@pytest.mark.parametrize(
    ("voxels", "theirs"), [(1_000, 0.998), (100_000, 0.816), (1_000_000, 0.308)]
)
def test_d4_smoothing_drowns_the_weights_of_a_large_organ(voxels: int, theirs: float) -> None:
    target = torch.zeros(1, 2, 4 * voxels // 100, 100)
    target[:, 1, : voxels // 100] = 1
    target[:, 0] = 1 - target[:, 1]
    wrong = target.flip(1)
    assert float(monai.losses.GeneralizedDiceLoss()(wrong, target)) == pytest.approx(
        theirs, abs=1e-3
    )
    assert float(medloss.losses.GeneralizedDiceLoss()(wrong, target)) == pytest.approx(1, abs=1e-6)


def test_d5_generalized_dice_of_an_empty_patch_is_blind_without_background() -> None:
    target = torch.zeros(1, 1, 4, 4, 4, dtype=torch.long)
    options = {"include_background": False, "to_onehot_y": True}
    both = []
    for module in (monai.losses, medloss.losses):
        p = torch.full((1, 2, 4, 4, 4), 0.1)
        p[:, 1] = 0.9
        p.requires_grad_()
        value = module.GeneralizedDiceLoss(**options)(p, target)
        value.backward()
        assert p.grad is not None
        both.append((float(value.detach()), float(p.grad[:, 1].sum())))
    assert both[0] == (0, 0)
    assert both[1] == pytest.approx((0.9, 1.0))


def test_ignoring_nothing_changes_no_number() -> None:
    """MONAI's focal mean grows C times as soon as an ignore_index is named."""
    options = {"use_softmax": True, "to_onehot_y": True}
    theirs = [
        float(monai.losses.FocalLoss(**options, **extra)(Z_MULTI, Y_MULTI))
        for extra in ({}, {"ignore_index": 99})
    ]
    ours = [
        float(medloss.losses.FocalLoss(**options, **extra)(Z_MULTI, Y_MULTI))
        for extra in ({}, {"ignore_index": 99})
    ]
    assert theirs[1] == pytest.approx(3 * theirs[0])
    assert ours[1] == pytest.approx(ours[0])


def test_half_precision_sums_overflow_in_monai() -> None:
    """64³ voxels outside autocast: MONAI's Dice is 1 with gradient 0, with no warning."""
    z = torch.zeros(1, 2, 64, 64, 64, dtype=torch.float16)
    y = torch.zeros(1, 1, 64, 64, 64, dtype=torch.long)
    y[:, :, :32] = 1
    found = []
    for module in (monai.losses, medloss.losses):
        leaf = z.clone().requires_grad_()
        value = module.DiceLoss(softmax=True, to_onehot_y=True)(leaf, y)
        value.backward()
        assert leaf.grad is not None
        found.append((float(value.detach()), float(leaf.grad.abs().max()) > 0))
    assert found[0] == (1.0, False)
    assert found[1] == (pytest.approx(0.5), True)
